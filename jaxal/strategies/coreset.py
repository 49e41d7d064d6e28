"""CoreSet: the row farthest from all that is labeled, again and again. Also an initial pool selection."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal import distances, lazy
from jaxal.strategies.interface import Strategy

_WINDOW = 64  # centers that a candidate is compared with at a time
_CHUNK = 256  # centers that all rows are compared with at a time


class Carry(NamedTuple):
    """Kept from cycle to cycle: distances only shrink, so an old one is a bound."""

    bounds: Array  # (S, N) squared distance to the nearest of the first `seen` centers; -inf where labeled
    seen: Array  # (S, N) int32, never below `base`
    base: Array  # (S,) int32 centers that every bound includes
    centers: Array  # (S, N) int32, the labeled rows in order, first `count` of them
    count: Array  # (S,) int32


def coreset(variant="official"):
    """Greedy k-center on the embeddings: the row whose nearest labeled row is farthest, `batch_size` times.

    The very picks of the eager algorithm, at the price of a few distances a pick: see `jaxal.lazy`. With nothing
    labeled the first row is drawn uniformly. Ties, and rows at distance 0, are in uniformly random order. Both variants
    agree.
    Score: the distance to the nearest labeled row when picked, inf for a first row.
    Cost: O(N L D) once, for L rows labeled at the start; then a few hundred distances a query. Memory O(S N).
    Reference: Sener and Savarese, ICLR 2018, Algorithm 1.
    """
    return Strategy(lambda pool, key: distances.norms(pool.X), _init, _select)


@jax.jit
def _init(aux, state):
    labeled = state.labeled
    n_seeds, n = labeled.shape
    centers = jax.vmap(lambda row: jnp.nonzero(row, size=n, fill_value=0)[0].astype(jnp.int32))(labeled)
    count = labeled.sum(axis=1, dtype=jnp.int32)
    nothing = jnp.zeros(n_seeds, jnp.int32)
    bounds = jnp.where(labeled, -jnp.inf, jnp.asarray(jnp.inf, state.X.dtype))
    carry = Carry(bounds, jnp.zeros((n_seeds, n), jnp.int32), nothing, centers, count)
    bounds, carry = _renew(state.X, aux, carry, bounds)
    return carry._replace(bounds=bounds)


def _select(keys, aux, carry, state):
    X = state.X
    task = lazy.Task(
        value=partial(_value, X),
        choose=_choose,
        renew=partial(_renew, X, aux),
        price=lambda carry: X.size * (carry.count - carry.base).max().astype(jnp.float32),
    )
    rows, scores, bounds, carry = lazy.greedy(keys, carry.bounds, state.batch_size, task, carry)
    return rows, jnp.sqrt(scores), carry._replace(bounds=bounds)


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
    n_seeds, n = bounds.shape
    s = jnp.arange(n_seeds, dtype=jnp.int32)[:, None]

    def chunk(state):
        start, bounds = state
        at = start[:, None] + jnp.arange(_CHUNK, dtype=jnp.int32)[None]
        centers = X[carry.centers[s, jnp.minimum(at, n - 1)]] - aux.mean[None, None]
        known = at < carry.count[:, None]
        return start + _CHUNK, jnp.minimum(bounds, distances.nearest(X, aux, centers, known))

    _, bounds = lax.while_loop(lambda state: (state[0] < carry.count).any(), chunk, (carry.base, bounds))
    seen = jnp.broadcast_to(carry.count[:, None], carry.seen.shape)
    return bounds, carry._replace(base=carry.count, seen=seen)
