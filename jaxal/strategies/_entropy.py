"""Entropy: the rows whose class probabilities are most spread."""

import jax.numpy as jnp

from jaxal.strategies._margin import lead
from jaxal.strategies.interface import by_logits


def score(logits):
    """Log H of logits (C, N), H = -sum p log p in nats: higher is less certain.

    With p_c = p2 r_c for the classes but the first, and u = (sum r) p2/p1, so that -log p1 = log1p(u):
    H = p1 (p2/p1 sum r_c (-log p_c) + log1p(u)). The factor p2/p1 is taken out and kept as a logarithm, so rows are
    told apart whose H is below the smallest float. Rows with one class seen score -inf.
    """
    gap, others = lead(logits)
    total = others.sum(axis=0, keepdims=True)
    u = jnp.maximum(total * jnp.exp(gap), jnp.finfo(logits.dtype).tiny)
    first = jnp.log1p(u)
    surprise = jnp.where(others > 0, first - (logits - logits.max(axis=0, keepdims=True)), 0)
    spread = (others * surprise).sum(axis=0, keepdims=True) + total * (first / u)
    return jnp.where(gap > -jnp.inf, gap + jnp.log(spread) - first, -jnp.inf)[0]


def entropy(variant="official"):
    """Largest Shannon entropy first. Cost: O(N C D). Both variants are the same.

    Reference: Settles, Active Learning Literature Survey, 2009, section 3.1.
    """
    return by_logits(score)
