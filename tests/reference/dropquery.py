"""DropQuery's rules on given dropout masks and clusters (Gupte et al., 2024, Algorithm 1)."""

import numpy as np


def disagreements(X, W, b, masks, factor):
    """How many masks (M, N, D) change each row's prediction."""
    full = (X @ W.T + b).argmax(axis=1)
    return sum(((factor * keep * X) @ W.T + b).argmax(axis=1) != full for keep in masks)


def candidates(count, labeled, batch_size, n_masks):
    """The official rule: more than half of the masks, or fewer until 25 B rows are there."""
    threshold = n_masks // 2
    while threshold > 0 and ((count > threshold) & ~labeled).sum() < 25 * batch_size:
        threshold -= 1
    return np.flatnonzero((count > threshold) & ~labeled)


def nearest_members(X, label, centers):
    """The row of each cluster nearest to its centroid."""
    return [min(np.flatnonzero(label == c), key=lambda i: ((X[i] - m) ** 2).sum()) for c, m in enumerate(centers)]


def nearest_left(X, centers):
    """For each centroid in order the nearest row of all that were not taken before."""
    taken = []
    for m in centers:
        taken.append(min(set(range(len(X))) - set(taken), key=lambda i: ((X[i] - m) ** 2).sum()))
    return taken
