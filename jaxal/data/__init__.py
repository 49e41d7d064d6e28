"""Pools in memory and on disk. NumPy and pyarrow; no JAX."""
