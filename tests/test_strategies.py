"""Strategies against their plain NumPy references and the contract; random draws against what uniform means."""

import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import batch
from reference import entropy as plain_entropy
from reference import margin as plain_margin
from scipy.special import softmax
from scipy.stats import chisquare

import jaxal
from jaxal.errors import ConfigError
from jaxal.experiments import loop
from jaxal.numerics import logreg
from jaxal.strategies import IPS, STRATEGIES, State, make, per_seed, pick_best, register
from jaxal.testing import check_strategy

SCORES = {"margin": plain_margin.score, "entropy": plain_entropy.score}


def score_of(name):
    return sys.modules[f"jaxal.strategies._{name}"].score


def choose(strategy, keys, state):
    """Rows (S, B) and scores of a strategy that begins with this state."""
    aux = loop.prepare(strategy, jaxal.Pool(np.asarray(state.X)))
    return loop.compiled(strategy)(keys, aux, strategy.init(aux, state), state)[:2]


def state_of(rng, n=40, dim=6, n_classes=4, n_seeds=3, n_labeled=9, batch_size=8, scale=1.0, dtype=np.float32):
    X = rng.normal(size=(n, dim)).astype(dtype)
    labels = np.full((n_seeds, n), -1, np.int32)
    for row in labels:
        row[rng.choice(n, n_labeled, replace=False)] = rng.integers(0, n_classes, n_labeled)
    params = logreg.Params(
        jnp.asarray(scale * rng.normal(size=(n_seeds, n_classes, dim)).astype(dtype)),
        jnp.asarray(rng.normal(size=(n_seeds, n_classes)).astype(dtype)),
    )
    return State(jnp.asarray(X), jnp.asarray(labels), params, None, batch_size)


@pytest.mark.filterwarnings("ignore:probcover")
@pytest.mark.parametrize("variant", ["official", "skactiveml"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_contract(name, variant):
    check_strategy(make(name, variant))


def with_and_without_classifier(name, variant):
    """Rows and scores of a first query, twice: parameters of NaN spoil whatever is computed from them."""
    state, keys = state_of(np.random.default_rng(0), n_labeled=0), loop.keys([0, 1, 2], 0)
    without = replace(state, params=jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), state.params))
    return [map(np.asarray, choose(make(name, variant), keys, given)) for given in (state, without)]


@pytest.mark.filterwarnings("ignore:probcover")
@pytest.mark.parametrize("variant", ["official", "skactiveml"])
@pytest.mark.parametrize("name", IPS)
def test_an_initial_pool_selection_needs_no_classifier(name, variant):
    (rows, scores), without = with_and_without_classifier(name, variant)
    assert all(len(set(r)) == 8 for r in rows.tolist())
    for ours, other in zip((rows, scores), without, strict=True):
        np.testing.assert_array_equal(ours, other)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in IPS])
