"""Random: every unlabeled row is as good as any other. Also the default initial pool selection."""

import jax.numpy as jnp

from jaxal.strategies.interface import per_seed


def score(key, state):
    """All rows tie, and ties are broken uniformly by the key: a draw without replacement."""
    return jnp.zeros(state.X.shape[0], state.X.dtype)


def random(variant="official"):
    """Uniform draws without replacement. Both variants are the same.

    Score: the float that was drawn, (S, B). Cost: O(S N). Raises nothing of its own.
    """
    return per_seed(score)
