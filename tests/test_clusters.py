"""k-means, neighbours, and the strategies that stand on them, with clusters and masks injected."""

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import dropquery as plain_dropquery
from reference import kmeans_plus_plus
from reference import typiclust as plain_typiclust
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.neighbors import NearestNeighbors

from jaxal import Pool
from jaxal.errors import ConfigError
from jaxal.experiments import loop
from jaxal.numerics import distances, lazy, logreg, neighbors
from jaxal.numerics.kmeans import (
    _fill_empty_clusters,
    _first_centers,
    _Lloyd,
    _lloyd,
    _plus_plus,
    _Problem,
    _sums,
    kmeans,
)
from jaxal.strategies import State, make

dropquery, typiclust = (import_module(f"jaxal.strategies._{name}") for name in ("dropquery", "typiclust"))
TYPICLUST = {"official": typiclust._Rule(20, True), "skactiveml": typiclust._Rule(5, False)}
DROPQUERY = {"official": dropquery._Rule(3, True), "skactiveml": dropquery._Rule(20, False)}


def points_of(X, **options):
    return distances.Points(jnp.asarray(X), distances.norms(X, **options))


def cluster(X, k, n_seeds=3, valid=None, most=None, batch=None):
    n = len(X)
    rows = jnp.broadcast_to(jnp.arange(n, dtype=jnp.int32)[None], (n_seeds, n))
    valid = jnp.ones((n_seeds, n), bool) if valid is None else jnp.asarray(valid)
    found = kmeans(
        loop.keys(range(n_seeds), 0), points_of(X), rows, valid, jnp.int32(k), max_clusters=most or k, batch=batch
    )
    return [np.asarray(a) for a in found]


def blobs(rng, n, k, dim=8, spread=0.1):
    return (rng.normal(size=(k, dim))[rng.integers(0, k, n)] + spread * rng.normal(size=(n, dim))).astype(np.float32)


def test_lloyd_ends_where_rows_are_nearest_to_their_own_mean(block_sizes):
    """A fixed point, and about as good as scikit-learn's mean of ten starts."""
    for k in (1, 7, 40):
        check_lloyd(k)


def check_lloyd(k):
    X = blobs(np.random.default_rng(0), 1003, 15, spread=0.5)
    labels, squared, centers, _ = cluster(X, k, most=64)
    starts = [KMeans(k, init="k-means++", n_init=1, random_state=i).fit(X).inertia_ for i in range(10)]
    mean = np.asarray(distances.norms(X).mean)
    for s in range(3):
        means = np.stack([X[labels[s] == c].mean(axis=0) for c in range(k)])
        np.testing.assert_allclose(centers[s, :k] + mean, means, atol=0.02)
        apart = ((X[:, None] - (centers[s, :k] + mean)[None]) ** 2).sum(axis=2)
        np.testing.assert_allclose(squared[s], apart.min(axis=1), rtol=1e-3, atol=1e-4)
        assert (labels[s] == apart.argmin(axis=1)).mean() > 0.999
    assert squared.sum(axis=1).mean() < 1.03 * np.mean(np.asarray(starts))


def test_rows_that_do_not_count_change_nothing(block_sizes):
    rng = np.random.default_rng(1)
    X = blobs(rng, 300, 5)
    valid = np.broadcast_to(rng.random(300) < 0.5, (3, 300))
    moved = X.copy()
    moved[~valid[0]] = X[rng.permutation(np.flatnonzero(~valid[0]))]
    a, b = cluster(X, 5, valid=valid), cluster(moved, 5, valid=valid)
    np.testing.assert_array_equal(a[0], b[0])
    assert (a[0][~valid] == 5).all()
    assert (a[1][~valid] == 0).all()


def test_no_cluster_is_empty_while_rows_differ():
    rng = np.random.default_rng(2)
    X = np.concatenate([np.zeros((50, 3)), rng.normal(size=(13, 3))]).astype(np.float32)
    labels, squared, *_ = cluster(X, 14, n_seeds=8)
    assert all(len(np.unique(row)) == 14 for row in labels)
    assert (squared < 1e-5).all()
    labels, *_ = cluster(np.ones((30, 3), np.float32), 4)  # no two rows differ: one cluster has them all
    assert all(len(np.unique(row)) == 1 for row in labels)


def test_an_empty_cluster_is_put_at_the_farthest_row():
    """Two centers in the same place, the third far off: one of the two owns nothing, and moves."""
    X = np.concatenate([np.zeros((10, 2)), np.full((10, 2), 4.0), [[30.0, 0.0]]]).astype(np.float32)
    points = points_of(X)
    centers = jnp.asarray([[0, 0], [0, 0], [4, 4]], jnp.float32) - points.norms.mean[None]
    problem = _Problem(points, jnp.arange(21, dtype=jnp.int32), jnp.ones(21, bool), jnp.int32(3), 3)
    label, *_ = _lloyd(problem, centers)
    assert len(np.unique(label)) == 3
    assert (np.asarray(label[:20]) != label[20]).all()


