"""Pools scaled to unit length: bit for bit as written plainly for ordinary rows, and right for rows of any size."""

import numpy as np
import pytest

from jaxal.data.pool import Pool


def plain_unit(X):
    """As a reader would write it; right where no square leaves the range of X's dtype."""
    norm = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norm > 0, norm, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dim", [1, 5, 384])
def test_ordinary_rows_are_scaled_bit_for_bit_as_written_plainly(dtype, dim):
    X = np.random.default_rng(0).normal(size=(500, dim)).astype(dtype)
    X *= np.logspace(-12, 12, 500)[:, None].astype(dtype)
    X[7] = 0
    made = Pool(X, X_test=X[::-1].copy()).normalized()
    assert made.X.dtype == dtype
    np.testing.assert_array_equal(made.X, plain_unit(X))
    np.testing.assert_array_equal(made.X_test, plain_unit(X)[::-1])


@pytest.mark.parametrize(
    ("dtype", "scales"),
    [(np.float32, [1e38, 1e25, 1e19, 1e-17, 1e-19, 1e-25, 1e-37]),
     (np.float64, [1e307, 1e200, 1e160, 1e-153, 1e-160, 1e-200, 1e-307])],
)  # fmt: skip
@pytest.mark.parametrize("dim", [1, 5, 768])
def test_rows_of_any_size_get_length_1(dtype, scales, dim):
    rows = np.random.default_rng(1).uniform(-1, 1, size=(len(scales), dim))
    X = (rows * np.array(scales)[:, None]).astype(dtype)
    unit = Pool(X).normalized().X
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(np.linalg.norm(unit.astype(np.float64), axis=1), 1, rtol=4 * eps)
    exact = X.astype(np.longdouble) / np.abs(X).max(axis=1, keepdims=True)
    exact /= np.sqrt((exact**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(unit.astype(np.longdouble), exact, rtol=8 * eps, atol=eps**2)


def test_the_extremes_of_a_dtype():
    for dtype in (np.float32, np.float64):
        limits = np.finfo(dtype)
        X = np.array([[limits.max, -limits.max], [limits.smallest_subnormal, 0], [0, 0], [limits.max, 1]], dtype)
        unit = Pool(X).normalized().X
        half = np.sqrt(dtype(0.5))
        np.testing.assert_allclose(unit[[0, 1, 2]], [[half, -half], [1, 0], [0, 0]], rtol=2 * float(limits.eps))
        assert unit[3, 0] == 1
