"""ProbCover against the whole distance matrix: radius, balls, picks, the cache, and pools whose balls are not kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import probcover as plain
from sklearn.cluster import KMeans

from jaxal import Pool
from jaxal.data.store import write_arrays
from jaxal.errors import ConfigError
from jaxal.experiments import loop
from jaxal.numerics import lazy, logreg
from jaxal.numerics.arrays import tie_breaks
from jaxal.strategies import State, _ball_graph, make

pytestmark = pytest.mark.filterwarnings("ignore:probcover")


@pytest.fixture(params=[True, False], ids=["balls kept", "balls computed anew"])
def kept(request, patch_kernels):
    if not request.param:
        patch_kernels(_ball_graph, "_KEPT_BYTES", 0)
    return request.param


def unpacked(bits, n):
    """(R, W) uint32 as (R, N) bool."""
    return np.unpackbits(np.asarray(bits).view(np.uint8), axis=1, bitorder="little")[:, :n].astype(bool)


def balls(graph, n):
    """(N, N) bool."""
    return unpacked(graph.bits, n)


def check_picks(X, variant, n_labeled, batch_size, cycles=3, **settings):
    rng = np.random.default_rng(0)
    strategy = make("probcover", variant, settings)
    labels = np.full((2, len(X)), -1, np.int32)
    for s, row in enumerate(labels):  # seeds may have labeled different numbers of rows
        row[rng.choice(len(X), n_labeled >> s, replace=False)] = 0
    pool = Pool(X, np.arange(len(X)) % 3)
    graph = loop.prepare(strategy, pool)
    D = plain.distances((X / np.linalg.norm(X, axis=1, keepdims=True) if variant == "official" else X).astype(float))
    ball = float(graph.limit) > D**2
    np.testing.assert_array_equal(graph.degrees, ball.sum(axis=1))

    def state():
        return State(jnp.asarray(X), jnp.asarray(labels), logreg.zeros(2, 3, X.shape[1], X.dtype), None, batch_size)

    carry = strategy.init(graph, state())
    covered = np.stack([ball[row >= 0].any(axis=0) for row in labels])
    np.testing.assert_array_equal(unpacked(carry.covered, len(X)), covered)
    for cycle in range(cycles):
        keys = loop.keys([5, 6], cycle)
        rows, scores, carry = jax.jit(strategy.select)(keys, graph, carry, state())
        for s in range(2):
            lots = np.asarray(tie_breaks(keys[s], len(X)))
            expected, new = plain.select(ball, labels[s] >= 0, batch_size, lots)
            assert rows[s].tolist() == expected
            assert scores[s].tolist() == new
        np.put_along_axis(labels, np.asarray(rows), 0, axis=1)
    return graph


@pytest.mark.parametrize("variant", ["official", "skactiveml"])
def test_picks_are_those_of_the_eager_algorithm(kept, variant, block_sizes):
    with jax.enable_x64(True):
        X = np.random.default_rng(1).normal(size=(203, 5)) * 0.4 + 0.2
        for n_labeled in (0, 20):
            graph = check_picks(X, variant, n_labeled, 9)
            assert (graph.bits is None) != kept


def test_rows_in_another_order_give_the_same_picks(kept, block_sizes):
    """Eight groups of 3, 5, ... 17 rows. The ball of the middle row of a group holds all of it, those of others hold
    half: there are no ties, and every score is known."""
    rng, middles, X = np.random.default_rng(10), [], []
    for m in range(1, 9):
        middle, aside = np.eye(10)[[m, 0]]
        sides = 0.4 + 0.01 * rng.random(m)
        middles.append(len(X))
        X += [middle, *(middle + side * aside for side in sides), *(middle - side * aside for side in sides)]
    X, order = np.array(X, np.float32), rng.permutation(len(X))
    strategy, keys = make("probcover", "official", {"delta": 0.5}), loop.keys([0, 1], 1)
    for place in (np.arange(len(X)), order):
        pool, labels = Pool(X[place]), jnp.full((2, len(X)), -1, jnp.int32)
        state = State(jnp.asarray(pool.X), labels, logreg.zeros(2, 2, 10, jnp.float32), None, 8)
        graph = loop.prepare(strategy, pool)
        rows, scores, _ = jax.jit(strategy.select)(keys, graph, strategy.init(graph, state), state)
        np.testing.assert_array_equal(place[np.asarray(rows)], [middles[::-1]] * 2)
        np.testing.assert_array_equal(scores, [range(17, 1, -2)] * 2)


@pytest.mark.parametrize("price", [1e12, 0.0])
def test_picks_among_many_ties(kept, price, tiny_blocks, patch_kernels):
    """Whole numbers, a radius at which many rows lie, and more picks than it takes to cover everything."""
    patch_kernels(lazy, "step_price", lambda: price)
    X = np.random.default_rng(2).integers(0, 4, (120, 3)).astype(np.float32)
    check_picks(X, "skactiveml", 3, 30, delta=1.0)


def clusters_of(X, key, n_clusters):
    """What prepare's k-means finds."""
    from jaxal.numerics import distances
    from jaxal.numerics.kmeans import kmeans

    points = distances.Points(jnp.asarray(X), distances.norms(X, normalize=True))
    rows = jnp.arange(len(X), dtype=jnp.int32)[None]
    found = kmeans(key[None], points, rows, rows >= 0, jnp.int32(n_clusters), max_clusters=n_clusters)
    return np.asarray(found.labels[0])


