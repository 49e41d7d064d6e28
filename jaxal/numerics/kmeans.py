"""k-means for all seeds: seeded by greedy k-means++, then Lloyd's iterations or mini-batches.

Each seed clusters its own rows of one shared matrix, given as a list, so that no seed copies the pool. Shapes follow
the largest number of clusters; how many there are is a number, so a count that grows does not compile anew.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.numerics import blocks, lazy
from jaxal.numerics.distances import Points, above_rounding, products

_MAX_ITER = 300  # as in scikit-learn, and so are the other constants
_TOL = 1e-4  # centers are done when they move no more than this share of the mean variance of a feature
_SEED_ROWS = 15_000  # rows that first centers are drawn from, as for mini-batches of 5,000
_TABLE = 2**27  # squared distances kept while seeding: 512 MB in float32
_MINI_EPOCHS = 100
_MINI_PATIENCE = 10  # mini-batches without a lower smoothed inertia
_MINI_REASSIGN = 0.01  # clusters with fewer rows than this share of the largest one's are put elsewhere
_MINI_REASSIGN_EVERY = 10  # rows seen for each cluster between two such checks


class Clusters(NamedTuple):
    """Where each seed's rows belong."""

    labels: Array  # (S, M) int32; `clusters` itself for rows that do not count
    squared: Array  # (S, M) squared distance to the own center, 0 for rows that do not count
    centers: Array  # (S, K, D) about the mean of the pool
    iterations: Array  # (S,)


@partial(jax.jit, static_argnames=("most", "batch"))
def kmeans(keys, points: Points, rows, valid, clusters, *, most: int, batch: int | None = None) -> Clusters:
    """Cluster rows by Euclidean distance.

    Args:
        keys: (S,). points: the pool. rows: (S, M) int32, or (1, M) the same for all seeds.
        valid: (S, M) bool, rows that count.
        clusters: K, at most the number of valid rows. most: static, the largest K this shape is compiled for.
        batch: rows of a mini-batch; None: Lloyd's algorithm on all rows.
    Returns: `Clusters`. A cluster is empty only where distinct rows are fewer than K.
    Cost: an iteration compares M rows with `most` centers; seeds one after the other.
    Reference: Lloyd 1982; Arthur and Vassilvitskii, SODA 2007; Sculley, WWW 2010 (mini-batches).
    """
    most = min(most, rows.shape[1])
    seed_keys, batch_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    chosen = _seeding(seed_keys, points, rows, valid, clusters, most)
    rows = jnp.broadcast_to(rows, valid.shape)
    centers = points.at(jnp.take_along_axis(rows, chosen, axis=1))

    def one(seed):
        key, rows, valid, centers = seed
        if batch is not None:
            centers, steps = _mini_batches(key, points, rows, valid, clusters, centers, batch)
            return *_assign(points, rows, valid, clusters, centers), centers, steps
        return _lloyd(points, rows, valid, clusters, centers)

    return Clusters(*lax.map(one, (batch_keys, rows, valid, centers)))


def _seeding(keys, points, rows, valid, clusters, most):
    """The first centers by greedy k-means++: positions in `rows`, (S, most); those after the first K mean nothing.

    Of more than `_SEED_ROWS` rows each seed sees a random part.
    """
    n = valid.shape[1]
    part_keys, keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    lots = jnp.where(valid, jax.vmap(lambda key: lazy.priorities(key, n))(part_keys), -1)
    size = min(n, max(_SEED_ROWS, 3 * most))
    if len(rows) == 1 and size == n:
        return _plus_plus(keys, points, rows[0], lots, clusters, most)

    def one(seed):
        key, rows, lots = seed
        if size == n:
            return _plus_plus(key[None], points, rows, lots[None], clusters, most)[0]
        part = jnp.argsort(-lots)[:size].astype(jnp.int32)
        # The shape follows the padded K, what is drawn must not.
        drawn_from = jnp.arange(size, dtype=jnp.int32) < jnp.maximum(_SEED_ROWS, 3 * clusters)
        lots = jnp.where(drawn_from, lots[part], -1)
        return part[_plus_plus(key[None], points, rows[part], lots[None], clusters, most)[0]]

    return lax.map(one, (keys, jnp.broadcast_to(rows, valid.shape), lots))


