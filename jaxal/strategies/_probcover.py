"""ProbCover: the row whose ball holds most rows that no ball holds yet. Also an initial pool selection."""

import hashlib
import json
import math
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from tqdm import tqdm

from jaxal.data.files import atomic_write
from jaxal.data.format import aligned_empty
from jaxal.errors import StoreError
from jaxal.numerics import blocks, distances, lazy
from jaxal.numerics.distances import Norms, Points
from jaxal.numerics.kmeans import kmeans
from jaxal.strategies.interface import Strategy, check_setting
from jaxal.strategies.utilities import before_each

_KEPT_BYTES = 1 << 29  # balls of all rows are kept while they take no more, up to 65,000 rows; else computed anew
_BLOCK = 1 << 22  # distances held at a time
_VERSION = 3  # of how radius and balls are computed, k-means included: raised when that changes, so no cache stays
_GRID = np.arange(0.2, 2.2, 0.2)  # radii that scikit-activeml tries


class Graph(NamedTuple):
    """Row i's ball holds the rows nearer to it than the radius, itself too; the same for all seeds."""

    norms: Norms
    limit: Array  # () a ball holds what is at a squared distance below this
    degrees: Array  # (N,) int32, rows in each ball
    bits: Array | None  # (N, W) uint32, the balls, 32 rows a word; None: too large to keep


class Carry(NamedTuple):
    """Kept from cycle to cycle: what a ball could still add only shrinks, so an old number is a bound."""

    bounds: Array  # (S, N) rows that the ball would cover anew; -inf where labeled
    covered: Array  # (S, W) uint32


class _Step(NamedTuple):
    """What the search depends on."""

    covered: Array  # (S, W)
    ball: Array  # (S, W) of the row that was looked at last


def probcover(variant="official", delta: float | None = None, alpha: float = 0.95):
    """Greedy cover of the pool by balls of one radius around labeled rows.

    The radius is the largest at which balls are pure for a share `alpha` of the rows: all their rows are in one k-means
    cluster, with as many clusters as classes. It is one a pool, and cached beside a stored pool; `delta` sets it.
    The very picks of the eager algorithm, at the price of a few balls a pick: see `jaxal.lazy`. Rows that cover equally
    many are in uniformly random order, also when everything is covered. Score: rows newly covered.

    official: rows of length 1; the exact radius; a ball holds what is strictly nearer.
    skactiveml: rows as they are; the last of .2, .4, ... 2 before purity falls below alpha (.2 when none has it).
    Cost: two passes over all pairs of rows once a pool, O(N^2 D); then about N / 32 words a ball. Balls are kept as
    bits in at most 512 MB; for larger pools each is O(N D).
    Reference: Yehuda et al., NeurIPS 2022, Algorithm 1.
    """
    official = variant == "official"
    if delta is not None:
        check_setting("probcover.delta", delta, float, 0)
    check_setting("probcover.alpha", alpha, float, 0, 1)

    def prepare(pool, key):
        cache = None
        if pool.path is not None:
            seed = np.asarray(jax.random.key_data(key)).tolist()
            settings = json.dumps([_VERSION, pool.fingerprint, variant, delta, alpha, seed])
            cache = Path(pool.path) / f"probcover-{hashlib.sha256(settings.encode()).hexdigest()[:16]}.cache"
        norms = distances.norms(pool.X, normalize=official)
        graph = _read(cache, norms, len(pool.X))
        if graph is None:
            points = Points(blocks.to_device(pool.X), norms)
            limit = _limit(points, max(2, pool.n_classes), key, official, delta, alpha)
            graph = _balls(points, limit)
            _write(cache, graph)
        if int(graph.degrees.max()) == 1 < len(pool.X):
            warnings.warn(
                f"probcover: no ball of radius {math.sqrt(graph.limit):.3g} holds a second row, so its picks are "
                "random; scale the embeddings (normalize) or set delta",
                stacklevel=2,
            )
        return graph

    return Strategy(prepare, _init, _select, utilities=_utilities)


def radius(radii, alpha: float):
    """The largest radius at which a share `alpha` of balls is pure, from each row's distance to the nearest row of
    another cluster (N,): at most floor((1 - alpha) N) are nearer than that."""
    return np.sort(radii)[min(len(radii) - 1, math.floor((1 - alpha) * len(radii) + 1e-9))]


