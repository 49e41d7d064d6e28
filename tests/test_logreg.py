"""The classifier against scikit-learn, a plain NumPy objective, and the rules for degenerate label sets."""

import warnings
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import softmax_regression as plain
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from jaxal.numerics import logreg
from jaxal.numerics.arrays import bucket


def data(rng, n, dim, n_classes, scale=1.0):
    """Overlapping Gaussian classes (n, dim), every class in 0..n_classes-1 at least once."""
    y = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])
    return scale * (rng.normal(size=(n, dim)) + 0.7 * rng.normal(size=(n_classes, dim))[y]), y


def fit_one(X, y, n_classes, C=1.0, init=None, **options):
    """One seed's fit on all rows of X, leading axis dropped."""
    X = jnp.asarray(X)
    init = logreg.zeros(1, n_classes, X.shape[1], X.dtype) if init is None else init
    rows = np.arange(len(y))[None]
    fit = logreg.fit(X, rows, np.asarray(y)[None], weight=np.ones(rows.shape, X.dtype), init=init, C=C, **options)
    return jax.tree.map(lambda a: np.asarray(a[0]), fit)


def theirs(X, y, C=1.0):
    """scikit-learn's optimum to the last digits: Newton's method, since its L-BFGS stops early on the objective."""
    return LogisticRegression(C=C, tol=1e-12, max_iter=100, solver="newton-cholesky").fit(X, y)


@pytest.mark.parametrize(("n", "dim"), [(40, 60), (150, 12)], ids=["n<D", "n>D"])
@pytest.mark.parametrize("n_classes", [2, 3, 6])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_same_optimum_as_scikit_learn_in_float64(n, dim, n_classes, C):
    X, y = data(np.random.default_rng(0), n, dim, n_classes)
    tol = 1e-8 / max(1, C)  # the optimum is as far off as tol times C
    model = theirs(X, y, C)
    with jax.enable_x64(True):
        fit = fit_one(X, y, n_classes, C, tol=tol)
    assert fit.converged
    assert fit.gradient <= tol
    if n_classes == 2:  # one logit: the difference of ours
        ours, bias = fit.params.W[1:] - fit.params.W[:1], fit.params.b[1:] - fit.params.b[:1]
    else:
        ours, bias = fit.params.W, fit.params.b
    assert np.abs(ours - model.coef_).max() <= 1e-5 * np.abs(model.coef_).max()
    np.testing.assert_allclose(bias, model.intercept_, atol=1e-5)
    np.testing.assert_allclose(
        plain.probabilities(fit.params.W, fit.params.b, X, np.arange(n_classes)), model.predict_proba(X), atol=1e-6
    )


@pytest.mark.parametrize(("n", "dim"), [(100, 120), (300, 20)], ids=["n<D", "n>D"])
def test_many_classes_as_scikit_learn_in_float64(n, dim):
    X, y = data(np.random.default_rng(1), n, dim, 77)
    with jax.enable_x64(True):
        fit = fit_one(X, y, 77, tol=1e-8)
    assert fit.converged
    # newton-cholesky would factorise a (C D, C D) matrix
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # there are 77 on 100 rows
        model = LogisticRegression(tol=1e-9, max_iter=1000, solver="newton-cg").fit(X, y)
    assert np.abs(fit.params.W - model.coef_).max() <= 1e-5 * np.abs(model.coef_).max()


def test_unseen_classes_have_probability_zero_and_change_nothing():
    X, y = data(np.random.default_rng(2), 80, 10, 3)
    labels = np.array([0, 2, 5])[y]  # three observed of seven
    with jax.enable_x64(True):
        fit = fit_one(X, labels, 7, tol=1e-8)
        p = np.asarray(jax.nn.softmax(logreg.logits(fit.params, jnp.asarray(X)), axis=-1))
    np.testing.assert_allclose(p[:, [0, 2, 5]], theirs(X, labels).predict_proba(X), atol=1e-6)
    assert (p[:, [1, 3, 4, 6]] == 0).all()
    assert (fit.params.b[[1, 3, 4, 6]] == -np.inf).all()


