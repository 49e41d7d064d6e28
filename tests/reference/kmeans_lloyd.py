"""Lloyd's algorithm, one step after the other."""

import numpy as np


def lloyd(X, valid, centers):
    """Labels (M,), centers (K, D) and iterations. Empty clusters get the rows farthest from their centers; the end is
    where labels stay, or centers move by no more than 1e-4 of the mean variance of a feature."""
    valid, centers = np.asarray(valid), np.array(centers)
    limit = 1e-4 * X[valid].var(axis=0).mean()
    label, squared = nearest(X, valid, centers)
    iterations = 0
    while iterations < 300:
        iterations += 1
        total = np.stack([X[valid & (label == c)].sum(axis=0) for c in range(len(centers))])
        count = np.array([(valid & (label == c)).sum() for c in range(len(centers))])
        for c, row in zip(np.flatnonzero(count == 0), np.argsort(-squared, kind="stable"), strict=False):
            if squared[row] > 0:
                total[label[row]] -= X[row]
                count[label[row]] -= 1
                total[c], count[c] = X[row], 1
        before, centers = centers, np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], centers)
        old, (label, squared) = label, nearest(X, valid, centers)
        if (old == label)[valid].all() or ((centers - before) ** 2).sum() <= limit:
            break
    return label, centers, iterations


def nearest(X, valid, centers):
    """The nearest center (M,), and its squared distance (M,), 0 for rows that do not count."""
    squared = ((X[:, None] - centers[None]) ** 2).sum(axis=2)
    return squared.argmin(axis=1), np.where(valid, squared.min(axis=1), 0)
