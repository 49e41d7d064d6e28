"""The contract that every query strategy keeps, as a check that plug-in authors can run: `check_strategy`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxal.data.pool import Pool
from jaxal.errors import StrategyError
from jaxal.experiments import loop
from jaxal.numerics import logreg
from jaxal.strategies import State, Strategy, check_picks


def check_strategy(strategy: Strategy, *, seed: int = 0) -> None:
    """Run a strategy through pools that break careless ones; raises AssertionError that names the pool and the rule.

    The rules: B distinct unlabeled rows a seed, int32 (S, B), with one score each; the same picks for the same keys;
    the same picks jit-compiled or not; an `init` that reads no values of the state, since a run that goes on from its
    journal traces it; a carry that keeps its structure, shapes and dtypes from cycle to cycle; the first of the rows
    for a smaller batch, where a strategy is `nested`.

    The pools: random rows, exact duplicates, constant rows, zero rows, one or two observed classes, no labels at all,
    a batch of all that is left, saturated probabilities, and float64. Cost: two selections on each, some compiled anew.
    """
    for trial in _trials(np.random.default_rng(seed)):
        with jax.enable_x64(trial.X.dtype == np.float64):
            _check(strategy, trial, seed)


class _Trial(NamedTuple):
    pool: str  # what it is called
    X: np.ndarray  # (N, D)
    labels: np.ndarray  # (S, N) int32, -1 where unlabeled
    batch_size: int

    def rule(self, holds: bool, text: str) -> None:
        if not holds:
            raise AssertionError(f"{self.pool}: {text}")

    def state(self) -> State:
        """What a strategy sees, with the classifier fitted to the labels."""
        X, n_seeds = jnp.asarray(self.X), len(self.labels)
        params = logreg.zeros(n_seeds, 4, X.shape[1], X.dtype)
        rows = np.stack([np.flatnonzero(row >= 0) for row in self.labels])
        if rows.size:
            params = logreg.fit_rows(X, rows, np.take_along_axis(self.labels, rows, axis=1), init=params).params
        return State(X, jnp.asarray(self.labels), params, None, self.batch_size)


def _trials(rng: np.random.Generator) -> Iterator[_Trial]:
    """What to try; odd sizes, so that no block comes out even."""
    n, dim, n_seeds = 37, 5, 3

    def labeled(count, n_classes=4):
        labels = np.full((n_seeds, n), -1, np.int32)
        for row in labels:
            row[rng.choice(n, count, replace=False)] = rng.integers(0, n_classes, count)
        return labels

    normal = rng.normal(size=(n, dim)).astype(np.float32)
    yield _Trial("random rows", normal, labeled(11), 7)
    yield _Trial("exact duplicates", normal[rng.integers(0, 3, n)], labeled(11), 7)
    yield _Trial("constant rows", np.ones((n, dim), np.float32), labeled(11), 7)
    yield _Trial("zero rows", np.zeros((n, dim), np.float32), labeled(11), 7)
    yield _Trial("one class seen", normal, labeled(11, n_classes=1), 7)
    yield _Trial("two classes seen", normal, labeled(11, n_classes=2), 7)
    yield _Trial("no labels", normal, labeled(0), 7)
    yield _Trial("all that is left", normal, labeled(30), 7)
    yield _Trial("saturated probabilities", normal * 1e3, labeled(11), 7)
    yield _Trial("float64", normal.astype(np.float64), labeled(11), 7)


def _check(strategy: Strategy, trial: _Trial, seed: int) -> None:
    state = trial.state()
    aux = loop.prepare(strategy, Pool(trial.X))
    keys = loop.keys(range(seed, seed + len(trial.labels)), cycle=1)
    carry = _first_carry(strategy, trial, aux, state)
    select = loop.compiled(strategy)

    rows, after = _selection(trial, select(keys, aux, carry, state), carry, state)
    again, _ = _selection(trial, select(keys, aux, carry, state), carry, state)
    trial.rule(np.array_equal(rows, again), "the same keys must give the same rows")
    plain, _ = _selection(trial, strategy.select(keys, aux, carry, state), carry, state)
    trial.rule(np.array_equal(rows, plain), "jax.jit must not change the rows")
    if strategy.nested:
        fewer = replace(state, batch_size=trial.batch_size // 2)
        first, _ = _selection(trial, select(keys, aux, carry, fewer), carry, fewer)
        trial.rule(
            np.array_equal(first, rows[:, : fewer.batch_size]), "fewer rows must be the first of more: it is nested"
        )

    # the next cycle, with what was picked labeled; the classifier stays
    labels = np.array(state.labels)
    np.put_along_axis(labels, rows, 0, axis=1)
    left = int((labels < 0).sum(axis=1).min())
    if left:
        later = replace(state, labels=jnp.asarray(labels), batch_size=min(trial.batch_size, left))
        keys = loop.keys(range(seed, seed + len(labels)), cycle=2)
        _selection(trial, select(keys, aux, after, later), carry, later)


def _first_carry(strategy: Strategy, trial: _Trial, aux: Any, state: State) -> Any:
    try:
        traced = loop.carry_shapes(strategy, aux, state)
    except (*loop.TRACING_ERRORS, StrategyError) as e:
        if isinstance(e, StrategyError) and not isinstance(e.__cause__, loop.TRACING_ERRORS):
            raise
        raise AssertionError(f"{trial.pool}: init must not read values of the state, only shapes") from e
    carry = strategy.init(aux, state)
    arrays = all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in jax.tree.leaves(carry))
    trial.rule(arrays, "the carry must be made of arrays")
    trial.rule(_shapes(carry) == _shapes(traced), "init must give a carry of the same shapes when it is traced")
    return carry


def _selection(trial: _Trial, selected: Any, carry: Any, state: State) -> tuple[np.ndarray, Any]:
    """The rows (S, B) and the carry of one selection, which keep the rules."""
    trial.rule(isinstance(selected, tuple | list) and len(selected) == 3, "select must return (rows, scores, carry)")
    rows, scores, after = selected
    try:
        check_picks("under test", rows, scores, state.labels, state.batch_size)
    except StrategyError as e:
        raise AssertionError(f"{trial.pool}: {e}") from e
    trial.rule(rows.dtype == jnp.int32, f"rows must be int32, not {rows.dtype}")
    before, now = _shapes(carry), _shapes(after)
    trial.rule(before[0] == now[0], f"the carry must keep its structure, {before[0]}; it became {now[0]}")
    trial.rule(before == now, f"the carry must keep its shapes and dtypes, {before[1]}; they became {now[1]}")
    return np.asarray(rows), after


def _shapes(carry: Any) -> tuple[Any, list[str]]:
    """The structure of a carry, and shape and dtype of each array in it."""
    leaves, structure = jax.tree.flatten(carry)
    return structure, [f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves]
