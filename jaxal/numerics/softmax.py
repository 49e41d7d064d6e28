"""The objective of softmax regression on the labeled rows of one seed, as many as there are.

Arrays have room for `capacity` rows, of which `count` are used. The compiler does not know `count`, so that one program
serves every number of labeled rows; and on CPU rows that are not there cost next to nothing:

- Products with the rows go part by part. One part has all rows and is used when `count` is the capacity; the others
  have 64, 128, 256 ... rows, and those are used whose sizes add up to `count`, as the digits of a binary number do: one
  or few. Each part is an array of its own, since XLA:CPU copies a slice of an array before it multiplies with it.
- What is done to each logit goes block by block of rows, in place.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int32, Integer

from jaxal.numerics.arrays import bucket, einsum
from jaxal.numerics.blocks import take

_BLOCK = 256  # rows of a block
_LEAST = bucket(1)  # rows of the smallest part


class Rows(NamedTuple):
    """One seed's rows. Those that fill up `count` have weight 0."""

    parts: tuple[Array, ...]  # (R_i, D) each, the largest first: centered rows
    y: Array  # (blocks, R) classes
    weight: Array  # (blocks, R), sums to 1
    seen: Array  # (C,) bool, classes with a row of weight > 0
    count: Array  # () int32


class Means(NamedTuple):
    """Of the rows as they came, weighted."""

    x: Array  # (D,), 0 without an intercept
    size: Array  # (D,) of |x|


