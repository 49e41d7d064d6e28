"""Line search along a convex function, by its derivative."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float

_MAX_TRIALS = 20  # step lengths that one search tries
_SLOPE_DROP = 0.8  # a step is accepted when |slope| is at most this share of the slope at its start


class Step(NamedTuple):
    """A step length along a direction, and the function there."""

    length: Array
    f: Array
    slope: Array  # the derivative by `length`
    extra: Any  # whatever else the caller computed there


class _Bracket(NamedTuple):
    """Where the line search stands: the minimum lies between `low` and `high`."""

    trial: Step
    low: Array
    low_slope: Array
    high: Array  # inf while no trial went too far
    trials: Array


def line_search(
    attempt: Callable[[Array, Any], Step],
    f0: Float[Array, ""],
    slope0: Float[Array, ""],
    extra: Any = None,
    *,
    once: Bool[Array, ""] | bool = False,
) -> tuple[Step, Bool[Array, ""]]:
    """A step after which the slope is flatter and f not higher, along a convex function; and whether one was found.

    attempt: the function at a step length > 0; it is given what it returned as `extra` for the length before, and at
        first `extra`, so that arrays can be written in place.
    f0, slope0: the function at 0, where the slope must be negative, or length 1 is the only one that is tried.
    once: try length 1 only, and take it.

    The test is on derivatives (Hager and Zhang's approximate Wolfe conditions), because near the optimum float32 rounds
    away the decrease of f that Armijo's condition asks for. |slope| <= .8 |slope0| also makes
    <s, y> >= .2 length |slope0| > 0, the curvature that L-BFGS needs. The next trial is where the secant of two slopes
    meets 0, kept inside the bracket.
    """
    ceiling = f0 + 10 * jnp.finfo(f0.dtype).eps * jnp.abs(f0)

    def good(trial: Step):
        return once | ((jnp.abs(trial.slope) <= -_SLOPE_DROP * slope0) & (trial.f <= ceiling))

    def searching(bracket: _Bracket):
        return (bracket.trials == 0) | (~good(bracket.trial) & (bracket.trials < _MAX_TRIALS) & (slope0 < 0))

    def narrow(bracket: _Bracket) -> _Bracket:
        trial, low, low_slope, high, trials = bracket
        secant = low + (trial.length - low) * low_slope / (low_slope - trial.slope)
        too_far = ~((trial.slope < 0) & (trial.f <= ceiling))  # also when anything is NaN
        low, low_slope, high = jax.tree.map(
            partial(jnp.where, too_far), (low, low_slope, trial.length), (trial.length, trial.slope, high)
        )
        margin = (high - low) / 10
        open_ended = jnp.isinf(high)
        bottom = jnp.where(open_ended, 2 * low, low + margin)
        top = jnp.where(open_ended, 10 * low, high - margin)
        length = jnp.clip(jnp.where(jnp.isfinite(secant), secant, (bottom + top) / 2), bottom, top)
        # At the first trial, where there is none to learn from, the length is 1 and the bracket (0, inf).
        first = trials == 0
        length, low, low_slope, high = jax.tree.map(
            partial(jnp.where, first), (one, 0 * one, slope0, jnp.inf * one), (length, low, low_slope, high)
        )
        return _Bracket(attempt(length, trial.extra), low, low_slope, high, trials + 1)

    one = jnp.ones((), f0.dtype)
    nothing = _Bracket(Step(one, f0, slope0, extra), 0 * one, slope0, jnp.inf * one, jnp.int32(0))
    bracket = lax.while_loop(searching, narrow, nothing)
    return bracket.trial, good(bracket.trial)
