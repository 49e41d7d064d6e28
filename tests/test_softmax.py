"""The objective on as many rows as there are, against NumPy on just those rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.numerics import logreg, softmax
from jaxal.numerics.arrays import bucket, capacity

N, DIM, C = 4000, 5, 4
COUNTS = [1, 40, 64, 65, 300, 700, 1000, 1024, 1100, 1700, 2048, 2500]  # one part, or two, or three
ROOMS = [(n, capacity) for capacity in (2048, 2560) for n in COUNTS if n <= capacity]


def rows_of(n, capacity, whole=False, intercept=True):
    """n labeled rows in arrays for `capacity`, and the same for NumPy: X (n, DIM), y and weight (n,)."""
    rng = np.random.default_rng(n)
    X = rng.normal(3, 1, (N, DIM))
    rows = rng.permutation(N)[:n]
    y, weight = rng.integers(0, C - 1, n), rng.integers(1, 4, n) / 1.0  # class C - 1 is never seen
    weight /= weight.sum()
    places, classes, weights = (jnp.asarray(np.pad(a, (0, capacity - n))) for a in (rows, y, weight))
    count = jnp.int32(bucket(n))
    parts = () if whole else softmax.room(capacity, DIM, X.dtype)
    # What is left there from a seed before may not matter.
    parts = tuple(jnp.full_like(part, 1e3) for part in parts)
    data, means = softmax.gather(jnp.asarray(X), places, classes, weights, count, C, parts, intercept=intercept)
    return data, means, X[rows], y, weight


@pytest.mark.parametrize("whole", [False, True], ids=["in parts", "whole"])
@pytest.mark.parametrize(("n", "capacity"), ROOMS)
def test_objective_and_gradient_are_those_of_just_these_rows(n, capacity, whole):
    with jax.enable_x64(True):
        data, means, X, y, weight = rows_of(n, capacity, whole)
        rng = np.random.default_rng(0)
        W, P, b, q = rng.normal(size=(C, DIM)), rng.normal(size=(C, DIM)), rng.normal(size=C), rng.normal(size=C)
        seen = np.isin(np.arange(C), y)
        W[~seen], P[~seen], b[~seen], q[~seen] = 0, 0, 0, 0
        Z, dZ = (softmax.logits(data, jnp.asarray(A), jnp.asarray(a)) for A, a in ((W, b), (P, q)))
        f, slope, G = softmax.loss(data, Z, dZ, jnp.bool_(True), jnp.asarray(0.7), jnp.zeros_like(Z))
        gW = softmax.gradient(data, G)
        moved, gb = softmax.moved(data, Z, dZ, jnp.bool_(True), jnp.asarray(0.7), G)
        again, *_ = softmax.loss(data, moved, dZ, jnp.bool_(True), jnp.asarray(0.0), jnp.zeros_like(Z))
        other, *_ = softmax.loss(data, Z, dZ, jnp.bool_(False), jnp.asarray(1.0), jnp.zeros_like(Z))
    mean = weight @ X
    np.testing.assert_allclose(means.x, mean, rtol=1e-12)
    np.testing.assert_allclose(means.size, weight @ np.abs(X), rtol=1e-12)
    np.testing.assert_array_equal(data.seen, seen)

    def plain(W, b):
        logits = ((X - mean) @ W.T + b)[:, seen]
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        own = np.eye(C)[y][:, seen]
        return -(weight * np.log((p * own).sum(axis=1))).sum(), weight[:, None] * (p - own)

    expected, by_logit = plain(W + 0.7 * P, b + 0.7 * q)
    np.testing.assert_allclose([f, again], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(other, plain(P, q)[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gW[seen], by_logit.T @ (X - mean), atol=1e-12)
    np.testing.assert_allclose(gb[seen], by_logit.sum(axis=0), atol=1e-12)
    assert (np.asarray(gW)[~seen] == 0).all()
    np.testing.assert_allclose(slope, (by_logit * ((X - mean) @ P.T + q)[:, seen]).sum(), atol=1e-12)


def test_without_an_intercept_rows_stay_where_they_are():
    with jax.enable_x64(True):
        data, means, X, *_ = rows_of(70, 256, intercept=False)
    assert (np.asarray(means.x) == 0).all()
    used = [part for part in data.parts if len(part) & bucket(70)]
    np.testing.assert_allclose(np.concatenate(used)[:70], X, rtol=1e-6)


@pytest.mark.parametrize("n", range(1, 4000, 37))
def test_parts_add_up_to_every_bucket(n):
    with jax.enable_x64(True):
        data = rows_of(n, capacity(n))[0]
    used = [(int(first), len(part)) for part in data.parts for used, first in [softmax._place(data, part)] if used]
    firsts, sizes = zip(*used, strict=True)
    assert firsts == tuple(np.cumsum((0, *sizes[:-1])))  # one after the other
    assert sum(sizes) == bucket(n) <= capacity(n)


def test_one_program_serves_every_number_of_labeled_rows(count_traces):
    traces = count_traces(logreg, "fit", ("tol", "max_iter", "intercept", "vmapped"))
    rng = np.random.default_rng(0)
    X, y = jnp.asarray(rng.normal(size=(N, DIM)), jnp.float32), rng.integers(0, C, N).astype(np.int32)
    init = logreg.zeros(1, C, DIM, np.float32)
    for n in (10, 100, 300, 1000):
        rows = rng.permutation(N)[None, :n].astype(np.int32)
        alone = logreg.fit_rows(X, rows, y[rows], init=init)
        within = logreg.fit_rows(X, rows, y[rows], init=init, most=2000)
        np.testing.assert_allclose(within.params.W, alone.params.W, atol=1e-4)
    assert len(traces) == 3  # for 256, 1024 and 2048 rows
