"""Nearest neighbours within groups of rows, by blocks: no distance matrix."""

import jax.numpy as jnp
from jax import Array, lax

from jaxal.numerics import blocks
from jaxal.numerics.distances import Points, squared

_SIZE = 256  # rows on either side of a block of distances


def mean_distance(points: Points, group, counts, *, k: int, root: bool) -> Array:
    """The mean (squared, unless `root`) distance of each row to its nearest neighbours in its group.

    Args:
        group: (N,) int32, G for rows that are in none. counts: (G,) neighbours to take in each group: at most k, and
            fewer than the group has rows. k: static.
    Returns: (N,), 0 where no neighbour is taken, inf for rows in no group.
    Cost: rows sorted by group, each block of them meets the blocks its groups reach to.
    """
    n, n_groups = len(group), len(counts)
    size = min(_SIZE, n)
    order = jnp.argsort(group, stable=True).astype(jnp.int32)
    sorted_group = group[order]
    starts = jnp.searchsorted(sorted_group, jnp.arange(n_groups + 1, dtype=jnp.int32)).astype(jnp.int32)
    last = starts[-1]  # rows of groups come first
    counts = jnp.append(counts, 0)
    k = min(k, n)

    def block(i, out):
        start = jnp.minimum(i * size, n - size)
        rows, mine = blocks.take(order, start, size), blocks.take(sorted_group, start, size)
        x = points.at(rows)
        end = jnp.where(mine[-1] < n_groups, starts[jnp.minimum(mine[-1] + 1, n_groups)], last)

        def meet(state):
            column, best = state
            at = jnp.minimum(column, n - size)
            there = at + jnp.arange(size, dtype=jnp.int32)
            others = blocks.take(order, at, size)
            same = (mine[:, None] == blocks.take(sorted_group, at, size)[None]) & (rows[:, None] != others[None])
            apart = jnp.where(same & (there >= column)[None], squared(x, points.at(others)), jnp.inf)
            return column + size, -lax.top_k(-jnp.concatenate([best, apart], axis=1), k)[0]

        nobody = jnp.full((size, k), jnp.inf, points.X.dtype)
        _, best = lax.while_loop(lambda state: state[0] < end, meet, (starts[mine[0]], nobody))
        number = counts[mine]
        taken = jnp.arange(k, dtype=jnp.int32)[None] < number[:, None]
        total = jnp.where(taken, jnp.sqrt(best) if root else best, 0).sum(axis=1)
        mean = total / jnp.maximum(number, 1).astype(total.dtype)
        return out.at[rows].set(jnp.where(mine < n_groups, mean, jnp.inf))

    return lax.fori_loop(0, -(-last // size), block, jnp.full(n, jnp.inf, points.X.dtype))


def nearest_rows(points: Points, rows, valid, centers, k: int) -> Array:
    """Positions in `rows` (M,) of the k valid rows nearest to each center (K, D), nearest first: (K, k) int32."""
    size = min(_SIZE, len(rows))
    k = min(k, len(rows))

    def meet(i, state):
        best, at = state
        start = jnp.minimum(i * size, len(rows) - size)
        there = start + jnp.arange(size, dtype=jnp.int32)
        counts = blocks.take(valid, start, size) & (there >= i * size)
        apart = squared(centers, points.at(blocks.take(rows, start, size)))
        apart = jnp.concatenate([best, jnp.where(counts[None], apart, jnp.inf)], axis=1)
        there = jnp.concatenate([at, jnp.broadcast_to(there[None], (len(centers), size))], axis=1)
        best, chosen = lax.top_k(-apart, k)
        return -best, jnp.take_along_axis(there, chosen, axis=1)

    nobody = jnp.full((len(centers), k), jnp.inf, centers.dtype)
    return lax.fori_loop(0, -(-len(rows) // size), meet, (nobody, jnp.zeros((len(centers), k), jnp.int32)))[1]
