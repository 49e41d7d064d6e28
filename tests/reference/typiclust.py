"""TypiClust's choice given the clusters, one row at a time (Hacohen et al., ICML 2022, section 4)."""

import numpy as np


def typicality(X, k, root):
    """Inverse mean distance of each row to its k nearest others: squared distances unless root."""
    D = ((X[:, None] - X[None]) ** 2).sum(axis=2)
    np.fill_diagonal(D, np.inf)
    D = np.sort(D, axis=1)[:, :k]
    if k == 0:
        return np.ones(len(X))
    return k / (np.sqrt(D).sum(axis=1) + 1e-7) if root else 1 / (D.mean(axis=1) + 1e-5)


def official(X, label, labeled, batch_size):
    """Clusters above 5 rows by (labels in it, size descending), round and round; k = 20 or half of what is left."""
    label = np.where(labeled, -1 - label, label)
    cluster = np.where(label < 0, -1 - label, label)
    ids = [c for c in np.unique(cluster) if (cluster == c).sum() > 5]
    ids.sort(key=lambda c: ((label == -1 - c).sum(), -(cluster == c).sum(), c))
    rows = []
    while len(rows) < batch_size:
        for c in [c for c in ids if (label == c).any()][: batch_size - len(rows)]:
            members = np.flatnonzero(label == c)
            best = members[typicality(X[members], min(20, len(members) // 2), False).argmax()]
            rows.append(int(best))
            label[best] = -1 - c
    return rows


def skactiveml(X, label, labeled, batch_size, k=5):
    """Clusters without a label, the largest first, a row each: only for sizes without ties."""
    free = [c for c in np.unique(label) if not labeled[label == c].any()]
    rows = []
    for c in sorted(free, key=lambda c: -(label == c).sum())[:batch_size]:
        members = np.flatnonzero(label == c)
        rows.append(int(members[typicality(X[members], min(k, len(members) - 1), True).argmax()]))
    return rows