def room(capacity: int, dim: int, dtype) -> tuple[Array, ...]:
    """Parts for `gather` to fill, the largest first: one for all rows, and powers of two that add up to whatever else
    `bucket` returns up to `capacity`, which is one of these.
    """
    largest = 1 << (capacity.bit_length() - 1)
    sizes = [largest >> k for k in range((largest // _LEAST).bit_length())]
    sizes = sizes if capacity == largest else [capacity, *sizes]
    return tuple(jnp.zeros((size, dim), dtype) for size in sizes)


def gather(
    X: Float[Array, "N D"],
    rows: Integer[Array, " L"],
    y: Integer[Array, " L"],
    weight: Float[Array, " L"],
    count: Int32[Array, ""],
    n_classes: int,
    parts: tuple[Array, ...],
    *,
    intercept: bool,
) -> tuple[Rows, Means]:
    """One seed's rows of X, centered where there is an intercept; weights sum to 1.

    count: as of `bucket`. parts: of `room`, to be filled; or none, and the rows are one part and one block, for devices
    that are slow to decide what comes next.
    """
    whole = not parts
    size = len(rows) if whole else min(_BLOCK, len(rows))
    blocked = rows.reshape(-1, size)
    data = Rows(parts, y.reshape(-1, size), weight.reshape(-1, size), jnp.zeros(n_classes, bool), count)

    def add(i, means):
        mean, mean_size, seen = means
        x, weight = X[blocked[i]], data.weight[i]
        mean, mean_size = (m + (weight[:, None] * a).sum(axis=0) for m, a in ((mean, x), (mean_size, jnp.abs(x))))
        return mean, mean_size, seen | jnp.any(_own(data, i) & (weight > 0)[None], axis=1)

    zero = jnp.zeros(X.shape[1], X.dtype)
    mean, mean_size, seen = _each_block(data, add, (zero, zero, data.seen))
    mean = mean if intercept else zero
    parts = (X[rows] - mean[None],) if whole else tuple(_filled(data, part, X, rows, mean) for part in parts)
    return data._replace(parts=parts, seen=seen), Means(mean, mean_size)


def _filled(data: Rows, part: Array, X, rows, mean) -> Array:
    """`part` with its centered rows where it is used, written into it, a block at a time."""
    used, first = _place(data, part)
    size = min(_BLOCK, len(part) // 2)

    def fill(i, part):
        block = X[take(rows, first + i * size, size)] - mean[None]
        return lax.dynamic_update_slice_in_dim(part, block, i * size, axis=0)

    return lax.fori_loop(0, used * (len(part) // size), fill, part)


def logits(rows: Rows, W: Float[Array, "C D"], b: Float[Array, " C"]) -> Float[Array, "C L"]:
    """W times the rows and b, less the logit of each row's own class: the loss is then no difference of two large
    numbers.
    """
    # For few classes X W^T is twice as fast as W X^T on XLA:CPU (L=4096, D=4096, C=3: 2.2 against 4.3 ms); the barrier
    # keeps the compiler from turning it around.
    few = len(W) <= 16

    def product(part, W):
        return lax.optimization_barrier(einsum("ld,cd->lc", part, W)).T if few else einsum("cd,ld->cl", W, part)

    def add(part, first, Z):
        later, Z = lax.optimization_barrier((W, Z))  # or the product would move out of the loop, and be computed always
        return lax.dynamic_update_slice_in_dim(Z, product(part, later), first, axis=1)

    Z = _over_parts(rows, lambda part: product(part, W), add, (len(W), rows.y.size))

    def relative(i, Z):
        z = _block(rows, Z, i) + b[:, None]
        own = jnp.take_along_axis(z, rows.y[i][None], axis=0, mode="promise_in_bounds")
        return _replaced(Z, z - own, i)

    return _each_block(rows, relative, Z)


def loss(
    rows: Rows,
    Z: Float[Array, "C L"],
    dZ: Float[Array, "C L"],
    base: Bool[Array, ""],
    length: Float[Array, ""],
    G: Float[Array, "C L"],
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, "C L"]]:
    """The mean cross entropy, a sum of terms >= 0, at logits Z + length dZ, or length dZ where not `base`; its
    derivative by `length`; and by each logit, written into G.
    """
    # Classes without a row get a logit that no step reaches.
    never = jnp.where(rows.seen, 0, jnp.finfo(Z.dtype).min / 4)[:, None]

    def add(i, sums):
        f, slope, G = sums
        z, dz, weight = _block(rows, Z, i), _block(rows, dZ, i), rows.weight[i][None]
        z = jnp.where(base, z, 0) + length * dz + never
        top = z.max(axis=0, keepdims=True)
        E = jnp.exp(z - top)
        total = E.sum(axis=0, keepdims=True)
        share = weight / total
        g = E * share - jnp.where(_own(rows, i), weight, 0)
        f = f + weight * (jnp.log(total) + top)
        slope = slope + share * (E * dz).sum(axis=0, keepdims=True)
        return f, slope, _replaced(G, g, i)

    zero = jnp.zeros_like(rows.weight[:1])
    f, slope, G = _each_block(rows, add, (zero, zero, G))
    return f.sum(), slope.sum(), G


def moved(
    rows: Rows,
    Z: Float[Array, "C L"],
    dZ: Float[Array, "C L"],
    base: Bool[Array, ""],
    length: Float[Array, ""],
    G: Float[Array, "C L"],
) -> tuple[Float[Array, "C L"], Float[Array, " C"]]:
    """Z + length dZ, or length dZ where not `base`, written into Z; and, on the way, the sum of G over the rows."""

    def add(i, both):
        Z, total = both
        z = jnp.where(base, _block(rows, Z, i), 0) + length * _block(rows, dZ, i)
        return _replaced(Z, z, i), total + _block(rows, G, i).sum(axis=1)

    return _each_block(rows, add, (Z, jnp.zeros(len(G), G.dtype)))


def gradient(rows: Rows, G: Float[Array, "C L"]) -> Float[Array, "C D"]:
    """The gradient of the mean cross entropy by W, of that by each logit."""

    def product(part):
        return einsum("cl,ld->cd", G, part)

    def add(part, first, W):
        first, W = lax.optimization_barrier((first, W))  # as above
        return W + einsum("cl,ld->cd", take(G, first, len(part), axis=1), part)

    return _over_parts(rows, product, add, (len(G), rows.parts[0].shape[1]))


def _over_parts(rows: Rows, all_of: Callable, add: Callable, shape: tuple[int, int]) -> Array:
    """all_of(part) where one part is all rows; else zeros of this shape, to which each part that is used is added by
    add(part, its first row, result).
    """
    whole, *parts = rows.parts
    if not parts:
        return all_of(whole)
    # `add` would not depend on what it adds to, and move out of the loop.
    used, _ = _place(rows, whole)
    result = lax.cond(used > 0, lambda: all_of(whole), lambda: jnp.zeros(shape, whole.dtype))
    for part in parts:
        used, first = _place(rows, part)

        # A loop of one step or none works in place, which `lax.cond` does not.
        result = lax.fori_loop(0, used, lambda _, result: add(part, first, result), result)  # noqa: B023 - used at once
    return result


def _place(rows: Rows, part: Array) -> tuple[Array, Array]:
    """Whether a part is used, 0 or 1, and its first row: larger parts come first."""
    size, full = len(part), rows.count == rows.y.size
    if size == rows.y.size:
        return full.astype(jnp.int32), jnp.int32(0)
    return jnp.where(full, 0, (rows.count & size) // size), rows.count & (-2 * size)


def _each_block(rows: Rows, f: Callable, carry):
    """f(i, carry) -> carry for every block in which there are rows."""
    n_blocks, size = rows.y.shape
    return f(0, carry) if n_blocks == 1 else lax.fori_loop(0, -(-rows.count // size), f, carry)


def _block(rows: Rows, Z, i) -> Float[Array, "C R"]:
    size = rows.y.shape[1]
    return take(Z, i * size, size, axis=1)


def _replaced(Z, block, i) -> Float[Array, "C L"]:
    return lax.dynamic_update_slice_in_dim(Z, block, i * block.shape[1], axis=1)


def _own(rows: Rows, i) -> Bool[Array, "C R"]:
    """Which class is each row's own, of a block."""
    y = rows.y[i]
    return y[None] == jnp.arange(len(rows.seen), dtype=y.dtype)[:, None]
