"""Pools in float16: they stay so in memory, and everything comes out as of the same numbers in float32."""

import jax
import numpy as np
import pytest
from small import QUICK, arrays, same_tables

import jaxal
from jaxal import Pool
from jaxal.experiments import loop
from jaxal.labeling.query import choose
from jaxal.numerics import blocks, distances
from jaxal.numerics.blocks import Half, to_device
from jaxal.strategies import STRATEGIES, Strategy, per_seed


def pools():
    """A pool in float16, and the same numbers in float32."""
    X, y, X_test, y_test = arrays()
    half = Pool(X.astype(np.float16), y, X_test.astype(np.float16), y_test)
    return half, Pool(half.X.astype(np.float32), y, half.X_test.astype(np.float32), y_test)


def test_it_stays_and_only_float64_beside_it_widens_it():
    half, wide = pools()
    assert half.X.dtype == half.X_test.dtype == np.float16
    assert half.dtype == wide.dtype == np.float32
    assert half.cap(50).X.dtype == np.float16
    X, X_test = half.X, half.X_test
    assert Pool(X, X_test=X_test.astype(np.float32)).X_test.dtype == np.float32, "no digit is lost"
    assert Pool(X.astype(np.float64), X_test=X_test).X_test.dtype == np.float64
    for made in (half.widened(), Pool(X, X_test=X_test.astype(np.float32)).widened()):
        assert made.X.dtype == made.X_test.dtype == np.float32
    assert wide.widened() is wide


def test_its_fingerprint_is_that_of_the_numbers(monkeypatch):
    half, wide = pools()
    assert half.fingerprint == wide.fingerprint
    monkeypatch.setattr("jaxal.data.pool._BLOCK", 7)
    assert pools()[0].fingerprint == wide.fingerprint


@pytest.mark.parametrize("variant", ["official", "skactiveml"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_is_the_same(strategy, variant):
    half, wide = (jaxal.run(pool, strategy, **QUICK, variant=variant, ips="typiclust") for pool in pools())
    same_tables(half.tables, wide.tables)


def test_a_query_is_the_same():
    rows = np.arange(0, 30, 3)
    for strategy in ("badge", "typiclust"):
        picks = [jaxal.query(pool, rows, pool.y[rows], strategy, batch_size=5) for pool in pools()]
        np.testing.assert_array_equal(*picks)


def test_lengths_and_norms_are_those_of_float32():
    half, wide = pools()
    for normalize in (False, True):
        for ours, theirs in zip(*(distances.norms(p.X, normalize=normalize) for p in (half, wide)), strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(half.normalized().X, wide.normalized().X)


def test_a_strategy_of_ones_own_gets_float32():
    """In every function, and as an initial pool selection too."""
    seen = []

    def look(X):
        seen.append((type(X).__name__, X.dtype))
        return X

    random = STRATEGIES["random"]()
    own = Strategy(
        lambda pool, key: look(pool.X).sum(),
        lambda aux, state: (look(state.X) + 1).sum(axis=0),
        lambda keys, aux, carry, state: (*random.select(keys, (), (), state)[:2], look(state.X).sum(axis=0)),
    )
    jaxal.register("own", own)
    jaxal.register("own score", lambda key, state: look(state.X) @ state.X[0])
    jaxal.register("own utilities", per_seed(lambda key, state: look(state.X)[:, 0]))
    for name in ("own", "own score", "own utilities"):
        same_tables(*(jaxal.run(pool, name, **QUICK).tables for pool in pools()))
    asked = {"labeled_rows": [0], "codes": [0], "n_classes": 3, "batch_size": 2, "return_utilities": True}
    for ours, theirs in zip(*(choose(pool, strategy="own utilities", **asked) for pool in pools()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(seen) > 6
    assert not {kind for kind, _ in seen} & {"Half"}
    assert {np.dtype(dtype) for _, dtype in seen} == {np.dtype(np.float32)}


def test_rows_blocks_and_all_of_it_are_widened():
    half, wide = (to_device(pool.X) for pool in pools())
    assert isinstance(half, Half)
    rows = jax.numpy.asarray([5, 0, 5])
    for ours, theirs in (
        (half[rows], wide[rows]),
        (blocks.take(half, 3, 9), wide[3:12]),
        (jax.numpy.asarray(half), wide),
        (np.asarray(half), wide),
    ):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, theirs)
    assert (half.shape, half.size, len(half), half.dtype) == (wide.shape, wide.size, len(wide), wide.dtype)
    again = to_device(np.asarray(half.stored))
    assert isinstance(again, Half)
    assert np.shares_memory(np.asarray(half.stored), np.asarray(again.stored)), "the pool is not copied"
    assert isinstance(loop.problem(pools()[0], 1.0, True, 50).X, Half)
