"""k-means: Lloyd's steps, mini-batches and the first centers, against scikit-learn and plain references."""

from functools import partial
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import kmeans_lloyd, kmeans_plus_plus
from sklearn.cluster import KMeans, MiniBatchKMeans

from jaxal.experiments import loop
from jaxal.numerics import distances, lazy
from jaxal.numerics.assignment import Problem, assign, sums
from jaxal.numerics.kmeans import _first_centers, _plus_plus, kmeans
from jaxal.numerics.lloyd import fill_empty_clusters, lloyd

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
    problem = Problem(points, jnp.arange(21, dtype=jnp.int32), jnp.ones(21, bool), jnp.int32(3), 3)
    label = lloyd(problem, centers, assign(problem, centers)[0]).labels
    assert len(np.unique(label)) == 3
    assert (np.asarray(label[:20]) != label[20]).all()


def test_rows_that_fill_empty_clusters_leave_their_own():
    """Clusters 1 and 3 of five are empty: the two rows farthest from their centers move, with their share of the sums
    and counts. Cluster 4 does not count."""
    X = np.random.default_rng(16).normal(size=(40, 3)).astype(np.float32)
    points, rows = points_of(X), jnp.arange(40, dtype=jnp.int32)
    problem = Problem(points, rows, rows >= 0, jnp.int32(4), 5)
    labels = 2 * (rows % 2)
    x = np.asarray(points.at(rows))
    centers = np.zeros((5, 3), np.float32)
    centers[:3:2] = x[::2].mean(axis=0), x[1::2].mean(axis=0)
    squared = ((x - centers[labels]) ** 2).sum(axis=1)
    total, count = fill_empty_clusters(problem, labels, jnp.asarray(centers), *sums(points, rows, labels, 5))
    moved = np.array(labels)
    moved[np.argsort(-squared)[:2]] = 1, 3
    np.testing.assert_array_equal(count, np.bincount(moved, minlength=5))
    np.testing.assert_allclose(total, [x[moved == c].sum(axis=0) for c in range(5)], atol=1e-5)


def test_sums_count_every_row_once(block_sizes):
    """Also those of the last block, which overlaps the one before it; rows of label 5 do not count."""
    rng = np.random.default_rng(22)
    X, labels = rng.normal(size=(101, 3)).astype(np.float32), rng.integers(0, 6, 101)
    points, rows = points_of(X), jnp.asarray(rng.permutation(101), jnp.int32)
    x = np.asarray(points.at(rows))
    total, count = sums(points, rows, jnp.asarray(labels, jnp.int32), 5)
    np.testing.assert_array_equal(count, np.bincount(labels, minlength=6)[:5])
    np.testing.assert_allclose(total, [x[labels == c].sum(axis=0) for c in range(5)], atol=1e-5)


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
        problem = Problem(points, rows, rows < 3000, jnp.int32(k), k)
        end = lloyd(problem, first, assign(problem, first)[0])
        label, ours, iterations = end.labels, np.asarray(end.centers + points.norms.mean[None]), end.iterations
    sooner, theirs, later = (
        KMeans(k, init=centers, n_init=1, algorithm="lloyd", tol=tol).fit(X) for tol in (dim * 1e-4, 1e-4, 0)
    )
    assert sooner.n_iter_ < theirs.n_iter_ < later.n_iter_, "the tolerance decides nothing"
    assert iterations == theirs.n_iter_
    np.testing.assert_array_equal(label[:3000], theirs.labels_)
    np.testing.assert_allclose(ours, theirs.cluster_centers_, rtol=1e-9)
    assert (np.asarray(label[3000:]) == k).all()


@partial(jax.jit, static_argnames=("most", "every_distance"))
def lloyd_from(first, points, rows, valid, k, *, most, every_distance):
    """Lloyd's end from the rows at these positions."""
    problem, centers = Problem(points, rows, valid, k, most), points.at(rows[first])
    return lloyd(problem, centers, assign(problem, centers)[0], every_distance=every_distance)


