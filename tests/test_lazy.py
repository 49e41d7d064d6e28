"""Lazy selection against the eager algorithms: equal picks, and for random draws equal distributions."""

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import badge as eager_badge
from reference import coreset as eager_coreset
from scipy.special import softmax
from scipy.stats import chisquare

from jaxal import Pool
from jaxal.errors import DataError
from jaxal.experiments import loop
from jaxal.numerics import lazy, logreg
from jaxal.numerics.arrays import tie_breaks
from jaxal.strategies import State, make
from jaxal.strategies._badge import residual

EVER, NEVER = 1e12, 0.0  # bounds are renewed after every step that failed; or only when there is no other way


@pytest.fixture(params=[None, EVER, NEVER], ids=["as it is", "renewed at every step", "never renewed"])
def renewal(request, patch_kernels):
    """How often bounds are renewed must not matter, nor the sizes of blocks and windows."""
    if request.param is not None:
        request.getfixturevalue("tiny_blocks")
        patch_kernels(lazy, "step_price", lambda: request.param)


def state_of(X, labels, params=None, batch_size=5):
    labels = jnp.asarray(labels, jnp.int32)
    if params is None:
        params = logreg.zeros(len(labels), 3, X.shape[1], X.dtype)
    return State(jnp.asarray(X), labels, params, None, batch_size)


def some_labels(rng, n_seeds, n, n_labeled):
    labels = np.full((n_seeds, n), -1, np.int32)
    for row in labels:
        row[rng.choice(n, n_labeled, replace=False)] = 0
    return labels


def run(strategy, X, labels, batch_size, cycles, params=None):
    """Rows (S, cycles * B) and scores over some cycles, the carry handed on."""
    state = state_of(X, labels, params, batch_size)
    aux = loop.prepare(strategy, Pool(X))
    carry = strategy.init(aux, state)
    picks = []
    for cycle in range(cycles):
        keys = loop.keys(range(len(labels)), cycle)
        rows, scores, carry = jax.jit(strategy.select)(keys, aux, carry, state)
        picks.append((keys, np.asarray(state.labeled), np.asarray(rows), np.asarray(scores)))
        labels = np.array(state.labels)
        np.put_along_axis(labels, np.asarray(rows), 0, axis=1)
        state = state_of(X, labels, params, batch_size)
    return picks


def check_coreset(X, labels, batch_size, cycles=3, rtol=1e-9):
    for keys, labeled, rows, scores in run(make("coreset"), X, labels, batch_size, cycles):
        for s, key in enumerate(keys):
            lots = np.asarray(tie_breaks(key, len(X)))
            expected, distances = eager_coreset.select(X.astype(float), labeled[s], batch_size, lots)
            assert rows[s].tolist() == expected
            np.testing.assert_allclose(scores[s], distances, rtol=rtol)


def test_coreset_picks_what_the_eager_algorithm_picks(renewal):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        for n_labeled in (0, 1, 40):
            check_coreset(rng.normal(size=(203, 6)) + 3, some_labels(rng, 3, 203, n_labeled), 11)


def test_coreset_catches_up_a_few_rows_at_a_time(patch_kernels):
    """Seeds that lag behind by different amounts: the same picks."""
    module = import_module("jaxal.strategies._coreset")
    patch_kernels(module, "_ROWS", 8)
    patch_kernels(module, "_CHUNK", 16)
    rng = np.random.default_rng(4)
    X = rng.normal(size=(203, 6)) + rng.integers(0, 5, (203, 1))
    labels = some_labels(rng, 4, 203, 20)
    labels[1, 100:] = labels[3, 1::2] = 0
    with jax.enable_x64(True):
        check_coreset(X, labels, 9, cycles=6)


def test_coreset_leaves_a_seed_alone_that_lags_behind_where_it_does_not_matter():
    """Two seeds that have not compared row 0 with the second center: one wants it, for the other it is near enough."""
    module, strategy = import_module("jaxal.strategies._coreset"), make("coreset")
    X = np.array([[0], [2], [1]], np.float32)
    state = state_of(X, [[-1, 0, -1]] * 2)
    aux = loop.prepare(strategy, Pool(X))
    carry = module._choose(strategy.init(aux, state), jnp.array([2, 2]), jnp.array([True, True]))
    carry = module._catch_up(state.X, aux, carry._replace(expected_end=jnp.array([1.0, 10.0])))
    np.testing.assert_array_equal(carry.bounds[:, 0], [1, 4])
    np.testing.assert_array_equal(carry.seen[:, 0], [2, 1])


