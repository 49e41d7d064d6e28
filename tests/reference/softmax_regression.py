"""Softmax regression as scikit-learn defines it: objective, gradient, probabilities, in float64."""

import numpy as np
from scipy.special import log_softmax, softmax


def objective(W, b, X, y, C):
    """Mean cross entropy + |W|^2 / (2 C n); two observed classes count double (one logit in scikit-learn)."""
    n, seen = len(X), np.unique(y)
    lam = (2 if len(seen) == 2 else 1) / (C * n)
    Z = X @ W[seen].T + b[seen]
    loss = -np.mean([log_softmax(z)[list(seen).index(c)] for z, c in zip(Z, y, strict=True)])
    return loss + lam / 2 * np.sum(W**2)


def gradient(W, b, X, y, C):
    """Gradient of `objective` by W (C, D) and b (C,): zero rows for classes that are not in y."""
    n, seen = len(X), np.unique(y)
    lam = (2 if len(seen) == 2 else 1) / (C * n)
    residual = np.zeros((n, len(W)))
    residual[:, seen] = softmax(X @ W[seen].T + b[seen], axis=1)
    residual[np.arange(n), y] -= 1
    return residual.T @ X / n + lam * W, residual.mean(axis=0)


def probabilities(W, b, X, seen):
    """(N, C), 0 for classes never seen."""
    p = np.zeros((len(X), len(W)))
    p[:, seen] = softmax(X @ W[seen].T + b[seen], axis=1)
    return p
