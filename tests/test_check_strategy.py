"""check_strategy: for each of its rules a strategy that breaks only that one, and own strategies that keep all."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import Tracer

import jaxal
from jaxal.errors import ConfigError, StrategyError
from jaxal.strategies import Strategy, make, per_seed, register
from jaxal.strategies._template import template
from jaxal.testing import _trials, check_strategy

GOOD = make("random")


def changed(change):
    """random, with what `select` returns changed by `change(rows, scores, carry, state)`."""

    def select(keys, aux, carry, state):
        return change(*GOOD.select(keys, aux, carry, state), state)

    return GOOD._replace(select=select)


def with_row(row):
    """The first pick of every seed is replaced by `row(rows, state)`, (S,)."""
    return changed(lambda rows, scores, carry, state: (rows.at[:, 0].set(row(rows, state)), scores, carry))


def carrying(init, update, **fields):
    """random, with a carry that `init(state)` makes and `update(carry, state)` renews."""

    def select(keys, aux, carry, state):
        rows, scores, _ = GOOD.select(keys, aux, (), state)
        return rows, scores, update(carry, state)

    return GOOD._replace(init=lambda aux, state: init(state), select=select, **fields)


def counts(state):
    return jnp.zeros(len(state.labels), jnp.int32)


def repeated():
    """It takes the rows of its first query again, which are labeled by then."""

    def select(keys, aux, carry, state):
        rows, scores, _ = GOOD.select(keys, aux, (), state)
        rows = jnp.where((carry > 0).any(axis=1, keepdims=True), carry, rows)
        return rows, scores, rows

    return GOOD._replace(
        init=lambda aux, state: jnp.zeros((len(state.labels), state.batch_size), jnp.int32), select=select
    )


_calls = itertools.count()


def another_each_time(keys, aux, carry, state):
    """On the host: the keys are not used."""
    rows = np.asarray(GOOD.select(keys, aux, carry, state)[0])
    return np.roll(rows, next(_calls), axis=1), np.zeros(rows.shape), carry


def other_when_compiled(rows, scores, carry, state):
    return (rows[:, ::-1] if isinstance(rows, Tracer) else rows), scores, carry


def larger_when_traced(state):
    return jnp.zeros(2 if isinstance(state.labels, Tracer) else 1)


def labeled_row(rows, state):
    """A labeled row where there is one."""
    return jnp.where(state.labeled.any(axis=1), jnp.argmax(state.labeled, axis=1), rows[:, 0]).astype(rows.dtype)


BROKEN = {
    "int64 rows": (changed(lambda r, s, c, state: (r.astype(jnp.int16), s, c)), "rows must be int32, not int16"),
    "float rows": (changed(lambda r, s, c, state: (r.astype(s.dtype), s, c)), "returned rows of float32"),
    "too few": (changed(lambda r, s, c, state: (r[:, 1:], s[:, 1:], c)), r"rows of int32 with shape \(3, 6\)"),
    "one seed": (changed(lambda r, s, c, state: (r[:1], s[:1], c)), r"rows of int32 with shape \(1, 7\)"),
    "no scores": (changed(lambda r, s, c, state: (r, s[:, :1], c)), r"scores of float32 with shape \(3, 1\)"),
    "no carry": (changed(lambda r, s, c, state: (r, s)), r"select must return \(rows, scores, carry\)"),
    "ragged rows": (changed(lambda r, s, c, state: ([[1], [2, 3], []], s, c)), "returned rows that are no array"),
    "ragged scores": (changed(lambda r, s, c, state: (r, [[1], [2, 3], []], c)), "returned scores that are no array"),
    "complex scores": (changed(lambda r, s, c, state: (r, s.astype(jnp.complex64), c)), "returned scores of complex64"),
    "negative": (with_row(lambda r, state: r[:, 0] - len(state.X)), "chose row -.* rows 0 to 36"),
    "out of range": (with_row(lambda r, state: r[:, 0] + len(state.X)), "chose row .* rows 0 to 36"),
    "twice": (with_row(lambda r, state: r[:, 1]), "chose row .* twice"),
    "labeled": (with_row(labeled_row), "which is labeled already"),
    "other rows": (Strategy(GOOD.prepare, GOOD.init, another_each_time, host=True), "the same keys must give the same"),
    "the same rows again": (repeated(), "which is labeled already"),
    "not nested": (GOOD._replace(nested=True), "fewer rows must be the first of more"),
    "jit": (changed(other_when_compiled), "jax.jit must not change the rows"),
    "carry of another structure": (carrying(counts, lambda c, state: {"counts": c}), "keep its structure"),
    "carry that grows": (carrying(counts, lambda c, state: jnp.concatenate([c, c])), "keep its shapes and dtypes"),
    "carry of another dtype": (carrying(counts, lambda c, state: c.astype(jnp.float32)), "keep its shapes and dtypes"),
    "carry that grows later": (
        carrying(counts, lambda c, state: np.zeros(4) if (np.asarray(c) > 0).any() else np.asarray(c) + np.int32(1),
                 host=True),
        "keep its shapes and dtypes",
    ),
    "carry of numbers": (carrying(lambda state: 3, lambda c, state: c), "the carry must be made of arrays"),
    "init that reads values": (
        carrying(lambda state: jnp.zeros(int(state.labels.max()) + 2), lambda c, state: c),
        "init must not read values",
    ),
    "init in NumPy": (
        carrying(lambda state: np.asarray(state.labels).max(axis=1), lambda c, state: c),
        "init must not read values",
    ),
    "init by a condition": (
        carrying(lambda state: counts(state) + (1 if state.labels.max() >= 0 else 2), lambda c, state: c),
        "init must not read values",
    ),
    "init of rows by a mask": (
        carrying(lambda state: state.X[state.labels[0] >= 0], lambda c, state: c),
        "init must not read values",
    ),
    "init of other shapes when traced": (
        carrying(larger_when_traced, lambda c, state: c),
        "same shapes when it is traced",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_each_rule_has_a_strategy_that_only_it_refuses(what):
    strategy, message = BROKEN[what]
    with pytest.raises(AssertionError, match=message) as e:
        check_strategy(strategy)
    assert str(e.value).startswith("random rows: "), "the pool is not named"
    assert "\n" not in str(e.value)


def is_equal(X):
    """(N, N) bool: which rows of X are equal."""
    return (X[:, None] == X[None]).all(axis=2)


# pool -> what is true of its state alone, of those that are tried before it and of itself; (S,) or one
POOLS = {
    "random rows": lambda state: True,
    "exact duplicates": lambda state: is_equal(state.X).sum() > len(state.X),
    "constant rows": lambda state: is_equal(state.X).all(),
    "zero rows": lambda state: (state.X == 0).all(),
    "one class seen": lambda state: state.labels.max(axis=1) == 0,
    "two classes seen": lambda state: state.labels.max(axis=1) == 1,
    "no labels": lambda state: ~state.labeled.any(axis=1),
    "all that is left": lambda state: (~state.labeled).sum(axis=1) == state.batch_size,
    "saturated probabilities": lambda state: jnp.abs(state.X).max() > 100,
    "float64": lambda state: state.X.dtype == jnp.float64,
}


def test_these_are_all_pools():
    assert list(POOLS) == [trial.pool for trial in _trials(np.random.default_rng(0))]


@pytest.mark.parametrize("pool", POOLS)
def test_rules_hold_on_every_pool(pool):
    """A strategy that breaks one on this pool only, by the same row twice."""
    broken = with_row(lambda rows, state: jnp.where(POOLS[pool](state), rows[:, 1], rows[:, 0]))
    with pytest.raises(AssertionError, match=f"^{pool}: .* twice"):
        check_strategy(broken)


def test_errors_of_the_author_are_their_own():
    def init(aux, state):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        check_strategy(GOOD._replace(init=init))
    register("failing", GOOD._replace(init=init))
    with pytest.raises(StrategyError, match="failing failed: ZeroDivisionError: mine"):
        check_strategy(make("failing"))


def test_a_registered_strategy_breaks_the_rules_as_itself():
    """By its name its functions are wrapped, and their errors are jaxal's; the rule is still what is told."""
    register("reads values", BROKEN["init in NumPy"][0])
    with pytest.raises(AssertionError, match="init must not read values"):
        check_strategy(make("reads values"))


def test_strategies_that_keep_all_rules():
    check_strategy(carrying(counts, lambda c, state: c + 1))
    check_strategy(per_seed(lambda key, state: -state.X[:, 0]))
    keyed = carrying(lambda state: jax.random.split(jax.random.key(0), len(state.labels)), lambda c, state: c)
    check_strategy(keyed)


def test_the_checks_hold_without_assert_statements():
    """python -O takes assert statements away, and must not take the contract away."""
    import ast
    import inspect

    from jaxal import testing

    assert not [node for node in ast.walk(ast.parse(inspect.getsource(testing))) if isinstance(node, ast.Assert)]
    assert issubclass(StrategyError, ConfigError)
    assert jaxal.Strategy is Strategy


def test_the_template_is_a_strategy():
    """What CONTRIBUTING.md says to copy keeps the contract itself."""
    for variant in ("official", "skactiveml"):
        check_strategy(template(variant))
