"""The nearest center of every row where centers have moved, from few distances: the triangle inequality.

Centers lie in G groups of neighbors. A row keeps an upper bound of the distance to its own center, and for each group a
lower bound of the distance to the nearest other center in it. When centers move, the upper bound grows by what its
center moved, and each lower bound shrinks by the most that a center of the group moved. Only where a lower bound is no
longer above the upper one can a center of that group be nearer, and the row is compared with the group.

The rows that must meet a group are gathered into blocks, so that comparing is a matrix product again: a group is a
dense matrix of 24 to 47 centers. Bounds give way by more than rounding, so the labels are those of comparing
everything, up to rounding ties.

Reference: Ding et al., ICML 2015 (Yinyang k-means). Differs from it: groups have equal size, and bounds begin with the
distance to the mean of a group minus its radius.
Letters: M rows, K clusters, `max_clusters` >= K, G groups, P places: G times the size of a group.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int32

from jaxal.numerics import blocks
from jaxal.numerics.arrays import einsum
from jaxal.numerics.assignment import Problem, halves, over_listed, rest_of_own
from jaxal.numerics.distances import products

_LEAST_SIZE = 24  # centers of a group; products with fewer rows are slow: 8: 20, 16: 35, 32: 50, 64: 67 GFLOP/s a core
_LEAST_CLUSTERS = 4 * _LEAST_SIZE  # with fewer groups most rows meet all
_LEAST_WORK = 2**30  # multiplications of all distances, some 20 ms: with less, bounds do not save what compiling costs
_WORTH = 0.5  # share of the distances that bounds may leave; with more all are computed, in large products
_ROUNDING = 32  # squared distances are right to so many roundings of the squared norms
_MET = 8  # groups that all rows meet at a time, a power of two as the number of groups is
_POWER_STEPS = 4  # towards the main direction of some centers


class Bounds(NamedTuple):
    """What is known of the distances of each row."""

    places: Array  # (P,) the center at each place, group by group; a number >= max_clusters where there is none
    lower: Array  # (G, M) no center of the group but the row's own is nearer
    upper: Array  # (M,) the row's own center is no farther; -inf for rows that do not count or were not asked for
    failed: Array  # () the last time they left too many distances


class _Groups(NamedTuple):
    """The centers, in their groups of size P / G."""

    number: Array  # (G, P / G) which center it is
    x: Array  # (G, P / G, D)
    half: Array  # (G, P / G) |c|^2 / 2, inf where there is no center
    scale: Array  # () the largest |c|^2
    live: Array  # () groups with centers, which come first


def n_groups(max_clusters: int) -> int:
    """A power of two."""
    return 1 << max(max_clusters // _LEAST_SIZE, 1).bit_length() - 1


def pay(n: int, max_clusters: int, dim: int) -> bool:
    """Whether bounds are worth their compiling."""
    return max_clusters >= _LEAST_CLUSTERS and n * max_clusters * dim >= _LEAST_WORK


def begin(problem: Problem) -> Bounds:
    """Nothing is known."""
    groups, dtype = n_groups(problem.max_clusters), problem.points.X.dtype
    places = jnp.arange(groups * -(-problem.max_clusters // groups), dtype=jnp.int32)
    upper = jnp.where(problem.valid, jnp.inf, -jnp.inf).astype(dtype)
    return Bounds(places, jnp.zeros((groups, len(upper)), dtype), upper, jnp.bool_(False))


def reassign(
    problem: Problem,
    bounds: Bounds,
    labels: Int32[Array, " M"],
    centers: Float[Array, "K D"],
    moved: Float[Array, " K"],
    iteration: Int32[Array, ""],
    among: Bool[Array, " M"] | None = None,
):
    """The nearest center of each row, the lowest of equals.

    Args:
        labels: of the centers before they `moved` so far. iteration: 0 where nothing is known yet.
        among: the rows that are asked for, None: all. The others keep lower bounds, and mostly their labels.
    Returns: labels (M,), K for rows that do not count; `rest` (M,) of their centers, for the rows in `among`; bounds;
        the share of all distances that was computed.
    """
    bounds = lax.cond(iteration == 0, partial(_begin_with_means, problem), _give_way, bounds, labels, centers, moved)
    groups = _grouped(problem, bounds.places, centers, len(bounds.lower))
    # Where they failed they are tried again at iterations 1, 2, 4, 8, since trying costs a pass over the rows.
    attempt = ~bounds.failed | ((iteration & (iteration - 1)) == 0)
    doubtful = attempt & (bounds.upper >= bounds.lower.min(axis=0)) if among is None else among
    rest = rest_of_own(problem, labels, centers, doubtful)
    upper = jnp.where(doubtful, _above(problem.norms, groups.scale, rest), bounds.upper)
    upper = upper if among is None else jnp.where(among, upper, -jnp.inf)
    left = (bounds.lower <= upper[None]).sum(dtype=upper.dtype) / (groups.live * len(upper)).astype(upper.dtype)
    failed = ~attempt | (left > _WORTH)
    search = _Search(labels, rest, upper, bounds.lower)
    search = lax.cond(failed, partial(_meet_all, problem), partial(_meet_near, problem), groups, search)
    share = jnp.where(failed, 1, left)
    return search.labels, search.rest, Bounds(bounds.places, search.lower, search.upper, failed), share


# ---- bounds


def _above(norms, scale, rest):
    """Distances no smaller than those of `rest`; all arguments but scale (..., R)."""
    return jnp.sqrt(jnp.maximum(norms + 2 * rest + _slack(norms, scale), 0))


def _below(norms, scale, rest):
    """Distances no larger than those of `rest`."""
    return jnp.sqrt(jnp.maximum(norms + 2 * rest - _slack(norms, scale), 0))


def _slack(norms, scale):
    return _ROUNDING * jnp.finfo(norms.dtype).eps * (norms + scale)


def _give_way(bounds: Bounds, labels, centers, moved) -> Bounds:
    """The bounds after centers moved."""
    eps = jnp.finfo(moved.dtype).eps
    moved = moved * (1 + _ROUNDING * eps)
    by_place = jnp.append(moved, 0)[jnp.minimum(bounds.places, len(moved))]
    most = by_place.reshape(len(bounds.lower), -1).max(axis=1)
    return bounds._replace(
        lower=bounds.lower * (1 - 2 * eps) - most[:, None], upper=bounds.upper * (1 + 2 * eps) + moved[labels]
    )


def _begin_with_means(problem: Problem, bounds: Bounds, labels, centers, moved) -> Bounds:
    """The first bounds: groups are formed, and |x - c| >= |x - m| - |c - m| with m the mean of a group."""
    n = len(bounds.lower)
    places = _places(problem, centers, n, len(bounds.places))
    groups = _grouped(problem, places, centers, n)
    there = jnp.isfinite(groups.half)[:, :, None]
    mean = jnp.where(there, groups.x, 0).sum(axis=1) / jnp.maximum(there.sum(axis=1), 1).astype(centers.dtype)
    radius = jnp.sqrt(jnp.where(there, (groups.x - mean[:, None]) ** 2, 0).sum(axis=2).max(axis=1))
    radius = radius * (1 + _ROUNDING * jnp.finfo(radius.dtype).eps)
    half = jnp.where(there.any(axis=(1, 2)), (mean * mean).sum(axis=1) / 2, jnp.inf)

    def block(start, size):
        rows = blocks.take(problem.rows, start, size)
        rest = half[:, None] - products(mean, problem.points.at(rows))
        return _below(problem.points.norms.centered[rows][None], groups.scale, rest) - radius[:, None]

    lower = blocks.map_blocks(block, len(problem.rows), blocks.rows(n))
    return bounds._replace(places=places, lower=lower)


# ---- groups


def _grouped(problem: Problem, places, centers, n: int) -> _Groups:
    x = centers[jnp.minimum(places, problem.max_clusters - 1)]
    half = jnp.append(halves(problem, centers), jnp.inf)[jnp.minimum(places, problem.max_clusters)]
    scale = jnp.where(jnp.isfinite(half), 2 * half, 0).max()
    size = len(places) // n
    live = -(-problem.clusters // size)
    return _Groups(places.reshape(n, size), x.reshape(n, size, -1), half.reshape(n, size), scale, live)


def _places(problem: Problem, centers, n: int, n_places: int):
    """(P,) the centers in n groups: halved along their main direction, and again. What is no center comes last."""
    x = jnp.pad(jnp.where(problem.live[:, None], centers, 0), ((0, n_places - len(centers)), (0, 0)))
    live = jnp.arange(n_places, dtype=jnp.int32) < problem.clusters

    def halve(level, places):
        size = n_places >> level
        part = jnp.arange(n_places, dtype=jnp.int32) // size
        count = live[places]

        def total(values):
            return jnp.zeros((n, *values.shape[1:]), values.dtype).at[part].add(values)

        weight = count.astype(x.dtype)[:, None]
        mean = total(weight * x[places]) / jnp.maximum(total(weight), 1)
        apart = weight * (x[places] - mean[part])

        def along(direction):
            return einsum("pd,pd->p", apart, direction[part])

        def power(_, direction):
            return _unit(total(along(direction)[:, None] * apart))

        first = jnp.minimum(jnp.arange(n, dtype=jnp.int32) * size, n_places - 1)
        direction = lax.fori_loop(0, _POWER_STEPS, power, _unit(apart[first]))
        return lax.sort((part, jnp.where(count, along(direction), jnp.inf), places), num_keys=2)[2]

    return lax.fori_loop(0, n.bit_length() - 1, halve, jnp.arange(n_places, dtype=jnp.int32))


def _unit(a):
    """The rows of a at length 1; zeros stay zeros."""
    length = jnp.sqrt((a * a).sum(axis=1, keepdims=True))
    return a / jnp.where(length > 0, length, 1)


# ---- search


class _Search(NamedTuple):
    """Rows in search of their nearest center."""

    labels: Array  # (M,) the nearest so far
    rest: Array  # (M,) of that center; see `assignment.halves`
    upper: Array  # (M,)
    lower: Array  # (G, M)


def _meet_near(problem: Problem, groups: _Groups, search: _Search) -> _Search:
    """Each group meets the rows that may have a nearer center in it."""
    group_of, n_rows = _group_of(problem, groups), len(problem.rows)

    def meet(g, at, search: _Search) -> _Search:
        rows, label, own = problem.rows[at], search.labels[at], search.rest[at]
        norms = problem.points.norms.centered[rows]
        number = groups.number[g][:, None]
        rest = groups.half[g][:, None] - products(groups.x[g], problem.points.at(rows))
        rest = jnp.where(number == label[None], jnp.inf, rest)
        least = rest.min(axis=0)
        nearest = jnp.where(rest == least[None], number, n_rows).min(axis=0)
        nearer = (least < own) | ((least == own) & (nearest < label))
        second = jnp.where(number == nearest[None], jnp.inf, rest).min(axis=0)
        lower = search.lower.at[g, at].set(_below(norms, groups.scale, jnp.where(nearer, second, least)), mode="drop")
        # The center that is left is one of the others from now on.
        left = jnp.where(nearer, _below(norms, groups.scale, own), jnp.inf)
        own = jnp.minimum(own, least)
        return _Search(
            labels=search.labels.at[at].set(jnp.where(nearer, nearest, label), mode="drop"),
            rest=search.rest.at[at].set(own, mode="drop"),
            upper=search.upper.at[at].set(_above(norms, groups.scale, own), mode="drop"),
            lower=lower.at[group_of[label], at].min(left, mode="drop"),
        )

    def group(g, search: _Search) -> _Search:
        return over_listed(search.lower[g] <= search.upper, partial(meet, g), search)

    return lax.fori_loop(0, groups.live, group, search)


def _meet_all(problem: Problem, groups: _Groups, search: _Search) -> _Search:
    """All rows meet all centers, some groups at a time."""
    n, n_rows = len(groups.x), len(problem.rows)
    width, group_of = min(_MET, n), _group_of(problem, groups)
    # Groups last: XLA:CPU reduces the first axis several times faster than one in the middle.
    number, half, x = (jnp.swapaxes(a, 0, 1) for a in (groups.number, groups.half, groups.x))

    def block(start, size):
        rows = blocks.take(problem.rows, start, size)
        norms, points = problem.points.norms.centered[rows], problem.points.at(rows)
        each = jnp.arange(size, dtype=jnp.int32)

        def meet(i, state):
            best, label, lower = state
            some = [blocks.take(a, i * width, width, axis=1) for a in (number, half, x)]
            numbers, halves, x_some = (a.reshape(-1, *a.shape[2:]) for a in some)
            rest = halves[:, None] - products(x_some, points)
            least = rest.min(axis=0)
            nearest = jnp.where(rest == least[None], numbers[:, None], n_rows).min(axis=0)
            others = jnp.where(numbers[:, None] == nearest[None], jnp.inf, rest).reshape(-1, width, size).min(axis=0)
            nearer = (least < best) | ((least == best) & (nearest < label))
            lower = lax.dynamic_update_slice_in_dim(lower, others, i * width, axis=0)
            farther = group_of[jnp.where(nearer, label, nearest)]  # its center is one of the others
            lower = lower.at[farther, each].min(jnp.maximum(best, least))
            return jnp.minimum(best, least), jnp.where(nearer, nearest, label), lower

        nothing = jnp.full((n + 1, size), jnp.inf, norms.dtype)
        state = nothing[0], jnp.zeros(size, jnp.int32), nothing[1:]
        least, label, lower = lax.fori_loop(0, -(-groups.live // width), meet, state)
        upper, lower = _above(norms, groups.scale, least), _below(norms[None], groups.scale, lower)
        return jnp.concatenate([jnp.stack([label.astype(least.dtype), least, upper]), lower])

    found = blocks.map_blocks(block, n_rows, blocks.rows(width * half.shape[0] + n))
    upper = jnp.where(problem.valid, found[2], -jnp.inf)
    labels = jnp.where(problem.valid, found[0].astype(jnp.int32), problem.clusters)
    return _Search(labels, found[1], upper, found[3:])


def _group_of(problem: Problem, groups: _Groups):
    """(max_clusters,) the group of each center."""
    numbers = jnp.arange(len(groups.x), dtype=jnp.int32)[:, None]
    return jnp.zeros(problem.max_clusters, jnp.int32).at[groups.number].set(numbers, mode="drop")
