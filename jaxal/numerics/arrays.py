"""Array idioms that several kernels share."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Int32, Key

# Tensor cores would round float32 factors to 10 bits.
einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST)

_CAPACITIES = (256, 1024)


def bucket(n: int) -> int:
    """The size that n elements are padded to, so that few shapes are compiled: powers of two from 64 to 1024, then four
    steps an octave, which is 9 % more on average.
    """
    power = 1 << max(6, (n - 1).bit_length())
    step = power // 8 if n > 1024 else power
    return -(-n // step) * step


def capacity(n: int, most: int = 0) -> int:
    """The room that n elements are given where their number is no shape: 256, 1024, 2560, 5120, 10240 ..., so that few
    programs are compiled. No powers of two among the large, or a column's elements would crowd in a few places of the
    cache.

    most: as many as there will ever be, if that is known; beyond 1024 there is room for just so many.
    """
    n = max(n, most)
    if most > _CAPACITIES[-1]:
        return bucket(n)
    return next((size for size in _CAPACITIES if n <= size), 2560 << (-(-n // 2560) - 1).bit_length())


def index_if(condition, index, size: int) -> Array:
    """`index` where `condition`, else `size`: out of bounds, where a scatter with mode="drop" does nothing."""
    return jnp.where(condition, index, size)


def lowest_index(mask, axis: int, *, keepdims: bool = False) -> Array:
    """The lowest index along `axis` at which `mask` is true, int32; the length of the axis where it never is.

    `lowest_index(a == a.max(axis, keepdims=True), axis)` is argmax, several times faster than XLA:CPU's.
    """
    numbers = lax.broadcasted_iota(jnp.int32, mask.shape, axis % mask.ndim)
    return jnp.where(mask, numbers, mask.shape[axis]).min(axis=axis, keepdims=keepdims)


def true_indices(mask: Bool[Array, "S N"], size: int) -> Int32[Array, "S K"]:
    """The indices of each row's true elements in order, the first `size` of them; filled up with 0."""
    return jax.vmap(lambda row: jnp.nonzero(row, size=size, fill_value=0)[0].astype(jnp.int32))(mask)


def split_each(keys: Key[Array, " S"], number: int = 2) -> tuple[Key[Array, " S"], ...]:
    """Every seed's key split into `number` keys: so many arrays of keys (S,)."""
    return tuple(jnp.moveaxis(jax.vmap(lambda key: jax.random.split(key, number))(keys), 1, 0))


def tie_breaks(key: Key[Array, ""], n: int) -> Int32[Array, " N"]:
    """A random number >= 0 for each of n rows: of several equal rows the one with the largest is taken."""
    return (jax.random.bits(key, (n,), jnp.uint32) >> 1).astype(jnp.int32)
