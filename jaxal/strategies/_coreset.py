"""CoreSet: the row farthest from all that is labeled, again and again. Also an initial pool selection."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.numerics import blocks, distances, lazy
from jaxal.numerics.arrays import index_if, lowest_index, true_indices
from jaxal.strategies.interface import Strategy
from jaxal.strategies.utilities import before_each

_WINDOW = 64  # centers that a candidate is compared with at a time
_ROWS = 256  # rows that are brought up to date at a time
_CHUNK = 256  # centers that all rows are compared with at a time
_CAUTION = 1.5  # the exponent in `_expected_end`


class Carry(NamedTuple):
    """Kept from cycle to cycle: distances only shrink, so an old one is an upper bound."""

    bounds: Array  # (S, N) squared distance to the nearest of the first `seen` centers; -inf where labeled
    seen: Array  # (S, N) int32, at least `base`
    base: Array  # (S,) int32 centers that every bound includes
    centers: Array  # (S, N) int32: the labeled rows in order, of which there are `n_centers`
    n_centers: Array  # (S,) int32
    expected_end: Array  # (S,) squared distance above which the next query will look, as a rule; inf at first


def coreset(variant="official"):
    """Greedy k-center on the embeddings: the row whose nearest labeled row is farthest, `batch_size` times.

    It makes the picks of the eager algorithm and computes few distances a pick (see `numerics/lazy.py`). With nothing
    labeled the first row is drawn uniformly. Ties, and rows at distance 0, are in uniformly random order. Both variants
    agree.
    Score: the distance to the nearest labeled row when picked, inf for a first row.
    Cost: O(N L D) once, for L rows labeled at the start; then a few hundred distances a query. Memory O(S N).
    Reference: Sener and Savarese, ICLR 2018, Algorithm 1.
    """
    return Strategy(lambda pool, key: distances.norms(pool.X), _init, _select, utilities=_utilities, nested=True)


@jax.jit
def _init(aux, state):
    labeled = state.labeled
    n_seeds, n = labeled.shape
    bounds = jnp.where(labeled, -jnp.inf, jnp.asarray(jnp.inf, state.X.dtype))
    carry = Carry(
        bounds=bounds,
        seen=jnp.zeros((n_seeds, n), jnp.int32),
        base=jnp.zeros(n_seeds, jnp.int32),
        centers=true_indices(labeled, n),
        n_centers=labeled.sum(axis=1, dtype=jnp.int32),
        expected_end=jnp.full(n_seeds, jnp.inf, bounds.dtype),
    )
    bounds, carry = _renew(state.X, aux, carry, bounds)
    return carry._replace(bounds=bounds)


def _select(keys, aux, carry, state):
    X = state.X
    carry = _catch_up(X, aux, carry)
    task = lazy.Task(
        value=partial(_value, X),
        choose=_choose,
        renew=partial(_renew, X, aux),
        price=lambda carry: float(X.size) * (carry.n_centers - carry.base).max().astype(jnp.float32),
    )
    rows, scores, bounds, carry = lazy.greedy(keys, carry.bounds, state.batch_size, task, carry)
    return rows, jnp.sqrt(scores), carry._replace(bounds=bounds, expected_end=_expected_end(scores))


def _expected_end(scores):
    """The squared distance (S,) at which the next query will end, from those (S, B) at which this one chose.

    It is d_end * (d_end / d_first) ** 1.5, with d_first and d_end of this query. Their ratio depends on the pool: .94
    at L = 3,000 of Banking77, .99 in 50 Gaussian clusters of 768 dimensions. There a fixed .85 would take in the whole
    pool (N = 50k: .48 s a query instead of .06). From query to query the ratio comes nearer to 1, but not steadily. The
    exponent errs towards more rows, since some rows too many cost less than some too few.
    """
    first, end = jnp.where(scores < jnp.inf, scores, 0).max(axis=1), scores[:, -1]
    return end * jnp.where(first > 0, end / first, 1) ** _CAUTION


def _catch_up(X, aux, carry):
    """Bring the bounds that this query will look at up to date, many at a time, at the price of matrix products.

    Left to `greedy`, each of those rows would meet the centers of all queries since on its own: at L = 2,750 of
    Banking77 that took .34 s. They are the rows above the distance at which the query is expected to end. Those that
    lack most centers come first, because a product compares all its rows with every center that any of them lacks.
    """
    n_rows = min(X.shape[0], _ROWS)

    def wanted(carry):
        return (carry.seen < carry.n_centers[:, None]) & (carry.bounds > carry.expected_end[:, None])

    def compare(carry):
        lacking = jnp.where(wanted(carry), carry.n_centers[:, None] - carry.seen, 0).astype(jnp.float32)
        # the barrier: XLA turns a slice of the first of the top into a sort of all
        lacking, rows = lax.optimization_barrier(lax.top_k(lacking, n_rows))
        rows = jnp.where(lacking > 0, rows, rows[:, :1])  # where there are fewer rows, the first one again
        return _compare(X, aux, carry, rows, carry.n_centers - lacking[:, 0].astype(jnp.int32))

    return lax.while_loop(lambda carry: wanted(carry).any(), compare, carry)


def _compare(X, aux, carry, rows, start):
    """Compare rows (S, P) with all centers from number `start` (S,) on, and renew their bounds."""
    s = jnp.arange(len(rows), dtype=jnp.int32)[:, None]
    x = X[rows] - aux.mean[None, None]

    def compare(state):
        """The least |c|^2 / 2 - <c, x> so far, whose center is the nearest, and that center; with one chunk more."""
        start, least, nearest = state
        at, centers, known = _chunk(X, carry, start)
        centers = centers - aux.mean[None, None]
        half = jnp.where(known, (centers * centers).sum(axis=2) / 2, jnp.inf)[:, :, None]
        # Rows come last, and the minimum is taken twice: XLA:CPU reduces the last axis slowly, and finds argmin slowly.
        rest = half - distances.products(centers, x)
        closest = rest.min(axis=1)
        place = jnp.minimum(lowest_index(rest == closest[:, None], axis=1), _CHUNK - 1)  # also when all are NaN
        center = carry.centers[s, at[s, place]]
        return start + _CHUNK, jnp.minimum(least, closest), jnp.where(closest < least, center, nearest)

    state = (start, jnp.full(rows.shape, jnp.inf, X.dtype), rows)
    _, least, nearest = lax.while_loop(lambda state: (state[0] < carry.n_centers).any(), compare, state)
    # The products say which center is nearest, and differences how near it is: see `numerics/distances.py`.
    squared = jnp.where(least < jnp.inf, jax.vmap(distances.paired)(X[rows], X[nearest]), jnp.inf)
    seen = jnp.broadcast_to(jnp.where(start < carry.n_centers, carry.n_centers, 0)[:, None], rows.shape)
    return carry._replace(bounds=carry.bounds.at[s, rows].min(squared), seen=carry.seen.at[s, rows].max(seen))


def _chunk(X, carry, start):
    """The next `_CHUNK` centers from number `start` (S,) on.

    Returns: their places in `carry.centers` (S, _CHUNK), the rows of X (S, _CHUNK, D), and which of them exist.
    """
    s = jnp.arange(len(start), dtype=jnp.int32)[:, None]
    at = start[:, None] + jnp.arange(_CHUNK, dtype=jnp.int32)[None]
    known = at < carry.n_centers[:, None]
    at = jnp.minimum(at, X.shape[0] - 1)
    return at, X[carry.centers[s, at]], known


def _value(X, carry, rows, bounds):
    """Squared distances (S,) of rows (S,) to their nearest center: the bounds, and the centers those have not seen."""
    s = jnp.arange(len(rows), dtype=jnp.int32)

    def compare(state):
        start, nearest = state
        at = start[:, None] + jnp.arange(_WINDOW, dtype=jnp.int32)[None]
        centers = X[carry.centers[s[:, None], jnp.minimum(at, X.shape[0] - 1)]]
        squared = jnp.where(at < carry.n_centers[:, None], distances.differences(X[rows], centers), jnp.inf)
        return start + _WINDOW, jnp.minimum(nearest, squared.min(axis=1))

    start = carry.seen[s, rows]
    _, nearest = lax.while_loop(lambda state: (state[0] < carry.n_centers).any(), compare, (start, bounds))
    return nearest, carry._replace(seen=carry.seen.at[s, rows].set(carry.n_centers))


def _choose(carry, rows, chosen):
    s = jnp.arange(len(rows), dtype=jnp.int32)
    at = index_if(chosen, carry.n_centers, carry.centers.shape[1])
    return carry._replace(
        centers=carry.centers.at[s, at].set(rows, mode="drop"), n_centers=carry.n_centers + chosen.astype(jnp.int32)
    )


def _renew(X, aux, carry, bounds):
    """All bounds (S, N) up to date. Each chunk of centers is gathered once, then every block of rows meets it."""

    def chunk(state):
        start, bounds = state
        _, centers, known = _chunk(X, carry, start)
        return start + _CHUNK, jnp.minimum(bounds, distances.nearest(X, aux, centers - aux.mean[None, None], known))

    _, bounds = lax.while_loop(lambda state: (state[0] < carry.n_centers).any(), chunk, (carry.base, bounds))
    seen = jnp.broadcast_to(carry.n_centers[:, None], carry.seen.shape)
    return bounds, carry._replace(base=carry.n_centers, seen=seen)


def _utilities(keys, aux, state, rows):
    """The distance to the nearest labeled row or earlier pick; inf while there is none. Cost: O(N D) a pick."""
    X = state.X

    def take(nearest, row):
        def block(start, size):
            others = jnp.broadcast_to(blocks.take(X, start, size)[None], (len(row), size, X.shape[1]))
            return distances.differences(X[row], others)

        return jnp.minimum(nearest, blocks.map_blocks(block, len(X), blocks.rows(len(row) * X.shape[1])))

    return before_each(rows, _init(aux, state).bounds, jnp.sqrt, take)
