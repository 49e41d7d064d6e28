"""What a query strategy is, and what it sees. Whatever differs by seed has an explicit leading axis S."""

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxal.errors import ConfigError
from jaxal.numerics import blocks, logreg
from jaxal.strategies.checks import call, check_scores, name_of

Number = TypeVar("Number", int, float)
_SMALL_POOL = 200_000  # numbers
_LARGEST = {int: np.iinfo(np.int32).max, float: float(np.finfo(np.float32).max)}


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "labels", "params", "log_probabilities"],
    meta_fields=["batch_size", "predict", "most_labeled"],
)
@dataclass(frozen=True)
class State:
    """A pool in the middle of a run, for all seeds (leading axis S) or, inside `per_seed`, for one seed without it.

    float32, or float64 where X is. `labels` are int32 (S, N). Cost: `logits` is computed anew whenever it is asked for.
    """

    X: Array  # (N, D) embeddings, shared by all seeds; a strategy of your own always gets an array
    labels: Array  # (S, N) int32, -1 where the row is unlabeled
    params: logreg.Params  # the fitted classifier; zeros before the first fit
    log_probabilities: Array | None  # (S, N, C) of somebody else's classifier; then `params` is not used
    batch_size: int  # static; never above the number of unlabeled rows
    predict: Callable | None = None  # static; somebody else's classifier on the host, (n, D) -> (n,) labels: dropquery
    most_labeled: int = 0  # static; rows a seed will have labeled at the end, so that shapes can be made to last

    @property
    def small(self) -> bool:
        """Whether a run of k-means takes less time than compiling it for speed: in .1 s a seed and cycle."""
        return math.prod(self.X.shape) <= _SMALL_POOL

    @property
    def labeled(self) -> Array:
        """(S, N) bool."""
        return self.labels >= 0

    def widened(self) -> "State":
        """This state with X as an array."""
        return replace(self, X=jnp.asarray(self.X))

    @property
    def logits(self) -> Array:
        """(S, N, C), the whole array: for a large pool use `map_logits`. -inf for classes never seen."""
        return logreg.logits(self.params, self.X) if self.log_probabilities is None else self.log_probabilities

    def logits_of(self, start, size: int) -> Array:
        """(S, C, size) of the rows from `start` on. Needs the seed axis."""
        if self.log_probabilities is None:
            return logreg.logits_of(self.params, blocks.take(self.X, start, size))
        return jnp.swapaxes(blocks.take(self.log_probabilities, start, size, axis=1), 1, 2)

    def logits_at(self, rows) -> Array:
        """(S, P, C) of rows (S, P), each seed its own. Needs the seed axis."""
        if self.log_probabilities is None:
            return logreg.logits_each(self.params, self.X[rows])
        return jnp.take_along_axis(self.log_probabilities, rows[:, :, None], axis=1)

    def map_logits(self, f) -> Array:
        """f(logits (S, C, R)) -> (S, R) in blocks of R rows; returns (S, N). Needs the seed axis."""
        if self.log_probabilities is None:
            return logreg.map_logits(f, self.params, self.X)
        return f(jnp.swapaxes(self.log_probabilities, 1, 2))


class Strategy(NamedTuple):
    """A query strategy: three pure functions.

    `select` must return exactly B = `state.batch_size` distinct unlabeled rows a seed, in pick order. It is compiled by
    `jax.jit`, unless it runs on the `host` because shapes depend on values, and compiles its parts itself.

    The carry is any pytree of arrays. A run that was interrupted reads it from its journal and learns its structure by
    tracing `init`. So `init` may read shapes of the state, but no values, and `select` returns a carry of the same
    structure, shapes and dtypes, cycle after cycle. `jaxal.testing.check_strategy` tests all of this.
    """

    prepare: Callable  # (pool, key) -> aux                  once a pool, shared by all seeds; key is the pool's own
    init: Callable  # (aux, state) -> carry                  leading axis S: what is kept from cycle to cycle
    select: Callable  # (keys (S,), aux, carry, state) -> (rows (S, B) int32, scores (S, B), carry)
    host: bool = False
    utilities: Callable | None = None  # (keys, aux, state, rows (S, B)) -> (S, B or 1, N), see `utilities.py`
    nested: bool = False  # whether a smaller initial pool is the beginning of a larger one