def _plus_plus(keys, points, rows, lots, clusters, most):
    """Positions (S, most) in rows (R,), the same for all seeds; lots (S, R): the largest comes first, -1 never.

    A center is the best of a few candidates drawn with probability proportional to their squared distance to those
    before: the one that takes most from the sum of all squared distances.
    Reference: Arthur and Vassilvitskii, SODA 2007, section 5; the number of candidates, 2 + floor(log K), is
    scikit-learn's.
    """
    s, size = jnp.arange(len(keys), dtype=jnp.int32), len(rows)
    x, norms, trials = points.at(rows), points.norms.centered[rows], 2 + int(math.log(most))

    def compared(some, norm):
        """Squared distances (S, P, R) of centered rows (S, P, D) to all."""
        scale = norm[:, :, None] + norms[None, None]
        return above_rounding(scale - 2 * jnp.tensordot(some, x, (2, 1), precision=lax.Precision.HIGHEST), scale)

    # Where more rows are compared than there are, all pairs at once: one large product.
    table = compared(x[None], norms[None])[0] if trials * most > size and size * size <= _TABLE else None

    def apart(chosen):
        return compared(x[chosen], norms[chosen]) if table is None else table[chosen]

    # K is a number and `most` a shape: there are places for as many candidates as `most` would have, and K's own count.
    counts = jnp.arange(trials, dtype=jnp.int32) < 2 + jnp.log(clusters.astype(jnp.float32)).astype(jnp.int32)

    def choose(i, state):
        nearest, chosen = state
        u = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, i), (trials, 2), x.dtype))(keys)
        weights = lazy.blocked(nearest, 0)
        block = lazy.invert(weights.sum(axis=2)[:, None], u[:, :, 0])
        drawn = block * weights.shape[2] + lazy.invert(weights[s[:, None], block], u[:, :, 1])
        drawn = jnp.minimum(drawn, size - 1)  # all distances are 0: any row will do
        left = jnp.minimum(apart(drawn), nearest[:, None])
        taken = (nearest[:, None] - left).sum(axis=2)  # not the sum of what is left: that would round off
        best = jnp.argmax(jnp.where(counts[None], taken, -1), axis=1)
        row = drawn[s, best]
        return left[s, best].at[s, row].set(0), chosen.at[:, i].set(row)

    first = jnp.argmax(lots, axis=1).astype(jnp.int32)
    nearest = jnp.where(lots >= 0, apart(first[:, None])[:, 0], 0).at[s, first].set(0)
    chosen = jnp.broadcast_to(first[:, None], (len(keys), most))
    return lax.fori_loop(1, clusters, choose, (nearest, chosen))[1]


def _nearest(points, rows, centers, known):
    """The nearest known center of each row (M,) and its squared distance (M,)."""
    half = jnp.where(known, (centers * centers).sum(axis=1) / 2, jnp.inf)[:, None]
    numbers = jnp.arange(len(centers), dtype=jnp.int32)[:, None]

    def block(start, size):
        some = blocks.take(rows, start, size)
        # |x|^2 is the same for all centers. Rows come last, and the minimum twice: XLA:CPU's argmin is slower.
        rest = half - products(centers, points.at(some))
        best = rest.min(axis=0, keepdims=True)
        label = jnp.where(rest == best, numbers, len(centers)).min(axis=0)
        norms = points.norms.centered[some]
        apart = norms + 2 * best[0]
        return jnp.stack(
            [label.astype(apart.dtype), jnp.where(apart > 8 * jnp.finfo(apart.dtype).eps * norms, apart, 0)]
        )

    label, apart = blocks.map_blocks(block, len(rows), blocks.rows(len(centers)))
    return label.astype(jnp.int32), apart


def _assign(points, rows, valid, clusters, centers):
    """Labels and squared distances of rows, with their stand-ins where rows do not count."""
    label, apart = _nearest(points, rows, centers, jnp.arange(len(centers), dtype=jnp.int32) < clusters)
    return jnp.where(valid, label, clusters), jnp.where(valid, apart, 0)