@pytest.mark.parametrize("variant", ["official", "skactiveml"])
def test_balls_hold_what_they_hold_in_float64(variant, block_sizes):
    """Of float32 rows with a large mean: every ball, row by row, and its size, where no pair is within rounding of the
    radius."""
    X = (np.random.default_rng(8).normal(size=(403, 6)) + 2).astype(np.float32)
    delta = 0.45 if variant == "official" else 1.5
    graph = make("probcover", variant, {"delta": delta}).prepare(Pool(X), jax.random.key(0))
    rows = X.astype(float)
    if variant == "official":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    D = plain.distances(rows)
    assert np.abs(D - delta).min() > 1e-6
    np.testing.assert_array_equal(balls(graph, len(X)), delta > D)
    np.testing.assert_array_equal(graph.degrees, (delta > D).sum(axis=1))
    assert graph.degrees.min() < 20 < graph.degrees.max()


def test_the_pair_at_the_radius_is_in_no_ball_of_the_official_variant(block_sizes):
    """The radius is the distance of a pair, and a ball holds what is strictly nearer: in float32 as in float64. With
    so many pairs the next one may be nearer than rounding, so a few rows may be on the other side."""
    X = np.random.default_rng(9).normal(size=(301, 8)).astype(np.float32)
    graph, key = make("probcover").prepare(Pool(X, np.arange(301) % 4), jax.random.key(0)), jax.random.key(0)
    D = plain.distances((lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True))(X.astype(float)))
    radii = np.sort(plain.radii(D, clusters_of(X, key, 4)))
    delta = radii[int(0.05 * 301)]
    np.testing.assert_allclose(float(graph.limit), delta**2, rtol=1e-5)
    np.testing.assert_array_equal(balls(graph, 301), delta - 1e-7 > D)


@pytest.mark.parametrize("n", [101, 400])
def test_the_radius_is_the_largest_that_is_pure(n):
    """With the radius .95 of the balls are pure, with the next larger distance fewer: by brute force."""
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        X = rng.normal(size=(n, 4)) + 2 * rng.normal(size=(3, 4))[np.arange(n) % 3]
        key = jax.random.key(7)
        pool = Pool(X, np.arange(n) % 3)
        graph = make("probcover").prepare(pool, key)
        cluster = clusters_of(X, key, 3)
    D = plain.distances(X / np.linalg.norm(X, axis=1, keepdims=True))
    delta = np.sqrt(float(graph.limit))
    assert plain.purity(D, cluster, delta * (1 - 1e-9)) >= 0.95
    assert plain.purity(D, cluster, delta * (1 + 1e-9)) < 0.95
    if n == 101:
        assert plain.purity(D, cluster, delta * (1 - 1e-9)) == 96 / 101


def test_the_radius_of_scikit_activeml_on_its_own_clusters():
    """Their query on the same clusters chooses the same radius, and the same rows while nothing ties."""
    pool = pytest.importorskip("skactiveml.pool", reason="scikit-activeml is in the extra `skactiveml`")
    rng = np.random.default_rng(4)
    for spread in (0.05, 0.3, 1.0):
        X = spread * rng.normal(size=(150, 3)) + rng.normal(size=(3, 3))[np.arange(150) % 3]
        theirs = pool.ProbCover(n_classes=3, random_state=0)
        y = np.full(150, np.nan)
        y[:5] = 0
        with np.errstate(all="ignore"):
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs.query(X, y, batch_size=2)
        cluster = KMeans(3, random_state=0).fit_predict(X)
        radii = plain.radii(plain.distances(X), cluster)
        assert _ball_graph.grid_radius(radii, 0.95) == theirs.delta_max_


def test_one_cluster_and_one_row_are_legal():
    for X in (np.ones((7, 2), np.float32), np.ones((1, 2), np.float32)):
        graph = make("probcover").prepare(Pool(X), jax.random.key(0))
        assert (np.asarray(graph.degrees) == len(X)).all()


def test_a_stored_pool_keeps_its_graph(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(90, 4)).astype(np.float32), np.arange(90) % 3
    folder = tmp_path / "set" / "model"
    write_arrays(folder, X, y, class_names=["a", "b", "c"], dataset="set", model="model", settings={})
    import jaxal

    pool, key = jaxal.load(str(folder)), jax.random.key(1)
    first = make("probcover").prepare(pool, key)
    caches = list(folder.glob("probcover-*.cache"))
    assert len(caches) == 1
    monkeypatch.setattr(_ball_graph, "build", None)  # would be called if nothing were read
    again = make("probcover").prepare(pool, key)
    np.testing.assert_array_equal(first.bits, again.bits)
    np.testing.assert_array_equal(first.degrees, again.degrees)
    assert first.limit == again.limit
    monkeypatch.undo()
    make("probcover", options={"delta": 0.3}).prepare(pool, key)  # another radius is another graph
    make("probcover").prepare(pool.cap(50), key)  # and so is another pool
    assert len(list(folder.glob("probcover-*.cache"))) == 3
    caches[0].write_bytes(b"not a graph")  # damaged: computed again
    np.testing.assert_array_equal(make("probcover").prepare(pool, key).bits, first.bits)


def test_a_radius_too_small_for_any_pair_is_said():
    X = 100 * np.random.default_rng(6).normal(size=(40, 3)).astype(np.float32)
    with pytest.warns(UserWarning, match="no ball of radius 2 holds a second row"):
        make("probcover", "skactiveml").prepare(Pool(X), jax.random.key(0))


def test_settings_out_of_range():
    for settings in ({"delta": -1.0}, {"alpha": 1.5}, {"delta": float("nan")}):
        with pytest.raises(ConfigError, match="probcover"):
            make("probcover", options=settings)
