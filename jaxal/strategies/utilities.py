"""Utilities: what every row was worth before each pick of a batch. Computed eagerly, and only when asked for.

A strategy's `select` looks at few rows and returns the scores of those it picked. Its `utilities` are for loops that
want to see all rows, as scikit-activeml's do.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.strategies.interface import State, Strategy


def utilities(strategy: Strategy, keys: Array, aux: Any, state: State, rows: Array) -> Array:
    """The utility of every row that was available before each pick, (S, B, N); NaN elsewhere.

    Args:
        keys: (S,), those that `select` was given. aux: of `strategy.prepare`.
        state: what `select` was given, in a query that began with `strategy.init`.
        rows: (S, B) the picks.
    Returns: in X's dtype. Row i of a seed is NaN where the row is labeled or was picked before pick i. A NaN score is
        the lowest, -inf.
    Cost: memory O(S B N); time as each strategy's own `_utilities` says, at least O(S B N).
    """
    return _available(_compiled(strategy)(keys, aux, state, rows), state.labeled, rows)


def before_each(rows: Array, start: Any, value: Callable, take: Callable) -> Array:
    """Utilities (S, B, N) of picks taken one by one.

    Args:
        rows: (S, B) the picks. start: a carry, what is known before the first.
        value: carry -> (S, N), what rows are worth. take: (carry, rows (S,)) -> carry, once those are picked.
    """

    def step(carry, row):
        return take(carry, row), value(carry)

    return jnp.swapaxes(lax.scan(step, start, rows.T)[1], 0, 1)


@cache
def _compiled(strategy: Strategy) -> Callable:
    assert strategy.utilities is not None
    return strategy.utilities if strategy.host else jax.jit(strategy.utilities)


@jax.jit
def _available(values, labeled, rows):
    """Values (S, B or 1, N) with NaN where a row could not be picked."""
    n_picks = rows.shape[1]
    order = jnp.arange(n_picks, dtype=jnp.int32)
    place = jax.vmap(lambda row: jnp.full(labeled.shape[1], n_picks, jnp.int32).at[row].set(order))(rows)
    left = ~labeled[:, None] & (place[:, None] >= order[None, :, None])
    return jnp.where(left, jnp.where(jnp.isnan(values), -jnp.inf, values), jnp.nan)
