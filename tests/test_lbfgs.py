"""L-BFGS directions against optax's, which walks over the pairs one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxal.numerics import lbfgs

SIZE, DIM = 4, 9
YES, NO = jnp.bool_(True), jnp.bool_(False)


def descend(gradient, start, n_steps, n_pairs=SIZE):
    """Our and optax's directions along the same points: those of our steps, of length .3."""
    ours, theirs = lbfgs.empty(n_pairs, len(start), start.dtype), optax.scale_by_lbfgs(n_pairs)
    state, x = theirs.init(start), start
    ours = lbfgs.remember(ours, 0 * x, 0 * x, gradient(x), add=NO, forget=NO)
    pairs = []
    for _ in range(n_steps):
        with jax.numpy_dtype_promotion("standard"):
            minus, state = theirs.update(gradient(x), state, x)
        direction, slope = lbfgs.descent(ours)
        np.testing.assert_allclose(slope, jnp.vdot(direction, gradient(x)), rtol=1e-9)
        pairs.append((np.asarray(direction), -np.asarray(minus)))
        after = x + 0.3 * direction
        ours = lbfgs.remember(ours, 0.3 * direction, gradient(x), gradient(after), add=YES, forget=NO)
        x = after
    return ours, x, pairs


@pytest.fixture
def quadratic():
    """The gradient of a quadratic function with curvatures from 1 to 100, and where to start."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        Q = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
        A = jnp.asarray(Q @ np.diag(np.logspace(0, 2, DIM)) @ Q.T)
        yield lambda x: A @ x, jnp.asarray(rng.normal(size=DIM))


@pytest.mark.parametrize("n_pairs", [1, 4, 7])
def test_directions_are_those_of_optax(quadratic, n_pairs):
    """While the memory fills up, and long after its oldest pairs were overwritten."""
    *_, pairs = descend(*quadratic, n_steps=12, n_pairs=n_pairs)
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9 * np.abs(theirs).max())


def test_without_a_pair_it_is_steepest_descent_of_length_1_at_most(quadratic):
    gradient, start = quadratic
    for scale in (1e-3, 1e3):
        g = gradient(scale * start)
        memory = lbfgs.empty(SIZE, DIM, g.dtype)
        direction, slope = lbfgs.descent(lbfgs.remember(memory, 0 * g, g, g, add=NO, forget=NO))
        np.testing.assert_allclose(direction, -g / max(1, np.linalg.norm(g)), rtol=1e-12)
        np.testing.assert_allclose(slope, jnp.vdot(direction, g), rtol=1e-12)


def test_what_is_not_added_changes_nothing_but_the_gradient(quadratic):
    memory, x, _ = descend(*quadratic, n_steps=6)
    g = quadratic[0](x)
    junk = jnp.full(DIM, 1e6)
    for before in (g, junk):
        again = lbfgs.remember(memory, junk, before, g, add=NO, forget=NO)
        np.testing.assert_array_equal(lbfgs.descent(again)[0], lbfgs.descent(memory)[0])


def test_a_memory_that_forgets_begins_anew(quadratic):
    """Also where the step that failed left no numbers behind."""
    gradient, start = quadratic
    memory, x, _ = descend(gradient, start, n_steps=6)
    failed = lbfgs.remember(memory, jnp.full(DIM, jnp.nan), gradient(x), jnp.full(DIM, jnp.nan), add=NO, forget=YES)
    memory = lbfgs.remember(failed, 0 * x, gradient(x), gradient(x), add=NO, forget=NO)
    g = gradient(x)
    np.testing.assert_allclose(lbfgs.descent(memory)[0], -g / max(1, np.linalg.norm(g)), rtol=1e-12)
    step = 0.01 * lbfgs.descent(memory)[0]
    memory = lbfgs.remember(memory, step, g, gradient(x + step), add=YES, forget=NO)
    theirs = optax.scale_by_lbfgs(SIZE)
    with jax.numpy_dtype_promotion("standard"):
        state = theirs.update(g, theirs.init(x), x)[1]
        minus, _ = theirs.update(gradient(x + step), state, x + step)
    np.testing.assert_allclose(lbfgs.descent(memory)[0], -np.asarray(minus), rtol=1e-9)