def test_one_that_needs_a_classifier_would_be_noticed(name):
    (rows, _), (without, _) = with_and_without_classifier(name, "official")
    assert not np.array_equal(rows, without)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_scores_are_those_of_the_reference(name, n_classes):
    rng = np.random.default_rng(1)
    Z = rng.normal(size=(200, n_classes)) * np.exp(rng.normal(size=(200, 1)))
    Z[:5, 0] = -np.inf  # a class never seen
    with jax.enable_x64(True):
        ours = np.asarray(score_of(name)(jnp.asarray(Z.T)))
    expected = SCORES[name](softmax(Z, axis=1))
    if n_classes == 2:
        assert (ours[:5] == -np.inf).all()
        Z, ours, expected = Z[5:], ours[5:], expected[5:]
    np.testing.assert_allclose(np.exp(ours), expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", SCORES)
def test_scores_tell_saturated_rows_apart_in_float32(name):
    """p1 rounds to 1 from 17 on, and p2 to 0 from 104 on: the order must still be that of the logits."""
    lead = np.linspace(1, 300, 100, dtype=np.float32)
    Z = np.stack([lead, np.zeros_like(lead), np.full_like(lead, -1.0)])
    ours = np.asarray(score_of(name)(jnp.asarray(Z)))
    assert np.isfinite(ours).all()
    assert (np.diff(ours) < 0).all()


@pytest.mark.parametrize("name", SCORES)
def test_scores_of_exact_ties_and_single_classes(name):
    inf = np.inf
    Z = np.array([[0, 0, 0], [2, 2, -1], [5, -inf, -inf], [7, 7, -inf]], np.float32)
    ours = np.asarray(score_of(name)(jnp.asarray(Z.T)))
    P = softmax(np.where(np.isinf(Z), -1e9, Z.astype(np.float64)), axis=1)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(ours, np.log(SCORES[name](P)), atol=1e-6)
    assert ours[2] == -inf


@pytest.mark.parametrize("name", SCORES)
def test_picks_are_those_of_the_reference(name):
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        state = state_of(rng, dtype=np.float64)
        rows, scores, _ = make(name).select(loop.keys([0, 1, 2], 1), (), (), state)
        P = np.asarray(jax.nn.softmax(state.logits, axis=-1))
    for s in range(3):
        expected = SCORES[name](P[s])
        assert rows[s].tolist() == batch.best(expected, np.asarray(state.labels[s]) >= 0, 8)
        np.testing.assert_allclose(np.exp(scores[s]), expected[np.asarray(rows[s])], rtol=1e-9)


def test_binary_margin_and_entropy_agree():
    with jax.enable_x64(True):
        state = state_of(np.random.default_rng(3), n=300, n_classes=2, batch_size=40, scale=5.0, dtype=np.float64)
        keys = loop.keys([0, 1, 2], 1)
        margin, entropy = (make(name).select(keys, (), (), state)[0] for name in ("margin", "entropy"))
    np.testing.assert_array_equal(margin, entropy)


def test_margin_and_entropy_pick_what_scikit_activeml_picks():
    pool = pytest.importorskip("skactiveml.pool", reason="scikit-activeml is in the extra `skactiveml`")
    with jax.enable_x64(True):
        state = state_of(np.random.default_rng(4), n=120, batch_size=15, dtype=np.float64)
        for name, method in (("margin", "margin_sampling"), ("entropy", "entropy")):
            rows, _, _ = make(name, "skactiveml").select(loop.keys([0, 1, 2], 1), (), (), state)
            for s in range(3):
                P = np.asarray(jax.nn.softmax(state.logits[s], axis=-1))
                utility = pool.uncertainty_scores(P, method=method)
                free = np.flatnonzero(np.asarray(state.labels[s]) < 0)
                expected = free[np.argsort(-utility[free])[:15]]
                assert set(rows[s].tolist()) == set(expected.tolist())


def test_uniform_draws_are_uniform():
    """Random picks, and ties of a score, over many keys: chi-square on rows, and on the place of a row in the order."""
    n, b, trials = 12, 4, 6000
    labeled = jnp.zeros(n, bool).at[jnp.array([3, 7])].set(True)
    keys = jax.random.split(jax.random.key(0), trials)
    rows, _ = jax.vmap(lambda k: pick_best(k, jnp.zeros(n), labeled, b))(keys)
    counts = np.bincount(np.asarray(rows).ravel(), minlength=n)
    assert (counts[[3, 7]] == 0).all()
    assert chisquare(np.delete(counts, [3, 7])).pvalue > 1e-3
    first = np.bincount(np.asarray(rows[:, 0]), minlength=n)
    assert chisquare(np.delete(first, [3, 7])).pvalue > 1e-3
    # two clear winners, then a tie of the rest: the winners always, in order, the others at random
    scores = jnp.zeros(n).at[jnp.array([5, 9])].set(jnp.array([1.0, 2.0]))
    rows, best = jax.vmap(lambda k: pick_best(k, scores, labeled, b))(keys)
    assert (np.asarray(rows[:, :2]) == [9, 5]).all()
    assert (np.asarray(best[:, :2]) == [2, 1]).all()
    assert chisquare(np.delete(np.bincount(np.asarray(rows[:, 2]), minlength=n), [3, 5, 7, 9])).pvalue > 1e-3


_pick_best = jax.jit(pick_best, static_argnums=3)


def test_picking_sorts_the_batch_and_not_the_pool():
    """XLA:CPU makes a sort of all rows of a `top_k` of which only a part is used: a hundred times slower."""
    shape = jax.ShapeDtypeStruct
    lowered = _pick_best.lower(jax.random.key(0), shape((777,), jnp.float32), shape((777,), bool), 5)
    sorts = [line for line in lowered.compile().as_text().splitlines() if " sort(" in line]
    assert sorts
    assert not any("777" in line for line in sorts)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([-np.inf, -1.5, 0.0, 0.5, 3e38, np.inf, np.nan]), min_size=9, max_size=9),
    st.lists(st.booleans(), min_size=9, max_size=9).filter(lambda labeled: not all(labeled)),
    st.integers(0, 9),
    st.data(),
)
def test_pick_best_keeps_the_contract_for_any_scores(scores, labeled, seed, more):
    labeled = np.array(labeled)
    b = more.draw(st.sampled_from([k for k in (1, 4, 9) if k <= (~labeled).sum()]))
    rows = np.asarray(_pick_best(jax.random.key(seed), jnp.asarray(scores, jnp.float32), labeled, b)[0])
    assert len(set(rows.tolist())) == b
    assert not labeled[rows].any()
    rank = np.nan_to_num(np.asarray(scores), nan=-4e38, neginf=-4e38, posinf=4e38)  # float64: differences fit
    assert (np.diff(rank[rows]) <= 0).all()
    left = np.setdiff1d(np.flatnonzero(~labeled), rows)
    assert len(left) == 0 or rank[left].max() <= rank[rows].min()


@pytest.mark.parametrize("name", STRATEGIES)
def test_seeds_choose_as_if_alone(name):
    """Also where bounds are renewed, which happens at other times for other seeds."""
    state = state_of(np.random.default_rng(5))
    rows, _ = choose(make(name), loop.keys([4, 5, 6], 2), state)
    for s in range(3):
        labels, params = jax.tree.map(lambda a: a[s : s + 1], (state.labels, state.params))  # noqa: B023
        one = State(state.X, labels, params, None, state.batch_size)
        np.testing.assert_array_equal(choose(make(name), loop.keys([4 + s], 2), one)[0][0], rows[s])


