"""Entropy: -sum p log p with 0 log 0 = 0, row by row, in nats."""

import numpy as np


def score(P):
    return np.array([-sum(q * np.log(q) for q in p if q > 0) for p in P])
