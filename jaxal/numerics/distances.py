"""Squared distances that survive float32.

|a - b|^2 = |a|^2 + |b|^2 - 2 <a, b> loses what the norms have in common. So rows are taken about the mean of the pool,
which removes the offset that embeddings share; what is within rounding counts as 0; and where one row meets few others
the differences are squared themselves.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxal.errors import DataError
from jaxal.numerics import blocks

_einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST)


class Norms(NamedTuple):
    """Of the rows of a pool, as they are or scaled to length 1."""

    scale: Array  # (N,) what rows are multiplied by
    mean: Array  # (D,)
    raw: Array  # (N,) squared norms
    centered: Array  # (N,) squared norms about the mean


def norms(X: np.ndarray, *, normalize: bool = False) -> Norms:
    """`Norms` of X (N, D), in blocks. Rows of zeros stay zeros. Raises DataError where distances would overflow."""
    parts = [X[i : i + 4096] for i in range(0, len(X), 4096)]
    with np.errstate(over="ignore"):
        raw = np.concatenate([np.einsum("nd,nd->n", part, part) for part in parts])
    scale = np.ones_like(raw)
    if not raw.max() < np.finfo(raw.dtype).max / (64 * len(raw)):  # a sum of all distances must stay finite
        raise DataError(f"the embeddings are too large for {raw.dtype} distances: scale them (normalize)")
    if normalize:
        scale, raw = 1 / np.sqrt(np.where(raw > 0, raw, 1)), (raw > 0).astype(X.dtype)
    scales = [scale[i : i + 4096, None] for i in range(0, len(X), 4096)]
    mean = sum((part * by).sum(axis=0, dtype=np.float64) for part, by in zip(parts, scales, strict=True)) / len(X)
    # Rounded to 8 bits of its largest entry, so that distances of whole numbers stay exact, and ties ties.
    grid = 2.0 ** (np.frexp(np.abs(mean).max())[1] - 8)
    mean = (np.round(mean / grid) * grid).astype(X.dtype)
    centered = [((part * by - mean) ** 2).sum(axis=1) for part, by in zip(parts, scales, strict=True)]
    return Norms(*map(jnp.asarray, (scale, mean, raw, np.concatenate(centered))))


class Points(NamedTuple):
    """The rows of a pool about their mean, scaled; never stored as such."""

    X: Array  # (N, D)
    norms: Norms

    def at(self, rows) -> Array:
        """(..., D) of rows (...)."""
        x = self.X[rows] * self.norms.scale[rows][..., None]
        return x - jnp.broadcast_to(self.norms.mean, x.shape)


def products(A, B):
    """<a, b> for rows of A (..., P, D) and B (..., T, D): (..., P, T)."""
    return _einsum("...pd,...td->...pt", A, B)


def squared(A, B):
    """|a - b|^2 (..., P, T) for rows of A (..., P, D) and B (..., T, D): centered ones, see above."""
    AA, BB = (A * A).sum(axis=-1)[..., :, None], (B * B).sum(axis=-1)[..., None, :]
    norms = AA + BB
    return above_rounding(norms - 2 * products(A, B), norms)


def above_rounding(apart, scale):
    """Squared distances, 0 where they are no more than the rounding of numbers as large as `scale`: duplicates."""
    return jnp.where(apart > 8 * jnp.finfo(apart.dtype).eps * scale, apart, 0)


def differences(a, B):
    """|a - b|^2 (S, T) of one row a (S, D) and the rows of B (S, T, D), with no cancellation."""
    apart = B - a[:, None]
    # a product with ones adds faster than a reduction of the last axis
    return _einsum("std,d->st", apart * apart, jnp.ones(B.shape[-1], B.dtype))


def paired(A, B):
    """|a - b|^2 (P,) of rows in pairs, (P, D) each, with no cancellation."""
    apart = A - B
    return _einsum("pd,d->p", apart * apart, jnp.ones(A.shape[-1], A.dtype))


def nearest(X, norms: Norms, centers, known):
    """Squared distance of every row of X (N, D) to the nearest of a seed's centers (S, T, D), taken about the mean.

    known: (S, T) bool, centers that count; inf where none does. Returns (S, N).
    """
    n_seeds, n_centers, _ = centers.shape
    # About the mean of the pool |x|^2 is the same for all centers: it is added, and clipped, when the rest is minimal.
    half = jnp.where(known, (centers * centers).sum(axis=2) / 2, jnp.inf)

    def block(start, size):
        rows = blocks.take(X, start, size) - norms.mean[None]
        rest = half[:, :, None] - _einsum("std,nd->stn", centers, rows)
        return jnp.maximum(2 * rest.min(axis=1) + blocks.take(norms.centered, start, size)[None], 0)

    return blocks.map_blocks(block, X.shape[0], blocks.rows(n_seeds * n_centers))
