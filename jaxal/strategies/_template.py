"""Template: the rows of largest norm. Copy this file to begin a strategy; CONTRIBUTING.md says what else it takes.

As it stands it is a working strategy, and the tests run it through the contract. A strategy that only scores rows needs
none of this: see `_margin.py`.
"""

import jax
import jax.numpy as jnp

from jaxal.strategies.interface import Strategy, pick_best


def template(variant="official"):
    """One sentence: which rows are chosen, and by what.

    How it is computed, what happens to ties and at the start, when nothing is labeled.
    Score: what the number beside a pick is.
    Cost: O(N D) once a pool, then O(S N) a query; memory O(S N).
    Differs by variant: what `skactiveml`, scikit-activeml's own, computes otherwise. Both variants are the same.
    Reference: Author et al., Venue 2026, Algorithm 1.
    """
    return Strategy(_prepare, _init, _select, utilities=_utilities)


def _prepare(pool, key):
    """Once a pool, for all seeds and cycles: squared norms (N,). `key` is the pool's, never a seed's."""
    return jnp.square(jnp.asarray(pool.X)).sum(axis=1)


def _init(aux, state):
    """What each seed keeps from cycle to cycle, leading axis S: here only how many queries there were, int32 (S,).

    It may read shapes of the state, but no values, and `_select` returns the same structure, shapes and dtypes.
    """
    return jnp.zeros(len(state.labels), jnp.int32)


def _select(keys, aux, carry, state):
    """B distinct unlabeled rows a seed in pick order, (S, B) int32, their scores (S, B), and the new carry."""
    scores = jnp.broadcast_to(aux, state.labels.shape)
    rows, best = jax.vmap(pick_best, in_axes=(0, 0, 0, None))(keys, scores, state.labeled, state.batch_size)
    return rows, best, carry + 1


def _utilities(keys, aux, state, rows):
    """What every row was worth before each pick, (S, B or 1, N): scikit-activeml's users ask for it."""
    return jnp.broadcast_to(aux, state.labels.shape)[:, None]