def test_two_observed_of_six_are_one_logit():
    X, y = data(np.random.default_rng(3), 60, 15, 2)
    with jax.enable_x64(True):
        fit = fit_one(X, y * 4 + 1, 6, tol=1e-8)
    model = theirs(X, y)
    W = fit.params.W
    np.testing.assert_allclose(W[5] - W[1], model.coef_[0], atol=1e-5 * np.abs(model.coef_).max())


def test_one_observed_class_is_certain():
    X, _ = data(np.random.default_rng(4), 20, 5, 2)
    fit = fit_one(X.astype(np.float32), np.full(20, 3), 5)
    assert fit.converged
    assert fit.iterations == 0
    p = jax.nn.softmax(
        logreg.logits(logreg.Params(*map(jnp.asarray, fit.params)), jnp.asarray(X, jnp.float32)), axis=-1
    )
    np.testing.assert_array_equal(p, np.tile(np.eye(5)[3], (20, 1)))


@pytest.mark.parametrize("seen", [[0, 1, 2, 3], [1, 3]], ids=["four of four", "two of four"])
def test_reported_gradient_and_objective_are_those_of_the_plain_formula(seen):
    X, y = data(np.random.default_rng(5), 50, 8, len(seen))
    y = np.array(seen)[y]
    with jax.enable_x64(True):
        fit = fit_one(X, y, 4, C=0.3, max_iter=5)
    W, b = fit.params.W, np.where(np.isfinite(fit.params.b), fit.params.b, 0)
    gW, gb = plain.gradient(W, b, X, y, 0.3)
    np.testing.assert_allclose(fit.gradient, max(np.abs(gW).max(), np.abs(gb).max()), rtol=1e-10)
    np.testing.assert_allclose(fit.objective, plain.objective(W, b, X, y, 0.3), rtol=1e-12)
    assert fit.iterations == 5
    assert not fit.converged


def test_plain_gradient_is_the_derivative_of_the_plain_objective():
    X, y = data(np.random.default_rng(6), 30, 4, 3)
    W, b, P, q = (np.random.default_rng(7).normal(size=s) for s in ((3, 4), 3, (3, 4), 3))
    h = 1e-6
    slope = (
        (plain.objective(W + h * P, b + h * q, X, y, 2.0) - plain.objective(W - h * P, b - h * q, X, y, 2.0)) / 2 / h
    )
    gW, gb = plain.gradient(W, b, X, y, 2.0)
    np.testing.assert_allclose(slope, (gW * P).sum() + (gb * q).sum(), rtol=1e-7)


def test_float32_is_no_farther_from_the_optimum_than_scikit_learn(shared):
    """Both at tol 1e-4, on test rows of real pools: mean and largest difference of probabilities, and argmax."""
    distances, agree = [], []
    cases = [("trec6", 250), ("trec6", 1000), ("banking77", 250), ("banking77", 1000), ("banking77", 2500)]
    for pool, n_labeled in cases:
        with np.load(shared / "pools" / f"{pool}-minilm.npz") as z:
            pool_X, pool_y, X_test, y_test = (z[k] for k in ("X", "y", "X_test", "y_test"))
        for draw in range(4):
            rows = np.random.default_rng(draw).permutation(len(pool_X))[:n_labeled]
            X, y, seen = pool_X[rows].astype(np.float32), pool_y[rows], np.unique(pool_y[rows])
            fit = fit_one(X, y, 77)
            assert fit.converged
            assert true_gradient(fit.params, X, y, 1.0) <= 1.001e-4
            with jax.enable_x64(True):
                best = fit_one(X.astype(np.float64), y, 77, tol=1e-9)
            model = LogisticRegression(max_iter=1000).fit(X, y)
            p = [
                plain.probabilities(f.params.W, f.params.b, X_test.astype(np.float64), seen)[:, seen]
                for f in (best, fit)
            ]
            p.append(model.predict_proba(X_test.astype(np.float32)))
            distances.append([[np.abs(q - p[0]).mean(), np.abs(q - p[0]).max()] for q in p[1:]])
            agree.append([(q.argmax(1) == p[0].argmax(1)).sum() for q in p[1:]])
            assert agree[-1][0] >= 0.99 * len(y_test)
            accuracies = [(seen[q.argmax(1)] == y_test).mean() for q in p]
            assert abs(accuracies[1] - accuracies[0]) <= 0.003
    ours, theirs = np.reshape(distances, (len(cases), 4, 2, 2)).mean(axis=1).swapaxes(0, 1)  # (case; mean, largest)
    assert (ours <= theirs).all()
    assert np.greater_equal(*np.sum(agree, axis=0))


