"""Lloyd's algorithm of one seed.

Letters: M rows, D dimensions, K clusters, `max_clusters` >= K.
"""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int32

from jaxal.numerics import bounds
from jaxal.numerics.arrays import index_if
from jaxal.numerics.assignment import Problem, assign, mean_variance, own_squared, renew_sums

# These constants are scikit-learn's, of KMeans.
_MAX_ITER = 300
_TOL = 1e-4  # centers are done when they move no more than this share of the mean variance of a feature


class Lloyd(NamedTuple):
    """Where Lloyd's algorithm stands."""

    labels: Array  # (M,)
    centers: Array  # (max_clusters, D)
    total: Array  # (max_clusters, D) sums of the rows of the labels before, and
    count: Array  # (max_clusters,) how many those are
    changed: Array  # (max_clusters,) clusters that gained or lost rows since
    bounds: Any  # `bounds.Bounds`; () where every distance is computed
    computed: Array  # () distances computed in all iterations, as a share of M K
    iterations: Array  # ()
    done: Array  # ()


def lloyd(
    problem: Problem, centers: Float[Array, "K D"], labels: Int32[Array, " M"], *, every_distance: bool = False
) -> Lloyd:
    """The end of Lloyd's algorithm from these centers, and the nearest of them, `labels`.

    every_distance: compute all of them, without bounds, as is done in any case where bounds would not pay.
    Reference: Lloyd, IEEE Transactions on Information Theory, 1982.
    """
    limit = _TOL * mean_variance(problem)
    every_distance = every_distance or not bounds.pay(len(labels), *centers.shape)

    def iterate(state: Lloyd) -> Lloyd:
        total, count = renew_sums(problem, state.labels, state.changed, state.total, state.count)
        filled, number = lax.cond(
            (problem.live & (count == 0)).any(),
            partial(fill_empty_clusters, problem),
            lambda labels, centers, total, count: (total, count),
            state.labels,
            state.centers,
            total,
            count,
        )
        centers = jnp.where((number > 0)[:, None], filled / jnp.maximum(number, 1)[:, None], state.centers)
        squared_moves = ((centers - state.centers) ** 2).sum(axis=1)
        if every_distance:
            labels, known, share = assign(problem, centers)[0], (), 1
        else:
            labels, _, known, share = bounds.reassign(
                problem, state.bounds, state.labels, centers, jnp.sqrt(squared_moves), state.iterations
            )
        changed = labels != state.labels
        return Lloyd(
            labels,
            centers,
            total,
            count,
            changed=_either(problem, changed, state.labels, labels),
            bounds=known,
            computed=state.computed + share,
            iterations=state.iterations + 1,
            done=~changed.any() | (squared_moves.sum() <= limit),
        )

    state = Lloyd(
        labels,
        centers,
        total=jnp.zeros_like(centers),
        count=jnp.zeros(len(centers), centers.dtype),
        changed=problem.live,
        bounds=() if every_distance else bounds.begin(problem),
        computed=jnp.zeros((), centers.dtype),
        iterations=jnp.int32(0),
        done=jnp.bool_(False),
    )
    return lax.while_loop(lambda state: ~state.done & (state.iterations < _MAX_ITER), iterate, state)


def _either(problem: Problem, changed, before, after):
    """(max_clusters,) clusters that rows which `changed` were in before or are in after."""
    none = jnp.zeros(problem.max_clusters, bool)
    left, joined = (index_if(changed, labels, problem.max_clusters) for labels in (before, after))
    return none.at[left].set(True, mode="drop").at[joined].set(True, mode="drop")


def fill_empty_clusters(problem: Problem, labels, centers, total, count):
    """Each empty cluster gets one row: those farthest from their centers, farthest first, unless at distance 0.

    total (max_clusters, D), count (max_clusters,): of the clusters; returned with those rows moved.
    """
    max_clusters = problem.max_clusters
    empty = problem.live & (count == 0)
    place = jnp.cumsum(empty.astype(jnp.int32)) - 1
    farthest, at = lax.top_k(own_squared(problem, labels, centers), max_clusters)
    filled = empty & (farthest[place] > 0)
    row = at[place]
    x = problem.points.at(problem.rows[row])
    source = index_if(filled, labels[row], max_clusters)
    total = total.at[source].add(-x, mode="drop")
    count = count.at[source].add(-1, mode="drop")
    return jnp.where(filled[:, None], x, total), jnp.where(filled, 1, count)
