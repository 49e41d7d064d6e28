"""The active learning cycle for all seeds at once: select, label, fit, evaluate.

Every function takes a `Position` and returns the next one; a `Position` is all that a later cycle depends on.
"""

import time
from collections.abc import Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np

from jaxal.data.pool import Pool
from jaxal.errors import ConfigError
from jaxal.experiments.metrics import METRICS, evaluate
from jaxal.numerics import logreg
from jaxal.numerics.blocks import to_device
from jaxal.strategies import State, Strategy

HISTORY = (*METRICS, "fit_seconds", "select_seconds", "eval_seconds", "fit_iterations", "converged")

_IPS, _SELECT, _POOL = range(3)  # what a key is for


class Problem(NamedTuple):
    """A pool on the device, and how its classifier is fitted."""

    X: jax.Array  # (N, D)
    X_test: jax.Array  # (M, D)
    y: np.ndarray  # (N,) int32, revealed row by row
    y_test: np.ndarray  # (M,) int32
    n_classes: int
    C: float
    warm_start: bool


class Position(NamedTuple):
    """Where a run stands after some cycles; leading axis S, seeds. The journal stores all of it."""

    rows: np.ndarray  # (S, L) int32 labeled rows in pick order
    scores: np.ndarray  # (S, L) what the strategy said of them
    history: np.ndarray  # (cycles so far, S, len(HISTORY)) float64
    labels: jax.Array  # (S, N) int32, -1 where unlabeled
    params: logreg.Params
    carry: Any  # of the strategy


def problem(pool: Pool, C: float, warm_start: bool) -> Problem:
    """Move a pool to the device, once for all runs on it."""
    return Problem(to_device(pool.X), to_device(pool.X_test), pool.y, pool.y_test, pool.n_classes, C, warm_start)


def prepare(strategy: Strategy, pool: Pool) -> Any:
    """What a strategy computes once a pool. Its key is the pool's, the same whatever the seeds."""
    return strategy.prepare(pool, jax.random.fold_in(jax.random.key(0), _POOL))


def start(problem: Problem, ips: Strategy, aux, seeds: Sequence[int], size: int) -> Position:
    """Cycle 0: the initial pool, chosen by seed and `ips` alone, and the first fit. The same for every strategy."""
    n_seeds, (n, dim) = len(seeds), problem.X.shape
    empty = Position(
        rows=np.zeros((n_seeds, 0), np.int32),
        scores=np.zeros((n_seeds, 0), problem.X.dtype),
        history=np.zeros((0, n_seeds, len(HISTORY))),
        labels=jnp.full((n_seeds, n), -1, jnp.int32),
        params=logreg.zeros(n_seeds, problem.n_classes, dim, problem.X.dtype),
        carry=(),
    )
    empty = empty._replace(carry=ips.init(aux, state(problem, empty, size)))
    return cycle(problem, ips, aux, empty, seeds, size, _IPS)._replace(carry=())


def cycle(problem, strategy: Strategy, aux, position: Position, seeds, batch_size: int, purpose=_SELECT) -> Position:
    """One cycle: choose `batch_size` rows a seed, reveal their labels, refit, measure."""
    with _stopwatch() as select:
        key = keys(seeds, len(position.history), purpose)
        rows, scores, carry = compiled(strategy)(key, aux, position.carry, state(problem, position, batch_size))
        rows, scores = np.asarray(rows), np.asarray(scores)
        labels = _reveal(position.labels, rows, problem.y[rows])
        labels.block_until_ready()
    rows = np.concatenate([position.rows, rows], axis=1)
    if any(len(np.unique(labeled)) < len(labeled) for labeled in rows):
        # one's own strategies can do this; the label would be bought twice and the curve be wrong
        raise ConfigError("the strategy chose a row that is labeled: jaxal.testing.check_strategy tells more")
    with _stopwatch() as fit:
        init = position.params if problem.warm_start else jax.tree.map(jnp.zeros_like, position.params)
        fitted = jax.block_until_ready(logreg.fit_rows(problem.X, rows, problem.y[rows], init=init, C=problem.C))
    with _stopwatch() as evaluation:
        metrics = evaluate(np.asarray(logreg.predict(fitted.params, problem.X_test)), problem.y_test, problem.n_classes)
    seconds = np.full((len(seeds), 3), [fit.seconds, select.seconds, evaluation.seconds])
    record = np.column_stack([metrics, seconds, fitted.iterations, fitted.converged])
    return Position(
        rows=rows,
        scores=np.concatenate([position.scores, scores], axis=1),
        history=np.concatenate([position.history, record[None]]),
        labels=labels,
        params=fitted.params,
        carry=carry,
    )


def state(problem: Problem, position: Position, batch_size: int) -> State:
    """What a strategy sees of a position."""
    return State(problem.X, position.labels, position.params, None, batch_size)


@jax.jit
def _reveal(labels, rows, y):
    return jax.vmap(lambda labels, rows, y: labels.at[rows].set(y))(labels, rows, y)


def keys(seeds: Sequence[int], cycle: int, purpose: int = _SELECT) -> jax.Array:
    """One key a seed, (S,), by (seed, cycle, purpose) alone: whatever else was drawn or is run beside it."""
    return _keys(jnp.asarray(np.asarray(seeds, np.uint32)), cycle, purpose)


@partial(jax.jit, static_argnums=2)
def _keys(seeds, cycle, purpose):
    return jax.vmap(lambda s: jax.random.fold_in(jax.random.fold_in(jax.random.key(s), cycle), purpose))(seeds)


@cache
def compiled(strategy: Strategy):
    """A strategy's `select`, compiled once however many runs use it."""
    return strategy.select if strategy.host else jax.jit(strategy.select)


class _Stopwatch:
    seconds = 0.0


@contextmanager
def _stopwatch():
    """Seconds of a block, what JAX spent on tracing and compiling not counted (`compile_seconds` has that)."""
    watch, began, compiling = _Stopwatch(), time.perf_counter(), compile_seconds()
    yield watch
    watch.seconds = max(0.0, time.perf_counter() - began - (compile_seconds() - compiling))


_compiling: list[tuple[float, float]] = []  # disjoint intervals, in order


def _note_compiling(event: str, duration: float, **_):
    if event.startswith("/jax/core/compile/"):
        now = time.perf_counter()
        while _compiling and _compiling[-1][0] >= now - duration:  # a part of this one, reported before it
            _compiling.pop()
        _compiling.append((now - duration, now))


jax.monitoring.register_event_duration_secs_listener(_note_compiling)


def compile_seconds() -> float:
    """Seconds this process has spent so far on tracing, lowering, and compiling or reading the compilation cache."""
    return sum(end - begin for begin, end in _compiling)