def test_padding_and_weights():
    """Weight 0 removes a row, weight 2 repeats it."""
    X, y = data(np.random.default_rng(8), 30, 6, 3)
    rows, weight = np.arange(30)[None], np.ones((1, 30))
    weight[0, 20:], weight[0, 5] = 0, 2
    with jax.enable_x64(True):
        weighted = logreg.fit(
            jnp.asarray(X), rows, y[rows], weight=weight, init=logreg.zeros(1, 3, 6, X.dtype), tol=1e-9
        )
        repeated = fit_one(X[[*range(20), 5]], y[[*range(20), 5]], 3, tol=1e-9)
    np.testing.assert_allclose(weighted.params.W[0], repeated.params.W, atol=1e-7)


@pytest.mark.parametrize("vmapped", [False, True])
def test_seeds_are_fitted_as_if_alone(vmapped):
    X, y = data(np.random.default_rng(9), 90, 7, 4)
    rows = np.stack([np.random.default_rng(s).permutation(90)[:40] for s in range(3)])
    C = np.array([0.1, 1.0, 10.0])
    with jax.enable_x64(True):
        together = logreg.fit(
            jnp.asarray(X),
            rows,
            y[rows],
            weight=np.ones(rows.shape),
            init=logreg.zeros(3, 4, 7, X.dtype),
            C=C,
            tol=1e-9,
            vmapped=vmapped,
        )
        for s in range(3):
            alone = fit_one(X[rows[s]], y[rows[s]], 4, C[s], tol=1e-9)
            np.testing.assert_allclose(together.params.W[s], alone.params.W, atol=1e-7)
            assert together.converged[s]


def test_warm_start_reaches_the_same_optimum_in_fewer_iterations():
    X, y = data(np.random.default_rng(10), 200, 10, 5)
    with jax.enable_x64(True):
        before = fit_one(X[:190], y[:190], 6, tol=1e-8)  # class 5 unseen: its intercept is -inf
        init = jax.tree.map(lambda a: jnp.asarray(a)[None], before.params)
        same = fit_one(X[:190], y[:190], 6, init=init, tol=1e-8)
        warm, cold = fit_one(X, y, 6, init=init, tol=1e-8), fit_one(X, y, 6, tol=1e-8)
        y[190:] = 5  # a new class
        new, exact = fit_one(X, y, 6, init=init, tol=1e-8), fit_one(X, y, 6, tol=1e-8)
    assert same.iterations == 0
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(warm.params.W, cold.params.W, atol=1e-5)
    np.testing.assert_allclose(new.params.W, exact.params.W, atol=1e-5)


@pytest.mark.parametrize("C", [0.01, 0.1])
@pytest.mark.parametrize("scale", [3e3, 1e4])
def test_a_start_far_off_leaves_no_rounding_in_the_gradient(scale, C):
    """Logits fall from some 10,000 to 1, by steps that are added up: what those have rounded off must not say that the
    gradient is small."""
    rng = np.random.default_rng(13)
    X, y = data(rng, 200, 30, 3)
    init = logreg.Params(jnp.asarray(scale * rng.normal(size=(1, 3, 30)), jnp.float32), jnp.zeros((1, 3), jnp.float32))
    fit = fit_one(X.astype(np.float32), y, 3, C, init=init)
    assert fit.converged
    assert true_gradient(fit.params, X.astype(np.float32), y, C) <= 1e-4


