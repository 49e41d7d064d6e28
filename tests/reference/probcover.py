"""ProbCover with the whole distance matrix (Yehuda et al., NeurIPS 2022, Algorithm 1)."""

import numpy as np


def distances(X):
    return np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2))


def radii(D, cluster):
    """Distance of each row to the nearest row of another cluster."""
    return np.where(cluster[:, None] != cluster[None], D, np.inf).min(axis=1)


def purity(D, cluster, delta):
    """Share of rows whose ball, of rows strictly nearer than delta, lies in their own cluster."""
    return np.mean([(cluster[D[i] < delta] == cluster[i]).all() for i in range(len(D))])


def select(ball, labeled, batch_size, lots):
    """Rows in pick order and how many rows each newly covers; ball (N, N) bool. Among equals the largest lot wins."""
    taken = np.array(labeled)
    covered = ball[taken].any(axis=0)
    rows, new = [], []
    for _ in range(batch_size):
        gain = (ball & ~covered).sum(axis=1)
        row = max(np.flatnonzero(~taken), key=lambda i: (gain[i], lots[i]))
        rows.append(int(row))
        new.append(int(gain[row]))
        taken[row] = True
        covered = covered | ball[row]
    return rows, new
