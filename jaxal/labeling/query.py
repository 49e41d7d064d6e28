"""Which rows to label next: one query, for people who label."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from jaxal import strategies as strategies_
from jaxal.data.pool import Pool
from jaxal.errors import ConfigError, DataError
from jaxal.experiments import loop
from jaxal.experiments.config import check_values
from jaxal.numerics import logreg
from jaxal.numerics.blocks import to_device
from jaxal.strategies.utilities import utilities


def query(
    X,
    labeled_rows=(),
    labels=(),
    strategy: str = "badge",
    batch_size: int = 100,
    seed: int = 0,
    n_classes: int | None = None,
    probabilities=None,
    **settings,
) -> np.ndarray:
    """The next rows of a pool to label.

    Args:
        X: (N, D) embeddings.
        labeled_rows, labels: (L,) the rows labeled so far and their labels, integers or strings. None yet is fine:
            every class then counts as equally likely.
        n_classes: C when more classes exist than were labeled. Only probcover's radius depends on it.
        probabilities: (N, C) of a classifier of your own; jaxal then fits none.
        settings: `variant`, `C`, and the strategy's own.
    Returns: row numbers (B,) int64 in pick order: distinct, never labeled ones, exactly min(batch_size, unlabeled).
    Raises: DataError or ConfigError, one sentence.
    Cost: one fit, which random, coreset, typiclust and probcover do without, and one selection.
    """
    pool = X if isinstance(X, Pool) else Pool(X)
    labels = np.asarray(labels if len(labels) else np.zeros(0, np.int32))
    unlabeled = [label for label in labels.ravel().tolist() if label is None or label in (-1, "") or label != label]
    if unlabeled:
        raise DataError(f"labels has {unlabeled[0]!r}, which is no label: give only the rows that are labeled")
    classes, codes = np.unique(labels, return_inverse=True)
    return choose(
        pool,
        labeled_rows,
        codes,
        max(len(classes), n_classes or 1),
        strategy,
        batch_size,
        seed,
        probabilities,
        **settings,
    )[0]


def choose(
    pool: Pool,
    labeled_rows,
    codes,
    n_classes: int,
    strategy: str,
    batch_size: int,
    seed: int = 0,
    probabilities=None,
    *,
    predict: Callable | None = None,
    C: float = 1.0,
    variant: str = "official",
    return_utilities: bool = False,
    **settings,
) -> tuple[np.ndarray, ...]:
    """`query` for labels that are class numbers 0..n_classes-1: rows (B,), their scores (B,) and, where asked for,
    utilities (B, N) as in `jaxal.strategies.utilities`.

    predict: (n, D) -> (n,), a classifier of your own for dropquery; jaxal then fits none.
    """
    n = len(pool.X)
    rows = np.asarray(labeled_rows).reshape(-1)
    if len(rows) and rows.dtype.kind not in "iu":
        raise DataError(f"labeled_rows must be row numbers, integers; they are {rows.dtype}")
    rows = rows.astype(np.int64)
    if len(rows) != len(codes):
        raise DataError(f"{len(rows)} labeled rows but {len(codes)} labels")
    if len(rows) and not (rows.min() >= 0 and rows.max() < n):
        raise DataError(f"labeled row {rows[(rows < 0) | (rows >= n)][0]} is not in the pool: it has rows 0 to {n - 1}")
    if len(np.unique(rows)) < len(rows):
        values, counts = np.unique(rows, return_counts=True)
        raise DataError(f"row {values[counts > 1][0]} is labeled twice")
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}: it must be at least 1")
    check_values([seed], C, variant)
    made = strategies_.make(strategy, variant, **settings)
    if return_utilities and made.utilities is None:
        raise ConfigError(f"{strategy} has no utilities: ask for none, or give its `Strategy` a function `utilities`")
    batch_size = min(batch_size, n - len(rows))
    if batch_size == 0:
        return np.zeros(0, np.int64), np.zeros(0, pool.X.dtype)
    with jax.enable_x64(pool.X.dtype == np.float64):
        X = to_device(pool.X)
        given = None if probabilities is None else jnp.log(_probabilities(probabilities, n, X.dtype))[None]
        classifies = strategy not in strategies_.IPS
        params = logreg.zeros(1, n_classes if classifies else 1, X.shape[1], X.dtype)
        if classifies and len(rows) and given is None and predict is None:
            params = logreg.fit_rows(X, rows[None], np.asarray(codes)[None], init=params, C=C).params
        labels = np.full((1, n), -1, np.int32)
        labels[0, rows] = codes
        state = strategies_.State(X, jnp.asarray(labels), params, given, batch_size, predict)
        if pool.class_names is None:
            pool = replace(pool, class_names=tuple(map(str, range(n_classes))))
        aux = loop.prepare(made, pool)
        keys = loop.keys([seed], len(rows))
        chosen, scores, _ = loop.compiled(made)(keys, aux, made.init(aux, state), state)
        answer = np.asarray(chosen[0], np.int64), np.asarray(scores[0])
        return (*answer, np.asarray(utilities(made, keys, aux, state, chosen)[0])) if return_utilities else answer


def _probabilities(probabilities, n: int, dtype) -> np.ndarray:
    p = np.asarray(probabilities, dtype)
    if p.ndim != 2 or len(p) != n:
        raise DataError(f"probabilities must be ({n}, n_classes), a row for every row of the pool; they are {p.shape}")
    if not (np.isfinite(p).all() and (p >= 0).all() and (p.sum(axis=1) > 0).all()):
        raise DataError("probabilities must be finite, not negative, and not all 0 in a row")
    return p
