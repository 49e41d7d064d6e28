"""The active learning cycle for all seeds at once: select, label, fit, evaluate.

Every function takes a `Position` and returns the next one; a `Position` is all that a later cycle depends on.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxal.data.pool import Pool
from jaxal.errors import StrategyError
from jaxal.experiments.metrics import evaluate
from jaxal.experiments.timing import stopwatch
from jaxal.numerics import logreg, programs, threefry
from jaxal.numerics.blocks import to_device
from jaxal.strategies import State, Strategy, check_picks, own

TRACING_ERRORS = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)

IPS, SELECT, _POOL = range(3)  # what a key is for


class Problem(NamedTuple):
    """A pool on the device, and how its classifier is fitted."""

    X: jax.Array  # (N, D)
    X_test: jax.Array  # (M, D)
    y: np.ndarray  # (N,) int32, revealed row by row
    y_test: np.ndarray  # (M,) int32
    n_classes: int
    C: float
    warm_start: bool
    most_labeled: int  # rows at the end of the longest run, so that all fits share one program


class History(NamedTuple):
    """What was measured after every cycle so far: (cycles, S) float64 each. Seconds are of all seeds together."""

    accuracy: np.ndarray
    macro_f1: np.ndarray
    balanced_accuracy: np.ndarray
    fit_seconds: np.ndarray
    select_seconds: np.ndarray
    eval_seconds: np.ndarray
    fit_iterations: np.ndarray
    converged: np.ndarray  # 0 or 1


class Position(NamedTuple):
    """Where a run stands after some cycles; leading axis S, seeds. The journal stores all of it."""

    rows: np.ndarray  # (S, L) int32 labeled rows in pick order
    scores: np.ndarray  # (S, L) what the strategy said of them
    history: History
    labels: jax.Array  # (S, N) int32, -1 where unlabeled
    params: logreg.Params
    carry: Any  # of the strategy

    @property
    def cycles(self) -> int:
        """How many cycles are done, that of the initial pool included."""
        return len(self.history.accuracy)


def problem(pool: Pool, C: float, warm_start: bool, most_labeled: int) -> Problem:
    """Move a pool to the device, once for all runs on it; it has labels and a test split."""
    assert pool.y is not None  # `config.check` has seen to all three
    assert pool.X_test is not None
    assert pool.y_test is not None
    X, X_test = to_device(pool.X), to_device(pool.X_test)
    return Problem(X, X_test, pool.y, pool.y_test, pool.n_classes, C, warm_start, most_labeled)


def prepare(strategy: Strategy, pool: Pool) -> Any:
    """What a strategy computes once a pool. Its key is the pool's, the same whatever the seeds."""
    return strategy.prepare(pool, _kept_pool_key())


def start(problem: Problem, ips: Strategy, aux: Any, seeds: Sequence[int], size: int, name: str) -> Position:
    """Cycle 0: the initial pool, chosen by seed and `ips` alone, and the first fit. The same for every strategy.

    Args: ips: the initial pool selection, which errors call `name`; aux: what it prepared; size: K0.
    """
    n_seeds, n = len(seeds), len(problem.X)
    empty = Position(
        rows=np.zeros((n_seeds, 0), np.int32),
        scores=np.zeros((n_seeds, 0), problem.X.dtype),
        history=History(*np.zeros((len(History._fields), 0, n_seeds))),
        labels=jax.device_put(np.full((n_seeds, n), -1, np.int32)),
        params=_untrained(problem, n_seeds),
        carry=(),
    )
    empty = empty._replace(carry=ips.init(aux, state(problem, empty, size)))
    return cycle(problem, ips, aux, empty, seeds, size, name, IPS)._replace(carry=())


