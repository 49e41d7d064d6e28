"""Neighbors, and the strategies that stand on clusters, with clusters and masks injected."""

import math
import re
from functools import partial
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import dropquery as plain_dropquery
from reference import typiclust as plain_typiclust
from sklearn.neighbors import NearestNeighbors
from test_kmeans import cluster, points_of

import jaxal
from jaxal import Pool
from jaxal.errors import ConfigError
from jaxal.experiments import loop
from jaxal.numerics import lazy, logreg, neighbors
from jaxal.strategies import State, make

dropquery, typiclust = (import_module(f"jaxal.strategies._{name}") for name in ("dropquery", "typiclust"))
TYPICLUST = {"official": typiclust._Rule(20, True), "skactiveml": typiclust._Rule(5, False)}
DROPQUERY = {"official": dropquery._Rule(3, True), "skactiveml": dropquery._Rule(20, False)}


@pytest.mark.parametrize(("root", "alone"), [(True, 0.15), (False, 0.15), (True, 0)])
def test_mean_distances_are_those_of_scikit_learn(root, alone, block_sizes):
    """700 rows: groups within a block of 256, and one over several. Where no row is in no group, they reach into the
    last block, which overlaps the one before it."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(700, 6)).astype(np.float32)
    group = rng.choice([0, 1, 2, 3, 4], 700, p=[0.01, 0.04, 0.2, 0.75 - alone, alone]).astype(np.int32)  # 4: in none
    counts = np.array([2, 7, 3, 7], np.int32)
    ours = np.asarray(neighbors.mean_distance(points_of(X), jnp.asarray(group), jnp.asarray(counts), k=7, root=root))
    assert np.isinf(ours[group == 4]).all()
    for g in range(4):
        rows = X[group == g].astype(float)
        apart = NearestNeighbors(n_neighbors=counts[g]).fit(rows).kneighbors()[0]
        np.testing.assert_allclose(ours[group == g], (apart if root else apart**2).mean(axis=1), rtol=1e-4)


def pick(variant, X, label, labeled, n_clusters, n_picks, seed=0):
    official = variant == "official"
    rows, scores = typiclust.pick(
        jax.random.key(seed), points_of(X, normalize=official), jnp.asarray(label), jnp.asarray(labeled), n_clusters,
        jnp.int32(n_picks), n_picks + 3, TYPICLUST[variant],
    )  # fmt: skip
    return np.asarray(rows[:n_picks]).tolist(), np.asarray(scores[:n_picks])


@pytest.mark.parametrize("n_picks", [4, 9, 30])
def test_typiclust_picks_what_the_official_rule_picks(n_picks, block_sizes):
    """Clusters of 2 to 60 rows, some with labels; more picks than clusters go round again."""
    rng = np.random.default_rng(6)
    X = rng.normal(size=(200, 5))
    label = np.repeat(np.arange(9), [60, 2, 41, 5, 30, 22, 20, 13, 7])[rng.permutation(200)].astype(np.int32)
    labeled = rng.random(200) < 0.08
    with jax.enable_x64(True):
        rows, _ = pick("official", X, label, labeled, 12, n_picks)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    assert rows == plain_typiclust.official(unit, label, labeled, n_picks)


def test_typiclust_picks_what_scikit_activeml_picks():
    """Sizes without ties; then against the library, k-means given the same clusters."""
    pool = pytest.importorskip("skactiveml.pool", reason="scikit-activeml is in the extra `skactiveml`")
    rng = np.random.default_rng(7)
    label = np.repeat(np.arange(10), [30, 1, 28, 25, 20, 17, 12, 8, 5, 2])[rng.permutation(148)].astype(np.int32)
    X = rng.normal(size=(148, 5))
    labeled = np.isin(np.arange(148), np.flatnonzero(np.isin(label, [0, 4]))[:9])
    with jax.enable_x64(True):
        rows, scores = pick("skactiveml", X, label, labeled, 12, 8)
    assert rows == plain_typiclust.skactiveml(X, label, labeled, 8)

    class Given:
        def __init__(self, n_clusters):
            pass

        def fit_predict(self, X):
            return label

    theirs = pool.TypiClust(cluster_algo=Given, random_state=0)
    y = np.where(labeled, 0.0, np.nan)
    assert rows == theirs.query(X, y, batch_size=8).tolist()
    assert (scores > 0).all()


def test_typiclust_without_a_rule_left_still_gives_distinct_rows():
    """All in small clusters; all clusters labeled; more picks than clusters; one cluster."""
    rng = np.random.default_rng(8)
    X = rng.normal(size=(40, 3)).astype(np.float32)
    labeled = np.arange(40) % 4 == 0
    for variant in TYPICLUST:
        for label in (np.arange(40) // 4, np.arange(40) // 20, np.zeros(40, int), np.arange(40)):
            rows, _ = pick(variant, X, label.astype(np.int32), labeled, 40, 30)
            assert sorted(rows) == np.flatnonzero(~labeled).tolist()


def problem(rng, n=400, dim=10, n_classes=3, n_seeds=2, batch_size=6, dtype=np.float32):
    X = rng.normal(size=(n, dim)).astype(dtype)
    W, b = rng.normal(size=(n_seeds, n_classes, dim)).astype(dtype), rng.normal(size=(n_seeds, n_classes)).astype(dtype)
    labels = np.where(rng.random((n_seeds, n)) < 0.1, 0, -1).astype(np.int32)
    return (
        X,
        W,
        b,
        State(jnp.asarray(X), jnp.asarray(labels), logreg.Params(*map(jnp.asarray, (W, b))), None, batch_size),
    )


@pytest.mark.parametrize("variant", DROPQUERY)
def test_dropquery_counts_what_the_masks_change(variant, block_sizes):
    rng, rule = np.random.default_rng(9), DROPQUERY[variant]
    with jax.enable_x64(True):
        X, W, b, state = problem(rng, dtype=np.float64)
        keys = loop.keys([3, 4], 1)
        ours = np.asarray(dropquery.disagreements(keys, state, rule))
        for s, key in enumerate(keys):
            masks = [
                np.asarray(dropquery.keep_masks(jax.random.fold_in(key, m), jnp.arange(len(X)), X.shape[1]))
                for m in range(rule.n_masks)
            ]
            expected = plain_dropquery.disagreements(X, W[s], b[s], masks, 4 if rule.official else 1)
            np.testing.assert_array_equal(ours[s], expected)


def test_words_of_masks_are_drawn_once():
    """XLA puts cheap code into the kernels that use it: the hash of a word must not be one for each of its features."""
    n, dim, n_seeds = 300, 160, 2
    *_, state = problem(np.random.default_rng(12), n, dim, n_seeds=n_seeds)
    draw = jax.jit(partial(dropquery.disagreements, rule=DROPQUERY["skactiveml"]))
    text = draw.lower(loop.keys([3, 4], 1), state).compile().as_text() or ""
    hashes = [part for part in re.split(r"\n(?=%|ENTRY)", text) if str(0x1BD11BDA) in part]
    shapes = [shape for part in hashes for shape in re.findall(r"\w\[([\d,]+)\]", part)]
    assert max(math.prod(map(int, shape.split(","))) for shape in shapes) <= 2 * n_seeds * n * dim // 16


def test_a_quarter_of_the_features_is_kept_independently():
    kept = np.asarray(dropquery.keep_masks(jax.random.key(0), jnp.arange(4000), 50)).astype(float)
    assert abs(kept.mean() - 0.25) < 0.005
    assert np.abs(kept.mean(axis=0) - 0.25).max() < 0.035
    correlation = np.corrcoef(kept.T) - np.eye(50)
    assert np.abs(correlation).max() < 0.08


@pytest.mark.parametrize("batch_size", [1, 4, 12, 60])
def test_dropquery_candidates_by_the_official_rule(batch_size):
    rng = np.random.default_rng(10)
    count = rng.choice(4, 300, p=[0.5, 0.3, 0.15, 0.05]).astype(np.int32)
    labeled = rng.random(300) < 0.2
    mask = dropquery._candidates(
        loop.keys([0], 1), jnp.asarray(count)[None], jnp.asarray(labeled)[None], batch_size, DROPQUERY["official"]
    )
    expected = plain_dropquery.candidates(count, labeled, batch_size, 3)
    assert np.flatnonzero(mask[0]).tolist() == expected.tolist()


def test_dropquery_fills_up_when_few_rows_disagree():
    count = jnp.asarray(np.where(np.arange(200) < 7, 3, 0), jnp.int32)
    labeled = jnp.asarray(np.arange(200) % 5 == 0)
    seen = []
    for seed in range(20):
        mask = np.asarray(
            dropquery._candidates(loop.keys([seed], 1), count[None], labeled[None], 20, DROPQUERY["official"])[0]
        )
        assert mask.sum() == 20
        assert not (mask & np.asarray(labeled)).any()
        assert mask[[1, 2, 3, 4, 6]].all()
        seen.append(mask)
    assert len(np.flatnonzero(np.any(seen, axis=0))) > 100
    # scikit-activeml's rule: the rows that disagree most
    count = jnp.asarray(np.arange(200) % 10, jnp.int32)
    mask = dropquery._candidates(loop.keys([0], 1), count[None], labeled[None], 20, DROPQUERY["skactiveml"])[0]
    assert set((np.flatnonzero(mask) % 10).tolist()) == {9}


def test_rows_nearest_to_centroids(block_sizes):
    rng = np.random.default_rng(11)
    X = rng.normal(size=(600, 4)).astype(np.float32)
    points, rows = points_of(X), jnp.arange(600, dtype=jnp.int32)
    # many centroids in one place want the same rows: more than are looked up at first
    centers = np.concatenate([rng.normal(size=(20, 4)), np.zeros((12, 4))]).astype(np.float32)
    valid = jnp.asarray(np.arange(600) < 590)
    ours = dropquery.nearest_left(points, rows, valid, jnp.asarray(centers) - points.norms.mean[None])
    assert ours.tolist() == plain_dropquery.nearest_left(X[:590].astype(float), centers.astype(float))
    labels, squared, centers, _ = cluster(X, 9, n_seeds=1)
    ours = dropquery.nearest_members(jnp.asarray(labels[0]), jnp.asarray(squared[0]), valid | True, 9)
    centers = centers[0] + np.asarray(points.norms.mean)[None]
    assert ours.tolist() == plain_dropquery.nearest_members(X.astype(float), labels[0], centers)


@pytest.mark.parametrize("k", [1, 3, 12])
def test_nearest_rows_are_distinct_and_those_of_a_sort(k, block_sizes):
    """590 of 600 rows count: blocks of 256 or 8 overlap at the end, and no row is there twice."""
    rng = np.random.default_rng(15)
    with jax.enable_x64(True):
        X = rng.normal(size=(603, 4))
        points, valid = points_of(X), np.arange(603) % 60 > 0
        centers = np.concatenate([rng.normal(size=(5, 4)), X[-3:]])
        rows = jnp.arange(603, dtype=jnp.int32)
        mean = points.norms.mean[None]
        ours = neighbors.nearest_rows(points, rows, jnp.asarray(valid), jnp.asarray(centers) - mean, k)
    apart = np.where(valid, ((X[None] - centers[:, None]) ** 2).sum(axis=2), np.inf)
    np.testing.assert_array_equal(ours, np.argsort(apart, axis=1)[:, :k])


def test_dropquery_needs_our_classifier_and_a_mask():
    X = np.random.default_rng(12).normal(size=(30, 3)).astype(np.float32)
    import jaxal

    with pytest.raises(ConfigError, match="given probabilities"):
        jaxal.query(X, strategy="dropquery", batch_size=3, probabilities=np.full((30, 2), 0.5))
    with pytest.raises(ConfigError, match="n_masks"):
        make("dropquery", options={"n_masks": 0})


@pytest.mark.parametrize(("variant", "same"), [("skactiveml", True), ("official", False)])
def test_typiclust_of_scikit_activeml_begins_every_query_with_the_same_clusters(variant, same):
    X = np.random.default_rng(14).normal(size=(150, 4)).astype(np.float32)
    state = State(jnp.asarray(X), jnp.full((2, 150), -1, jnp.int32), logreg.zeros(2, 2, 4, jnp.float32), None, 12)
    strategy = make("typiclust", variant)
    aux = loop.prepare(strategy, Pool(X))
    carry, picks = strategy.init(aux, state), []
    for cycle in range(2):
        rows, _, carry = strategy.select(loop.keys([0, 1], cycle), aux, carry, state)
        picks.append([set(row) for row in np.asarray(rows).tolist()])  # with nothing labeled one of each cluster
    assert [a == b for a, b in zip(*picks, strict=True)] == [same, same]
    assert picks[0][0] != picks[0][1]


@pytest.mark.parametrize(("variant", "programs"), [("skactiveml", 1), ("official", 2)])
def test_typiclust_compiles_once_a_run(variant, programs, count_traces):
    """However many clusters; the official one also for mini-batches."""
    X = np.random.default_rng(13).normal(size=(700, 4)).astype(np.float32)
    pool = Pool(X, np.arange(700) % 3, X[:20], np.arange(20) % 3)
    traces = count_traces(typiclust, "_select", ("max_clusters", "batch", "rule"))
    jaxal.run(pool, "typiclust", 1, variant=variant, cycles=5, batch_size=40, initial_size=2)
    assert len(traces) == programs


@pytest.mark.parametrize(("n", "sizes"), [(700, [700]), (5000, [5000, 3750, 2500])])
def test_dropquery_compiles_for_few_numbers_of_candidates(n, sizes, monkeypatch):
    """Halves of the pool and three quarters of them, of 2048 rows up."""
    X = np.random.default_rng(13).normal(size=(n, 4)).astype(np.float32)
    state = State(jnp.asarray(X), jnp.full((1, n), -1), logreg.zeros(1, 2, 4, jnp.float32), None, 5)
    strategy, seen, most = make("dropquery"), {}, n
    uncertain, spread = dropquery._kept_uncertain, dropquery._kept_spread

    def first(*given, rule):
        """What `_uncertain` returns, with the first rows as candidates."""
        keys, disagreeing, candidates, _ = uncertain(*given, rule=rule)
        return keys, disagreeing, jnp.arange(candidates.shape[1])[None] < most, most

    def look(*given, size, rule):
        seen[size] = None
        return spread(*given, size=size, rule=rule)

    monkeypatch.setattr(dropquery, "_kept_uncertain", first)
    monkeypatch.setattr(dropquery, "_kept_spread", look)
    for most in (n, 3 * n // 4, n // 2 + 1, n // 2, n // 3, n // 4, 300, 20):
        rows, *_ = strategy.select(loop.keys([0], 1), loop.prepare(strategy, Pool(X)), (), state)
        assert len(set(np.asarray(rows)[0].tolist())) == 5
        assert (np.asarray(rows) < most).all()
    assert list(seen) == sizes


def test_queries_by_clusters_compile_no_more_often_than_there_are_capacities(count_traces):
    """Labeled rows that grow by 5 a query: 15 to 40 clusters are one shape."""
    X = np.random.default_rng(13).normal(size=(150, 4)).astype(np.float32)
    strategy = make("typiclust")
    aux = loop.prepare(strategy, Pool(X))
    traces = count_traces(typiclust, "_select", ("max_clusters", "batch", "rule"))
    for n_labeled in range(10, 36, 5):
        labels = jnp.asarray(np.where(np.arange(150) < n_labeled, 0, -1)[None], jnp.int32)
        state = State(jnp.asarray(X), labels, logreg.zeros(1, 2, 4, jnp.float32), None, 5)
        strategy.select(loop.keys([0], 1), aux, (), state)
    assert len(traces) == 1
    assert lazy.block_size(150) == 32
