"""Exact selection without looking at every row: bounds that only shrink.

The distance of a row to a growing set of centers never grows, nor does the number of rows it could still cover. So a
value computed earlier bounds the value now from above, and most rows never need a new one:

- `greedy`: the row of the largest value, again and again. Take the largest bound, compute its value; if that is still
  the largest it is the maximum, with every other row left alone (the lazy greedy algorithm, Minoux 1978).
- `sample`: rows with probability proportional to their squared distance to the centers (D^2 sampling, as k-means++,
  Arthur and Vassilvitskii 2007). Draw from the bounds, accept with probability value / bound: exactly the
  distribution of the values, whatever the bounds are and however often they were renewed.

Both loop over all seeds at once on an explicit axis S: a vmapped while loop would copy all bounds of all seeds at every
step (N = 400k, S = 5: 2 ms instead of .04). Bounds lie in blocks with a sum or maximum each, so a step touches
O(sqrt N) numbers. Block sums are summed afresh when a row changes: running sums drift in float32.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

_PROPOSALS = 8  # rows drawn at once: they share one pass over the centers; those after the first accepted are dropped
_WINDOW = 256  # centers a proposal is compared with before all bounds are renewed


def step_price() -> float:
    """Multiplications that take as long as one step and seed: all bounds are renewed when failed steps have cost that.

    Measured on 2 CPU cores. On accelerators a step is a chain of launches, and multiplications are nearly free.
    """
    return 1.5e6 if jax.default_backend() == "cpu" else 1e9


def block_size(n: int) -> int:
    """Rows of a block, a power of two of the order of sqrt(n)."""
    return 1 << max(5, (max(n, 1).bit_length() - 1) // 2)


def blocked(values, fill) -> Array:
    """(S, N) as (S, blocks, rows of a block), padded with `fill`."""
    n_seeds, n = values.shape
    size = block_size(n)
    return jnp.pad(values, ((0, 0), (0, -n % size)), constant_values=fill).reshape(n_seeds, -1, size)


def flat(blocks, n: int) -> Array:
    """The (S, N) that `blocked` was given."""
    return blocks.reshape(blocks.shape[0], -1)[:, :n]


class Metric(NamedTuple):
    """How far rows are apart, for all seeds."""

    points: Callable  # rows (S, P) -> points, a pytree with leading axes (S, P)
    squared: Callable  # points (S, P), points (S, T) -> squared distances (S, P, T)
    nearest: Callable  # points (S, T), valid (S, T) -> squared distance of every row to the nearest valid one, (S, N)
    cost: int  # multiplications of one squared distance


class _Draws(NamedTuple):
    """Where `sample` stands."""

    weights: Array  # (S, blocks, size) upper bounds of the squared distances; 0: never to be drawn
    sums: Array  # (S, blocks) of weights
    free: Array  # (S, blocks, size) may still be drawn, even at distance 0
    uniform: Array  # (S,) all distances are 0: every free row is as good as any other
    centers: Any  # the last centers, points (S, _WINDOW)
    recent: Array  # (S,) how many of them are not in the bounds of all rows
    count: Array  # (S,) rows chosen
    rows: Array  # (S, B)
    values: Array  # (S, B) squared distance at the time of the choice
    step: Array  # (S,)
    idle: Array  # (S,) steps since the bounds were renewed that chose nothing


def sample(keys, first, weights, free, n_picks: int, metric: Metric):
    """Distinct rows, each drawn with probability proportional to its squared distance to those before it.

    Args:
        keys: (S,). first: (S,) int32, the first row. n_picks: B, `first` included, static; at most the rows free.
        weights: (S, N) upper bounds of the squared distances to `first`. free: (S, N) bool, rows that may be drawn.
    Returns: rows (S, B) int32 and squared distances (S, B) when drawn. When all are 0 the rest is drawn uniformly.
    Cost: a few proposals a pick, each compared with the centers since the last renewal.
    """
    n_seeds, n = weights.shape
    size, window = block_size(n), min(_WINDOW, n_picks)
    seeds = jnp.arange(n_seeds, dtype=jnp.int32)[:, None]

    def choose(state: _Draws, rows, values, points, chosen) -> _Draws:
        """Note rows (S,) as chosen where `chosen`; every index of a seed without a choice is out of bounds."""
        at = jnp.where(chosen, state.count, n_picks)
        slot = jnp.where(chosen, state.recent, window)
        block = jnp.where(chosen, rows // size, n)
        s = seeds[:, 0]
        weights = state.weights.at[s, block, rows % size].set(0, mode="drop")
        touched = weights[s, jnp.minimum(block, weights.shape[1] - 1)]
        return state._replace(
            weights=weights,
            sums=state.sums.at[s, block].set(touched.sum(axis=1), mode="drop"),
            free=state.free.at[s, block, rows % size].set(False, mode="drop"),
            centers=jax.tree.map(lambda c, p: c.at[s, slot].set(p, mode="drop"), state.centers, points),
            recent=state.recent + chosen.astype(jnp.int32),
            count=state.count + chosen.astype(jnp.int32),
            rows=state.rows.at[s, at].set(rows, mode="drop"),
            values=state.values.at[s, at].set(values, mode="drop"),
        )

    def draw(key, state: _Draws):
        """(S, P) rows with probability proportional to the weights, and uniforms (S, P) to accept them by."""
        u = jax.vmap(lambda key: jax.random.uniform(key, (3, _PROPOSALS), weights.dtype))(key)
        block = invert(state.sums[:, None], u[:, 0])
        within = invert(state.weights[seeds, block], u[:, 1])
        return block * size + within, u[:, 2]

    def going(state: _Draws):
        """(S,) seeds that want more rows, and for whom going on is possible, and better than renewing their bounds.

        The others wait: what a seed draws must not depend on the seeds beside it.
        """
        drained = ~(state.sums.sum(axis=1) > 0)
        recent = state.recent.astype(jnp.float32)
        spent = (state.idle.astype(jnp.float32) * step_price() > n * metric.cost * recent) & (state.recent > 0)
        return (state.count < n_picks) & ~(drained | spent | (state.recent == window))

    def step(state: _Draws) -> _Draws:
        active = going(state)
        rows, u = draw(jax.vmap(jax.random.fold_in)(keys, state.step), state)
        block, within = rows // size, rows % size
        points = metric.points(jnp.minimum(rows, n - 1))
        bounds = state.weights[seeds, block, within]
        known = jnp.arange(window, dtype=jnp.int32)[None] < state.recent[:, None]
        apart = metric.squared(points, state.centers)
        values = jnp.minimum(bounds, jnp.where(known[:, None], apart, jnp.inf).min(axis=2))
        flat = state.uniform[:, None]
        accepted = (bounds > 0) & (flat | (u * bounds < values)) & active[:, None]
        # Bounds may be renewed by whatever was computed; choices after the first are dropped, they saw one center less.
        at = jnp.where(active[:, None], block, state.sums.shape[1])
        renewed = state.weights.at[seeds, at, within].set(jnp.where(flat, bounds, values), mode="drop")
        sums = state.sums.at[seeds, at].set(renewed[seeds, block].sum(axis=2), mode="drop")
        which = jnp.argmax(accepted, axis=1)
        take = lambda a: a[seeds[:, 0], which]  # noqa: E731
        chosen = accepted.any(axis=1)
        value = jnp.where(state.uniform, 0, take(values))
        state = state._replace(
            weights=renewed,
            sums=sums,
            step=state.step + active.astype(jnp.int32),
            idle=state.idle + (active & ~chosen).astype(jnp.int32),
        )
        return choose(state, take(rows), value, jax.tree.map(take, points), chosen)

    def renew(state: _Draws) -> _Draws:
        known = jnp.arange(window, dtype=jnp.int32)[None] < state.recent[:, None]
        exact = jnp.minimum(state.weights, blocked(metric.nearest(state.centers, known), jnp.inf))
        uniform = state.uniform | ~(exact.sum(axis=(1, 2)) > 0)
        exact = jnp.where(uniform[:, None, None], state.free.astype(exact.dtype), exact)
        nothing = jnp.zeros_like(state.recent)
        return state._replace(weights=exact, sums=exact.sum(axis=2), uniform=uniform, recent=nothing, idle=nothing)

    def stage(state: _Draws) -> _Draws:
        state = lax.while_loop(lambda state: going(state).any(), step, state)
        return lax.cond((state.count < n_picks).any(), renew, lambda state: state, state)

    blocks = blocked(jnp.where(free, weights, 0), 0)
    nothing = jnp.zeros(n_seeds, jnp.int32)
    points = metric.points(first[:, None])
    state = _Draws(
        weights=blocks,
        sums=blocks.sum(axis=2),
        free=blocked(free, False),
        uniform=jnp.zeros(n_seeds, bool),
        centers=jax.tree.map(lambda p: jnp.zeros((n_seeds, window, *p.shape[2:]), p.dtype), points),
        recent=nothing,
        count=nothing,
        rows=jnp.zeros((n_seeds, n_picks), jnp.int32),
        values=jnp.zeros((n_seeds, n_picks), weights.dtype),
        step=nothing,
        idle=nothing,
    )
    state = choose(
        state, first, flat(blocks, n)[seeds[:, 0], first], jax.tree.map(lambda p: p[:, 0], points), nothing == 0
    )
    state = lax.while_loop(lambda state: (state.count < n_picks).any(), stage, state)
    return state.rows, state.values


class Task(NamedTuple):
    """What `greedy` maximises, for all seeds; `carry` is whatever the values depend on."""

    value: Callable  # (carry, rows (S,), bounds (S,)) -> (values now (S,), carry)
    choose: Callable  # (carry, rows (S,), chosen (S,) bool) -> carry, when those seeds have taken their row
    renew: Callable  # (carry, bounds (S, N)) -> (values of all rows (S, N), carry)
    price: Callable  # carry -> () multiplications that renewing costs a seed


class _Tops(NamedTuple):
    """The largest value of every block, ties decided by lots, and where it is."""

    value: Array  # (S, blocks)
    lot: Array  # (S, blocks)
    row: Array  # (S, blocks)


class _Search(NamedTuple):
    """Where `greedy` stands."""

    bounds: Array  # (S, blocks, size) upper bounds of the values; -inf: never to be taken
    tops: _Tops
    candidate: Array  # (S,) the row of the largest bound
    count: Array  # (S,) rows chosen
    rows: Array  # (S, B)
    values: Array  # (S, B) when chosen
    carry: Any
    idle: Array  # () steps since all bounds were renewed that chose nothing, the mean of seeds


def greedy(keys, bounds, n_picks: int, task: Task, carry: Any):
    """The row of the largest value, `n_picks` times, where values only shrink with what was taken.

    Args:
        keys: (S,), decide between rows of equal value, uniformly.
        bounds: (S, N) upper bounds of the values; -inf for rows never to be taken.
    Returns: rows (S, B) int32, their values when taken (S, B), the bounds as they are then (S, N), -inf where a row was
        taken, and the carry.
    Cost: a few values a pick.
    """
    n_seeds, n = bounds.shape
    size = block_size(n)
    s = jnp.arange(n_seeds, dtype=jnp.int32)
    lots = blocked(jax.vmap(lambda key: priorities(key, n))(keys), 0)

    def top(values, lots, rows):
        """The largest of values (S, ..., K), ties to the largest lot: its value, lot and row."""
        best = values.max(axis=-1, keepdims=True)
        lot = jnp.where(values == best, lots, -1)
        winner = lot.max(axis=-1, keepdims=True)
        row = jnp.where(lot == winner, rows, n).min(axis=-1)
        return best[..., 0], winner[..., 0], row

    def of_all(blocks):
        row = jnp.arange(blocks[0].size, dtype=jnp.int32).reshape(1, *blocks.shape[1:])
        return _Tops(*top(blocks, lots, row))

    def step(state: _Search) -> _Search:
        row, unfinished = state.candidate, state.count < n_picks
        block, within = row // size, row % size
        now, carry = task.value(state.carry, row, state.bounds[s, block, within])
        lot = lots[s, block, within]
        # Without the candidate its block has another top, and the pool too: the candidate's rival.
        bounds = state.bounds.at[s, block, within].set(-jnp.inf)
        inside = block[:, None] * size + jnp.arange(size, dtype=jnp.int32)[None]
        kept = _Tops(*top(bounds[s, block], lots[s, block], inside))
        others = jax.tree.map(lambda a, k: a.at[s, block].set(k), state.tops, kept)
        best, best_lot, rival = top(*others)
        ahead = (now > best) | ((now == best) & (lot > best_lot))
        chosen = ahead & unfinished
        at = jnp.where(chosen, state.count, n_picks)
        # Not chosen, it goes back to its place with the value it has now.
        mine = _Tops(now, lot, row)
        leads = ~chosen & ((now > kept.value) | ((now == kept.value) & (lot > kept.lot)))
        return _Search(
            bounds=bounds.at[s, block, within].set(jnp.where(chosen, -jnp.inf, now)),
            tops=jax.tree.map(lambda a, m, k: a.at[s, block].set(jnp.where(leads, m, k)), others, mine, kept),
            candidate=jnp.where(ahead & ~unfinished, row, rival),
            count=state.count + chosen.astype(jnp.int32),
            rows=state.rows.at[s, at].set(row, mode="drop"),
            values=state.values.at[s, at].set(now, mode="drop"),
            carry=task.choose(carry, row, chosen),
            idle=state.idle + (unfinished & ~chosen).mean(dtype=jnp.float32),
        )

    def stage(state: _Search) -> _Search:
        def worthwhile(state):
            spent = state.idle * step_price() > task.price(state.carry).astype(jnp.float32)
            return (state.count < n_picks).any() & ~spent

        def renew(state):
            bounds, carry = task.renew(state.carry, flat(state.bounds, n))
            bounds = blocked(bounds, -jnp.inf)
            tops = of_all(bounds)
            return state._replace(bounds=bounds, tops=tops, candidate=top(*tops)[2], carry=carry, idle=0 * state.idle)

        state = lax.while_loop(worthwhile, step, state)
        return lax.cond((state.count < n_picks).any(), renew, lambda state: state, state)

    blocks = blocked(bounds, -jnp.inf)
    tops = of_all(blocks)
    state = _Search(
        bounds=blocks,
        tops=tops,
        candidate=top(*tops)[2],
        count=jnp.zeros(n_seeds, jnp.int32),
        rows=jnp.zeros((n_seeds, n_picks), jnp.int32),
        values=jnp.zeros((n_seeds, n_picks), bounds.dtype),
        carry=carry,
        idle=jnp.float32(0),
    )
    state = lax.while_loop(lambda state: (state.count < n_picks).any(), stage, state)
    return state.rows, state.values, flat(state.bounds, n), state.carry


def priorities(key, n: int) -> Array:
    """(n,) int32 in random order: which of several equal rows is taken."""
    return (jax.random.bits(key, (n,), jnp.uint32) >> 1).astype(jnp.int32)


def invert(weights, u):
    """Positions (S, P), drawn with probability proportional to weights (S, P or 1, K), by uniforms (S, P)."""
    cumulative = jnp.cumsum(weights, axis=2)
    below = cumulative <= (u * cumulative[..., -1])[..., None]
    return jnp.minimum(below.sum(axis=2, dtype=jnp.int32), weights.shape[2] - 1)
