"""CoreSet: greedy k-center, all distances at every step (Sener and Savarese, ICLR 2018, Algorithm 1)."""

import numpy as np


def select(X, labeled, batch_size, lots):
    """Rows in pick order and their distances; among equal distances the largest of lots (N,) wins."""
    nearest = np.full(len(X), np.inf)
    for row in np.flatnonzero(labeled):
        nearest = np.minimum(nearest, ((X - X[row]) ** 2).sum(axis=1))
    taken = np.array(labeled)
    rows, distances = [], []
    for _ in range(batch_size):
        row = max(np.flatnonzero(~taken), key=lambda i: (nearest[i], lots[i]))
        rows.append(int(row))
        distances.append(np.sqrt(nearest[row]))
        taken[row] = True
        nearest = np.minimum(nearest, ((X - X[row]) ** 2).sum(axis=1))
    return rows, distances
