"""Balls of one radius around the rows of a pool: the radius, and which rows each ball holds. For ProbCover."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from tqdm import tqdm

from jaxal.data.format import aligned_empty
from jaxal.numerics import blocks, distances, programs
from jaxal.numerics.distances import Norms, Points
from jaxal.numerics.kmeans import kmeans

_KEPT_BYTES = 1 << 29  # balls are kept while all of them take no more, up to 65,000 rows; else each is computed anew
_BLOCK = 1 << 22  # distances that are held at a time
_COLUMNS = 1 << 14  # rows that a block of rows is compared with at a time
_GRID = np.arange(0.2, 2.2, 0.2)  # radii that scikit-activeml tries


_kept_kmeans = programs.Kept(kmeans, "kmeans", ("max_clusters", "batch"), quick=True)


class Graph(NamedTuple):
    """Row i's ball holds the rows nearer to it than the radius, itself too; the same for all seeds."""

    norms: Norms
    limit: Array  # () a ball holds what is at a squared distance below this
    degrees: Array  # (N,) int32, rows in each ball
    bits: Array | None  # (N, W) uint32, the balls, 32 rows a word; None: too large to keep


def build(points: Points, limit) -> Graph:
    """The balls of all rows. Cost: all pairs of rows, O(N^2 D); memory: the bits, N^2 / 8 bytes, if they are kept."""
    n = len(points.X)
    if n * -(-n // 32) * 4 > _KEPT_BYTES:
        degrees = _over_rows("degrees", points, partial(_degree_block, points, limit))
        return Graph(points.norms, limit, jnp.asarray(degrees), None)
    bits = _over_rows("balls", points, partial(_ball_block, points, limit))
    counts = [np.bitwise_count(bits[i : i + 4096]).sum(axis=1, dtype=np.int32) for i in range(0, n, 4096)]
    return Graph(points.norms, limit, jnp.asarray(np.concatenate(counts)), blocks.to_device(bits))


def ball(graph: Graph, X, rows):
    """(S, W) the balls of rows (S,)."""
    if graph.bits is not None:
        return graph.bits[rows]
    return _pack(_squared_to_all(Points(X, graph.norms), rows) < graph.limit)


def block_rows(n: int) -> int:
    """Rows of a block that is compared with all n rows."""
    return max(32, _BLOCK // n)


def count_new(ball, covered):
    """How many rows of balls (..., W) are not covered (..., W), as float32."""
    return lax.population_count(ball & ~covered).sum(axis=-1, dtype=jnp.uint32).astype(jnp.float32)


# ---- the radius


def limit(points: Points, n_clusters: int, key, *, official: bool, delta: float | None, alpha: float):
    """() the squared distance below which a row is in a ball.

    The radius is `delta`, or the largest at which a share `alpha` of the balls is pure: all their rows are in one of
    n_clusters k-means clusters. Cost: k-means, and all pairs of rows.
    """
    dtype = np.dtype(points.X.dtype)
    if delta is None:
        n = len(points.X)
        rows, valid = np.arange(n, dtype=np.int32)[None], np.ones((1, n), bool)
        n_clusters = min(n_clusters, n)
        found = _kept_kmeans(key[None], points, rows, valid, np.int32(n_clusters), max_clusters=n_clusters)
        squared_radii = _over_rows("radii", points, partial(_radius_block, points, found.labels[0]))
        if official:
            return jnp.asarray(radius(squared_radii, alpha), dtype)
        delta = grid_radius(np.sqrt(squared_radii.astype(np.float64)), alpha)
    squared = dtype.type(delta) ** 2
    # official: a ball holds what is strictly nearer; skactiveml: also what is at the radius
    return jnp.asarray(squared if official else np.nextafter(squared, dtype.type(np.inf)))


def radius(radii, alpha: float):
    """The largest radius at which a share `alpha` of the balls is pure, where a ball holds what is strictly nearer.

    radii: (N,) each row's distance to the nearest row of another cluster; its ball is pure up to that radius. At most
    floor((1 - alpha) N) balls may be impure, so the radius is the element of that number, sorted. The pair of rows at
    that very distance is not in each other's balls.
    """
    return np.sort(radii)[min(len(radii) - 1, math.floor((1 - alpha) * len(radii) + 1e-9))]


def grid_radius(radii, alpha: float, grid=_GRID):
    """The last radius of the grid before the share of pure balls, which hold what is at the radius, is below alpha."""
    pure = [(radii > delta).mean() >= alpha for delta in grid]
    return grid[max(0, [*pure, False].index(False) - 1)]


# ---- all pairs of rows


def _over_rows(what: str, points: Points, compute: Callable[[int, int], Array]) -> np.ndarray:
    """compute(start, size) for blocks of all rows, put together. Work of more than 2 s shows a bar on a terminal."""
    n = len(points.X)
    size = min(n, block_rows(n))
    like = jax.eval_shape(lambda start: compute(start, size), 0)
    out = aligned_empty((n, *like.shape[1:]), like.dtype)
    with tqdm(total=n, desc=f"probcover: {what}", unit="row", disable=None, leave=False, delay=2) as bar:
        for i in range(0, n, size):
            start = max(0, min(i, n - size))  # the last block overlaps the one before it: one shape
            out[start : start + size] = compute(start, size)
            bar.update(min(size, n - i))
    return out


@partial(jax.jit, static_argnums=3)
def _radius_block(points, label, start, size):
    """Squared distance (size,) of rows to the nearest row of another cluster."""
    other = blocks.take(label, start, size)[:, None] != label[None]
    squared = _squared_to_all(points, start + jnp.arange(size, dtype=jnp.int32))
    return jnp.where(other, squared, jnp.inf).min(axis=1)


@partial(jax.jit, static_argnums=3)
def _ball_block(points, limit, start, size):
    """(size, W) uint32."""
    return _pack(_squared_to_all(points, start + jnp.arange(size, dtype=jnp.int32)) < limit)


@partial(jax.jit, static_argnums=3)
def _degree_block(points, limit, start, size):
    """(size,) int32."""
    squared = _squared_to_all(points, start + jnp.arange(size, dtype=jnp.int32))
    return (squared < limit).sum(axis=1, dtype=jnp.int32)


def _squared_to_all(points, rows):
    """Squared distances (R, N) of rows (R,) to all rows, 0 to themselves."""
    x, norms = points.at(rows), points.norms.centered
    n = points.X.shape[0]

    def block(start, size):
        scale = norms[rows][:, None] + blocks.take(norms, start, size)[None]
        others = points.at(start + jnp.arange(size, dtype=jnp.int32))
        return distances.above_rounding(scale - 2 * distances.products(x, others), scale)

    squared = blocks.map_blocks(block, n, min(n, _COLUMNS))
    return jnp.where(rows[:, None] == jnp.arange(n, dtype=jnp.int32)[None], 0, squared)


def _pack(mask):
    """(R, N) bool as (R, W) uint32."""
    padded = jnp.pad(mask, ((0, 0), (0, -mask.shape[1] % 32))).reshape(len(mask), -1, 32).astype(jnp.uint32)
    return (padded << jnp.arange(32, dtype=jnp.uint32)[None, None]).sum(axis=2, dtype=jnp.uint32)