def test_coreset_leaves_most_rows_alone_where_all_are_about_as_far(patch_kernels):
    """In many dimensions distances hardly differ, so rows a little nearer than the last choice are nearly all."""
    patch_kernels(lazy, "step_price", lambda: NEVER)
    X = np.random.default_rng(5).normal(size=(3000, 200)).astype(np.float32)
    labels, strategy = some_labels(np.random.default_rng(6), 2, 3000, 100), make("coreset")
    aux, state = loop.prepare(strategy, Pool(X)), state_of(X, labels, batch_size=50)
    carry = strategy.init(aux, state)
    for _ in range(4):
        rows, _, carry = loop.compiled(strategy)(loop.keys(range(2), 0), aux, carry, state)
        np.put_along_axis(labels, np.asarray(rows), 0, axis=1)
        state = state_of(X, labels, batch_size=50)
    assert np.asarray(carry.seen > 100).mean() < 0.5  # .37; .78 when all within .85 of the last choice were looked at


def test_coreset_breaks_ties_as_the_eager_algorithm(renewal):
    """Whole numbers: most distances are shared by many rows, and many rows are duplicates."""
    rng = np.random.default_rng(1)
    X = rng.integers(0, 3, (150, 4)).astype(np.float32)
    for n_labeled in (0, 4):
        check_coreset(X, some_labels(rng, 3, 150, n_labeled), 30, rtol=1e-6)


def test_coreset_on_a_real_pool(banking77):
    """float32, 5,000 rows: the same picks but for ties of 1e-5."""
    X, rng = banking77["X"][::2], np.random.default_rng(2)
    for _, labeled, rows, scores in run(make("coreset"), X, some_labels(rng, 2, len(X), 100), 60, 2):
        for s in range(2):
            free, nearest = ~labeled[s], np.full(len(X), np.inf)
            for row in [*np.flatnonzero(labeled[s]), *rows[s]]:
                if free[row]:
                    i = rows[s].tolist().index(row)
                    best = np.sqrt(nearest[free].max())
                    assert np.sqrt(nearest[row]) >= best * (1 - 1e-5)
                    np.testing.assert_allclose(scores[s, i], best, rtol=1e-5)
                    free[row] = False
                nearest = np.minimum(nearest, ((X - X[row]).astype(float) ** 2).sum(axis=1))


