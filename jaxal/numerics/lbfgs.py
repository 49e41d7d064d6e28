"""L-BFGS: the direction of the next step, from the last steps and how they changed the gradient.

The direction is a weighted sum of vectors that are kept as rows of one array, so that it takes two products with that
array, however many pairs there are. The weights are found among inner products. optax's L-BFGS walks over the pairs one
by one: the same directions, but 63 kernels to compile instead of some 30. And it cannot leave out a pair in place, as
the solver needs where it computes a point afresh.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float

from jaxal.numerics.arrays import einsum


class Memory(NamedTuple):
    """The last m pairs of a step s and the change y of the gradient g along it.

    Everything but `vectors` is ordered from the oldest pair to the newest, and 0 where there is no pair.
    """

    vectors: Array  # (2 m + 2, P): m rows s and m rows y, the oldest overwritten first; a spare row; g
    inverse: Array  # (m, m): R^-1, where R is the upper triangle of the s_i y_j
    YY: Array  # (m, m): y_i y_j
    E: Array  # (m,): s_i y_i
    products: Array  # (2 m + 1,): inner products of the s, the y and g with g
    slot: Array  # () int32, where the next pair goes


def empty(size: int, n_parameters: int, dtype) -> Memory:
    """A memory for `size` pairs of vectors (P,)."""
    zeros = partial(jnp.zeros, dtype=dtype)
    matrix = zeros((size, size))
    return Memory(zeros((2 * size + 2, n_parameters)), matrix, matrix, zeros(size), zeros(2 * size + 1), jnp.int32(0))


def remember(
    memory: Memory,
    step: Float[Array, " P"],
    before: Float[Array, " P"],
    after: Float[Array, " P"],
    *,
    add: Bool[Array, ""],
    forget: Bool[Array, ""],
) -> Memory:
    """The memory for the next step: of gradient `after`, with one more pair where `add`, without any where `forget`.

    step: what the parameters moved while the gradient went from `before` to `after`.
    """
    size = len(memory.E)
    spare, gradient = 2 * size, 2 * size + 1
    change = jnp.where(add, after - before, 0)
    vectors, slot = memory.vectors, memory.slot
    vectors = lax.dynamic_update_index_in_dim(vectors, step, jnp.where(add, slot, spare), 0)
    vectors = lax.dynamic_update_index_in_dim(vectors, change, jnp.where(add, slot + size, spare), 0)
    vectors = lax.dynamic_update_index_in_dim(vectors, after, gradient, 0)
    slot = jnp.where(add, jnp.where(slot == size - 1, 0, slot + 1), slot)

    row = jnp.arange(2 * size + 1, dtype=jnp.int32)
    by_age = jnp.where(row % size + slot < size, row + slot, row + slot - size)
    by_age = jnp.where(row == 2 * size, gradient, by_age)
    with_change, with_gradient = (einsum("vp,p->v", vectors, vector)[by_age] for vector in (change, after))

    newest = jnp.arange(size, dtype=jnp.int32) == size - 1

    def replaced(old, new):
        return jnp.where(forget, 0, jnp.where(add, new, old))

    # Without its first row and column an upper triangle's inverse loses the same. A new column r of R, that ends in e,
    # becomes -R^-1 r / e of the inverse, that ends in 1 / e.
    R = jnp.pad(memory.inverse[1:, 1:], ((0, 1), (0, 1)))
    r, yy, e = with_change[:size], with_change[size : 2 * size], with_change[size - 1]
    column = jnp.where(newest, 1, -(R * r[None]).sum(axis=1)) / e
    YY = jnp.pad(memory.YY[1:, 1:], ((0, 1), (0, 1)))
    return Memory(
        vectors,
        replaced(memory.inverse, jnp.where(newest[None], column[:, None], R)),
        replaced(memory.YY, jnp.where(newest[None], yy[:, None], jnp.where(newest[:, None], yy[None], YY))),
        replaced(memory.E, jnp.where(newest, e, jnp.pad(memory.E[1:], (0, 1)))),
        with_gradient,
        slot,
    )


def descent(memory: Memory) -> tuple[Float[Array, " P"], Float[Array, ""]]:
    """-H g, and its slope -g H g. H is the inverse Hessian that the pairs make of a multiple of 1; without a pair the
    direction is -g, of norm <= 1.

    In the compact form of Byrd, Nocedal and Schnabel (1994), equation 3.1. With the pairs as columns of S and Y, R the
    upper triangle of S^T Y, E its diagonal, and u = R^-1 S^T g,

        H g = gamma g + S R^-T ((E + gamma Y^T Y) u - gamma Y^T g) - gamma Y u,    gamma = s y / y y of the newest pair.
    """
    _, inverse, YY, E, products, slot = memory
    size = len(E)
    Sg, Yg, gg = products[:size], products[size : 2 * size], products[2 * size]
    some = E[-1] > 0
    gamma = jnp.where(some, E[-1] / YY[-1, -1], jnp.minimum(1, lax.rsqrt(gg)))
    u = (inverse * Sg[None]).sum(axis=1)
    v = (inverse.T * (E * u + gamma * ((YY * u[None]).sum(axis=1) - Yg))[None]).sum(axis=1)
    age = jnp.arange(size, dtype=jnp.int32) - slot  # of each row's pair, where negative numbers count from the end
    weights = jnp.concatenate([-v[age], gamma * u[age], jnp.stack([jnp.zeros_like(gamma), -gamma])])
    slope = gamma * (u * Yg).sum() - (v * Sg).sum() - gamma * gg
    return einsum("v,vp->p", weights, memory.vectors), slope
