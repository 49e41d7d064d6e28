"""Badge on the whole (N, C*D) gradient matrix (Ash et al., ICLR 2020, Algorithm 1)."""

import numpy as np


def gradients(X, P):
    """g_i = (p_i - e_i) (x) x_i, e_i of the predicted class, as rows of length C*D."""
    q = P - np.eye(P.shape[1])[P.argmax(axis=1)]
    return (q[:, :, None] * X[:, None]).reshape(len(X), -1)


def first(G, labeled):
    return int(np.where(labeled, -1, (G**2).sum(axis=1)).argmax())


def squared(G, centers, origin):
    """Squared distance (N,) to the nearest center; the origin may be one more."""
    D = np.stack([((G - G[c]) ** 2).sum(axis=1) for c in centers] + [(G**2).sum(axis=1)] * origin)
    return D.min(axis=0)


def probabilities(G, labeled, chosen, origin):
    """Of every row to be drawn next; uniform over what is left when all distances are 0."""
    D = np.where(labeled, 0, squared(G, chosen, origin))
    D[list(chosen)] = 0
    if D.sum() == 0:
        D = np.where(labeled, 0, 1.0)
        D[list(chosen)] = 0
    return D / D.sum()
