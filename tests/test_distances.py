"""Norms and distances where squares leave the range of the dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.errors import DataError
from jaxal.numerics import distances


def scaled(X):
    norms = distances.norms(X, normalize=True)
    return np.asarray(distances.Points(jnp.asarray(X), norms).at(jnp.arange(len(X)))) + np.asarray(norms.mean), norms


@pytest.mark.parametrize(("dtype", "factors"), [(np.float32, (1e-30, 1e25)), (np.float64, (1e-200, 1e200))])
def test_rows_of_any_length_are_scaled_to_length_1(dtype, factors):
    X = np.random.default_rng(0).normal(size=(40, 7)).astype(dtype)
    X[3] = 0
    with jax.enable_x64(dtype == np.float64):
        expected, _ = scaled(X)
        for factor in factors:
            Y = X.copy()
            Y[[5, 9]] *= dtype(factor)
            unit, norms = scaled(Y)
            np.testing.assert_allclose(unit, expected, atol=20 * np.finfo(dtype).eps)
            assert norms.raw[3] == 0
            assert (np.delete(np.asarray(norms.raw), 3) == 1).all()


def test_rows_that_no_factor_brings_to_length_1_are_refused():
    X = np.full((3, 7), np.finfo(np.float32).max)
    with pytest.raises(DataError, match=r"too large for float32 distances: scale them \(normalize\)"):
        distances.norms(X, normalize=True)
    with pytest.raises(DataError, match="too large"):
        distances.norms(np.full((3, 7), 1e19, np.float32))


def test_the_nearest_center_is_the_nearest_that_is_known(block_sizes):
    """Every seed has centers of its own, of which it knows some; one seed knows none. More rows than a block."""
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        X, centers, known = rng.normal(size=(83, 5)) + 3, rng.normal(size=(3, 4, 5)) + 3, rng.random((3, 4)) < 0.6
        known[2] = False
        norms = distances.norms(X)
        centered = jnp.asarray(centers) - norms.mean[None, None]
        ours = np.asarray(distances.nearest(jnp.asarray(X), norms, centered, jnp.asarray(known)))
    apart = ((X[None, None] - centers[:, :, None]) ** 2).sum(axis=3)
    expected = np.where(known[:, :, None], apart, np.inf).min(axis=1)
    assert known[:2].any(axis=1).all()
    assert not known[:2].all()
    np.testing.assert_allclose(ours, expected, rtol=1e-9)
    assert np.isinf(ours[2]).all()


def test_duplicates_are_at_distance_0_and_their_neighbors_are_not():
    """Also a thousand times their spread from the mean, where the norms round off what is between them."""
    rng = np.random.default_rng(2)
    X = (rng.normal(size=(50, 7)) + 1000 * np.eye(7)[0]).astype(np.float32)
    apart = np.asarray(distances.squared(jnp.asarray(X), jnp.asarray(X)))
    assert (np.diag(apart) == 0).all()
    assert (apart >= 0).all()
    centered = jnp.asarray(X) - distances.norms(X).mean[None]
    apart = np.asarray(distances.squared(centered, centered))
    expected = ((X[:, None].astype(float) - X[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(apart, expected, rtol=1e-3)