def test_coreset_tells_near_duplicates_far_from_the_origin_apart():
    """Two groups of unit spread, 2,000 apart and 10,000 from the origin: float32 norms have nothing left of it."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(120, 8)).astype(np.float32)
    X[:, 0] += np.where(np.arange(120) % 2, 1e4, 1.2e4).astype(np.float32)
    labels = some_labels(rng, 2, 120, 10)
    for _, labeled, _, scores in run(make("coreset"), X, labels, 20, 1):
        for s in range(2):
            _, distances = eager_coreset.select(X.astype(float), labeled[s], 20, np.arange(120))
            np.testing.assert_allclose(scores[s], distances, rtol=0.01)


def badge_problem(rng, n=70, n_classes=3, dim=4, scale=1.0):
    """X, labeled (N,), the parameters of one classifier, and its gradient matrix in float64."""
    X = (rng.normal(size=(n, dim)) + 1).astype(np.float32)
    W = (scale * rng.normal(size=(n_classes, dim))).astype(np.float32)
    G = eager_badge.gradients(X.astype(float), softmax(X.astype(float) @ W.T, axis=1))
    return X, np.arange(n) % 7 == 0, W, G


def badge_picks(X, labeled, W, batch_size, trials, variant, first_seed=0):
    """(trials, B): every trial is a seed."""
    W = jnp.broadcast_to(W, (trials, *W.shape))
    params = logreg.Params(W, jnp.zeros(W.shape[:2], X.dtype))
    labels = np.broadcast_to(np.where(labeled, 0, -1).astype(np.int32), (trials, len(X)))
    strategy, state = make("badge", variant), state_of(X, labels, params, batch_size)
    keys = loop.keys(range(first_seed, first_seed + trials), 1)
    rows, scores, _ = jax.jit(strategy.select)(keys, loop.prepare(strategy, Pool(X)), (), state)
    return np.asarray(rows), np.asarray(scores)


def fits(counts, p):
    """Rows drawn as often as p says: chi-square, rare rows taken together."""
    assert counts[p == 0].sum() == 0
    order = np.argsort(p)
    counts, expected = counts[order], p[order] * counts.sum()
    rare = np.searchsorted(np.cumsum(expected), 10) + 1
    merge = lambda a: np.concatenate([[a[:rare].sum()], a[rare:]])  # noqa: E731
    return chisquare(merge(counts), merge(expected)).pvalue > 1e-3


@pytest.mark.parametrize("variant", ["official", "skactiveml"])
def test_badge_draws_with_the_probabilities_of_the_eager_algorithm(renewal, variant):
    """The third row, over all second ones; and the fourth given the two most common rows before it."""
    X, labeled, W, G = badge_problem(np.random.default_rng(4))
    origin = variant == "skactiveml"
    rows, _ = badge_picks(X, labeled, W, 4, 20_000, variant)
    first = eager_badge.first(G, labeled)
    assert (rows[:, 0] == first).all()
    second = eager_badge.probabilities(G, labeled, [first], origin)
    assert fits(np.bincount(rows[:, 1], minlength=len(X)), second)
    given = [second[j] * eager_badge.probabilities(G, labeled, [first, j], origin) for j in np.flatnonzero(second)]
    assert fits(np.bincount(rows[:, 2], minlength=len(X)), np.sum(given, axis=0))
    pairs, counts = np.unique(rows[:, 1:3], axis=0, return_counts=True)
    common = pairs[counts.argmax()]
    fourth = rows[(rows[:, 1:3] == common).all(axis=1), 3]
    expected = eager_badge.probabilities(G, labeled, [first, *common], origin)
    assert fits(np.bincount(fourth, minlength=len(X)), expected)


@pytest.mark.parametrize("variant", ["official", "skactiveml"])
def test_badge_scores_are_the_distances_of_the_gradient_matrix(renewal, variant):
    """Also where all embeddings share a direction a hundred times their spread."""
    for offset in (0.0, 100.0):
        check_badge_scores(variant, offset)


def check_badge_scores(variant, offset):
    rng = np.random.default_rng(5)
    X = (rng.normal(size=(300, 6)) + offset * np.eye(6)[0]).astype(np.float32)
    W = rng.normal(size=(4, 6)).astype(np.float32) * (np.arange(6) > 0)  # the shared direction does not decide
    G = eager_badge.gradients(X.astype(float), softmax(X.astype(float) @ W.T.astype(float), axis=1))
    rows, scores = badge_picks(X, np.zeros(300, bool), W.astype(np.float32), 40, 3, variant)
    for s in range(3):
        expected = [eager_badge.squared(G, rows[s, :i], variant == "skactiveml")[rows[s, i]] for i in range(1, 40)]
        np.testing.assert_allclose(scores[s, 1:], expected, rtol=2e-3)
        np.testing.assert_allclose(scores[s, 0], (G[rows[s, 0]] ** 2).sum(), rtol=1e-4)


def test_badge_subtracts_1_from_the_lowest_of_the_most_probable_classes():
    """And from no other; where p rounds to 1 the rest of it is left."""
    rng = np.random.default_rng(7)
    Z = np.round(rng.normal(size=(2, 4, 50)) * 2).astype(np.float32)  # (S, C, R): many ties
    Z[0, :, 0], Z[1, 2, :9] = [30, 0, 0, -np.inf], -np.inf
    p = softmax(Z.astype(float), axis=1)
    expected = p - np.eye(4)[Z.argmax(axis=1)].swapaxes(1, 2)
    assert ((Z.max(axis=1, keepdims=True) == Z).sum(axis=1) > 1).sum() > 20
    expected[0, 0, 0] = -p[0, 1:, 0].sum()
    np.testing.assert_allclose(residual(jnp.asarray(Z), axis=1), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(residual(jnp.asarray(Z), axis=1)[0, 0, 0], -2 * np.exp(-30), rtol=1e-5)


def test_badge_draws_uniformly_when_all_distances_are_0():
    X = np.ones((40, 3), np.float32)
    rows, scores = badge_picks(
        X, np.arange(40) < 10, np.eye(3, dtype=np.float32)[:, ::-1].copy(), 4, 20_000, "official"
    )
    assert (scores[:, 1:] < 1e-5).all()
    assert all(len(set(r)) == 4 for r in rows[:200].tolist())
    for place in range(4):
        assert fits(np.bincount(rows[:, place], minlength=40), np.where(np.arange(40) < 10, 0, 1 / 30))


def test_embeddings_too_large_to_be_apart_are_refused():
    """Distances would be infinite, and no draw ever accepted."""
    X = np.full((50, 3), 1e18, np.float32)
    for name in ("badge", "coreset", "typiclust", "probcover", "dropquery"):
        with pytest.raises(DataError, match="too large"):
            make(name, "skactiveml").prepare(Pool(X), jax.random.key(0))
    for name in ("typiclust", "dropquery"):  # these scale rows to length 1, whatever it was
        assert np.isfinite(make(name).prepare(Pool(X), jax.random.key(0)).centered).all()