def true_gradient(params, X, y, C):
    """Largest element of the gradient in float64 at these parameters."""
    W, b = (a.astype(np.float64) for a in params)
    gW, gb = plain.gradient(W, b, X.astype(np.float64), y, C)
    return max(np.abs(gW).max(), np.abs(gb).max())


def check_honest(fit, X, y, C, start):
    """Finite, not above the start, and converged only where the float64 gradient is small."""
    X64, seen = X.astype(np.float64), np.unique(y)
    W, b = (a.astype(np.float64) for a in fit.params)
    assert np.isfinite(W).all()
    assert np.isfinite(b[seen]).all()
    assert np.isfinite(fit.objective)
    assert (np.delete(b, seen) == -np.inf).all()
    assert (np.delete(W, seen, axis=0) == 0).all()
    W0, b0 = (a.astype(np.float64) for a in start)
    before = plain.objective(W0, b0, X64, y, C)
    assert plain.objective(W, b, X64, y, C) <= before * (1 + 1e-6)
    assert fit.converged == (fit.gradient <= 1e-4)
    # float32 sums of terms of size |X| carry this much noise; `converged` may not claim more than it can see
    assert not fit.converged or true_gradient(fit.params, X, y, C) <= 1e-4 + 1e-6 * np.abs(X64).max()


def test_fits_of_raw_pixels_converge():
    X, y = load_digits(return_X_y=True)
    X, y = X[:1000].astype(np.float32), y[:1000]
    fit = fit_one(X, y, 10)
    assert fit.converged
    assert true_gradient(fit.params, X, y, 1.0) <= fit.gradient


@pytest.mark.parametrize("draw", [1, 25, 30])
def test_what_rounding_hides_is_reported(draw):
    """Equal columns of some 100, and weights that cancel in the logits, whose sums float32 rounds."""
    rng = np.random.default_rng(draw)
    X, y = data(rng, 24, 40, 2)
    X = (100 * X[:, :1] * np.ones_like(X)).astype(np.float32)
    init = logreg.Params(jnp.asarray(rng.normal(size=(1, 2, 40)), jnp.float32), jnp.zeros((1, 2), jnp.float32))
    fit = fit_one(X, y, 2, 3e4, init=init, max_iter=200)
    assert true_gradient(fit.params, X, y, 3e4) <= fit.gradient


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_intercepts_are_rounded_once(dtype):
    """As if computed with twice the digits and then rounded, where the terms are far larger than their sum."""
    rng = np.random.default_rng(3)
    with jax.enable_x64(dtype == np.float64):
        W, b, mean = (rng.normal(at, 10, shape).astype(dtype) for at, shape in [(0, (5, 300)), (0, 5), (100, (1, 300))])
        W[:, 0] -= (W @ mean[0]) / mean[0, 0]
        got = np.asarray(jax.jit(logreg._uncentered)(W, b, mean[0]))
    for row, intercept, ours in zip(W.tolist(), b.tolist(), got.tolist(), strict=True):
        terms = [Fraction(intercept), *(-Fraction(w) * Fraction(m) for w, m in zip(row, mean[0].tolist(), strict=True))]
        eps, exact = Fraction(float(np.finfo(dtype).eps)), sum(terms)
        assert abs(Fraction(ours) - exact) <= eps / 2 * abs(exact) + eps**2 * sum(map(abs, terms))


