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
