"""Margin: the rows whose two most probable classes are closest."""

import jax.numpy as jnp

from jaxal.strategies.interface import by_logits


def score(logits):
    """log(1 - (p1 - p2)) of logits (C, N), p1 and p2 the two largest probabilities: higher is less certain.

    1 - p1 + p2 = p2 + all classes but the first, a sum of positive terms: its logarithm tells rows apart whose p1
    rounds to 1. Rows with one class seen score -inf.
    """
    gap, others = lead(logits)
    gap, total = gap[0], others.sum(axis=0)
    return jnp.where(gap > -jnp.inf, gap + jnp.log1p(total) - jnp.log1p(total * jnp.exp(gap)), -jnp.inf)


def lead(logits):
    """The lead of the first class: log p2 - log p1 (1, N), and p_c / p2 of all classes (C, N), the first's as 0."""
    top = logits.max(axis=0, keepdims=True)
    behind = logits < top
    leaders = (~behind).sum(axis=0, keepdims=True).astype(logits.dtype)
    # Where several classes share the top, all but one of them are runners-up.
    second = jnp.where(leaders > 1, top, jnp.where(behind, logits, -jnp.inf).max(axis=0, keepdims=True))
    reference = jnp.where(second > -jnp.inf, second, top)  # one class seen: nothing to divide by
    return second - top, jnp.where(behind, jnp.exp(logits - reference), 1 - 1 / leaders)


def margin(variant="official"):
    """Smallest p1 - p2 first. Cost: O(N C D). Both variants are the same.

    Reference: Scheffer et al., IDA 2001.
    """
    return by_logits(score)
