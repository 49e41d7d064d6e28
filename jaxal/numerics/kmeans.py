"""k-means for all seeds: seeded by greedy k-means++, then Lloyd's iterations or mini-batches.

Each seed clusters its own rows of one shared matrix, given as row numbers, so that no seed copies the pool. Shapes
follow `max_clusters`; the number of clusters K is a value, so that a K that grows does not compile anew.

Letters: S seeds, M rows of a seed, D dimensions, K clusters, `max_clusters` >= K.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Int32, Key

from jaxal.numerics import blocks, lazy
from jaxal.numerics.arrays import index_if, lowest_index, split_each, tie_breaks
from jaxal.numerics.distances import Points, above_rounding, products

# These constants are scikit-learn's, of KMeans and MiniBatchKMeans.
_MAX_ITER = 300
_TOL = 1e-4  # centers are done when they move no more than this share of the mean variance of a feature
_SEED_ROWS = 15_000  # rows that first centers are drawn from, as for mini-batches of 5,000
_MINI_EPOCHS = 100
_MINI_PATIENCE = 10  # mini-batches without a lower smoothed inertia
_MINI_REASSIGN = 0.01  # a cluster with fewer rows than this share of the largest one's is put elsewhere
_MINI_REASSIGN_EVERY = 10  # rows seen for each cluster between two such checks

_TABLE = 2**27  # squared distances that are kept while first centers are chosen: 512 MB in float32


class Clusters(NamedTuple):
    """Where each seed's rows belong."""

    labels: Array  # (S, M) int32, 0 .. K-1; K for rows that do not count
    squared: Array  # (S, M) squared distance to the center of the cluster, 0 for rows that do not count
    centers: Array  # (S, max_clusters, D) about the mean of the pool; those after the first K mean nothing
    iterations: Array  # (S,) int32


class _Problem(NamedTuple):
    """What one seed clusters."""

    points: Points
    rows: Array  # (M,)
    valid: Array  # (M,) rows that count
    clusters: Array  # () K
    max_clusters: int

    @property
    def live(self) -> Array:
        """(max_clusters,) bool: the first K."""
        return jnp.arange(self.max_clusters, dtype=jnp.int32) < self.clusters


@partial(jax.jit, static_argnames=("max_clusters", "batch"))
def kmeans(
    keys: Key[Array, " S"],
    points: Points,
    rows: Int32[Array, "#S M"],
    valid: Bool[Array, "S M"],
    clusters: Int32[Array, ""],
    *,
    max_clusters: int,
    batch: int | None = None,
) -> Clusters:
    """Cluster rows by Euclidean distance.

    Args:
        points: the pool. rows: row numbers of each seed, or (1, M) the same for all. valid: rows that count.
        clusters: K, at most the number of valid rows. max_clusters: static, the largest K that this shape serves.
        batch: rows of a mini-batch, static; None: Lloyd's algorithm on all rows.
    Returns: `Clusters`. A cluster is empty only where there are fewer than K distinct rows.
    Cost: an iteration compares M rows with max_clusters centers, O(M K D); seeds one after the other.
    Reference: Lloyd 1982; Arthur and Vassilvitskii, SODA 2007; Sculley, WWW 2010 (mini-batches).
    """
    max_clusters = min(max_clusters, rows.shape[1])
    seed_keys, batch_keys = split_each(keys)
    chosen = _first_centers(seed_keys, points, rows, valid, clusters, max_clusters)
    rows = jnp.broadcast_to(rows, valid.shape)
    centers = points.at(jnp.take_along_axis(rows, chosen, axis=1))

    def one(seed):
        key, rows, valid, centers = seed
        problem = _Problem(points, rows, valid, clusters, max_clusters)
        if batch is None:
            return _lloyd(problem, centers)
        centers, steps = _mini_batches(key, problem, centers, min(batch, len(rows)))
        return *_assign(problem, centers), centers, steps

    return Clusters(*lax.map(one, (batch_keys, rows, valid, centers)))


# ---- first centers