def per_seed(score: Callable, name: str | None = None) -> Strategy:
    """A strategy from a function of one seed, `score(key, state) -> (N,)`: the B best unlabeled rows, ties at random.

    The function is vmapped over seeds and sees a `State` without the seed axis. Its scores are floats, and NaN counts
    as lowest. A query raises StrategyError if the function fails or returns something else, and calls the strategy by
    its `name`, which is `module:function` unless given. Cost: that of the function for all seeds at once, O(S N C D) in
    time and O(S N C) in memory where it asks for logits, and two partial sorts of N.
    """
    name = name or name_of(score)

    def mapped(f, keys, state):
        axes = replace(state, X=None, labels=0, params=0, log_probabilities=0)
        return jax.vmap(f, in_axes=(0, axes))(keys, state)

    def select(keys, aux, carry, state):
        def one(key, state):
            score_key, tie_key = jax.random.split(key)
            scores = check_scores(name, call(name, score, score_key, state), len(state.labels))
            return pick_best(tie_key, scores, state.labeled, state.batch_size)

        return *mapped(one, keys, state), carry

    def utilities(keys, aux, state, rows):
        return mapped(lambda key, state: score(jax.random.split(key)[0], state), keys, state)[:, None]

    return Strategy(_nothing, _nothing, select, utilities=utilities)


def by_logits(score: Callable) -> Strategy:
    """A strategy from a function of logits alone, `score(logits (C, R)) -> (R,)` floats: the B best unlabeled rows.

    A query raises StrategyError if the function fails or returns something else. Cost: O(N C D), in blocks of R rows;
    the (S, N, C) logits are never all there.
    """
    name = name_of(score)

    def one(logits):
        return check_scores(name, call(name, score, logits), logits.shape[1])

    def select(keys, aux, carry, state):
        scores = state.map_logits(jax.vmap(one))
        rows, best = jax.vmap(pick_best, in_axes=(0, 0, 0, None))(keys, scores, state.labeled, state.batch_size)
        return rows, best, carry

    def utilities(keys, aux, state, rows):
        return state.map_logits(jax.vmap(score))[:, None]

    return Strategy(_nothing, _nothing, select, utilities=utilities)


def pick_best(key, scores, labeled, batch_size: int):
    """The `batch_size` unlabeled rows of highest score, best first; ties in uniformly random order by `key`.

    Args: scores (N,), NaN counts as lowest; labeled (N,) bool.
    Returns: rows (B,) int32, distinct and unlabeled while that many are there, and their scores (B,).
    Cost: two partial sorts of N.
    """
    low, high = jnp.finfo(scores.dtype).min, jnp.finfo(scores.dtype).max
    # Labeled rows are -inf, alone: an unlabeled row may score -inf or NaN and must still come before them.
    rank = jnp.where(labeled, -jnp.inf, jnp.clip(jnp.nan_to_num(scores, nan=low), low, high))
    # Not [-1]: XLA:CPU turns a top_k of which a part is taken into a sort of all rows (5 x 650,000: .6 s for 5 ms).
    threshold = lax.top_k(rank, batch_size)[0].min()
    # Everything above the threshold is in; rows at the threshold compete for the places left by random numbers.
    # 30 random bits read as positive floats: top_k of integers would sort them all, 100 times slower on CPU.
    tie_breaks = lax.bitcast_convert_type((jax.random.bits(key, rank.shape, jnp.uint32) >> 2) + 0x00800000, jnp.float32)
    tie_breaks = jnp.where(rank > threshold, jnp.inf, jnp.where(rank == threshold, tie_breaks, 0))
    _, rows = lax.top_k(tie_breaks, batch_size)
    order_key = jax.random.bits(jax.random.fold_in(key, 1), (batch_size,), jnp.uint32)
    _, _, rows = lax.sort((-rank[rows], order_key, rows.astype(jnp.int32)), num_keys=2)
    return rows, scores[rows]


def check_setting(name: str, value: Any, kind: type[Number], least: float, most: float | None = None) -> Number:
    """The setting as Python's own number of this kind; it may be NumPy's, and must be within the limits.

    Without `most`, what an int32 or a float32 holds. Raises ConfigError.
    """
    if not _is_number(value, kind):
        raise ConfigError(f"{name} is {reprlib.repr(value)}: it must be a {'whole ' * (kind is int)}number")
    if not least <= value <= (math.inf if most is None else most):
        limits = f"at least {least}" if most is None else f"between {least} and {most}"
        raise ConfigError(f"{name} is {reprlib.repr(value)}: it must be {limits}")
    if most is None and value > _LARGEST[kind]:
        raise ConfigError(f"{name} is {reprlib.repr(value)}: that is too large")
    return kind(value)


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool | np.bool_)


def _nothing(*_):
    return ()