@pytest.mark.parametrize(("k", "most"), [(50, 64), (101, 101), (20, 200)])
def test_bounds_change_nothing(k, most, tiny_blocks):
    """From random rows as centers, or many in one place: labels, iterations and centers are those of comparing
    everything, to the bit, in groups of two or three centers. Where nothing ties they are those of the plain loop."""
    rng = np.random.default_rng(19)
    pools = {
        "blobs": blobs(rng, 500, 40, dim=4, spread=0.3),
        "normal": rng.normal(size=(500, 4)),
        "far off": 1e3 + rng.normal(size=(500, 4)),
        "two scales": rng.normal(size=(500, 4)) * np.where(np.arange(500) % 2, 1, 0.01)[:, None],
        "whole numbers": rng.integers(-2, 3, (500, 4)),
        "duplicates": rng.normal(size=(130, 4))[rng.integers(0, 130, 500)],
    }
    with jax.enable_x64(True):
        for name, X in pools.items():
            points, rows = points_of(X.astype(np.float64)), jnp.asarray(rng.permutation(500)[:450], jnp.int32)
            valid = rng.random(450) < 0.9
            for first in (rng.choice(450, most), rng.choice(30, most)):
                problem = first, points, rows, jnp.asarray(valid), jnp.int32(k)
                plain, ours = (lloyd_from(*problem, most=most, every_distance=every) for every in (True, False))
                assert ours.iterations == plain.iterations > 1, name
                np.testing.assert_array_equal(ours.labels, plain.labels, name)
                np.testing.assert_array_equal(ours.centers[:k], plain.centers[:k], name)
                if name in ("whole numbers", "duplicates"):
                    continue
                x = np.asarray(points.at(rows))
                labels, centers, iterations = kmeans_lloyd.lloyd(x, valid, x[first[:k]])
                np.testing.assert_array_equal(np.asarray(ours.labels)[valid], labels[valid], name)
                np.testing.assert_allclose(ours.centers[:k], centers, atol=1e-9)
                assert ours.iterations == iterations, name


@pytest.mark.parametrize("worth", [0, 0.5])
def test_bounds_hold_and_leave_little_to_compute(worth, tiny_blocks, patch_kernels):
    """After every iteration: no bound is on the wrong side of a distance, and few distances were computed; or, where
    bounds are never worth it, all."""
    from jaxal.numerics import bounds

    patch_kernels(bounds, "_WORTH", worth)
    rng = np.random.default_rng(20)
    with jax.enable_x64(True):
        X = blobs(rng, 600, 40, spread=0.3).astype(np.float64)
        points, rows = points_of(X), jnp.arange(600, dtype=jnp.int32)
        problem = Problem(points, rows, rows % 7 > 0, jnp.int32(60), 64)
        x, valid = np.asarray(points.at(rows)), np.arange(600) % 7 > 0
        centers = points.at(rows[:64])
        labels, known, shares = assign(problem, centers)[0], bounds.begin(problem), []
        step = jax.jit(lambda *given: bounds.reassign(problem, *given))
        for iteration in range(12):
            moved = 0.1 * rng.random((64, 1)) * rng.normal(size=(64, 8)) * (rng.random((64, 1)) < 0.2)
            centers = centers + moved
            labels, _, known, share = step(
                known, labels, centers, jnp.sqrt((jnp.asarray(moved) ** 2).sum(axis=1)), jnp.int32(iteration)
            )
            shares.append(float(share))
            apart = np.sqrt(((x[None] - np.asarray(centers)[:60, None]) ** 2).sum(axis=2))
            label = np.asarray(labels)
            np.testing.assert_array_equal(label[valid], apart.argmin(axis=0)[valid])
            assert (label[~valid] == 60).all()
            assert (known.upper[valid] >= apart.min(axis=0)[valid]).all()
            apart[label[valid], valid] = np.inf
            apart = np.concatenate([apart, np.full((4, 600), np.inf)])
            groups = np.asarray(known.places).reshape(len(known.lower), -1)
            assert sorted(groups.ravel()) == list(range(64))
            nearest = np.stack([apart[group].min(axis=0) for group in groups])
            assert (np.asarray(known.lower)[:, valid] <= nearest[:, valid]).all()
        assert np.mean(shares[2:]) < 0.2 if worth else shares[0] == 1


