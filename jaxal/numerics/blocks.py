"""Work on a pool larger than the cache, a block of rows at a time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_ELEMENTS = 1 << 20  # numbers that a block may hold beside its rows


def to_device(X: np.ndarray) -> Array:
    """X on the default device; on CPU in the memory it lies in, if that is aligned: it must not be written to."""
    return jax.device_put(X, may_alias=True)


def rows(n_values: int) -> int:
    """Rows of a block when `n_values` numbers are computed for each of them."""
    return max(256, _ELEMENTS // max(1, n_values))


def take(a, start, size: int, axis: int = 0) -> Array:
    """The rows start to start + size of a."""
    return lax.dynamic_slice_in_dim(a, start, size, axis)


def map_blocks(f, n: int, size: int) -> Array:
    """f(start, size) -> (S, size) over 0..n in blocks; returns (S, n). The last block overlaps the one before it."""
    if n <= size:
        return f(0, n)
    shape = jax.eval_shape(partial(f, size=size), 0)

    def write(i, out):
        start = jnp.minimum(i * size, n - size)
        return lax.dynamic_update_slice_in_dim(out, f(start, size), start, axis=1)

    return lax.fori_loop(0, -(-n // size), write, jnp.zeros((shape.shape[0], n), shape.dtype))