def test_rows_that_fill_empty_clusters_leave_their_own():
    """Clusters 1 and 3 of five are empty: the two rows farthest from their centers move, with their share of the sums
    and counts. Cluster 4 does not count."""
    X = np.random.default_rng(16).normal(size=(40, 3)).astype(np.float32)
    points, rows = points_of(X), jnp.arange(40, dtype=jnp.int32)
    problem = _Problem(points, rows, rows >= 0, jnp.int32(4), 5)
    labels = 2 * (rows % 2)
    x = np.asarray(points.at(rows))
    squared = ((x - np.stack([x[::2].mean(axis=0), x[1::2].mean(axis=0)])[np.arange(40) % 2]) ** 2).sum(axis=1)
    state = _Lloyd(labels, jnp.asarray(squared), jnp.zeros((5, 3), jnp.float32), jnp.int32(0), jnp.bool_(False))
    total, count = _fill_empty_clusters(problem, state, *_sums(points, rows, labels, 5))
    moved = np.array(labels)
    moved[np.argsort(-squared)[:2]] = 1, 3
    np.testing.assert_array_equal(count, np.bincount(moved, minlength=5))
    np.testing.assert_allclose(total, [x[moved == c].sum(axis=0) for c in range(5)], atol=1e-5)


def test_lloyd_stops_where_scikit_learn_stops(block_sizes):
    """From the same centers; with rows far off that do not count. The tolerance is 1e-4 of the mean variance of a
    feature: of the sum it would stop earlier, and without one later."""
    rng, k, dim = np.random.default_rng(1), 14, 4
    X = 100 * (rng.normal(size=(3000, dim)) + 5)
    centers, outliers = X[:k], 1e4 * rng.normal(size=(99, dim))
    with jax.enable_x64(True):
        points = points_of(np.concatenate([X, outliers]))
        first = jnp.asarray(centers) - points.norms.mean[None]
        rows = jnp.arange(3099, dtype=jnp.int32)
        label, _, ours, iterations = _lloyd(_Problem(points, rows, rows < 3000, jnp.int32(k), k), first)
        ours = np.asarray(ours + points.norms.mean[None])
    sooner, theirs, later = (
        KMeans(k, init=centers, n_init=1, algorithm="lloyd", tol=tol).fit(X) for tol in (dim * 1e-4, 1e-4, 0)
    )
    assert sooner.n_iter_ < theirs.n_iter_ < later.n_iter_, "the tolerance decides nothing"
    assert iterations == theirs.n_iter_
    np.testing.assert_array_equal(label[:3000], theirs.labels_)
    np.testing.assert_allclose(ours, theirs.cluster_centers_, rtol=1e-9)
    assert (np.asarray(label[3000:]) == k).all()


def test_mini_batches_are_as_good_as_scikit_learns():
    X = blobs(np.random.default_rng(3), 4000, 100, spread=0.5)
    labels, squared, *_ = cluster(X, 120, most=128, batch=500)
    starts = [MiniBatchKMeans(120, batch_size=500, n_init=1, random_state=i).fit(X).inertia_ for i in range(3)]
    assert squared.sum(axis=1).mean() < 1.05 * np.mean(starts)
    assert labels.max() < 120


def test_seeding_takes_the_best_of_a_few_draws_by_squared_distance():
    """Second centers over 20,000 seeds: chi-square against the eager probabilities of the better of two draws."""
    from scipy.stats import chisquare

    X = np.random.default_rng(4).normal(size=(40, 3)).astype(np.float32)
    trials = 20_000
    rows = jnp.arange(40, dtype=jnp.int32)[None]
    free = np.arange(40) % 4 > 0
    valid = jnp.broadcast_to(jnp.asarray(free)[None], (trials, 40))
    keys = loop.keys(range(trials), 0)
    chosen = np.asarray(jax.jit(_first_centers, static_argnums=5)(keys, points_of(X), rows, valid, jnp.int32(2), 2))
    assert chisquare(np.bincount(chosen[:, 0], minlength=40)[free]).pvalue > 1e-3
    D = ((X[free, None] - X[None, free]).astype(float) ** 2).sum(axis=2)
    expected = np.zeros(len(D))
    for first in D:
        left = np.minimum(first[:, None], D).sum(axis=0)  # the sum of squared distances with each as second center
        worst_first = np.argsort(-left)
        below = np.cumsum(first[worst_first]) / first.sum()  # one draw is no better than this
        expected[worst_first] += np.diff(below**2, prepend=0) / len(D) * trials
    seen = np.bincount(chosen[:, 1], minlength=40)[free]
    assert chisquare(seen, expected).pvalue > 1e-3


