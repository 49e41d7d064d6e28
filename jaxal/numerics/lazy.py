"""Exact selection that computes few values: upper bounds stand for the rest.

The squared distance of a row to a growing set of centers never grows, and neither does the number of rows that a ball
could still cover. So a value d_i computed earlier is an upper bound b_i >= d_i of the value now.

- `greedy` takes the row of the largest d_i, B times. It computes the value of the row with the largest b_i. If that is
  still at least every other bound, the row is the maximum (the lazy greedy algorithm, Minoux 1978).
- `sample` draws rows with probability proportional to d_i, the squared distance to the rows drawn before (D^2 sampling,
  as in k-means++, Arthur and Vassilvitskii 2007). It proposes row i with probability b_i / sum(b) and accepts it with
  probability d_i / b_i. So an accepted row is i with probability proportional to b_i * d_i / b_i = d_i.

Both advance all seeds together, on an explicit axis S: a vmapped while loop would copy the bounds of all seeds in every
step (N = 400k, S = 5: 2 ms a step instead of .04). Bounds lie in about sqrt(N) blocks, and each block has its sum or
its maximum, so a step touches O(sqrt N) numbers. The sum of a block is computed afresh when one of its bounds changes,
because running sums drift in float32.

Shapes: S seeds, N rows, B picks, P proposals at once, W the window; a block has about sqrt(N) rows.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int32, Key, Num

from jaxal.numerics.arrays import index_if, tie_breaks

_PROPOSALS = 8  # P: they share one pass over the recent centers; those after the first accepted one are dropped
_WINDOW = 256  # W: centers that proposals are compared with before all bounds are renewed


def step_price() -> float:
    """What one step costs a seed, in multiplications.

    Renewing all bounds pays when the steps that chose nothing have cost more than it: idle * step_price() > renewal.
    1.5e6 was measured on 2 CPU cores. On accelerators a step is a chain of kernel launches while multiplications cost
    next to nothing: 1e9 is a guess, not measured.
    """
    return 1.5e6 if jax.default_backend() == "cpu" else 1e9


# ---- values in blocks


def block_size(n: int) -> int:
    """Rows of a block: a power of two of the order of sqrt(n)."""
    return 1 << max(5, (max(n, 1).bit_length() - 1) // 2)


def blocked(values: Num[Array, "S N"] | Bool[Array, "S N"], fill) -> Array:
    """(S, N) as (S, blocks, rows of a block), padded with `fill`."""
    n_seeds, n = values.shape
    size = block_size(n)
    return jnp.pad(values, ((0, 0), (0, -n % size)), constant_values=fill).reshape(n_seeds, -1, size)


def flat(blocks: Array, n: int) -> Array:
    """The (S, N) that `blocked` was given."""
    return blocks.reshape(blocks.shape[0], -1)[:, :n]


def invert(weights: Float[Array, "S _ K"], u: Float[Array, "S P"]) -> Int32[Array, "S P"]:
    """Positions drawn with probability proportional to weights (S, P or 1, K): where the uniforms u cut their sum."""
    cumulative = jnp.cumsum(weights, axis=2)
    below = cumulative <= (u * cumulative[..., -1])[..., None]
    return jnp.minimum(below.sum(axis=2, dtype=jnp.int32), weights.shape[2] - 1)


# ---- sampling in proportion to squared distances


class Metric(NamedTuple):
    """Squared distances between rows, for all seeds. A point is a pytree with leading axes (S, number of points)."""

    points: Callable  # rows (S, P) -> points (S, P)
    squared: Callable  # points (S, P), points (S, W) -> squared distances (S, P, W)
    nearest: Callable  # points (S, W), valid (S, W) -> squared distance of every row to the nearest valid one, (S, N)
    cost: int  # multiplications of one squared distance


class _Sampling(NamedTuple):
    """What stays the same while rows are drawn."""

    keys: Array  # (S,)
    metric: Metric
    n: int  # N
    n_picks: int  # B
    window: int  # W

    @property
    def size(self) -> int:
        return block_size(self.n)


class _Drawn(NamedTuple):
    """Where `sample` stands."""

    bounds: Array  # (S, blocks, size) of the squared distances; 0: never to be drawn
    sums: Array  # (S, blocks) of the bounds
    free: Array  # (S, blocks, size) may still be drawn, even at distance 0
    uniform: Array  # (S,) all distances are 0: every free row is as good as any other, and has the bound 1
    centers: Any  # points (S, W): rows chosen since the bounds were renewed
    recent: Array  # (S,) how many centers those are
    n_chosen: Array  # (S,)
    rows: Array  # (S, B)
    values: Array  # (S, B) squared distance when chosen
    step: Array  # (S,)
    idle: Array  # (S,) steps since the bounds were renewed that chose nothing


def sample(
    keys: Key[Array, " S"],
    first: Int32[Array, " S"],
    bounds: Float[Array, "S N"],
    free: Bool[Array, "S N"],
    n_picks: int,
    metric: Metric,
) -> tuple[Int32[Array, "S B"], Float[Array, "S B"]]:
    """Distinct rows, each drawn with probability proportional to its squared distance to those before it.

    Args:
        keys: a seed's draws depend on its own key alone. first: the first row.
        bounds: upper bounds of the squared distances to `first`. free: rows that may be drawn.
        n_picks: B, `first` included, static; at most the number of free rows.
    Returns: rows in the order drawn, and their squared distances when drawn. Once all are 0 the rest is uniform.
    Cost: a few proposals a pick, each compared with the centers chosen since all bounds were last renewed.
    """
    sampling = _Sampling(keys, metric, bounds.shape[1], n_picks, min(_WINDOW, n_picks))
    state = _begin(sampling, first, bounds, free)
    state = lax.while_loop(lambda state: (state.n_chosen < n_picks).any(), partial(_draw_and_renew, sampling), state)
    return state.rows, state.values


def _begin(sampling: _Sampling, first, bounds, free) -> _Drawn:
    """The state with the first row chosen."""
    n_seeds, (blocks, n_picks) = len(first), (blocked(jnp.where(free, bounds, 0), 0), sampling.n_picks)
    nothing = jnp.zeros(n_seeds, jnp.int32)
    points = sampling.metric.points(first[:, None])
    state = _Drawn(
        bounds=blocks,
        sums=blocks.sum(axis=2),
        free=blocked(free, False),
        uniform=jnp.zeros(n_seeds, bool),
        centers=jax.tree.map(lambda p: jnp.zeros((n_seeds, sampling.window, *p.shape[2:]), p.dtype), points),
        recent=nothing,
        n_chosen=nothing,
        rows=jnp.zeros((n_seeds, n_picks), jnp.int32),
        values=jnp.zeros((n_seeds, n_picks), bounds.dtype),
        step=nothing,
        idle=nothing,
    )
    values = flat(blocks, sampling.n)[jnp.arange(n_seeds, dtype=jnp.int32), first]
    return _choose(sampling, state, first, values, jax.tree.map(lambda p: p[:, 0], points), nothing == 0)


def _draw_and_renew(sampling: _Sampling, state: _Drawn) -> _Drawn:
    """Draw until every seed has its rows or needs new bounds; then renew those."""
    state = lax.while_loop(lambda state: _going(sampling, state).any(), partial(_step, sampling), state)
    return lax.cond((state.n_chosen < sampling.n_picks).any(), partial(_renew, sampling), lambda state: state, state)


def _going(sampling: _Sampling, state: _Drawn):
    """(S,) seeds that want more rows and draw on. The others wait: what a seed draws must not depend on other seeds.

    A seed stops when all its bounds are 0, when the window is full, or when renewing costs less than it has lost:
    idle * step_price > N * cost of a distance * recent centers.
    """
    drained = ~(state.sums.sum(axis=1) > 0)
    lost = state.idle.astype(jnp.float32) * step_price()
    renewal = float(sampling.n * sampling.metric.cost) * state.recent.astype(jnp.float32)
    pays = (lost > renewal) & (state.recent > 0)
    return (state.n_chosen < sampling.n_picks) & ~(drained | pays | (state.recent == sampling.window))


def _propose(sampling: _Sampling, state: _Drawn):
    """(S, P) rows with probability b_i / sum(b), drawn as a block and then a row of it; uniforms (S, P) for `_step`."""
    keys = jax.vmap(jax.random.fold_in)(sampling.keys, state.step)
    u = jax.vmap(lambda key: jax.random.uniform(key, (3, _PROPOSALS), state.bounds.dtype))(keys)
    seeds = jnp.arange(len(keys), dtype=jnp.int32)[:, None]
    block = invert(state.sums[:, None], u[:, 0])
    within = invert(state.bounds[seeds, block], u[:, 1])
    return block * sampling.size + within, u[:, 2]


def _known(sampling: _Sampling, state: _Drawn):
    """(S, W) bool: the centers that are there."""
    return jnp.arange(sampling.window, dtype=jnp.int32)[None] < state.recent[:, None]


def _step(sampling: _Sampling, state: _Drawn) -> _Drawn:
    """Propose P rows a seed, compute their distances, and choose the first that is accepted."""
    active = _going(sampling, state)
    rows, u = _propose(sampling, state)
    seeds = jnp.arange(len(rows), dtype=jnp.int32)[:, None]
    block, within = rows // sampling.size, rows % sampling.size
    points = sampling.metric.points(jnp.minimum(rows, sampling.n - 1))
    bounds = state.bounds[seeds, block, within]
    squared = jnp.where(_known(sampling, state)[:, None], sampling.metric.squared(points, state.centers), jnp.inf)
    values = jnp.minimum(bounds, squared.min(axis=2))
    uniform = state.uniform[:, None]
    accepted = (bounds > 0) & (uniform | (u * bounds < values)) & active[:, None]
    # All values computed may serve as bounds. Only the first row accepted is chosen: the next ones lack it as a center.
    at = index_if(active[:, None], block, state.sums.shape[1])
    renewed = state.bounds.at[seeds, at, within].set(jnp.where(uniform, bounds, values), mode="drop")
    sums = state.sums.at[seeds, at].set(renewed[seeds, block].sum(axis=2), mode="drop")
    which = jnp.argmax(accepted, axis=1)
    take = lambda a: a[seeds[:, 0], which]  # noqa: E731
    chosen = accepted.any(axis=1)
    state = state._replace(
        bounds=renewed,
        sums=sums,
        step=state.step + active.astype(jnp.int32),
        idle=state.idle + (active & ~chosen).astype(jnp.int32),
    )
    value = jnp.where(state.uniform, 0, take(values))
    return _choose(sampling, state, take(rows), value, jax.tree.map(take, points), chosen)


def _choose(sampling: _Sampling, state: _Drawn, rows, values, points, chosen) -> _Drawn:
    """Note rows (S,), with their values and points, for the seeds that have `chosen` (S,) one."""
    seeds = jnp.arange(len(rows), dtype=jnp.int32)
    n_blocks = state.bounds.shape[1]
    block, within = index_if(chosen, rows // sampling.size, n_blocks), rows % sampling.size
    slot, place = index_if(chosen, state.recent, sampling.window), index_if(chosen, state.n_chosen, sampling.n_picks)
    bounds = state.bounds.at[seeds, block, within].set(0, mode="drop")
    touched = bounds[seeds, jnp.minimum(block, n_blocks - 1)]
    return state._replace(
        bounds=bounds,
        sums=state.sums.at[seeds, block].set(touched.sum(axis=1), mode="drop"),
        free=state.free.at[seeds, block, within].set(False, mode="drop"),
        centers=jax.tree.map(lambda c, p: c.at[seeds, slot].set(p, mode="drop"), state.centers, points),
        recent=state.recent + chosen.astype(jnp.int32),
        n_chosen=state.n_chosen + chosen.astype(jnp.int32),
        rows=state.rows.at[seeds, place].set(rows, mode="drop"),
        values=state.values.at[seeds, place].set(values, mode="drop"),
    )


def _renew(sampling: _Sampling, state: _Drawn) -> _Drawn:
    """Every bound becomes the squared distance itself; where all are 0, free rows get the bound 1."""
    nearest = sampling.metric.nearest(state.centers, _known(sampling, state))
    exact = jnp.minimum(state.bounds, blocked(nearest, jnp.inf))
    uniform = state.uniform | ~(exact.sum(axis=(1, 2)) > 0)
    exact = jnp.where(uniform[:, None, None], state.free.astype(exact.dtype), exact)
    nothing = jnp.zeros_like(state.recent)
    return state._replace(bounds=exact, sums=exact.sum(axis=2), uniform=uniform, recent=nothing, idle=nothing)


# ---- taking the largest value


class Task(NamedTuple):
    """What `greedy` maximises, for all seeds; `carry` is whatever the values depend on."""

    value: Callable  # (carry, rows (S,), bounds (S,)) -> (values now (S,), carry)
    choose: Callable  # (carry, rows (S,), chosen (S,) bool) -> carry, when those seeds have taken their row
    renew: Callable  # (carry, bounds (S, N)) -> (values of all rows (S, N), carry)
    price: Callable  # carry -> () multiplications that renewing costs a seed


class _Leaders(NamedTuple):
    """Rows with their bounds: the largest of every block, for example. Of equal ones the largest tie-break leads."""

    value: Array  # (S, ...)
    tie_break: Array  # (S, ...)
    row: Array  # (S, ...)

    def ahead_of(self, other: "_Leaders"):
        return (self.value > other.value) | ((self.value == other.value) & (self.tie_break > other.tie_break))


def _leader(among: _Leaders, n: int) -> _Leaders:
    """The leader along the last axis of (S, ..., K)."""
    best = among.value.max(axis=-1, keepdims=True)
    tie_break = jnp.where(among.value == best, among.tie_break, -1)
    winner = tie_break.max(axis=-1, keepdims=True)
    row = jnp.where(tie_break == winner, among.row, n).min(axis=-1)
    return _Leaders(best[..., 0], winner[..., 0], row)


class _Searching(NamedTuple):
    """What stays the same while `greedy` takes rows."""

    task: Task
    tie_breaks: Array  # (S, blocks, size)
    n: int  # N
    n_picks: int  # B

    @property
    def size(self) -> int:
        return block_size(self.n)


class _Search(NamedTuple):
    """Where `greedy` stands."""

    bounds: Array  # (S, blocks, size) of the values; -inf: never to be taken
    leaders: _Leaders  # of every block
    candidate: Array  # (S,) the row of the largest bound
    n_taken: Array  # (S,)
    rows: Array  # (S, B)
    values: Array  # (S, B) when taken
    carry: Any
    idle: Array  # () steps since all bounds were renewed that took nothing, the mean of seeds


def greedy(
    keys: Key[Array, " S"], bounds: Float[Array, "S N"], n_picks: int, task: Task, carry: Any
) -> tuple[Int32[Array, "S B"], Float[Array, "S B"], Float[Array, "S N"], Any]:
    """The row of the largest value, `n_picks` times, where values only shrink with what was taken.

    Args:
        keys: decide between rows of equal value, uniformly.
        bounds: upper bounds of the values; -inf for rows never to be taken.
        n_picks: B, static; at most the number of rows that may be taken.
    Returns: rows in the order taken, their values when taken, the bounds at the end (-inf where a row was taken), and
        the carry.
    Cost: a few values a pick.
    """
    n_seeds, n = bounds.shape
    order = blocked(jax.vmap(lambda key: tie_breaks(key, n))(keys), 0)
    searching = _Searching(task, order, n, n_picks)
    blocks = blocked(bounds, -jnp.inf)
    leaders = _block_leaders(searching, blocks)
    state = _Search(
        bounds=blocks,
        leaders=leaders,
        candidate=_leader(leaders, n).row,
        n_taken=jnp.zeros(n_seeds, jnp.int32),
        rows=jnp.zeros((n_seeds, n_picks), jnp.int32),
        values=jnp.zeros((n_seeds, n_picks), bounds.dtype),
        carry=carry,
        idle=jnp.float32(0),
    )
    state = lax.while_loop(lambda state: (state.n_taken < n_picks).any(), partial(_take_and_renew, searching), state)
    return state.rows, state.values, flat(state.bounds, n), state.carry


def _block_leaders(searching: _Searching, bounds) -> _Leaders:
    rows = jnp.arange(bounds[0].size, dtype=jnp.int32).reshape(1, *bounds.shape[1:])
    return _leader(_Leaders(bounds, searching.tie_breaks, rows), searching.n)


def _take_and_renew(searching: _Searching, state: _Search) -> _Search:
    """Take rows until every seed has its own, or renewing the bounds costs less than the steps that took nothing."""

    def worthwhile(state):
        lost = state.idle * step_price()
        pays = lost > searching.task.price(state.carry).astype(jnp.float32)
        return (state.n_taken < searching.n_picks).any() & ~pays

    def renew(state):
        bounds, carry = searching.task.renew(state.carry, flat(state.bounds, searching.n))
        bounds = blocked(bounds, -jnp.inf)
        leaders = _block_leaders(searching, bounds)
        candidate = _leader(leaders, searching.n).row
        return state._replace(bounds=bounds, leaders=leaders, candidate=candidate, carry=carry, idle=0 * state.idle)

    state = lax.while_loop(worthwhile, partial(_consider, searching), state)
    return lax.cond((state.n_taken < searching.n_picks).any(), renew, lambda state: state, state)


def _consider(searching: _Searching, state: _Search) -> _Search:
    """Compute the candidate's value. If it still leads, take it; else it goes back to its place with that value."""
    task, n, size = searching.task, searching.n, searching.size
    row, unfinished = state.candidate, state.n_taken < searching.n_picks
    seeds = jnp.arange(len(row), dtype=jnp.int32)
    block, within = row // size, row % size
    value, carry = task.value(state.carry, row, state.bounds[seeds, block, within])
    candidate = _Leaders(value, searching.tie_breaks[seeds, block, within], row)
    # Without the candidate its block has another leader, and so has the pool: the rival.
    bounds = state.bounds.at[seeds, block, within].set(-jnp.inf)
    block_rows = block[:, None] * size + jnp.arange(size, dtype=jnp.int32)[None]
    rest = _leader(_Leaders(bounds[seeds, block], searching.tie_breaks[seeds, block], block_rows), n)
    others: _Leaders = jax.tree.map(lambda a, r: a.at[seeds, block].set(r), state.leaders, rest)
    rival = _leader(others, n)
    ahead = candidate.ahead_of(rival)
    taken = ahead & unfinished
    leads_block = ~taken & candidate.ahead_of(rest)
    at = index_if(taken, state.n_taken, searching.n_picks)
    return _Search(
        bounds=bounds.at[seeds, block, within].set(jnp.where(taken, -jnp.inf, value)),
        leaders=jax.tree.map(
            lambda a, led, other: a.at[seeds, block].set(jnp.where(leads_block, led, other)), others, candidate, rest
        ),
        candidate=jnp.where(ahead & ~unfinished, row, rival.row),
        n_taken=state.n_taken + taken.astype(jnp.int32),
        rows=state.rows.at[seeds, at].set(row, mode="drop"),
        values=state.values.at[seeds, at].set(value, mode="drop"),
        carry=task.choose(carry, row, taken),
        idle=state.idle + (unfinished & ~taken).mean(dtype=jnp.float32),
    )
