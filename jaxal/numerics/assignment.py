"""Rows and centers: which center is nearest, how far off a row's own center is, and the sums of clusters.

Letters: M rows of a seed, D dimensions, K clusters, `max_clusters` >= K.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int32

from jaxal.numerics import blocks, lazy
from jaxal.numerics.arrays import einsum, index_if, lowest_index
from jaxal.numerics.distances import Points, products

_LISTED = 256  # rows of a block that are gathered from all over the pool
_CENTERS = 128  # of a block: K is a number, not a shape, so that one program serves all K


class Problem(NamedTuple):
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

    @property
    def norms(self) -> Array:
        """(M,) squared norms."""
        return self.points.norms.centered[self.rows]


def over_listed(mask: Bool[Array, " M"], step: Callable, state):
    """step(positions (B,), state) -> state for the positions of all that is true, in order; M where a block has fewer.

    Cost: two passes over the mask.
    """
    n = len(mask)
    size = min(_LISTED, n)
    # Counts by products with triangles: a flat cumsum of 400k takes 10.8 ms, and cumsum compiles half as fast.
    weights = lazy.blocked(mask[None].astype(jnp.float32), 0)[0]
    within = einsum("bi,ij->bj", weights, jnp.triu(jnp.ones((weights.shape[1],) * 2, jnp.float32)))
    before = jnp.cumsum(within[:, -1].astype(jnp.int32)) - within[:, -1].astype(jnp.int32)
    rank = (before[:, None] + within.astype(jnp.int32)).reshape(-1)[:n]
    place = index_if(mask, rank - 1, n + size)
    listed = jnp.full(n + size, n, jnp.int32).at[place].set(jnp.arange(n, dtype=jnp.int32), mode="drop")

    def block(i, state):
        return step(blocks.take(listed, i * size, size), state)

    return lax.fori_loop(0, -(-rank[-1] // size), block, state)


def halves(problem: Problem, centers: Float[Array, "K D"]) -> Float[Array, " K"]:
    """|c|^2 / 2 of each center, inf for those that do not count.

    |x - c|^2 = |x|^2 + 2 (|c|^2 / 2 - <c, x>), and |x|^2 is the same for all centers: the bracket, here called `rest`,
    says which one is nearest.
    """
    return jnp.where(problem.live, (centers * centers).sum(axis=1) / 2, jnp.inf)


def nearest(problem: Problem, rows: Int32[Array, " R"], centers: Float[Array, "K D"]):
    """The nearest live center of each row (R,), the lowest of equals, and its squared distance (R,)."""
    width = min(_CENTERS, len(centers))
    padding = -len(centers) % width
    half = jnp.pad(halves(problem, centers), (0, padding), constant_values=jnp.inf)[:, None]
    centers = jnp.pad(centers, ((0, padding), (0, 0)))

    def block(start, size):
        some = blocks.take(rows, start, size)
        x = problem.points.at(some)

        def meet(i, best):
            least, label = best
            rest = blocks.take(half, i * width, width) - products(blocks.take(centers, i * width, width), x)
            fresh = rest.min(axis=0, keepdims=True)
            number = i * width + lowest_index(rest == fresh, axis=0)
            nearer = fresh[0] < least
            return jnp.where(nearer, fresh[0], least), jnp.where(nearer, number, label)

        none = jnp.full(size, jnp.inf, centers.dtype), jnp.zeros(size, jnp.int32)
        least, label = lax.fori_loop(0, -(-problem.clusters // width), meet, none)
        squared = squared_of(least, problem.points.norms.centered[some])
        return jnp.stack([label.astype(squared.dtype), squared])

    label, squared = blocks.map_blocks(block, len(rows), blocks.rows(width))
    return label.astype(jnp.int32), squared


def squared_of(rest: Array, norms: Array) -> Array:
    """Squared distances; 0 where they are within rounding."""
    squared = norms + 2 * rest
    return jnp.where(squared > 8 * jnp.finfo(squared.dtype).eps * norms, squared, 0)


def assign(problem: Problem, centers: Float[Array, "K D"]):
    """Labels (M,) and squared distances (M,) to the nearest center; K and 0 for rows that do not count."""
    label, squared = nearest(problem, problem.rows, centers)
    return jnp.where(problem.valid, label, problem.clusters), jnp.where(problem.valid, squared, 0)


def rest_of_own(problem: Problem, labels: Int32[Array, " M"], centers: Float[Array, "K D"], mask: Bool[Array, " M"]):
    """`rest` (M,) of each row's own center, for rows of the mask. Cost: O(D) a row of the mask."""
    half = halves(problem, centers)

    def step(at, rest):
        label = labels[at]
        x = problem.points.at(problem.rows[at])
        return rest.at[at].set(half[label] - einsum("bd,bd->b", centers[label], x), mode="drop")

    return over_listed(mask, step, jnp.zeros(len(mask), centers.dtype))


def own_squared(problem: Problem, labels: Int32[Array, " M"], centers: Float[Array, "K D"]):
    """Squared distance (M,) of each row to its own center; 0 for rows that do not count."""
    half = halves(problem, centers)

    def block(start, size):
        label, rows = blocks.take(labels, start, size), blocks.take(problem.rows, start, size)
        rest = half[label] - einsum("bd,bd->b", centers[label], problem.points.at(rows))
        return squared_of(rest, problem.points.norms.centered[rows])[None]

    squared = blocks.map_blocks(block, len(labels), blocks.rows(centers.shape[1]))[0]
    return jnp.where(problem.valid, squared, 0)


def sums(points: Points, rows: Int32[Array, " R"], label: Int32[Array, " R"], n_labels: int):
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


def renew_sums(problem: Problem, labels: Int32[Array, " M"], changed: Bool[Array, " K"], total, count):
    """The sums (K, D) and numbers (K,) of `sums`, where only clusters that `changed` differ from those given.

    Those are summed afresh, in the order of the rows: running sums drift, and a cluster that kept its rows must keep
    its center to the bit.
    """
    own = index_if(problem.valid, labels, problem.max_clusters)
    mask = problem.valid & changed[labels]

    def step(at, state):
        total, count = state
        label = index_if(at < len(labels), own[at], problem.max_clusters)
        x = problem.points.at(problem.rows[at])
        return total.at[label].add(x, mode="drop"), count.at[label].add(1, mode="drop")

    return over_listed(mask, step, (jnp.where(changed[:, None], 0, total), jnp.where(changed, 0, count)))


def mean_variance(problem: Problem):
    """The variance of a feature over the rows that count, the mean of all features."""
    points, valid = problem.points, problem.valid
    n = valid.sum().astype(points.X.dtype)
    mean = (sums(points, problem.rows, jnp.where(valid, 0, 1), 1)[0] / n)[0]
    return jnp.maximum(jnp.where(valid, problem.norms, 0).sum() / n - (mean * mean).sum(), 0) / points.X.shape[1]
