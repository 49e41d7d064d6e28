"""CoreSet: the row farthest from all that is labeled, again and again. Also an initial pool selection."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.numerics import blocks, distances, lazy
from jaxal.strategies.interface import Strategy
from jaxal.strategies.utilities import before_each

_WINDOW = 64  # centers that a candidate is compared with at a time
_ROWS = 256  # rows that are brought up to date at a time
_CAUTION = 1.5  # the power of the last query's shrinkage that the next is expected to stay above
_CHUNK = 256  # centers that all rows are compared with at a time


class Carry(NamedTuple):
    """Kept from cycle to cycle: distances only shrink, so an old one is a bound."""

    bounds: Array  # (S, N) squared distance to the nearest of the first `seen` centers; -inf where labeled
    seen: Array  # (S, N) int32, never below `base`
    base: Array  # (S,) int32 centers that every bound includes
    centers: Array  # (S, N) int32, the labeled rows in order, first `count` of them
    count: Array  # (S,) int32
    near: Array  # (S,) squared distance above which the next query will look, as a rule; inf at first


def coreset(variant="official"):
    """Greedy k-center on the embeddings: the row whose nearest labeled row is farthest, `batch_size` times.

    The very picks of the eager algorithm, at the price of a few distances a pick: see `jaxal.lazy`. With nothing
    labeled the first row is drawn uniformly. Ties, and rows at distance 0, are in uniformly random order. Both variants
    agree.
    Score: the distance to the nearest labeled row when picked, inf for a first row.
    Cost: O(N L D) once, for L rows labeled at the start; then a few hundred distances a query. Memory O(S N).
    Reference: Sener and Savarese, ICLR 2018, Algorithm 1.
    """
    return Strategy(lambda pool, key: distances.norms(pool.X), _init, _select, utilities=_utilities)


@jax.jit
def _init(aux, state):
    labeled = state.labeled
    n_seeds, n = labeled.shape
    centers = jax.vmap(lambda row: jnp.nonzero(row, size=n, fill_value=0)[0].astype(jnp.int32))(labeled)
    count = labeled.sum(axis=1, dtype=jnp.int32)
    nothing = jnp.zeros(n_seeds, jnp.int32)
    bounds = jnp.where(labeled, -jnp.inf, jnp.asarray(jnp.inf, state.X.dtype))
    near = jnp.full(n_seeds, jnp.inf, bounds.dtype)
    carry = Carry(bounds, jnp.zeros((n_seeds, n), jnp.int32), nothing, centers, count, near)
    bounds, carry = _renew(state.X, aux, carry, bounds)
    return carry._replace(bounds=bounds)


def _select(keys, aux, carry, state):
    X = state.X
    carry = _catch_up(X, aux, carry)
    task = lazy.Task(
        value=partial(_value, X),
        choose=_choose,
        renew=partial(_renew, X, aux),
        price=lambda carry: X.size * (carry.count - carry.base).max().astype(jnp.float32),
    )
    rows, scores, bounds, carry = lazy.greedy(keys, carry.bounds, state.batch_size, task, carry)
    return rows, jnp.sqrt(scores), carry._replace(bounds=bounds, near=_expected(scores))


def _expected(scores):
    """Where a query as long as the last will end, (S,), from the squared distances (S, B) at which that chose.

    By which factor it shrinks depends on the pool: at L = 3,000 of Banking77 by .94, in 50 Gaussian clusters of 768
    dimensions by .99, where a fixed .85 would be all of the pool (N = 50k: .48 s a query instead of .06). It nears 1
    from query to query, but not steadily, and some rows too many cost less than some too few.
    """
    first, end = jnp.where(scores < jnp.inf, scores, 0).max(axis=1), scores[:, -1]
    return end * jnp.where(first > 0, end / first, 1) ** _CAUTION


def _catch_up(X, aux, carry):
    """Bring the bounds that this query will look at up to date, many at a time, at the price of matrix products.

    One after the other they would meet all centers of the queries before: at L = 2,750 of Banking77 that took .34 s.
    Which rows: those farther than where the query is expected to end. Those that lack most centers come first, as a
    product compares all its rows with all centers that any of them lacks.
    """
    n_rows = min(X.shape[0], _ROWS)

    def wanted(carry):
        return (carry.seen < carry.count[:, None]) & (carry.bounds > carry.near[:, None])

    def compare(carry):
        behind = jnp.where(wanted(carry), carry.count[:, None] - carry.seen, 0).astype(jnp.float32)
        # the barrier: XLA turns a slice of the first of the top into a sort of all
        behind, rows = lax.optimization_barrier(lax.top_k(behind, n_rows))
        rows = jnp.where(behind > 0, rows, rows[:, :1])  # the first again where there are less
        return _compare(X, aux, carry, rows, carry.count - behind[:, 0].astype(jnp.int32))

    return lax.while_loop(lambda carry: wanted(carry).any(), compare, carry)


def _compare(X, aux, carry, rows, start):
    """Bounds of rows (S, P), which have seen the first `start` (S,) centers, up to date; not where that is all."""
    s = jnp.arange(len(rows), dtype=jnp.int32)[:, None]
    x = X[rows] - aux.mean[None, None]

    def compare(state):
        start, least, nearest = state
        at, centers, known = _chunk(X, carry, start)
        centers = centers - aux.mean[None, None]
        half = jnp.where(known, (centers * centers).sum(axis=2) / 2, jnp.inf)[:, :, None]
        # centers come first and the minimum is taken twice: XLA:CPU reduces the last axis, and finds argmin, slowly
        rest = half - distances.products(centers, x)
        closest = rest.min(axis=1)
        places = jnp.broadcast_to(jnp.arange(_CHUNK, dtype=jnp.int32)[None, :, None], rest.shape)
        place = jnp.where(rest == closest[:, None], places, _CHUNK - 1).min(axis=1)
        center = carry.centers[s, at[s, place]]
        return start + _CHUNK, jnp.minimum(least, closest), jnp.where(closest < least, center, nearest)

    through = jnp.broadcast_to(jnp.where(start < carry.count, carry.count, 0)[:, None], rows.shape)
    state = (start, jnp.full(rows.shape, jnp.inf, X.dtype), rows)
    _, least, nearest = lax.while_loop(lambda state: (state[0] < carry.count).any(), compare, state)
    # The product tells which center is nearest, differences how near it is: see `jaxal.distances`.
    apart = jnp.where(least < jnp.inf, jax.vmap(distances.paired)(X[rows], X[nearest]), jnp.inf)
    return carry._replace(bounds=carry.bounds.at[s, rows].min(apart), seen=carry.seen.at[s, rows].max(through))


def _chunk(X, carry, start):
    """The next centers from `start` (S,) on: their places in `carry.centers`, the rows (S, _CHUNK, D), which exist."""
    s = jnp.arange(len(start), dtype=jnp.int32)[:, None]
    at = start[:, None] + jnp.arange(_CHUNK, dtype=jnp.int32)[None]
    known = at < carry.count[:, None]
    at = jnp.minimum(at, X.shape[0] - 1)
    return at, X[carry.centers[s, at]], known


def _value(X, carry, rows, bounds):
    """Squared distances (S,) of rows to their nearest center: compared with those that their bounds have not seen."""
    s = jnp.arange(len(rows), dtype=jnp.int32)

    def compare(state):
        start, nearest = state
        at = start[:, None] + jnp.arange(_WINDOW, dtype=jnp.int32)[None]
        centers = X[carry.centers[s[:, None], jnp.minimum(at, X.shape[0] - 1)]]
        apart = jnp.where(at < carry.count[:, None], distances.differences(X[rows], centers), jnp.inf)
        return start + _WINDOW, jnp.minimum(nearest, apart.min(axis=1))

    start = carry.seen[s, rows]
    _, nearest = lax.while_loop(lambda state: (state[0] < carry.count).any(), compare, (start, bounds))
    return nearest, carry._replace(seen=carry.seen.at[s, rows].set(carry.count))


def _choose(carry, rows, chosen):
    s = jnp.arange(len(rows), dtype=jnp.int32)
    at = jnp.where(chosen, carry.count, carry.centers.shape[1])
    return carry._replace(
        centers=carry.centers.at[s, at].set(rows, mode="drop"), count=carry.count + chosen.astype(jnp.int32)
    )


def _renew(X, aux, carry, bounds):
    """All bounds up to date. A chunk of centers is gathered once; every block of rows meets those of all seeds."""

    def chunk(state):
        start, bounds = state
        _, centers, known = _chunk(X, carry, start)
        return start + _CHUNK, jnp.minimum(bounds, distances.nearest(X, aux, centers - aux.mean[None, None], known))

    _, bounds = lax.while_loop(lambda state: (state[0] < carry.count).any(), chunk, (carry.base, bounds))
    seen = jnp.broadcast_to(carry.count[:, None], carry.seen.shape)
    return bounds, carry._replace(base=carry.count, seen=seen)


def _utilities(keys, aux, state, rows):
    """The distance to the nearest labeled row or earlier pick; inf while there is none. Cost: O(N D) a pick."""
    X = state.X

    def take(nearest, row):
        def block(start, size):
            others = jnp.broadcast_to(blocks.take(X, start, size)[None], (len(row), size, X.shape[1]))
            return distances.differences(X[row], others)

        return jnp.minimum(nearest, blocks.map_blocks(block, len(X), blocks.rows(len(row) * X.shape[1])))

    return before_each(rows, _init(aux, state).bounds, jnp.sqrt, take)
