"""Which rows to label next: one query, for people who label."""

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

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
from jaxal.strategies.interface import check_setting
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
    *,
    C: float = 1.0,
    variant: str = "official",
    **options,
) -> np.ndarray:
    """The next rows of a pool to label.

    Args:
        X: (N, D) embeddings, or a `Pool`.
        labeled_rows, labels: (L,) the rows labeled so far and their labels, integers or strings. None yet is fine:
            every class then counts as equally likely.
        strategy: a name, or `module:function`.
        batch_size: how many rows to choose. seed: of all random numbers; the same seed gives the same rows.
        n_classes: the number of classes, when there are more than were labeled. Only probcover's radius depends on it.
        probabilities: (N, n_classes) of a classifier of your own; jaxal then fits none.
        C: inverse penalty strength of jaxal's classifier. variant: "official" or "skactiveml".
        options: the strategy's own, such as `k=10`.
    Returns: row numbers (B,) int64 in pick order: distinct, never labeled ones, exactly min(batch_size, unlabeled).
    Raises: DataError or ConfigError, one sentence; StrategyError for a strategy of your own.
    Cost: one fit, which random, coreset, typiclust and probcover do without, and one selection; O(N)
        memory beside X.
    """
    pool = X if isinstance(X, Pool) else Pool(X)
    classes, codes = _encode(labels)
    n_classes = 1 if n_classes is None else check_setting("n_classes", n_classes, int, 1)
    rows, *_ = choose(
        pool,
        labeled_rows=labeled_rows,
        codes=codes,
        n_classes=max(len(classes), n_classes),
        strategy=strategy,
        batch_size=batch_size,
        seed=seed,
        probabilities=probabilities,
        C=C,
        variant=variant,
        options=options,
    )
    return rows


def choose(
    pool: Pool,
    *,
    labeled_rows,
    codes,
    n_classes: int,
    strategy: str,
    batch_size: int,
    seed: int = 0,
    probabilities=None,
    predict: Callable | None = None,
    C: float = 1.0,
    variant: str = "official",
    options: Mapping[str, Any] | None = None,
    return_utilities: bool = False,
    params: logreg.Params | None = None,
    keys: jax.Array | None = None,
    taken: Sequence[int] = (),
) -> tuple[np.ndarray, ...]:
    """`query` for labels that are class numbers, (L,) in 0 .. n_classes-1.

    Args:
        predict: (n, D) -> (n,), a classifier of your own for dropquery; jaxal then fits none.
        options: the strategy's own. The other arguments are those of `query`.
        params: of a classifier that is fitted on these labels, (1, C, D) and (1, C); jaxal then fits none.
        keys: (1,) of all random numbers, instead of the seed's.
        taken: rows without a label that are not to be chosen. Strategies see them as labeled with what the classifier
            says, but it is not fitted on them.
    Returns: rows (B,), the strategy's scores (B,) and, where asked for, utilities (B, N), see `strategies.utilities`.
    """
    n = len(pool.X)
    rows = _row_numbers(labeled_rows, n)
    if len(rows) != len(codes):
        raise DataError(f"{len(rows)} labeled rows but {len(codes)} labels")
    batch_size = check_setting("batch_size", batch_size, int, 1)
    seed = check_setting("seed", seed, int, 0, most=2**32 - 1)
    check_values([seed], C, variant)
    made = strategies_.make(strategy, variant, options)
    if return_utilities and made.utilities is None:
        raise ConfigError(f"{strategy} has no utilities: ask for none, or give its `Strategy` a function `utilities`")
    given = None if probabilities is None else _probabilities(probabilities, n, pool.dtype)
    batch_size = min(batch_size, n - len(rows) - len(taken))
    if batch_size == 0:
        return np.zeros(0, np.int64), np.zeros(0, pool.dtype)
    with jax.enable_x64(pool.X.dtype == np.float64):
        X = to_device(pool.X)
        classifies = strategy not in strategies_.IPS
        if params is None:
            params = logreg.zeros(1, n_classes if classifies else 1, X.shape[1], X.dtype)
            if classifies and len(rows) and given is None and predict is None:
                params = logreg.fit_rows(X, rows[None], np.asarray(codes)[None], init=params, C=C).params
        labels = np.full((1, n), -1, np.int32)
        labels[0, rows] = codes
        if len(taken):
            W, b = (np.asarray(a[0]) for a in params)  # by NumPy: no program is compiled for each number of rows
            labels[0, taken] = (pool.X[np.asarray(taken)] @ W.T + b).argmax(axis=1)
        log_probabilities = None if given is None else jnp.log(given)[None]
        state = strategies_.State(X, jax.device_put(labels), params, log_probabilities, batch_size, predict)
        if pool.class_names is None:
            pool = replace(pool, class_names=tuple(map(str, range(n_classes))))
        aux = loop.prepare(made, pool)
        keys = loop.keys([seed], len(rows)) if keys is None else keys
        chosen, scores, _ = loop.compiled(made)(keys, aux, made.init(aux, state), state)
        strategies_.check_picks(strategy, chosen, scores, labels, batch_size)
        answer = np.asarray(chosen)[0].astype(np.int64), np.asarray(scores)[0]
        return (*answer, np.asarray(utilities(made, keys, aux, state, chosen)[0])) if return_utilities else answer


def _encode(labels) -> tuple[np.ndarray, np.ndarray]:
    """The distinct labels in order, and for each label which of them it is, (L,)."""
    try:
        values = np.asarray(labels if len(labels) else np.zeros(0, np.int32))
        if values.ndim != 1:
            raise ValueError("no vector")
        missing = [label for label in values.tolist() if label is None or label in (-1, "") or label != label]
        if not missing:
            return np.unique(values, return_inverse=True)
    except (TypeError, ValueError) as e:  # also of kinds that have no order among them
        raise DataError(f"labels must be a vector of integers or strings, not {reprlib.repr(labels)}") from e
    raise DataError(f"labels has {missing[0]!r}, which is no label: give only the rows that are labeled")


def _row_numbers(labeled_rows, n: int) -> np.ndarray:
    """Rows (L,) int64: distinct ones of a pool of n rows."""
    try:
        rows = np.asarray(labeled_rows).reshape(-1)
    except ValueError as e:  # lists of different lengths
        raise DataError(f"labeled_rows must be row numbers, integers: {e}") from e
    if len(rows) and rows.dtype.kind not in "iu":
        raise DataError(f"labeled_rows must be row numbers, integers; they are {rows.dtype}")
    outside = rows[(rows < 0) | (rows >= n)]
    if len(outside):
        raise DataError(f"labeled row {outside[0]} is not in the pool: it has rows 0 to {n - 1}")
    values, counts = np.unique(rows.astype(np.int64), return_counts=True)
    if len(values) < len(rows):
        raise DataError(f"row {values[counts > 1][0]} is labeled twice")
    return rows.astype(np.int64)


def _probabilities(probabilities, n: int, dtype) -> np.ndarray:
    """(n, n_classes), finite and not negative; a row need not sum to 1."""
    try:
        p = np.asarray(probabilities, dtype)
    except (TypeError, ValueError) as e:
        raise DataError(f"probabilities must be numbers: {e}") from e
    if p.ndim != 2 or len(p) != n:
        raise DataError(f"probabilities must be ({n}, n_classes), a row for every row of the pool; they are {p.shape}")
    if not (np.isfinite(p).all() and (p >= 0).all() and (p.sum(axis=1) > 0).all()):
        raise DataError("probabilities must be finite, not negative, and not all 0 in a row")
    return p