def cycle(
    problem: Problem,
    strategy: Strategy,
    aux: Any,
    position: Position,
    seeds: Sequence[int],
    batch_size: int,
    name: str,
    purpose: int = SELECT,
) -> Position:
    """One cycle: choose `batch_size` rows a seed, reveal their labels, refit, measure.

    Raises StrategyError, which calls the strategy `name`, when it chose what it may not; no label is revealed then.
    """
    with stopwatch() as select:
        key = keys(seeds, position.cycles, purpose)
        chosen = compiled(strategy)(key, aux, position.carry, state(problem, position, batch_size))
        rows, scores, carry = _checked(name, chosen, position.labels, batch_size)
        labels = _reveal(position.labels, rows, problem.y[rows])
    rows = np.concatenate([position.rows, rows], axis=1)
    with stopwatch() as fit:
        init = position.params if problem.warm_start else _untrained(problem, len(seeds))
        y, most = problem.y[rows], problem.most_labeled
        fitted = jax.block_until_ready(logreg.fit_rows(problem.X, rows, y, init=init, C=problem.C, most=most))
    with stopwatch() as evaluation:
        metrics = evaluate(np.asarray(_kept_predict(fitted.params, problem.X_test)), problem.y_test, problem.n_classes)
    seconds = (fit.seconds, select.seconds, evaluation.seconds)
    measured = (*metrics.T, *seconds, fitted.iterations, fitted.converged)
    return Position(
        rows=rows,
        scores=np.concatenate([position.scores, scores], axis=1),
        history=History(*map(_with_cycle, position.history, measured)),
        labels=labels,
        params=fitted.params,
        carry=carry,
    )


def _untrained(problem: Problem, n_seeds: int) -> logreg.Params:
    return logreg.zeros(n_seeds, problem.n_classes, problem.X.shape[1], problem.X.dtype)


def _checked(name: str, chosen, labels: jax.Array, batch_size: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """What `select` returned: rows (S, B), scores (S, B) and the carry. Raises StrategyError."""
    if not (isinstance(chosen, tuple | list) and len(chosen) == 3):
        size = f" of {len(chosen)}" if isinstance(chosen, tuple | list) else ""
        what = type(chosen).__name__ + size
        raise StrategyError(f"the strategy {name} returned a {what}: select must return (rows, scores, carry)")
    rows, scores, carry = chosen
    check_picks(name, rows, scores, labels, batch_size)
    return np.asarray(rows), np.asarray(scores), carry


def _with_cycle(history: np.ndarray, value) -> np.ndarray:
    """(cycles, S) and a value for all seeds, or one each (S,) -> (cycles + 1, S)."""
    return np.concatenate([history, np.broadcast_to(value, history.shape[1])[None]])


def state(problem: Problem, position: Position, batch_size: int) -> State:
    """What a strategy sees of a position."""
    return State(problem.X, position.labels, position.params, None, batch_size, most_labeled=problem.most_labeled)


def _reveal(labels: jax.Array, rows: np.ndarray, y: np.ndarray) -> jax.Array:
    """The labels with those of rows (S, B), by NumPy: no program is compiled for each batch size."""
    revealed = np.array(labels)
    np.put_along_axis(revealed, rows, y, axis=1)
    return jax.device_put(revealed)


def keys(seeds: Sequence[int], cycle: int, purpose: int = SELECT) -> jax.Array:
    """One key a seed, (S,), by (seed, cycle, purpose) alone: whatever else was drawn or is run beside it."""
    return _kept_keys(np.asarray(seeds, np.uint32), cycle, purpose)


@jax.jit
def _pool_key():
    return jax.random.fold_in(threefry.key(0), _POOL)


@jax.jit
def _keys(seeds, cycle, purpose):
    return jax.vmap(lambda s: jax.random.fold_in(jax.random.fold_in(threefry.key(s), cycle), purpose))(seeds)


_kept_predict = programs.Kept(logreg.predict, "predict", quick=True)
_kept_pool_key = programs.Kept(_pool_key, "pool key", quick=True)
_kept_keys = programs.Kept(_keys, "keys", quick=True)


def carry_shapes(strategy: Strategy, aux: Any, state: State) -> Any:
    """Shapes and dtypes of a strategy's first carry, without computing it.

    A run that goes on from its journal restores the carry by them. Raises one of TRACING_ERRORS where `init` reads a
    value of the state, which has none here.
    """

    def init(labels, params):
        return strategy.init(aux, replace(state, labels=labels, params=params))

    return jax.eval_shape(init, state.labels, state.params)


def compiled(strategy: Strategy) -> Callable:
    """A strategy's `select`, compiled once however many runs use it."""
    return strategy.select if strategy.host else _compiled(strategy)


@cache
def _compiled(strategy: Strategy) -> Callable:
    jitted, name = jax.jit(strategy.select), own(strategy)
    return jitted if name is None else programs.Kept(jitted, name, quick=True)