def _sums(points, rows, label, most):
    """The sum and number of each cluster's rows: (most, D), (most,). Labels of `most` and above are dropped."""
    dim, size = points.X.shape[1], min(len(rows), blocks.rows(points.X.shape[1]))

    def add(i, state):
        total, count = state
        start = jnp.minimum(i * size, len(rows) - size)
        fresh = start + jnp.arange(size, dtype=jnp.int32) >= i * size  # the last block overlaps the one before it
        at = jnp.where(fresh, blocks.take(label, start, size), most)
        x = points.at(blocks.take(rows, start, size))
        return total.at[at].add(x, mode="drop"), count.at[at].add(1, mode="drop")

    dtype = points.X.dtype
    return lax.fori_loop(0, -(-len(rows) // size), add, (jnp.zeros((most, dim), dtype), jnp.zeros(most, dtype)))


def _lloyd(points, rows, valid, clusters, centers):
    """Lloyd's algorithm on one seed; an empty cluster is put where the row farthest from its center is."""
    most = len(centers)
    live = jnp.arange(most, dtype=jnp.int32) < clusters
    n = valid.sum().astype(points.X.dtype)
    label, apart = _assign(points, rows, valid, clusters, centers)
    norms = jnp.where(valid, points.norms.centered[rows], 0)
    mean = (_sums(points, rows, jnp.where(valid, 0, 1), 1)[0] / n)[0]
    variance = jnp.maximum(norms.sum() / n - (mean * mean).sum(), 0)

    def relocate(total, count, label, apart):
        empty = live & (count == 0)
        place = jnp.cumsum(empty.astype(jnp.int32)) - 1
        far, at = lax.top_k(apart, most)
        use = empty & (far[place] > 0)
        row = at[place]
        x = points.at(rows[row])
        source = jnp.where(use, label[row], most)
        total = total.at[source].add(-x, mode="drop")
        count = count.at[source].add(-1, mode="drop")
        return jnp.where(use[:, None], x, total), jnp.where(use, 1, count)

    def iterate(state):
        centers, label, apart, _, iteration = state
        total, count = _sums(points, rows, jnp.where(label < clusters, label, most), most)
        total, count = lax.cond(
            (live & (count == 0)).any(), relocate, lambda total, count, *_: (total, count), total, count, label, apart
        )
        moved = jnp.where((count > 0)[:, None], total / jnp.maximum(count, 1)[:, None], centers)
        shift = ((moved - centers) ** 2).sum()
        after, apart = _assign(points, rows, valid, clusters, moved)
        done = (after == label).all() | (shift <= _TOL * variance / points.X.shape[1])
        return moved, after, apart, done, iteration + 1

    centers, label, apart, _, iteration = lax.while_loop(
        lambda state: ~state[3] & (state[4] < _MAX_ITER),
        iterate,
        (centers, label, apart, jnp.bool_(False), jnp.int32(0)),
    )
    return label, apart, centers, iteration


def _mini_batches(key, points, rows, valid, clusters, centers, batch):
    """scikit-learn's mini-batch updates: a center is the mean of all rows it was ever assigned."""
    most, dtype = len(centers), points.X.dtype
    live = jnp.arange(most, dtype=jnp.int32) < clusters
    n = valid.sum().astype(dtype)
    batch = min(batch, len(rows))
    order = jnp.argsort(~valid, stable=True).astype(jnp.int32)  # rows that count come first
    smoothing = jnp.minimum(2 * batch / (n + 1), 1)
    steps = (_MINI_EPOCHS * n / batch).astype(jnp.int32)

    def reassign(key, centers, weight, some):
        """Clusters that hardly any row was assigned to move to random rows of the batch, with the weight of the least
        among the others; half the batch at most."""
        least = live & (weight < _MINI_REASSIGN * weight.max())
        place = jnp.cumsum(least.astype(jnp.int32)) - 1
        least = least & (place < batch // 2)
        other = jax.random.permutation(key, some)[jnp.minimum(place, batch - 1)]
        weight = jnp.where(least, jnp.where(live & ~least, weight, jnp.inf).min(), weight)
        return jnp.where(least[:, None], points.at(rows[other]), centers), weight

    def step(state):
        centers, weight, seen, smooth, best, stale, i = state
        draw, move = jax.random.split(jax.random.fold_in(key, i))
        some = order[jax.random.randint(draw, (batch,), 0, valid.sum(), jnp.int32)]
        label, apart = _nearest(points, rows[some], centers, live)
        seen = seen + batch
        due = ((weight == 0) & live).any() | (seen >= _MINI_REASSIGN_EVERY * clusters)
        total, count = _sums(points, rows[some], label, most)
        after = weight + count
        moved = (centers * weight[:, None] + total) / jnp.maximum(after, 1)[:, None]
        moved = jnp.where((count > 0)[:, None], moved, centers)
        moved, after = lax.cond(
            due & (i > 0), reassign, lambda key, centers, weight, some: (centers, weight), move, moved, after, some
        )
        inertia = apart.sum() / batch
        smooth = jnp.where(i <= 1, inertia, smooth * (1 - smoothing) + inertia * smoothing)
        better = smooth < best
        stale = jnp.where(better | (i == 0), 0, stale + 1)
        # the first inertia is that of the seeding, and does not count
        best = jnp.where(better & (i > 0), smooth, best)
        return moved, after, jnp.where(due, 0, seen), smooth, best, stale, i + 1

    inf, zero = jnp.asarray(jnp.inf, dtype), jnp.int32(0)
    centers, *_, done = lax.while_loop(
        lambda state: (state[5] < _MINI_PATIENCE) & (state[6] < steps),
        step,
        (centers, jnp.zeros(most, dtype), zero, inf, inf, zero, zero),
    )
    return centers, done
