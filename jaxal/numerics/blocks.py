"""Work on a pool that is larger than the cache, a block of rows at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Shaped

_ELEMENTS = 1 << 20  # numbers of a block at most: its rows, and what is computed for them
_LEAST_ROWS = 256  # of a block, however many numbers that makes


@partial(jax.tree_util.register_dataclass, data_fields=["stored"], meta_fields=[])
@dataclass(frozen=True)
class Half:
    """Embeddings in float16 that read as float32: whoever takes rows or a block gets them widened.

    The pool is half as large in memory. What needs all of it at once, as an array, gets a copy of all of it.
    """

    stored: Array  # (N, D) float16

    dtype = np.dtype(np.float32)
    shape = property(lambda self: self.stored.shape)
    size = property(lambda self: self.stored.size)

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, rows) -> Array:
        return self.stored[rows].astype(self.dtype)

    def __jax_array__(self) -> Array:
        return self.stored.astype(self.dtype)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self.stored).astype(dtype or self.dtype)


def to_device(X: Float[np.ndarray, "N D"]) -> Float[Array, "N D"]:
    """X on the default device; on CPU in the memory where it lies, if that is aligned. It must not be written to.

    Of float16 a `Half`, which kernels read as they read an array.
    """
    on_device = jax.device_put(X, may_alias=True)
    return cast(Array, Half(on_device)) if X.dtype == np.float16 else on_device


def rows(n_values: int) -> int:
    """How many rows a block has when each takes `n_values` numbers: those that are computed for it, and its own D where
    those are few.

    A block is copied, or widened, before products, and should be in cache then. Margin's logits of 5 seeds, (N, D, C) =
    (100k, 768, 3): 119 ms in blocks that forget D, 30 in these; (100k, 4096, 10): 427 and 280. With a hundred values or
    more products take so long that larger blocks gain more: k-means in blocks of both is 7 % slower.
    """
    return max(_LEAST_ROWS, _ELEMENTS // max(1, n_values))


def take(a: Shaped[Array, "..."], start, size: int, axis: int = 0) -> Shaped[Array, "..."]:
    """The part start .. start + size of `a` along `axis`."""
    if isinstance(a, Half):  # beside what its type says, see `to_device`
        return lax.dynamic_slice_in_dim(a.stored, start, size, axis).astype(a.dtype)
    return lax.dynamic_slice_in_dim(a, start, size, axis)


def map_blocks(f: Callable, n: int, size: int) -> Shaped[Array, "S N"]:
    """f(start, size) -> (S, size) for blocks of the rows 0 .. n; returns (S, n).

    The last block starts earlier where n is no multiple of `size`, so that all blocks have one shape.
    """
    if n <= size:
        return f(0, n)
    shape = jax.eval_shape(partial(f, size=size), 0)

    def write(i, out):
        start = jnp.minimum(i * size, n - size)
        return lax.dynamic_update_slice_in_dim(out, f(start, size), start, axis=1)

    return lax.fori_loop(0, -(-n // size), write, jnp.zeros((shape.shape[0], n), shape.dtype))
