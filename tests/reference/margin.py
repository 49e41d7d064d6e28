"""Margin: 1 - (p1 - p2) of the two largest probabilities, row by row (Scheffer et al., IDA 2001)."""

import numpy as np


def score(P):
    return np.array([1 - (np.sort(p)[-1] - np.sort(p)[-2]) for p in P])