def grid_radius(radii, alpha: float, grid=_GRID):
    """The last of the grid's radii before the share of pure balls, which hold what is at the radius, is below alpha."""
    pure = [(radii > delta).mean() >= alpha for delta in grid]
    return grid[max(0, [*pure, False].index(False) - 1)]


def _limit(points, n_clusters, key, official, delta, alpha):
    """The squared distance below which a row is in a ball."""
    dtype = np.dtype(points.X.dtype)
    if delta is None:
        n = len(points.X)
        rows, valid = jnp.arange(n, dtype=jnp.int32)[None], jnp.ones((1, n), bool)
        n_clusters = min(n_clusters, n)
        found = kmeans(key[None], points, rows, valid, jnp.int32(n_clusters), most=n_clusters)
        squared_radii = _over_rows("radii", points, partial(_radii, points, found.labels[0]))
        if official:
            return jnp.asarray(radius(squared_radii, alpha), dtype)
        delta = grid_radius(np.sqrt(squared_radii.astype(np.float64)), alpha)
    limit = dtype.type(delta) ** 2
    return jnp.asarray(limit if official else np.nextafter(limit, dtype.type(np.inf)))  # at the radius counts there


def _over_rows(what: str, points, compute):
    """compute(start, size) for blocks of rows; on a terminal with progress and time left when it takes long."""
    n = len(points.X)
    size = min(n, max(32, _BLOCK // n))
    out = None
    with tqdm(total=n, desc=f"probcover: {what}", unit="row", disable=None, leave=False, delay=2) as bar:
        for i in range(0, n, size):
            start = max(0, min(i, n - size))  # the last block overlaps the one before it: one shape
            block = np.asarray(compute(start, size))
            out = aligned_empty((n, *block.shape[1:]), block.dtype) if out is None else out
            out[start : start + len(block)] = block
            bar.update(min(size, n - i))
    return out


@partial(jax.jit, static_argnums=3)
def _radii(points, label, start, size):
    """Squared distance (size,) of rows to the nearest row of another cluster."""
    other = blocks.take(label, start, size)[:, None] != label[None]
    return jnp.where(other, _apart(points, start + jnp.arange(size, dtype=jnp.int32)), jnp.inf).min(axis=1)


@partial(jax.jit, static_argnums=3)
def _ball_block(points, limit, start, size):
    return _pack(_apart(points, start + jnp.arange(size, dtype=jnp.int32)) < limit)


@partial(jax.jit, static_argnums=3)
def _degree_block(points, limit, start, size):
    apart = _apart(points, start + jnp.arange(size, dtype=jnp.int32))
    return (apart < limit).sum(axis=1, dtype=jnp.int32)


def _apart(points, rows):
    """Squared distances (R, N) of rows to all rows, 0 to themselves."""
    x, norms = points.at(rows), points.norms.centered
    n = points.X.shape[0]
    size = min(n, 1 << 14)

    def block(start, size):
        scale = norms[rows][:, None] + blocks.take(norms, start, size)[None]
        others = points.at(start + jnp.arange(size, dtype=jnp.int32))
        return distances.above_rounding(scale - 2 * distances.products(x, others), scale)

    apart = blocks.map_blocks(block, n, size)
    return jnp.where(rows[:, None] == jnp.arange(n, dtype=jnp.int32)[None], 0, apart)


def _pack(mask):
    """(R, N) bool as (R, W) uint32."""
    padded = jnp.pad(mask, ((0, 0), (0, -mask.shape[1] % 32))).reshape(len(mask), -1, 32).astype(jnp.uint32)
    return (padded << jnp.arange(32, dtype=jnp.uint32)[None, None]).sum(axis=2, dtype=jnp.uint32)


def _balls(points, limit) -> Graph:
    n = len(points.X)
    if n * -(-n // 32) * 4 > _KEPT_BYTES:
        degrees = _over_rows("degrees", points, partial(_degree_block, points, limit))
        return Graph(points.norms, limit, jnp.asarray(degrees), None)
    bits = _over_rows("balls", points, partial(_ball_block, points, limit))
    degrees = np.concatenate(
        [np.bitwise_count(bits[i : i + 4096]).sum(axis=1, dtype=np.int32) for i in range(0, n, 4096)]
    )
    return Graph(points.norms, limit, jnp.asarray(degrees), blocks.to_device(bits))


def _read(path: Path | None, norms, n: int) -> Graph | None:
    """The graph as it was cached; None when there is none, or none that can be read."""
    if path is None:
        return None
    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        bits = jnp.asarray(arrays["bits"]) if "bits" in arrays else None
        if len(arrays["degrees"]) != n:
            return None
        return Graph(norms, jnp.asarray(arrays["limit"]), jnp.asarray(arrays["degrees"]), bits)
    except (OSError, KeyError, SafetensorError):
        return None


def _write(path: Path | None, graph: Graph) -> None:
    """Keep the graph beside its pool, unless that cannot be written to."""
    if path is None:
        return
    arrays = {"limit": graph.limit, "degrees": graph.degrees} | ({} if graph.bits is None else {"bits": graph.bits})
    with suppress(StoreError):  # a pool somebody else owns: the next run computes it again
        atomic_write(path, save({name: np.asarray(a, order="C") for name, a in arrays.items()}))


def _ball(graph, X, rows):
    """(S, W) the balls of rows (S,)."""
    if graph.bits is not None:
        return graph.bits[rows]
    return _pack(_apart(Points(X, graph.norms), rows) < graph.limit)


def _new(ball, covered):
    """How many rows of balls (..., W) are not covered, as floats."""
    return lax.population_count(ball & ~covered).sum(axis=-1, dtype=jnp.uint32).astype(jnp.float32)


@jax.jit
def _init(graph, state):
    n_seeds, n = state.labels.shape
    order = jax.vmap(lambda row: jnp.nonzero(row, size=n, fill_value=0)[0].astype(jnp.int32))(state.labeled)
    count = state.labeled.sum(axis=1)

    def cover(i, covered):
        return covered | jnp.where((i < count)[:, None], _ball(graph, state.X, order[:, i]), 0)

    covered = lax.fori_loop(0, count.max(), cover, jnp.zeros((n_seeds, -(-n // 32)), jnp.uint32))
    bounds = jnp.broadcast_to(graph.degrees[None].astype(jnp.float32), (n_seeds, n))
    if graph.bits is not None:
        bounds = _renew(graph, covered)
    return Carry(jnp.where(state.labeled, -jnp.inf, bounds), covered)


def _renew(graph, covered):
    """Every ball's new rows, (S, N)."""

    def block(start, size):
        return _new(blocks.take(graph.bits, start, size)[None], covered[:, None])

    return blocks.map_blocks(block, len(graph.degrees), blocks.rows(covered.size))


def _select(keys, graph, carry, state):
    n, kept = state.X.shape[0], graph.bits is not None

    def value(step, rows, bounds):
        ball = _ball(graph, state.X, rows)
        return _new(ball, step.covered), step._replace(ball=ball)

    def choose(step, rows, chosen):
        return step._replace(covered=step.covered | jnp.where(chosen[:, None], step.ball, 0))

    def renew(step, bounds):
        return jnp.where(bounds > -jnp.inf, _renew(graph, step.covered), -jnp.inf), step

    # A word takes about as long as four multiplications. Balls that are not kept cost as much to renew as to look at.
    price = 4 * n * carry.covered.shape[1] if kept else math.inf
    task = lazy.Task(
        value, choose, renew if kept else lambda step, bounds: (bounds, step), lambda step: jnp.float32(price)
    )
    step = _Step(carry.covered, jnp.zeros_like(carry.covered))
    rows, scores, bounds, step = lazy.greedy(keys, carry.bounds, state.batch_size, task, step)
    return rows, scores, Carry(bounds, step.covered)


def _utilities(keys, graph, state, rows):
    """How many rows each ball would newly cover. Cost: N / 32 words a row and pick; O(N^2 D) a pick where balls are
    not kept."""
    n = len(state.X)

    def gain(covered):
        def block(start, size):
            ball = _ball(graph, state.X, start + jnp.arange(size, dtype=jnp.int32))
            return _new(ball[None], covered[:, None])

        size = max(32, _BLOCK // n) if graph.bits is None else blocks.rows(covered.size)
        return blocks.map_blocks(block, n, size)

    def take(covered, row):
        return covered | _ball(graph, state.X, row)

    return before_each(rows, _init(graph, state).covered, gain, take)