def _first_centers(keys, points, rows, valid, clusters, max_clusters):
    """Positions (S, max_clusters) in `rows` by greedy k-means++; those after the first K mean nothing.

    Of more than `_SEED_ROWS` rows each seed draws from a random part.
    """
    n = valid.shape[1]
    part_keys, keys = split_each(keys)
    order = jnp.where(valid, jax.vmap(lambda key: tie_breaks(key, n))(part_keys), -1)
    size = min(n, max(_SEED_ROWS, 3 * max_clusters))
    if len(rows) == 1 and size == n:
        return _plus_plus(keys, points, rows[0], order, clusters, max_clusters)

    def one(seed):
        key, rows, order = seed
        if size == n:
            return _plus_plus(key[None], points, rows, order[None], clusters, max_clusters)[0]
        part = jnp.argsort(-order)[:size].astype(jnp.int32)
        # The shape follows max_clusters; what is drawn must follow K.
        counts = jnp.arange(size, dtype=jnp.int32) < jnp.maximum(_SEED_ROWS, 3 * clusters)
        order = jnp.where(counts, order[part], -1)
        return part[_plus_plus(key[None], points, rows[part], order[None], clusters, max_clusters)[0]]

    return lax.map(one, (keys, jnp.broadcast_to(rows, valid.shape), order))


def _plus_plus(keys, points, rows, order, clusters, max_clusters):
    """Positions (S, max_clusters) in rows (M,), which are the same for all seeds.

    order: (S, M). The row of the largest number comes first; rows with -1 are never drawn.
    Each further center is the best of a few candidates, drawn with probability proportional to their squared distance
    to the centers so far: the one that lowers the sum of all squared distances most.
    Reference: Arthur and Vassilvitskii, SODA 2007, section 5; 2 + floor(log K) candidates, as scikit-learn.
    """
    seeds, size = jnp.arange(len(keys), dtype=jnp.int32), len(rows)
    x, norms = points.at(rows), points.norms.centered[rows]
    most_candidates = 2 + int(math.log(max_clusters))
    candidates = 2 + jnp.log(clusters.astype(jnp.float32)).astype(jnp.int32)

    def to_all(some, norm):
        """Squared distances (S, P, M) of centered rows (S, P, D) to all rows."""
        scale = norm[:, :, None] + norms[None, None]
        return above_rounding(scale - 2 * jnp.tensordot(some, x, (2, 1), precision=lax.Precision.HIGHEST), scale)

    # Candidates would be compared with all rows max_clusters times. Where those are more pairs than there are, all
    # pairs are computed at once, in one large product.
    table = most_candidates * max_clusters > size and size * size <= _TABLE
    pairs = to_all(x[None], norms[None])[0] if table else None

    def squared_to_all(chosen):
        return to_all(x[chosen], norms[chosen]) if pairs is None else pairs[chosen]

    def choose(i, state):
        nearest, chosen = state
        u = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, i), (most_candidates, 2), x.dtype))(keys)
        weights = lazy.blocked(nearest, 0)
        block = lazy.invert(weights.sum(axis=2)[:, None], u[:, :, 0])
        drawn = block * weights.shape[2] + lazy.invert(weights[seeds[:, None], block], u[:, :, 1])
        drawn = jnp.minimum(drawn, size - 1)  # all distances are 0: any row will do
        left = jnp.minimum(squared_to_all(drawn), nearest[:, None])
        lowered = (nearest[:, None] - left).sum(axis=2)  # the sum of what is left would round this off
        counts = jnp.arange(most_candidates, dtype=jnp.int32) < candidates
        best = jnp.argmax(jnp.where(counts[None], lowered, -1), axis=1)
        row = drawn[seeds, best]
        return left[seeds, best].at[seeds, row].set(0), chosen.at[:, i].set(row)

    first = jnp.argmax(order, axis=1).astype(jnp.int32)
    nearest = jnp.where(order >= 0, squared_to_all(first[:, None])[:, 0], 0).at[seeds, first].set(0)
    chosen = jnp.broadcast_to(first[:, None], (len(keys), max_clusters))
    return lax.fori_loop(1, clusters, choose, (nearest, chosen))[1]


# ---- what both algorithms compute of rows and centers


