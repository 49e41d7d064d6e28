"""Greedy k-means++ (Arthur and Vassilvitskii, SODA 2007, section 5), one center at a time, random numbers given."""

import numpy as np


def invert(weights, u):
    """Where u cuts the sum of the weights."""
    cumulative = np.cumsum(weights)
    return min(int((cumulative <= u * cumulative[-1]).sum()), len(weights) - 1)


def centers(X, first, free, n_clusters, uniforms, size):
    """Rows of X (N, D) in the order chosen; `first` is the first one, and only those in `free` (N,) can follow.

    uniforms(i) are pairs of uniforms for the candidates of center i: the first of a pair draws a block of `size` rows,
    the second a row of it. There are 2 + floor(log K) candidates, as in scikit-learn.
    """
    D = ((X[:, None] - X[None]) ** 2).sum(axis=2)
    nearest = np.where(free, D[first], 0)
    rows = [first]
    for i in range(1, n_clusters):
        blocks = np.pad(nearest, (0, -len(X) % size)).reshape(-1, size)
        drawn = []
        for u, v in uniforms(i)[: 2 + int(np.log(n_clusters))]:
            block = invert(blocks.sum(axis=1), u)
            drawn.append(block * size + invert(blocks[block], v))
        best = min(drawn, key=lambda row: np.minimum(nearest, D[row]).sum())
        nearest = np.minimum(nearest, D[best])
        rows.append(best)
    return rows