@pytest.mark.parametrize("table", [0, 2**27])
@pytest.mark.parametrize(("k", "max_clusters"), [(3, 3), (12, 12), (12, 16), (7, 64), (20, 64)])
def test_seeding_chooses_what_the_plain_algorithm_chooses(k, max_clusters, table, patch_kernels):
    """Given its random numbers. There are as many candidates as K asks for, whatever K is padded to."""
    patch_kernels(import_module("jaxal.numerics.kmeans"), "_TABLE", table)
    rng = np.random.default_rng(17)
    with jax.enable_x64(True):
        X, order = rng.normal(size=(150, 3)), np.where(np.arange(150) % 4 > 0, rng.permutation(150), -1)
        rows, keys = jnp.arange(150, dtype=jnp.int32), loop.keys(range(5), 0)
        orders = jnp.asarray(np.stack([np.roll(order, 4 * s) for s in range(5)]), jnp.int32)
        chosen = np.asarray(_plus_plus(keys, points_of(X), rows, orders, jnp.int32(k), max_clusters))
        for s, key in enumerate(keys):
            expected = kmeans_plus_plus.centers(
                X, int(orders[s].argmax()), np.asarray(orders[s]) >= 0, k,
                lambda i: np.asarray(jax.random.uniform(jax.random.fold_in(key, i), (9, 2), X.dtype)),  # noqa: B023
                lazy.block_size(150),
            )  # fmt: skip
            assert chosen[s, :k].tolist() == expected


@pytest.mark.parametrize(("part", "padded"), [(40, 13), (150, 64)])
def test_first_centers_do_not_depend_on_what_k_is_padded_to(part, padded, patch_kernels):
    """Also where seeds draw from a part of the rows, of at least 3 K (for K up to 5,000 it has 15,000)."""
    patch_kernels(import_module("jaxal.numerics.kmeans"), "_SEED_ROWS", part)
    X = np.random.default_rng(18).normal(size=(150, 3)).astype(np.float32)
    rows, valid = jnp.arange(150, dtype=jnp.int32)[None], jnp.ones((4, 150), bool)
    ours, other = (
        np.asarray(_first_centers(loop.keys(range(4), 0), points_of(X), rows, valid, jnp.int32(7), most))[:, :7]
        for most in (7, padded)
    )
    np.testing.assert_array_equal(ours, other)
    assert all(len(set(row)) == 7 for row in ours.tolist())


def test_seeding_is_the_same_with_all_pairs_at_once_and_seed_by_seed(patch_kernels):
    X = blobs(np.random.default_rng(6), 300, 9)
    rows, valid = jnp.arange(300, dtype=jnp.int32)[None], jnp.ones((4, 300), bool)
    keys, points = loop.keys(range(4), 0), points_of(X)
    at_once = _first_centers(keys, points, rows, valid, jnp.int32(90), 100)
    apart = _first_centers(keys, points, jnp.broadcast_to(rows, valid.shape), valid, jnp.int32(90), 100)
    patch_kernels(import_module("jaxal.numerics.kmeans"), "_TABLE", 0)
    by_products = _first_centers(keys, points, rows, valid, jnp.int32(90), 100)
    np.testing.assert_array_equal(at_once[:, :90], apart[:, :90])
    np.testing.assert_array_equal(at_once[:, :90], by_products[:, :90])


def test_seeding_from_a_part_of_the_rows(patch_kernels):
    """Centers are rows that count, differ, and leave about as much as those drawn from all rows."""
    X = blobs(np.random.default_rng(7), 4000, 30)
    valid = np.arange(4000) % 3 > 0
    inertias = {}
    for n, rows in (("all", 4000), ("part", 500)):
        patch_kernels(import_module("jaxal.numerics.kmeans"), "_SEED_ROWS", rows)
        chosen = _first_centers(
            loop.keys(range(8), 0), points_of(X), jnp.arange(4000, dtype=jnp.int32)[None],
            jnp.broadcast_to(jnp.asarray(valid)[None], (8, 4000)), jnp.int32(30), 30,
        )  # fmt: skip
        chosen = np.asarray(chosen)
        assert valid[chosen].all()
        assert all(len(set(row)) == 30 for row in chosen.tolist())
        inertias[n] = [((X[valid][:, None] - X[row][None]) ** 2).sum(axis=2).min(axis=1).sum() for row in chosen]
    assert np.mean(inertias["part"]) < 1.3 * np.mean(inertias["all"])


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
        n_picks, TYPICLUST[variant],
    )  # fmt: skip
    return np.asarray(rows).tolist(), np.asarray(scores)


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


def test_clustering_strategies_compile_no_more_often_than_there_are_buckets(count_traces):
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