@pytest.mark.filterwarnings("ignore:probcover")
@pytest.mark.parametrize("variant", ["official", "skactiveml"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_contract_holds_on_any_pool(name, variant):
    """Duplicates, constant columns, zero rows, any scale and offset, few classes; B from 1 to all that is left."""
    n, dim, n_seeds = 45, 3, 2  # more than a block of 32, and no multiple of it

    @settings(max_examples=12, deadline=None, derandomize=True)
    @given(
        st.integers(0, 2**31),
        st.sampled_from([1, 2, 50]),
        st.sampled_from([1e-4, 1.0, 1e4]),
        st.sampled_from([0.0, 30.0]),
        st.integers(1, 3),
        st.sampled_from([(3, 1), (3, 42)]),
    )
    def check(seed, n_values, scale, offset, n_classes, sizes):
        rng, (n_labeled, batch_size) = np.random.default_rng(seed), sizes
        X = (scale * (rng.integers(0, n_values, (n, dim)) + offset)).astype(np.float32)
        labels = np.full((n_seeds, n), -1, np.int32)
        for row in labels:
            row[rng.choice(n, n_labeled, replace=False)] = rng.integers(0, n_classes, n_labeled)
        W = rng.normal(size=(n_seeds, 3, dim)).astype(np.float32)
        b = np.where(np.arange(3) < n_classes, 0, -np.inf).astype(np.float32)
        params = logreg.Params(jnp.asarray(W), jnp.broadcast_to(b, (n_seeds, 3)))
        state = State(jnp.asarray(X), jnp.asarray(labels), params, None, batch_size)
        rows, scores = choose(make(name, variant), loop.keys([seed, seed + 1], 1), state)
        for s, row in enumerate(np.asarray(rows)):
            assert len(set(row.tolist())) == batch_size
            assert (labels[s, row] < 0).all()
        assert not np.isnan(scores).any()

    check()


@pytest.mark.parametrize("name", ["margin", "entropy", "coreset"])  # probcover: see test_probcover
def test_rows_in_another_order_give_the_same_picks(name):
    """Without ties, and with a first row: what is chosen does not depend on where it stands."""
    rng = np.random.default_rng(8)
    with jax.enable_x64(True):
        state = state_of(rng, n=90, dtype=np.float64)
        order = rng.permutation(90)
        moved = State(state.X[order], state.labels[:, order], state.params, None, 8)
        keys = loop.keys([0, 1, 2], 1)
        rows, scores = choose(make(name), keys, state)
        again, scores_again = choose(make(name), keys, moved)
    np.testing.assert_array_equal(order[np.asarray(again)], rows)
    np.testing.assert_allclose(scores, scores_again, rtol=1e-12)


def least_confident(key, state):
    """A strategy as a user writes it: one seed, (N,) scores."""
    return -jax.nn.softmax(state.logits, axis=-1).max(axis=-1)


def test_a_strategy_of_your_own_from_a_function():
    check_strategy(per_seed(least_confident))
    rng = np.random.default_rng(6)
    state = state_of(rng)
    rows, _, _ = per_seed(least_confident).select(loop.keys([0, 1, 2], 1), (), (), state)
    p = np.asarray(jax.nn.softmax(state.logits, axis=-1)).max(axis=-1)
    for s in range(3):
        assert rows[s].tolist() == batch.best(-p[s], np.asarray(state.labels[s]) >= 0, 8)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("typiclust", {"k": 0}), ("typiclust", {"k": 2.5}), ("dropquery", {"n_masks": "x"}),
     ("dropquery", {"n_masks": True}), ("probcover", {"delta": "big"}), ("probcover", {"delta": -0.1}),
     ("probcover", {"alpha": 1.1})],
)  # fmt: skip
def test_settings_that_cannot_be(name, settings):
    with pytest.raises(ConfigError, match=f"{name}.{next(iter(settings))} is"):
        make(name, options=settings)


def test_names_registration_and_unknown_ones():
    assert jaxal.strategies() == jaxal.strategies.names()  # pyright: ignore[reportCallIssue]
    assert set(STRATEGIES) <= set(jaxal.strategies.names())
    register("least_confident", least_confident)
    assert make("least_confident") is make("least_confident")
    check_strategy(make("test_strategies:least_confident"))
    with pytest.raises(ConfigError, match="taken"):
        register("margin", least_confident)
    with pytest.raises(ConfigError, match="did you mean margin"):
        make("margn")
    with pytest.raises(ConfigError, match="no settings"):
        make("margin", options={"n_masks": 3})
    for name in ("nowhere:nothing", "test_strategies:nothing", ":nothing"):
        with pytest.raises(ConfigError, match="cannot load"):
            make(name)
    with pytest.raises(ConfigError, match="neither a function"):
        make("os:sep")