def _nearest(points, rows, centers, live):
    """The nearest live center of each row (M,), the lowest of equals, and its squared distance (M,)."""
    # |x - c|^2 = |x|^2 + 2 (|c|^2 / 2 - <c, x>), and |x|^2 is the same for all centers.
    half = jnp.where(live, (centers * centers).sum(axis=1) / 2, jnp.inf)[:, None]

    def block(start, size):
        some = blocks.take(rows, start, size)
        rest = half - products(centers, points.at(some))
        best = rest.min(axis=0, keepdims=True)
        label = lowest_index(rest == best, axis=0)
        norms = points.norms.centered[some]
        squared = norms + 2 * best[0]
        rounding = 8 * jnp.finfo(squared.dtype).eps * norms
        return jnp.stack([label.astype(squared.dtype), jnp.where(squared > rounding, squared, 0)])

    label, squared = blocks.map_blocks(block, len(rows), blocks.rows(len(centers)))
    return label.astype(jnp.int32), squared


def _assign(problem: _Problem, centers):
    """Labels (M,) and squared distances (M,) to the nearest center; K and 0 for rows that do not count."""
    label, squared = _nearest(problem.points, problem.rows, centers, problem.live)
    return jnp.where(problem.valid, label, problem.clusters), jnp.where(problem.valid, squared, 0)


