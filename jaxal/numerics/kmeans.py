"""k-means for all seeds: seeded by greedy k-means++, then Lloyd's iterations or mini-batches.

Each seed clusters its own rows of one shared matrix, given as row numbers, so that no seed copies the pool. Shapes
follow `max_clusters`; the number of clusters K is a value, so that a K that grows does not compile anew.

Letters: S seeds, M rows of a seed, D dimensions, K clusters, `max_clusters` >= K.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Int32, Key

from jaxal.numerics import bounds, lazy
from jaxal.numerics.arrays import split_each, tie_breaks
from jaxal.numerics.assignment import Problem, assign, nearest, own_squared, squared_of, sums
from jaxal.numerics.distances import Points, above_rounding
from jaxal.numerics.lloyd import lloyd

# These constants are scikit-learn's, of MiniBatchKMeans.
_SEED_ROWS = 15_000  # rows that first centers are drawn from, as for mini-batches of 5,000
_MINI_EPOCHS = 100
_MINI_PATIENCE = 10  # mini-batches without a lower smoothed inertia
_MINI_REASSIGN = 0.01  # a cluster with fewer rows than this share of the largest one's is put elsewhere
_MINI_REASSIGN_EVERY = 10  # rows seen for each cluster between two such checks

_MINI_DRAWN_AGAIN = 3  # of a pool of at most so many mini-batches, rows are drawn often enough for bounds to hold
_TABLE = 2**27  # squared distances that are kept while first centers are chosen: 512 MB in float32


class Clusters(NamedTuple):
    """Where each seed's rows belong."""

    labels: Array  # (S, M) int32, 0 .. K-1; K for rows that do not count
    squared: Array  # (S, M) squared distance to the center of the cluster, 0 for rows that do not count
    centers: Array  # (S, max_clusters, D) about the mean of the pool; those after the first K mean nothing
    iterations: Array  # (S,) int32


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
    chosen, nearest_first = _first_centers(seed_keys, points, rows, valid, clusters, max_clusters)
    rows = jnp.broadcast_to(rows, valid.shape)

    def one(seed):
        key, rows, valid, chosen, labels = seed
        problem = Problem(points, rows, valid, clusters, max_clusters)
        centers = points.at(rows[chosen])
        if batch is None:
            labels = assign(problem, centers)[0] if labels is None else jnp.where(valid, labels, clusters)
            end = lloyd(problem, centers, labels)
            return end.labels, own_squared(problem, end.labels, end.centers), end.centers, end.iterations
        centers, steps = _mini_batches(key, problem, centers, min(batch, len(rows)))
        return *assign(problem, centers), centers, steps

    return Clusters(*lax.map(one, (batch_keys, rows, valid, chosen, nearest_first)))


# ---- first centers


def _first_centers(keys, points, rows, valid, clusters, max_clusters):
    """Positions (S, max_clusters) in `rows` by greedy k-means++; those after the first K mean nothing. And
    which of them is nearest to each row (S, M).

    Of more than `_SEED_ROWS` rows each seed draws from a random part. Then there is None for the nearest.
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
            chosen, labels = _plus_plus(key[None], points, rows, order[None], clusters, max_clusters)
            return chosen[0], labels[0]
        part = jnp.argsort(-order)[:size].astype(jnp.int32)
        # The shape follows max_clusters; what is drawn must follow K.
        counts = jnp.arange(size, dtype=jnp.int32) < jnp.maximum(_SEED_ROWS, 3 * clusters)
        order = jnp.where(counts, order[part], -1)
        return part[_plus_plus(key[None], points, rows[part], order[None], clusters, max_clusters)[0][0]], None

    return lax.map(one, (keys, jnp.broadcast_to(rows, valid.shape), order))


def _plus_plus(keys, points, rows, order, clusters, max_clusters):
    """Positions (S, max_clusters) in rows (M,), which are the same for all seeds, and the nearest of them (S, M).

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

    # Every seed's candidates would be compared with all rows max_clusters times. Where those are more pairs than there
    # are, all pairs are computed at once, in one large product.
    table = len(keys) * most_candidates * max_clusters > size and size * size <= _TABLE
    pairs = to_all(x[None], norms[None])[0] if table else None

    def squared_to_all(chosen):
        return to_all(x[chosen], norms[chosen]) if pairs is None else pairs[chosen]

    def choose(i, state):
        nearest, labels, chosen = state
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
        left = left[seeds, best].at[seeds, row].set(0)
        return left, jnp.where(left < nearest, i, labels), chosen.at[:, i].set(row)

    first = jnp.argmax(order, axis=1).astype(jnp.int32)
    nearest = jnp.where(order >= 0, squared_to_all(first[:, None])[:, 0], 0).at[seeds, first].set(0)
    chosen = jnp.broadcast_to(first[:, None], (len(keys), max_clusters))
    _, labels, chosen = lax.fori_loop(1, clusters, choose, (nearest, jnp.zeros(order.shape, jnp.int32), chosen))
    return chosen, labels


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
    labels: Any  # (M,) of the rows drawn so far, and
    moved: Any  # (max_clusters,) how far centers moved in the last step, and
    bounds: Any  # `bounds.Bounds`, where those pay; else all three are ()


