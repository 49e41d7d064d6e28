"""A grid of experiments from one file, on one machine or a cluster: every run folder as `jaxal run` writes it."""