def _sums(points, rows, label, n_labels: int):
    """Sum (n_labels, D) and number (n_labels,) of the rows of each label 0 .. n_labels-1; other rows do not count."""
    dim, dtype = points.X.shape[1], points.X.dtype
    size = min(len(rows), blocks.rows(dim))

    def add(i, state):
        total, count = state
        start = jnp.minimum(i * size, len(rows) - size)
        fresh = start + jnp.arange(size, dtype=jnp.int32) >= i * size  # the last block overlaps the one before it
        at = index_if(fresh, blocks.take(label, start, size), n_labels)
        x = points.at(blocks.take(rows, start, size))
        return total.at[at].add(x, mode="drop"), count.at[at].add(1, mode="drop")

    zeros = jnp.zeros((n_labels, dim), dtype), jnp.zeros(n_labels, dtype)
    return lax.fori_loop(0, -(-len(rows) // size), add, zeros)


def _mean_variance(problem: _Problem):
    """The variance of a feature over the rows that count, the mean of all features."""
    points, valid = problem.points, problem.valid
    n = valid.sum().astype(points.X.dtype)
    norms = jnp.where(valid, points.norms.centered[problem.rows], 0)
    mean = (_sums(points, problem.rows, jnp.where(valid, 0, 1), 1)[0] / n)[0]
    return jnp.maximum(norms.sum() / n - (mean * mean).sum(), 0) / points.X.shape[1]


# ---- Lloyd's algorithm


class _Lloyd(NamedTuple):
    """Where Lloyd's algorithm stands."""

    labels: Array  # (M,)
    squared: Array  # (M,)
    centers: Array  # (max_clusters, D)
    iterations: Array  # ()
    done: Array  # ()


def _lloyd(problem: _Problem, centers):
    """Labels, squared distances, centers and iterations of one seed, from these first centers."""
    limit = _TOL * _mean_variance(problem)

    def iterate(state: _Lloyd) -> _Lloyd:
        total, count = _sums(
            problem.points,
            problem.rows,
            index_if(problem.valid, state.labels, problem.max_clusters),
            problem.max_clusters,
        )
        total, count = lax.cond(
            (problem.live & (count == 0)).any(),
            partial(_fill_empty_clusters, problem),
            lambda state, total, count: (total, count),
            state,
            total,
            count,
        )
        centers = jnp.where((count > 0)[:, None], total / jnp.maximum(count, 1)[:, None], state.centers)
        shift = ((centers - state.centers) ** 2).sum()
        labels, squared = _assign(problem, centers)
        done = (labels == state.labels).all() | (shift <= limit)
        return _Lloyd(labels, squared, centers, state.iterations + 1, done)

    state = _Lloyd(*_assign(problem, centers), centers, jnp.int32(0), jnp.bool_(False))
    state = lax.while_loop(lambda state: ~state.done & (state.iterations < _MAX_ITER), iterate, state)
    return state[:4]


def _fill_empty_clusters(problem: _Problem, state: _Lloyd, total, count):
    """Each empty cluster gets one row: those farthest from their centers, farthest first, unless at distance 0."""
    max_clusters = problem.max_clusters
    empty = problem.live & (count == 0)
    place = jnp.cumsum(empty.astype(jnp.int32)) - 1
    farthest, at = lax.top_k(state.squared, max_clusters)
    filled = empty & (farthest[place] > 0)
    row = at[place]
    x = problem.points.at(problem.rows[row])
    source = index_if(filled, state.labels[row], max_clusters)
    total = total.at[source].add(-x, mode="drop")
    count = count.at[source].add(-1, mode="drop")
    return jnp.where(filled[:, None], x, total), jnp.where(filled, 1, count)


# ---- mini-batches


class _Batches(NamedTuple):
    """Where the mini-batch algorithm stands."""

    centers: Array  # (max_clusters, D)
    weight: Array  # (max_clusters,) rows that were ever assigned to a center
    seen: Array  # () rows seen since small clusters were last looked for
    smoothed: Array  # () inertia a row, an exponentially weighted mean over batches
    best: Array  # () the least of these
    stale: Array  # () batches since it was found
    steps: Array  # ()


def _mini_batches(key, problem: _Problem, centers, batch: int):
    """scikit-learn's mini-batch updates: a center is the mean of all rows that were ever assigned to it.

    Returns centers (max_clusters, D) and the number of batches.
    """
    points, valid, live, dtype = problem.points, problem.valid, problem.live, problem.points.X.dtype
    n = valid.sum().astype(dtype)
    valid_first = jnp.argsort(~valid, stable=True).astype(jnp.int32)
    smoothing = jnp.minimum(2 * batch / (n + 1), 1)
    most_steps = (_MINI_EPOCHS * n / batch).astype(jnp.int32)

    def step(state: _Batches) -> _Batches:
        batch_key, reassign_key = jax.random.split(jax.random.fold_in(key, state.steps))
        at = valid_first[jax.random.randint(batch_key, (batch,), 0, valid.sum(), jnp.int32)]
        rows = problem.rows[at]
        label, squared = _nearest(points, rows, state.centers, live)
        seen = state.seen + batch
        check = ((state.weight == 0) & live).any() | (seen >= _MINI_REASSIGN_EVERY * problem.clusters)
        total, count = _sums(points, rows, label, problem.max_clusters)
        weight = state.weight + count
        centers = (state.centers * state.weight[:, None] + total) / jnp.maximum(weight, 1)[:, None]
        centers = jnp.where((count > 0)[:, None], centers, state.centers)
        centers, weight = lax.cond(
            check & (state.steps > 0),
            partial(_reassign_small_clusters, problem),
            lambda key, centers, weight, rows: (centers, weight),
            reassign_key,
            centers,
            weight,
            rows,
        )
        inertia = squared.sum() / batch
        smoothed = jnp.where(state.steps <= 1, inertia, state.smoothed * (1 - smoothing) + inertia * smoothing)
        better = smoothed < state.best
        return _Batches(
            centers,
            weight,
            jnp.where(check, 0, seen),
            smoothed,
            jnp.where(better & (state.steps > 0), smoothed, state.best),  # the first inertia is that of the seeding
            jnp.where(better | (state.steps == 0), 0, state.stale + 1),
            state.steps + 1,
        )

    inf, zero = jnp.asarray(jnp.inf, dtype), jnp.int32(0)
    state = _Batches(centers, jnp.zeros(problem.max_clusters, dtype), zero, inf, inf, zero, zero)
    state = lax.while_loop(lambda state: (state.stale < _MINI_PATIENCE) & (state.steps < most_steps), step, state)
    return state.centers, state.steps


def _reassign_small_clusters(problem: _Problem, key, centers, weight, rows):
    """Clusters that hardly any row was assigned to move to random rows of the batch, half the batch at most.

    They get the least weight of the other clusters.
    """
    small = problem.live & (weight < _MINI_REASSIGN * weight.max())
    place = jnp.cumsum(small.astype(jnp.int32)) - 1
    small = small & (place < len(rows) // 2)
    row = jax.random.permutation(key, rows)[jnp.minimum(place, len(rows) - 1)]
    weight = jnp.where(small, jnp.where(problem.live & ~small, weight, jnp.inf).min(), weight)
    return jnp.where(small[:, None], problem.points.at(row), centers), weight
