"""Nearest neighbors within groups of rows, by blocks: no distance matrix."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int32

from jaxal.numerics import blocks
from jaxal.numerics.distances import Points, squared

_SIZE = 256  # rows on either side of a block of distances


def mean_distance(
    points: Points, group: Int32[Array, " N"], counts: Int32[Array, " G"], *, k: int, root: bool
) -> Float[Array, " N"]:
    """The mean distance of each row to its nearest neighbors in its group.

    Args:
        group: the group 0 .. G-1 of each row; G for rows that are in none.
        counts: neighbors to take in each group: at most k, and fewer than the group has rows. k: static.
        root: distances; otherwise squared distances.
    Returns: 0 where no neighbor is taken, inf for rows in no group.
    Cost: rows are sorted by group; each block of 256 meets the blocks that its groups reach to, O(D) a pair of rows.
    """
    n, n_groups = len(group), len(counts)
    size = min(_SIZE, n)
    order = jnp.argsort(group, stable=True).astype(jnp.int32)
    sorted_group = group[order]
    starts = jnp.searchsorted(sorted_group, jnp.arange(n_groups + 1, dtype=jnp.int32)).astype(jnp.int32)
    end_of_groups = starts[-1]  # rows in no group come last
    counts = jnp.append(counts, 0)
    k = min(k, n)

    def block(i, out):
        start = jnp.minimum(i * size, n - size)
        rows, groups = blocks.take(order, start, size), blocks.take(sorted_group, start, size)
        x = points.at(rows)
        last = groups[-1]
        end = jnp.where(last < n_groups, starts[jnp.minimum(last + 1, n_groups)], end_of_groups)

        def meet(state):
            """The k nearest so far, and the next block of rows: the k nearest of both."""
            column, best = state
            at = jnp.minimum(column, n - size)  # the last block overlaps the one before it
            fresh = at + jnp.arange(size, dtype=jnp.int32) >= column
            others = blocks.take(order, at, size)
            same = (groups[:, None] == blocks.take(sorted_group, at, size)[None]) & (rows[:, None] != others[None])
            distances = jnp.where(same & fresh[None], squared(x, points.at(others)), jnp.inf)
            return column + size, -lax.top_k(-jnp.concatenate([best, distances], axis=1), k)[0]

        nobody = jnp.full((size, k), jnp.inf, points.X.dtype)
        _, best = lax.while_loop(lambda state: state[0] < end, meet, (starts[groups[0]], nobody))
        number = counts[groups]
        taken = jnp.arange(k, dtype=jnp.int32)[None] < number[:, None]
        total = jnp.where(taken, jnp.sqrt(best) if root else best, 0).sum(axis=1)
        mean = total / jnp.maximum(number, 1).astype(total.dtype)
        return out.at[rows].set(jnp.where(groups < n_groups, mean, jnp.inf))

    return lax.fori_loop(0, -(-end_of_groups // size), block, jnp.full(n, jnp.inf, points.X.dtype))


def nearest_rows(
    points: Points, rows: Int32[Array, " M"], valid: Bool[Array, " M"], centers: Float[Array, "K D"], k: int
) -> Int32[Array, "K k"]:
    """Positions in `rows` of the k valid rows nearest to each center, nearest first. Cost: O(M K D)."""
    size = min(_SIZE, len(rows))
    k = min(k, len(rows))

    def meet(i, state):
        best, at = state
        start = jnp.minimum(i * size, len(rows) - size)
        positions = start + jnp.arange(size, dtype=jnp.int32)
        counts = blocks.take(valid, start, size) & (positions >= i * size)
        distances = squared(centers, points.at(blocks.take(rows, start, size)))
        distances = jnp.concatenate([best, jnp.where(counts[None], distances, jnp.inf)], axis=1)
        positions = jnp.concatenate([at, jnp.broadcast_to(positions[None], (len(centers), size))], axis=1)
        best, chosen = lax.top_k(-distances, k)
        return -best, jnp.take_along_axis(positions, chosen, axis=1)

    nobody = jnp.full((len(centers), k), jnp.inf, centers.dtype)
    return lax.fori_loop(0, -(-len(rows) // size), meet, (nobody, jnp.zeros((len(centers), k), jnp.int32)))[1]