def test_groups_are_of_neighbors():
    """Eight places with eight centers each: a group is one of them. Centers that do not count come last."""
    from jaxal.numerics import bounds

    rng = np.random.default_rng(21)
    place = rng.permutation(np.arange(64) % 8)
    centers = (10 * rng.normal(size=(8, 5))[place] + 0.1 * rng.normal(size=(64, 5))).astype(np.float32)
    problem = Problem(points_of(centers), jnp.arange(64, dtype=jnp.int32), jnp.ones(64, bool), jnp.int32(64), 64)
    groups = np.asarray(bounds._places(problem, jnp.asarray(centers), 8, 64)).reshape(8, 8)
    assert all(len(set(place[group])) == 1 for group in groups)
    fewer = problem._replace(clusters=jnp.int32(50))
    places = np.asarray(bounds._places(fewer, jnp.asarray(centers), 8, 64))
    assert sorted(places) == list(range(64))
    assert (places[56:] >= 50).all()


@pytest.mark.parametrize("worth", [0, 0.5])
def test_bounds_hold_for_rows_that_are_not_asked_for(worth, tiny_blocks, patch_kernels):
    """A random half of the rows is asked for, time and again, with centers that move ever less: those get their nearest
    center, and it is told how near it is; the lower bounds of all rows stay on the right side."""
    from jaxal.numerics import bounds

    patch_kernels(bounds, "_WORTH", worth)
    rng = np.random.default_rng(24)
    with jax.enable_x64(True):
        X = blobs(rng, 600, 40, spread=0.3).astype(np.float64)
        points, rows = points_of(X), jnp.arange(600, dtype=jnp.int32)
        problem = Problem(points, rows, jnp.ones(600, bool), jnp.int32(60), 128)
        x, centers = np.asarray(points.at(rows)), points.at(rows[:128])
        labels, known, moved, shares = jnp.zeros(600, jnp.int32), bounds.begin(problem), jnp.zeros(128), []
        step = jax.jit(lambda *given: bounds.reassign(problem, *given))
        for iteration in range(12):
            asked = rng.random(600) < 0.5
            labels, rest, known, share = step(known, labels, centers, moved, jnp.int32(iteration), jnp.asarray(asked))
            shares.append(float(share))
            apart = np.sqrt(((x[None] - np.asarray(centers)[:60, None]) ** 2).sum(axis=2))
            label, each = np.asarray(labels), np.arange(600)
            np.testing.assert_array_equal(label[asked], apart.argmin(axis=0)[asked])
            squared = (x * x).sum(axis=1) + 2 * np.asarray(rest)
            np.testing.assert_allclose(squared[asked], apart.min(axis=0)[asked] ** 2, atol=1e-9)
            assert (known.upper >= apart[label, each])[asked].all()
            apart[label, each] = np.inf
            apart = np.concatenate([apart, np.full((68, 600), np.inf)])
            groups = np.asarray(known.places).reshape(len(known.lower), -1)
            nearest = np.stack([apart[group].min(axis=0) for group in groups])
            assert (np.asarray(known.lower) <= nearest).all()
            step_by = 0.3 / (1 + iteration) * rng.normal(size=(128, 8)) * (rng.random((128, 1)) < 0.5)
            centers, moved = centers + step_by, jnp.sqrt((jnp.asarray(step_by) ** 2).sum(axis=1))
        assert np.mean(shares[-4:]) < 0.3 if worth else shares[0] == 1


