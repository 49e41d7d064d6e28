"""Learning curves: configuration, the cycle for all seeds, results folders, resume."""
