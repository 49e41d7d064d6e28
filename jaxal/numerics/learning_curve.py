"""A learning curve continued: which accuracies more labels may bring. NumPy, and no optimizer.

With x = n / (labels so far), the error 1 - accuracy is a power law or a stretched exponential,

    u + b ((x + s) / (1 + s))^-c        u + (1 - u) exp(-k x^beta)                                              (1)

u is what no label takes away. The shapes are laid out on grids, and b is fitted to each in closed form; a shape counts
by its likelihood under noise of unknown size. So an uncertain curve shows as many different futures, where the best fit
is one of them: from some ten noisy accuracies it can be any.

References: Viering and Loog, The Shape of Learning Curves, 2023 (power laws pow3 and pow4, exp4); Machnio et al., PALM,
ICCV 2025: accuracy A (1 - (1 - d)^((n/batch + a)^beta)), the second of (1) with A = 1 - u and a = 0.
"""

import numpy as np
from jaxtyping import Float

# Of five settings each on the stored curves of bench/stopping.py: a free u (prior 0 or 1) finds plateaus in noise and
# says far too many labels; weights that grow with the square root of n serve the future better than equal ones.
_PLATEAU = 3.0  # prior density of u as a share of the error now: (1 - share)^3
_RECENT = 0.5  # the noise of an accuracy falls as n^-0.5
# Errors of successive models are alike, for they share labels and test rows: T of them say as much as T / 2 apart.
_INDEPENDENT = 0.5
_NOISE, _NOISE_WEIGHT = 0.005, 4  # an accuracy wobbles by .5 points: what is known before, and as how many accuracies

_SHARES = np.linspace(0, 0.95, 20)
_POWERS = (_SHARES, np.array([0, 0.03, 0.1, 0.3]), np.geomspace(0.05, 3, 40))  # u, s, c
_EXPONENTIALS = (_SHARES[::2], np.geomspace(0.2, 8, 20), np.geomspace(0.05, 1.5, 16))  # u, k, beta


def futures(
    n_labeled: Float[np.ndarray, " T"],
    accuracy: Float[np.ndarray, " T"],
    ahead: Float[np.ndarray, " A"],
    *,
    standard_error: float = 0.0,
    samples: int = 2000,
    seed: int = 0,
) -> Float[np.ndarray, "K A"]:
    """Accuracies that may be measured at `ahead` labels, `samples` curves of them, each with noise of its own.

    n_labeled: ascending, above 0. accuracy: in [0, 1]. A curve's noise is the same along it, so that it is one run.
    standard_error: what all accuracies have in common, being measured on the same few rows.
    Cost: some 6,000 shapes of T + A numbers: .1 s for A = 100.
    """
    n, error = np.asarray(n_labeled, float), 1 - np.asarray(accuracy, float)
    x = np.concatenate([n, ahead]) / n[-1]
    weight = (n / n[-1]) ** _RECENT
    weight *= np.sqrt(len(n) / np.sum(weight**2))
    curves, priors = zip(_powers(x, error, weight), _exponentials(x, error), strict=True)
    curves, log_weight = np.concatenate(curves), np.concatenate(priors)
    dof = len(n) + _NOISE_WEIGHT
    squares = np.sum(((curves[:, : len(n)] - error) * weight) ** 2, axis=1) + _NOISE_WEIGHT * _NOISE**2
    log_weight = log_weight - 0.5 * _INDEPENDENT * dof * np.log(squares)
    rng = np.random.default_rng(seed)
    share = np.exp(log_weight - log_weight.max())
    drawn = rng.choice(len(curves), samples, p=share / share.sum())
    noise = np.sqrt(squares[drawn] / (dof - 2) + standard_error**2) * rng.normal(size=samples)
    return np.clip(1 - curves[drawn, len(n) :] + noise[:, None], 0, 1)


def _powers(x, error, weight) -> tuple[np.ndarray, np.ndarray]:
    """Errors (P, T + A) by every power law of (1), and the logarithm of its prior weight (P,)."""
    share, s, c = _grid(*_POWERS)
    shape = ((x + s) / (1 + s)) ** -c
    u = share * _now(error)
    fitted = shape[:, : len(error)] * weight
    b = np.sum((error - u) * weight * fitted, axis=1) / np.sum(fitted**2, axis=1)
    return u + b[:, None] * shape, np.where(b > 0, _prior(share), -np.inf)


def _exponentials(x, error) -> tuple[np.ndarray, np.ndarray]:
    share, k, beta = _grid(*_EXPONENTIALS)
    u = share * _now(error)
    return u + (1 - u) * np.exp(-k * x**beta), _prior(share)


def _grid(*axes) -> list[np.ndarray]:
    """Every combination, as columns (P, 1)."""
    return [values.reshape(-1, 1) for values in np.meshgrid(*axes, indexing="ij")]


def _now(error) -> float:
    return max(float(np.mean(error[-3:])), 1e-3)


def _prior(share) -> np.ndarray:
    """Both families weigh the same, however many shapes each has."""
    return _PLATEAU * np.log1p(-share[:, 0]) - np.log(len(share))
