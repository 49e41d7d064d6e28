"""The contract that every query strategy keeps, as a check that plug-in authors can run: `check_strategy`."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxal.data.pool import Pool
from jaxal.experiments import loop
from jaxal.numerics import logreg
from jaxal.strategies import State, Strategy


def check_strategy(strategy: Strategy, *, seed: int = 0) -> None:
    """Run a strategy through pools that break careless ones; raises AssertionError that names the pool and the rule.

    The rules: B distinct unlabeled rows a seed, int32 (S, B), with one score each; the same picks for the same keys;
    jit-compiled or not; a carry that keeps its structure. The pools: random rows, exact duplicates, constant rows,
    zero rows, one observed class, no labels at all, a batch of all that is left, and float64.
    """
    for name, X, labels, batch_size in _pools(np.random.default_rng(seed)):
        with jax.enable_x64(X.dtype == np.float64):
            _check(strategy, name, X, labels, batch_size, seed)


def _pools(rng):
    """(name, X (N, D), labels (S, N) with -1 for unlabeled, B) to try; odd sizes, so that no block comes out even."""
    n, dim, n_seeds = 37, 5, 3

    def labeled(count, n_classes=4):
        labels = np.full((n_seeds, n), -1, np.int32)
        for row in labels:
            row[rng.choice(n, count, replace=False)] = rng.integers(0, n_classes, count)
        return labels

    normal = rng.normal(size=(n, dim)).astype(np.float32)
    yield "random rows", normal, labeled(11), 7
    yield "exact duplicates", normal[rng.integers(0, 3, n)], labeled(11), 7
    yield "constant rows", np.ones((n, dim), np.float32), labeled(11), 7
    yield "zero rows", np.zeros((n, dim), np.float32), labeled(11), 7
    yield "one class seen", normal, labeled(11, n_classes=1), 7
    yield "two classes seen", normal, labeled(11, n_classes=2), 7
    yield "no labels", normal, labeled(0), 7
    yield "all that is left", normal, labeled(30), 7
    yield "saturated probabilities", normal * 1e3, labeled(11), 7
    yield "float64", normal.astype(np.float64), labeled(11), 7


def _check(strategy, name, X, labels, batch_size, seed):
    n_seeds = len(labels)
    rows = np.stack([np.flatnonzero(row >= 0) for row in labels])
    y = np.take_along_axis(labels, rows, axis=1)
    params = logreg.zeros(n_seeds, 4, X.shape[1], X.dtype)
    if rows.size:
        params = logreg.fit_rows(jnp.asarray(X), rows, y, init=params).params
    state = State(jnp.asarray(X), jnp.asarray(labels), params, None, batch_size)
    aux = loop.prepare(strategy, Pool(X))
    keys = loop.keys(range(seed, seed + n_seeds), cycle=1)

    carry = strategy.init(aux, state)
    picked, scores, after = loop.compiled(strategy)(keys, aux, carry, state)
    again, _, _ = loop.compiled(strategy)(keys, aux, carry, state)

    def rule(holds, text):
        assert holds, f"{name}: {text}"

    rule(picked.shape == (n_seeds, batch_size) and picked.dtype == jnp.int32, "rows must be int32 (S, B)")
    rule(scores.shape == (n_seeds, batch_size), f"scores must be (S, B), not {scores.shape}")
    for s, row in enumerate(np.asarray(picked)):
        rule(((row >= 0) & (row < len(X))).all(), f"rows must be in 0..N-1, seed {s} has {row}")
        rule(len(set(row.tolist())) == batch_size, f"rows must be distinct, seed {s} has {row}")
        rule((labels[s, row] < 0).all(), f"rows must be unlabeled, seed {s} has labeled ones in {row}")
    rule(np.array_equal(picked, again), "the same keys must give the same rows")
    plain, _, _ = strategy.select(keys, aux, carry, state)
    rule(np.array_equal(picked, plain), "jax.jit must not change the rows")
    rule(jax.tree.structure(after) == jax.tree.structure(carry), "the carry must keep its structure")
