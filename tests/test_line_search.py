"""The line search along convex functions of one variable, whose minima are known."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.numerics.line_search import Step, line_search


def search(f, slope):
    """The step found, whether it was accepted, and the length of every trial that is traced."""

    def attempt(length, extra):
        return Step(length, f(length), slope(length), extra=2 * length)

    zero = jnp.zeros(())
    step, accepted = line_search(attempt, f(zero), slope(zero), zero)
    np.testing.assert_array_equal(step.extra, 2 * step.length)
    return step, bool(accepted)


@pytest.mark.parametrize(
    ("minimum", "length"),
    [
        (1, 1),  # the first trial
        (3, 1),  # the slope is 2/3 of that at 0
        (20, 10),  # .95 of it at 1; then ten times as far at most, where it is half
        (1000, 1000),  # at 1, 10 and 100 too steep; the secant of the last two meets 0 at the minimum
        (0.3, 0.3),  # beyond the minimum: the secant meets 0 there
        (0.05, 0.05),  # as before, but no nearer to 0 than a tenth of the bracket, first
    ],
)
def test_the_length_on_a_parabola(minimum, length):
    step, accepted = search(lambda a: (a - minimum) ** 2 / minimum, lambda a: 2 * (a - minimum) / minimum)
    assert accepted
    np.testing.assert_allclose(step.length, length, rtol=1e-4)
    np.testing.assert_allclose(step.f, (length - minimum) ** 2 / minimum, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(step.slope, 2 * (length - minimum) / minimum, rtol=1e-3, atol=1e-3)


def test_a_step_is_not_taken_to_where_the_function_is_higher():
    """Down to .1 and then up, less steeply: at 1 the slope is small enough, and f above f(0)."""
    step, accepted = search(lambda a: jnp.maximum(-a, 0.7 * a - 0.17), lambda a: jnp.where(a < 0.1, -1.0, 0.7))
    assert accepted
    assert step.f < 0
    assert 0.1 <= step.length < 0.17 / 0.7


@pytest.mark.parametrize("beyond", [jnp.nan, jnp.inf])
def test_where_the_function_is_no_number_the_step_went_too_far(beyond):
    step, accepted = search(
        lambda a: jnp.where(a < 0.4, (a - 0.3) ** 2, beyond), lambda a: jnp.where(a < 0.4, 2 * (a - 0.3), beyond)
    )
    assert accepted
    assert step.f < 0.09
    assert 0 < step.length < 0.4


def test_no_step_is_found_uphill_or_where_there_is_no_minimum():
    step, accepted = search(lambda a: a, lambda a: 1 + 0 * a)
    assert not accepted
    assert step.length == 1, "there was a second trial"
    step, accepted = search(lambda a: -a, lambda a: -1 + 0 * a)
    assert not accepted
    np.testing.assert_allclose(step.length, 6.0**19, rtol=1e-5)  # twenty trials, each six times as far
