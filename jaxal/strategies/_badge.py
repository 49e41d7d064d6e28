"""Badge: rows that are uncertain and unlike each other, by k-means++ on the gradients of the classifier."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.numerics import blocks, distances, lazy
from jaxal.numerics.arrays import einsum, lowest_index, split_each
from jaxal.strategies.interface import Strategy, pick_best
from jaxal.strategies.utilities import before_each


class Gradient(NamedTuple):
    """Gradient embeddings g = q (x) x of rows, factorised; q = p - onehot(argmax p)."""

    q: Array  # (S, P, C)
    qq: Array  # (S, P) |q|^2
    x: Array  # (S, P, D) about the mean of the pool
    xx: Array  # (S, P) |x|^2, not about the mean


def badge(variant="official"):
    """k-means++ on g_i = (p_i - e_{y_i}) (x) x_i: each row is drawn with probability proportional to its squared
    distance to the rows drawn before it.

    The (N, C D) matrix is never built (see `_squared`), and few distances are computed (see `numerics/lazy.py`): the
    distribution is exactly that of the eager algorithm. The first row is the one of the largest gradient. When all
    distances are 0 the rest is drawn uniformly.
    Score: the squared distance when drawn; of the first row its squared norm.
    Cost: O(N C D) once for the norms, then some ten rows a pick; memory O(S N).
    Differs by variant: `skactiveml` has the origin as one more center, so rows of small gradient are rarely drawn.
    Reference: Ash et al., ICLR 2020, Algorithm 1.
    """
    origin = variant == "skactiveml"

    def select(keys, aux, carry, state):
        first_keys, draw_keys = split_each(keys)
        norms = _norms(aux, state)
        first, largest = jax.vmap(pick_best, in_axes=(0, 0, 0, None))(first_keys, norms, state.labeled, 1)
        # |g_i - g_1| <= |g_i| + |g_1| bounds the distance to the first row without computing it.
        bounds = norms if origin else (jnp.sqrt(norms) + jnp.sqrt(largest)) ** 2
        rows, scores = lazy.sample(
            draw_keys, first[:, 0], bounds, ~state.labeled, state.batch_size, _metric(aux, state)
        )
        return rows, scores.at[:, 0].set(largest[:, 0]), carry

    def utilities(keys, aux, state, rows):
        """The squared distance to the picks before, by which rows are drawn; before the first, the squared norm.

        Cost: O(N (C + D)) a pick.
        """
        norms, metric, one = _norms(aux, state), _metric(aux, state), jnp.ones((len(rows), 1), bool)

        def take(nearest, row):
            return jnp.minimum(nearest, metric.nearest(metric.points(row[:, None]), one))

        start = norms if origin else jnp.full_like(norms, jnp.inf)
        return before_each(rows, start, lambda nearest: nearest, take).at[:, 0].set(norms)

    return Strategy(lambda pool, key: distances.norms(pool.X), lambda aux, state: (), select, utilities=utilities)


def _norms(aux, state):
    """|g|^2 of every row, (S, N)."""
    return state.map_logits(lambda Z: (residual(Z, axis=1) ** 2).sum(axis=1)) * aux.raw[None]


def residual(Z, axis):
    """Q = p - onehot(argmax p) of logits Z, classes along `axis`; ties to the lower class.

    The entry of the predicted class is minus the sum of the others: p - 1 would round to 0 where p rounds to 1.
    """
    top = Z.max(axis=axis, keepdims=True)
    classes = lax.broadcasted_iota(jnp.int32, Z.shape, axis % Z.ndim)
    predicted = classes == lowest_index(top == Z, axis, keepdims=True)
    E = jnp.exp(Z - top)
    others = jnp.where(predicted, 0, E)
    return jnp.where(predicted, -others.sum(axis=axis, keepdims=True), E) / E.sum(axis=axis, keepdims=True)


def _metric(aux, state) -> lazy.Metric:
    X, n_classes = state.X, state.params.b.shape[1]

    def points(rows) -> Gradient:
        q = residual(state.logits_at(rows), axis=2)
        return Gradient(q, (q * q).sum(axis=2), X[rows] - aux.mean[None, None], aux.raw[rows])

    def squared(a: Gradient, b: Gradient):
        xx = distances.squared(a.x, b.x)
        qq = distances.squared(a.q, b.q)
        return _squared(a.qq[:, :, None], a.xx[:, :, None], b.qq[:, None], b.xx[:, None], qq, xx)

    def nearest(centers: Gradient, known):
        """Arrays are (S, centers, rows): a CPU is fast along a last axis that is long."""
        center_norms = (centers.x * centers.x).sum(axis=2)[:, :, None]

        def block(start, size):
            q = residual(state.logits_of(start, size), axis=1)  # (S, C, R)
            norm_q = (q * q).sum(axis=1)[:, None]
            x = blocks.take(X, start, size) - aux.mean[None]
            qq = norm_q + centers.qq[:, :, None] - 2 * einsum("stc,scn->stn", centers.q, q)
            xx = (
                blocks.take(aux.centered, start, size)[None, None]
                + center_norms
                - 2 * einsum("std,nd->stn", centers.x, x)
            )
            norm_x = blocks.take(aux.raw, start, size)[None, None]
            squared = _squared(norm_q, norm_x, centers.qq[:, :, None], centers.xx[:, :, None], qq, xx)
            return jnp.where(known[:, :, None], squared, jnp.inf).min(axis=1)

        return blocks.map_blocks(block, X.shape[0], blocks.rows(known.size))

    return lazy.Metric(points, squared, nearest, X.shape[1] + n_classes)


def _squared(qq_a, xx_a, qq_b, xx_b, qq, xx):
    """|g_a - g_b|^2 from squared norms, and from qq = |q_a - q_b|^2 and xx = |x_a - x_b|^2.

    It is the squared norm of g_a - g_b = (q_a - q_b) (x) (x_a + x_b)/2 + (q_a + q_b)/2 (x) (x_a - x_b). The shorter
    |g_a|^2 + |g_b|^2 - 2 <q_a, q_b> <x_a, x_b> would lose the digits of what all embeddings have in common.
    """
    squared = ((xx_a + xx_b) * qq + (qq_a + qq_b) * xx - qq * xx + (qq_a - qq_b) * (xx_a - xx_b)) / 2
    return distances.above_rounding(squared, qq_a * xx_a + qq_b * xx_b)
