"""Utilities against plain NumPy: what every row is worth before each pick, for several seeds, in small blocks."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import badge as plain_badge
from reference import dropquery as plain_dropquery
from reference import typiclust as plain_typiclust
from scipy.special import softmax

import jaxal
from jaxal.experiments import loop
from jaxal.numerics import blocks, logreg
from jaxal.numerics.distances import Points
from jaxal.strategies import State, _ball_graph, make, per_seed
from jaxal.strategies import _dropquery as dropquery
from jaxal.strategies import _typiclust as typiclust
from jaxal.strategies.utilities import utilities

S, N, D, C, L, B = 2, 50, 4, 3, 6, 7

variants = pytest.mark.parametrize("variant", ["official", "skactiveml"])


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    """Blocks of 16 rows: the pool has four, and the last one overlaps."""
    with pytest.MonkeyPatch.context() as patch, jax.enable_x64(True):
        patch.setattr(blocks, "rows", lambda n_values: 16)
        yield


def situation():
    rng = np.random.default_rng(3)
    labels = np.full((S, N), -1, np.int32)
    for row in labels:
        row[rng.choice(N, L, replace=False)] = rng.integers(0, C, L)
    params = logreg.Params(jnp.asarray(rng.normal(size=(S, C, D))), jnp.asarray(rng.normal(size=(S, C))))
    centers = rng.normal(size=(4, D))
    X = 3 * centers[rng.integers(0, 4, N)] + rng.normal(size=(N, D))
    return State(jnp.asarray(X), jnp.asarray(labels), params, None, B), loop.keys(range(S), L)


def queried(strategy, state, keys):
    """X, labels (S, N), picks (S, B), utilities (S, B, N) and aux of a fresh query."""
    aux = loop.prepare(strategy, jaxal.Pool(np.asarray(state.X), class_names=["a", "b", "c"]))
    rows, scores, _ = loop.compiled(strategy)(keys, aux, strategy.init(aux, state), state)
    values = np.asarray(utilities(strategy, keys, aux, state, rows))
    labeled = np.asarray(state.labeled)
    for s, picks in enumerate(np.asarray(rows)):
        for i, row in enumerate(picks):
            left = ~labeled[s] & ~np.isin(np.arange(N), picks[:i])
            np.testing.assert_array_equal(~np.isnan(values[s, i]), left)
            if strategy.host is False:  # their scores are the utilities of the picks
                np.testing.assert_allclose(values[s, i, row], scores[s, i], rtol=1e-9)
    return np.asarray(state.X), labeled, np.asarray(rows), values, aux


def compare(values, expected):
    seen = ~np.isnan(values)
    np.testing.assert_allclose(values[seen], expected[seen], rtol=1e-9, atol=1e-12)


def each_pick(rows):
    """(seed, number of the pick, picks before it)."""
    return [(s, i, rows[s, :i]) for s in range(S) for i in range(B)]


def squared_distances(X):
    return ((X[:, None] - X[None]) ** 2).sum(axis=2)


def of_length_one(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


@pytest.mark.parametrize("n_labeled", [0, L])
def test_coreset_shows_the_distance_to_the_nearest_center(n_labeled):
    state, keys = situation()
    if n_labeled == 0:
        state = replace(state, labels=jnp.full_like(state.labels, -1))
    X, labeled, rows, values, _ = queried(make("coreset"), state, keys)
    apart = np.sqrt(squared_distances(X))
    for s, i, before in each_pick(rows):
        centers = [*np.flatnonzero(labeled[s]), *before]
        compare(values[s, i], apart[:, centers].min(axis=1, initial=np.inf))


@pytest.mark.parametrize("given", [False, True])
@variants
def test_badge_shows_the_squared_distances_it_draws_by(variant, given):
    state, keys = situation()
    P = softmax(np.asarray(state.logits), axis=2)
    if given:
        state = replace(state, log_probabilities=jnp.log(jnp.asarray(P)))
    X, _, rows, values, _ = queried(make("badge", variant), state, keys)
    for s, i, before in each_pick(rows):
        G = plain_badge.gradients(X, P[s])
        norms = (G**2).sum(axis=1)
        compare(values[s, i], plain_badge.squared(G, before, variant == "skactiveml") if i else norms)


@pytest.mark.parametrize("kept", [True, False])
@variants
def test_probcover_shows_how_much_a_ball_would_cover(variant, kept, monkeypatch):
    if not kept:
        monkeypatch.setattr(_ball_graph, "_KEPT_BYTES", 0)
        monkeypatch.setattr(_ball_graph, "_BLOCK", 16 * N)
    state, keys = situation()
    X, labeled, rows, values, graph = queried(make("probcover", variant, {"delta": 0.9}), state, keys)
    assert (graph.bits is not None) == kept
    ball = squared_distances(of_length_one(X) if variant == "official" else X) < float(graph.limit)
    for s, i, before in each_pick(rows):
        covered = ball[[*np.flatnonzero(labeled[s]), *before]].any(axis=0)
        compare(values[s, i], (ball & ~covered).sum(axis=1) * 1.0)


@variants
def test_typiclust_shows_the_typicality_in_the_cluster_whose_turn_it_is(variant):
    official = variant == "official"
    state, keys = situation()
    X, labeled, rows, values, aux = queried(make("typiclust", variant), state, keys)
    X = of_length_one(X) if official else X
    label = np.asarray(typiclust._labels(keys, Points(state.X, aux), state, *typiclust._size(state, official)))
    for s, i, before in each_pick(rows):
        members = (label[s] == label[s, rows[s, i]]) & ~labeled[s]
        members[before] = False
        n = members.sum()
        expected = np.full(N, -np.inf)
        k = min(20, n // 2) if official else min(5, n - 1)
        expected[members] = plain_typiclust.typicality(X[members], k, not official)
        compare(values[s, i], expected)
        assert values[s, i, rows[s, i]] == np.nanmax(values[s, i])


@variants
def test_dropquery_shows_the_distance_to_the_centroid_whose_turn_it_is(variant):
    official = variant == "official"
    state, keys = situation()
    X, labeled, rows, values, aux = queried(make("dropquery", variant), state, keys)
    X = of_length_one(X) if official else X
    rule = dropquery._Rule(3 if official else 20, official)
    mask_keys = jax.vmap(lambda key: jax.random.split(key, 3))(keys)[:, 0]
    disagreeing = np.asarray(dropquery.disagreements(mask_keys, state, rule))
    utilities = make("dropquery", variant).utilities
    assert utilities
    raw = np.asarray(utilities(keys, aux, state, rows))
    for s in range(S):
        if official:
            candidates = plain_dropquery.candidates(disagreeing[s], labeled[s], B, rule.n_masks)
        else:
            candidates = np.flatnonzero((disagreeing[s] > rule.n_masks // 2) & ~labeled[s])
        assert len(candidates) > B
        np.testing.assert_array_equal(np.flatnonzero(np.isfinite(raw[s]).any(axis=0)), candidates)
        nearest = raw[s, :, candidates].argmax(axis=1)
        for i in range(B):
            members = candidates[nearest == i]
            expected = np.full(N, -np.inf)
            shown = members if official else candidates
            expected[shown] = -np.linalg.norm(X[shown] - X[members].mean(axis=0), axis=1)
            np.testing.assert_allclose(raw[s, i], expected, rtol=1e-9)
            assert values[s, i, rows[s, i]] == np.nanmax(values[s, i])


def test_dropquery_draws_from_what_is_nobodys_nearest_where_a_cluster_is_empty():
    """Three distinct rows make three clusters; the other picks are drawn."""
    state, keys = situation()
    X = np.asarray(state.X)[np.arange(N) % 3]
    _, _, rows, values, _ = queried(make("dropquery"), replace(state, X=jnp.asarray(X)), keys)
    for s in range(S):
        drawn = [i for i in range(B) if np.nanmin(np.where(np.isinf(values[s, i]), 0, values[s, i])) == 0]
        assert len(drawn) >= B - 3
        for i in range(B):
            assert values[s, i, rows[s, i]] == np.nanmax(values[s, i]) > -np.inf


@variants
def test_dropquery_gives_another_classifier_the_masks_of_ours(variant):
    state, keys = situation()
    W, b = (np.asarray(a[0]) for a in state.params)
    rule = dropquery._Rule(6, variant == "official")
    one = replace(state, params=jax.tree.map(lambda a: jnp.stack([a[0]] * S), state.params))
    ours = dropquery.disagreements(keys, one, rule)
    names = np.array(["ant", "bee", "cat"])
    given = replace(state, predict=lambda X: names[(X @ W.T + b).argmax(axis=1)])
    np.testing.assert_array_equal(ours, dropquery.given_disagreements(keys, given, rule))
    assert len(np.unique(ours)) > 2


def test_a_score_that_is_no_number_is_the_lowest():
    state, keys = situation()
    strategy = per_seed(lambda key, state: jnp.where(jnp.arange(N) % 2 == 0, jnp.nan, jax.random.uniform(key, N)))
    aux, carry = strategy.prepare(None, None), strategy.init((), state)
    rows, scores, _ = strategy.select(keys, aux, carry, state)
    values = np.asarray(utilities(strategy, keys, aux, state, rows))
    free = ~np.asarray(state.labeled)
    for s in range(S):
        np.testing.assert_array_equal(np.isnan(values[s, 0]), ~free[s])
        assert (values[s, 0, ::2][free[s, ::2]] == -np.inf).all()
        np.testing.assert_array_equal(values[s, np.arange(B), rows[s]], scores[s])