def _mini_batches(key, problem: Problem, centers, batch: int):
    """scikit-learn's mini-batch updates: a center is the mean of all rows that were ever assigned to it.

    The more rows those are, the less a center moves: where most rows are drawn again and again, bounds save distances.
    Returns centers (max_clusters, D) and the number of batches.
    """
    points, valid, live, dtype = problem.points, problem.valid, problem.live, problem.points.X.dtype
    n = valid.sum().astype(dtype)
    valid_first = jnp.argsort(~valid, stable=True).astype(jnp.int32)
    # There are some four times as many steps as iterations of Lloyd.
    bounded = len(valid) <= _MINI_DRAWN_AGAIN * batch and bounds.pay(4 * len(valid), *centers.shape)
    smoothing = jnp.minimum(2 * batch / (n + 1), 1)
    most_steps = (_MINI_EPOCHS * n / batch).astype(jnp.int32)

    def step(state: _Batches) -> _Batches:
        batch_key, reassign_key = jax.random.split(jax.random.fold_in(key, state.steps))
        at = valid_first[jax.random.randint(batch_key, (batch,), 0, valid.sum(), jnp.int32)]
        rows = problem.rows[at]
        if bounded:
            drawn = jnp.zeros(len(valid), bool).at[at].set(True)
            labels, rest, known, _ = bounds.reassign(
                problem, state.bounds, state.labels, state.centers, state.moved, state.steps, drawn
            )
            label, squared = labels[at], squared_of(rest[at], points.norms.centered[rows])
        else:
            label, squared = nearest(problem, rows, state.centers)
            labels, known = (), ()
        seen = state.seen + batch
        check = ((state.weight == 0) & live).any() | (seen >= _MINI_REASSIGN_EVERY * problem.clusters)
        total, count = sums(points, rows, label, problem.max_clusters)
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
            labels,
            jnp.sqrt(((centers - state.centers) ** 2).sum(axis=1)) if bounded else (),
            known,
        )

    inf, zero = jnp.asarray(jnp.inf, dtype), jnp.int32(0)
    nothing = jnp.zeros(problem.max_clusters, dtype)
    known = (jnp.zeros(len(valid), jnp.int32), nothing, bounds.begin(problem)) if bounded else ((), (), ())
    state = _Batches(centers, nothing, zero, inf, inf, zero, zero, *known)
    state = lax.while_loop(lambda state: (state.stale < _MINI_PATIENCE) & (state.steps < most_steps), step, state)
    return state.centers, state.steps


def _reassign_small_clusters(problem: Problem, key, centers, weight, rows):
    """Clusters that hardly any row was assigned to move to random rows of the batch, half the batch at most.

    They get the least weight of the other clusters.
    """
    small = problem.live & (weight < _MINI_REASSIGN * weight.max())
    place = jnp.cumsum(small.astype(jnp.int32)) - 1
    small = small & (place < len(rows) // 2)
    row = jax.random.permutation(key, rows)[jnp.minimum(place, len(rows) - 1)]
    weight = jnp.where(small, jnp.where(problem.live & ~small, weight, jnp.inf).min(), weight)
    return jnp.where(small[:, None], problem.points.at(row), centers), weight
