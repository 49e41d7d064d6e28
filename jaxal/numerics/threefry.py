"""JAX's own random numbers, written so that XLA:CPU makes one kernel of them.

JAX lowers its threefry for CPU to a loop over rounds, 26 kernels wherever keys are split or bits are drawn. Written out
it is one: half the compiling, and 2 million words take 7 ms for 41 (2 cores). The bits are those of JAX's default,
`jax_threefry_partitionable`, whatever that option says.

Reference: Salmon et al., SC 2011 (Threefry-2x32 with 20 rounds).
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.random import define_prng_impl, threefry_prng_impl

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_UINTS = {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32, 64: jnp.uint64}


def key(seed) -> Array:
    """The key of a seed, of `jax.random.key` but in its implementation: all of `jax.random` takes it."""
    return jax.random.key(seed, impl=THREEFRY)


def _hash(key_data, high, low):
    """Two words for each counter of two words, as `key_data` (2,) says; all uint32."""
    k = key_data[0], key_data[1], key_data[0] ^ key_data[1] ^ jnp.uint32(0x1BD11BDA)
    a, b = high + k[0], low + k[1]
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            a = a + b
            b = a ^ ((b << jnp.uint32(rotation)) | (b >> jnp.uint32(32 - rotation)))
        a, b = a + k[(i + 1) % 3], b + k[(i + 2) % 3] + jnp.uint32(i + 1)
    return a, b


def _words(key_data, shape):
    """Two words for each element of an array of this shape."""
    if math.prod(shape) > 2**32:
        raise ValueError(f"random numbers of shape {shape}: there are at most 2^32 at a time")
    low = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    return _hash(key_data, jnp.zeros_like(low), low)


def _split(key_data, shape):
    return jnp.stack(_words(key_data, shape), axis=-1)


def _random_bits(key_data, bit_width, shape):
    high, low = _words(key_data, shape)
    if bit_width == 64:
        return (high.astype(jnp.uint64) << jnp.uint64(32)) | low.astype(jnp.uint64)
    return (high ^ low).astype(_UINTS[bit_width])


def _fold_in(key_data, data):
    return jnp.stack(_hash(key_data, *threefry_prng_impl.seed(data)))


THREEFRY = define_prng_impl(
    key_shape=(2,),
    seed=threefry_prng_impl.seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="jaxal_threefry",
    tag="jtf",
)