HARD = {
    "spread": lambda X, y, rng: X * np.logspace(-2, 2, X.shape[1]),
    "duplicates": lambda X, y, rng: X[rng.integers(0, min(6, len(X)), len(X))],
    "low rank": lambda X, y, rng: X[:, :1] * np.ones_like(X),
    "separable": lambda X, y, rng: X + 20 * np.eye(3, X.shape[1])[y % 3],
    "constant": lambda X, y, rng: np.ones_like(X),
    "far mean": lambda X, y, rng: X + 100,
    "plain": lambda X, y, rng: X,
}


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("C", [0.01, 1.0, 1e6])
@pytest.mark.parametrize("kind", HARD)
def test_hard_float32_data_end_finite_and_never_above_the_start(scale, C, kind):
    rng = np.random.default_rng(11)
    X, y = data(rng, 60, 9, 3)
    X = (scale * HARD[kind](X, y, rng)).astype(np.float32)
    check_honest(fit_one(X, y, 3, C), X, y, C, (np.zeros((3, 9)), np.zeros(3)))


@settings(max_examples=200, deadline=None)
@given(
    shape=st.sampled_from([(1, 1, 2), (12, 3, 4), (24, 40, 3), (48, 9, 6)]),  # each is compiled once
    kind=st.sampled_from(list(HARD)),
    log_scale=st.floats(-1, 3),
    log_C=st.floats(-2, 6),
    n_seen=st.integers(1, 6),
    weights=st.sampled_from(["one", "spread", "some zero"]),
    warm=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_fits_are_honest_whatever_the_data(shape, kind, log_scale, log_C, n_seen, weights, warm, seed):
    n, dim, n_classes = shape
    rng = np.random.default_rng(seed)
    y = rng.permutation(n_classes)[rng.integers(0, min(n_seen, n_classes), n)]
    X = rng.normal(size=(n, dim)) + rng.normal(size=(n_classes, dim))[y]
    X = (10**log_scale * HARD[kind](X, y, rng)).astype(np.float32)
    weight = np.ones(n) if weights == "one" else rng.integers(weights != "some zero", 4, n).astype(float)
    if not weight.any():
        weight[0] = 1
    init = logreg.zeros(1, n_classes, dim, X.dtype)
    if warm:  # a fit of other rows, with other classes unseen
        init = logreg.Params(*(jnp.asarray(rng.normal(size=a.shape), X.dtype) for a in init))
        init = init._replace(b=jnp.where(rng.random(n_classes) < 0.3, -jnp.inf, init.b))
    rows = np.arange(n)[None]
    fit = logreg.fit(jnp.asarray(X), rows, y[None], weight=weight[None], init=init, C=10**log_C, max_iter=200)
    fit = jax.tree.map(lambda a: np.asarray(a[0]), fit)
    assert fit.iterations <= 200
    keep = np.repeat(np.arange(n), weight.astype(int))  # what integer weights mean
    start = (
        np.where(np.isin(np.arange(n_classes), y[keep])[:, None], init.W[0], 0),
        np.where(np.isfinite(init.b[0]), init.b[0], 0),
    )
    check_honest(fit, X[keep], y[keep], 10**log_C, start)


def test_prediction_ties_go_to_the_lower_class_and_blocks_cover_every_row():
    rng = np.random.default_rng(12)
    params = logreg.Params(jnp.zeros((2, 3, 4)), jnp.asarray([[-jnp.inf, 1.0, 1.0], [0.0, 0.0, 2.0]]))
    X = jnp.asarray(rng.normal(size=(11, 4)), jnp.float32)
    np.testing.assert_array_equal(logreg.predict(params, X), [[1] * 11, [2] * 11])
    W = jnp.asarray(rng.normal(size=(2, 3, 4)), jnp.float32)
    params = params._replace(W=W)
    whole = logreg.logits(params, X)
    for block_rows in (1, 4, 5, 11, 100):  # 11 is no multiple of most of them
        first = logreg.map_logits(lambda z: z[:, 1], params, X, block_rows=block_rows)
        np.testing.assert_allclose(first, whole[..., 1], rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 250, 1023, 1024, 1025, 5000, 5250])
def test_buckets_are_few_and_waste_little(n):
    size = bucket(n)
    assert size >= n
    assert size == bucket(size)
    assert size <= max(64, 2 * n)
    assert n < 1024 or size < 1.25 * n + 1
    assert len({bucket(k) for k in range(1, 8193)}) == 5 + 4 * 3