def test_bounds_change_nothing_for_mini_batches(tiny_blocks, patch_kernels):
    """The same batches, steps and centers, with few clusters of a large room, and with empty ones that are put
    elsewhere."""
    module, bounds = import_module("jaxal.numerics.kmeans"), import_module("jaxal.numerics.bounds")
    rng = np.random.default_rng(25)
    places = rng.normal(size=(90, 4))
    pools = {"blobs": blobs(rng, 400, 30, dim=4, spread=0.3), "duplicates": places[rng.integers(0, 90, 400)]}
    with jax.enable_x64(True):
        for name, X in pools.items():
            ends = []
            for share in (0, 3):
                patch_kernels(module, "_MINI_DRAWN_AGAIN", share)
                ends.append(cluster(X.astype(np.float64), 40, most=120, batch=200))
            assert bounds.pay(400, 120, 4)
            (labels, _, centers, steps), bounded = ends
            np.testing.assert_array_equal(bounded[3], steps)
            np.testing.assert_array_equal(bounded[0], labels, name)
            np.testing.assert_allclose(bounded[2][:, :40], centers[:, :40], atol=1e-9)
            assert steps.min() > 5


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
    chosen, _ = jax.jit(_first_centers, static_argnums=5)(keys, points_of(X), rows, valid, jnp.int32(2), 2)
    chosen = np.asarray(chosen)
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
        chosen, nearest = map(np.asarray, _plus_plus(keys, points_of(X), rows, orders, jnp.int32(k), max_clusters))
        for s, key in enumerate(keys):
            expected = kmeans_plus_plus.centers(
                X, int(orders[s].argmax()), np.asarray(orders[s]) >= 0, k,
                lambda i: np.asarray(jax.random.uniform(jax.random.fold_in(key, i), (9, 2), X.dtype)),  # noqa: B023
                lazy.block_size(150),
            )  # fmt: skip
            assert chosen[s, :k].tolist() == expected
            apart = np.where(orders[s] >= 0, ((X[expected, None] - X[None]) ** 2).sum(axis=2), 0)
            np.testing.assert_array_equal(nearest[s], apart.argmin(axis=0))


@pytest.mark.parametrize(("part", "padded"), [(40, 13), (150, 64)])
def test_first_centers_do_not_depend_on_what_k_is_padded_to(part, padded, patch_kernels):
    """Also where seeds draw from a part of the rows, of at least 3 K (for K up to 5,000 it has 15,000)."""
    patch_kernels(import_module("jaxal.numerics.kmeans"), "_SEED_ROWS", part)
    X = np.random.default_rng(18).normal(size=(150, 3)).astype(np.float32)
    rows, valid = jnp.arange(150, dtype=jnp.int32)[None], jnp.ones((4, 150), bool)
    ours, other = (
        np.asarray(_first_centers(loop.keys(range(4), 0), points_of(X), rows, valid, jnp.int32(7), most)[0])[:, :7]
        for most in (7, padded)
    )
    np.testing.assert_array_equal(ours, other)
    assert all(len(set(row)) == 7 for row in ours.tolist())


def test_seeding_is_the_same_with_all_pairs_at_once_and_seed_by_seed(patch_kernels):
    X = blobs(np.random.default_rng(6), 300, 9)
    rows, valid = jnp.arange(300, dtype=jnp.int32)[None], jnp.ones((4, 300), bool)
    keys, points = loop.keys(range(4), 0), points_of(X)
    at_once, _ = _first_centers(keys, points, rows, valid, jnp.int32(90), 100)
    apart, _ = _first_centers(keys, points, jnp.broadcast_to(rows, valid.shape), valid, jnp.int32(90), 100)
    patch_kernels(import_module("jaxal.numerics.kmeans"), "_TABLE", 0)
    by_products, _ = _first_centers(keys, points, rows, valid, jnp.int32(90), 100)
    np.testing.assert_array_equal(at_once[:, :90], apart[:, :90])
    np.testing.assert_array_equal(at_once[:, :90], by_products[:, :90])


def test_seeding_from_a_part_of_the_rows(patch_kernels):
    """Centers are rows that count, differ, and leave about as much as those drawn from all rows."""
    X = blobs(np.random.default_rng(7), 4000, 30)
    valid = np.arange(4000) % 3 > 0
    inertias = {}
    for n, rows in (("all", 4000), ("part", 500)):
        patch_kernels(import_module("jaxal.numerics.kmeans"), "_SEED_ROWS", rows)
        chosen, nearest = _first_centers(
            loop.keys(range(8), 0), points_of(X), jnp.arange(4000, dtype=jnp.int32)[None],
            jnp.broadcast_to(jnp.asarray(valid)[None], (8, 4000)), jnp.int32(30), 30,
        )  # fmt: skip
        chosen = np.asarray(chosen)
        assert (nearest is None) == (n == "part")
        assert valid[chosen].all()
        assert all(len(set(row)) == 30 for row in chosen.tolist())
        inertias[n] = [((X[valid][:, None] - X[row][None]) ** 2).sum(axis=2).min(axis=1).sum() for row in chosen]
    assert np.mean(inertias["part"]) < 1.3 * np.mean(inertias["all"])
