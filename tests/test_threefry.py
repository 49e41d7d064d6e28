"""Keys of `numerics/threefry.py`: JAX's own random numbers, to the bit, from fewer kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.experiments import loop
from jaxal.numerics import threefry

SEEDS = (0, 7, 2**31, 2**32 - 1)
DRAWS = {
    "split": lambda key: jax.random.key_data(jax.random.split(key, (3, 4))),
    "fold_in": lambda key: jax.random.key_data(jax.random.fold_in(key, 77)),
    "one word": jax.random.bits,
    "words": lambda key: jax.random.bits(key, (5, 7), jnp.uint32),
    "bytes": lambda key: jax.random.bits(key, (9,), jnp.uint8),
    "halves": lambda key: jax.random.bits(key, (9,), jnp.uint16),
    "uniform": lambda key: jax.random.uniform(key, (13,)),
    "normal": lambda key: jax.random.normal(key, (5,)),
    "integers": lambda key: jax.random.randint(key, (10,), 0, 1000),
    "permutation": lambda key: jax.random.permutation(key, 50),
}


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("draw", DRAWS)
def test_all_draws_are_those_of_jax(draw, x64):
    with jax.enable_x64(x64):
        for seed in SEEDS:
            theirs, ours = jax.random.key(seed), threefry.key(seed)
            np.testing.assert_array_equal(DRAWS[draw](ours), DRAWS[draw](theirs))
            each = [jax.vmap(DRAWS[draw])(jax.random.split(key, 3)) for key in (ours, theirs)]
            np.testing.assert_array_equal(*each)


def test_64_bits_are_those_of_jax():
    with jax.enable_x64(True):
        for draw in (jax.random.bits, jax.random.uniform):
            dtype = jnp.uint64 if draw is jax.random.bits else jnp.float64
            np.testing.assert_array_equal(*(draw(key(3), (5,), dtype) for key in (threefry.key, jax.random.key)))


def test_bits_do_not_depend_on_an_option():
    expected = jax.random.bits(jax.random.key(5), (6,))
    with jax.threefry_partitionable(False):
        np.testing.assert_array_equal(jax.random.bits(threefry.key(5), (6,)), expected)


def test_more_numbers_than_can_be_told_apart():
    with pytest.raises(ValueError, match="at most 2\\^32"):
        jax.jit(lambda: jax.random.bits(threefry.key(0), (2**17, 2**16))).lower()


def test_drawing_is_one_kernel():
    """Of a key that every seed of a run has; JAX's own makes 26."""
    keys = loop.keys([0, 1, 2], 0)
    compiled = jax.jit(jax.vmap(lambda key: jax.random.bits(key, (1000,), jnp.uint32))).lower(keys).compile()
    assert compiled.as_text().count(" fusion(") == 1
