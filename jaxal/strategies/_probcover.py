"""ProbCover: the row whose ball holds most rows that no ball holds yet. Also an initial pool selection."""

import math
import warnings
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxal.data.pool import Pool
from jaxal.numerics import blocks, distances, lazy
from jaxal.numerics.arrays import true_indices
from jaxal.numerics.distances import Points
from jaxal.strategies import _ball_graph, _graph_cache
from jaxal.strategies._ball_graph import Graph
from jaxal.strategies.interface import Strategy, check_setting
from jaxal.strategies.utilities import before_each


class Carry(NamedTuple):
    """Kept from cycle to cycle: what a ball could still add only shrinks, so an old number is an upper bound."""

    bounds: Array  # (S, N) rows that the ball would cover anew; -inf where labeled
    covered: Array  # (S, W) uint32


class _Cover(NamedTuple):
    """What the values depend on while a query chooses."""

    covered: Array  # (S, W)
    ball: Array  # (S, W) of the row that was looked at last


def probcover(variant="official", delta: float | None = None, alpha: float = 0.95):
    """Greedy cover of the pool by balls of one radius around labeled rows.

    The radius is the largest at which a share `alpha` of the balls is pure: all their rows are in one k-means cluster,
    with as many clusters as classes. It is one a pool, and kept beside a stored pool; `delta` sets it.
    The picks are those of the eager algorithm, at the price of a few balls a pick (see `numerics/lazy.py`). Rows that
    cover equally many are in uniformly random order, also when everything is covered.
    Score: rows newly covered.

    official: rows of length 1; the exact radius; a ball holds what is strictly nearer.
    skactiveml: rows as they are; the last of .2, .4, ... 2 before purity falls below alpha (.2 when none has it).
    Cost: two passes over all pairs of rows once a pool, O(N^2 D); then about N / 32 words a ball. Balls are kept as
    bits in at most 512 MB; for larger pools each is computed anew, O(N D).
    Reference: Yehuda et al., NeurIPS 2022, Algorithm 1.
    """
    if delta is not None:
        check_setting("probcover.delta", delta, float, 0)
    check_setting("probcover.alpha", alpha, float, 0, 1)
    prepare = partial(_prepare, variant=variant, delta=delta, alpha=alpha)
    return Strategy(prepare, _init, _select, utilities=_utilities)


def _prepare(pool: Pool, key, *, variant: str, delta: float | None, alpha: float) -> Graph:
    """The graph of a pool: the one that is kept beside it, or a new one."""
    official = variant == "official"
    path = _graph_cache.path_of(pool, [variant, delta, alpha, np.asarray(jax.random.key_data(key)).tolist()])
    norms = distances.norms(pool.X, normalize=official)
    graph = _graph_cache.read(path, norms, len(pool.X))
    if graph is None:
        points = Points(blocks.to_device(pool.X), norms)
        limit = _ball_graph.limit(points, max(2, pool.n_classes), key, official=official, delta=delta, alpha=alpha)
        graph = _ball_graph.build(points, limit)
        _graph_cache.write(path, graph)
    if int(graph.degrees.max()) == 1 < len(pool.X):
        warnings.warn(
            f"probcover: no ball of radius {math.sqrt(graph.limit):.3g} holds a second row, so its picks are "
            "random; scale the embeddings (normalize) or set delta",
            stacklevel=2,
        )
    return graph


@jax.jit
def _init(graph, state):
    n_seeds, n = state.labels.shape
    order = true_indices(state.labeled, n)
    count = state.labeled.sum(axis=1)

    def cover(i, covered):
        return covered | jnp.where((i < count)[:, None], _ball_graph.ball(graph, state.X, order[:, i]), 0)

    covered = lax.fori_loop(0, count.max(), cover, jnp.zeros((n_seeds, -(-n // 32)), jnp.uint32))
    bounds = jnp.broadcast_to(graph.degrees[None].astype(jnp.float32), (n_seeds, n))
    if graph.bits is not None:
        bounds = _renew(graph, covered)
    return Carry(jnp.where(state.labeled, -jnp.inf, bounds), covered)


def _renew(graph, covered):
    """How many rows each ball would cover anew, (S, N)."""

    def block(start, size):
        return _ball_graph.count_new(blocks.take(graph.bits, start, size)[None], covered[:, None])

    return blocks.map_blocks(block, len(graph.degrees), blocks.rows(covered.size))


def _select(keys, graph, carry, state):
    kept = graph.bits is not None

    def value(cover, rows, bounds):
        ball = _ball_graph.ball(graph, state.X, rows)
        return _ball_graph.count_new(ball, cover.covered), cover._replace(ball=ball)

    def choose(cover, rows, chosen):
        return cover._replace(covered=cover.covered | jnp.where(chosen[:, None], cover.ball, 0))

    def renew(cover, bounds):
        return jnp.where(bounds > -jnp.inf, _renew(graph, cover.covered), -jnp.inf), cover

    # A word takes about as long as four multiplications. Where balls are not kept, renewing all bounds costs as much as
    # computing all values, so it never pays.
    price = 4 * state.X.shape[0] * carry.covered.shape[1] if kept else math.inf
    task = lazy.Task(
        value=value,
        choose=choose,
        renew=renew if kept else lambda cover, bounds: (bounds, cover),
        price=lambda cover: jnp.float32(price),
    )
    cover = _Cover(carry.covered, jnp.zeros_like(carry.covered))
    rows, scores, bounds, cover = lazy.greedy(keys, carry.bounds, state.batch_size, task, cover)
    return rows, scores, Carry(bounds, cover.covered)


def _utilities(keys, graph, state, rows):
    """How many rows each ball would cover anew.

    Cost: N / 32 words a row and pick; O(N^2 D) a pick where balls are not kept.
    """

    def new(covered):
        def block(start, size):
            balls = _ball_graph.ball(graph, state.X, start + jnp.arange(size, dtype=jnp.int32))
            return _ball_graph.count_new(balls[None], covered[:, None])

        size = _ball_graph.block_rows(len(state.X)) if graph.bits is None else blocks.rows(covered.size)
        return blocks.map_blocks(block, len(state.X), size)

    def take(covered, row):
        return covered | _ball_graph.ball(graph, state.X, row)

    return before_each(rows, _init(graph, state).covered, new, take)
