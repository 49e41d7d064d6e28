"""Squared distances that survive float32.

|a - b|^2 = |a|^2 + |b|^2 - 2 <a, b> loses the digits that the norms have in common. Three measures keep enough of
them: rows are centered, that is, taken about the mean of the pool, which removes the offset that all embeddings share;
what is within rounding counts as 0; and where one row meets few others the differences are squared themselves.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxal.errors import DataError
from jaxal.numerics import blocks
from jaxal.numerics.arrays import einsum

_NORM_ROWS = 4096  # of a block when norms are computed on the host


class Norms(NamedTuple):
    """Of the rows of a pool, as they are or scaled to length 1."""

    scale: Array  # (N,) what rows are multiplied by
    mean: Array  # (D,)
    raw: Array  # (N,) squared norms
    centered: Array  # (N,) squared norms about the mean


def norms(X: Float[np.ndarray, "N D"], *, normalize: bool = False) -> Norms:
    """`Norms` of X, in blocks on the host; of float16 as float32. Rows of zeros stay zeros.

    Raises: DataError where distances would overflow.
    Cost: two passes over X.
    """
    starts, dtype = range(0, len(X), _NORM_ROWS), np.result_type(X, np.float32)

    def part(i):
        return X[i : i + _NORM_ROWS].astype(dtype, copy=False)

    with np.errstate(over="ignore", under="ignore"):
        raw = np.concatenate([np.einsum("nd,nd->n", x, x) for x in map(part, starts)])
    if normalize:
        scale = _inverse_lengths(X, raw)
        raw = (scale > 0).astype(raw.dtype)
    else:
        scale = np.ones_like(raw)
        if not raw.max() < np.finfo(raw.dtype).max / (64 * len(raw)):  # a sum of all distances must stay finite
            raise DataError(f"the embeddings are too large for {raw.dtype} distances: scale them (normalize)")
    by = {i: scale[i : i + _NORM_ROWS, None] for i in starts}
    mean = sum((part(i) * by[i]).sum(axis=0, dtype=np.float64) for i in starts) / len(X)
    # The mean is rounded to 8 bits of its largest entry: distances of whole numbers then stay exact, and ties ties.
    grid = 2.0 ** (np.frexp(np.abs(mean).max())[1] - 8)
    mean = (np.round(mean / grid) * grid).astype(raw.dtype)
    centered = [((part(i) * by[i] - mean) ** 2).sum(axis=1) for i in starts]
    return Norms(*map(jnp.asarray, (scale, mean, raw, np.concatenate(centered))))


def _inverse_lengths(X, raw):
    """1 / |x| (N,) from squared lengths (N,); 0 for rows of zeros. Raises DataError for rows too long to be scaled."""
    limits = np.finfo(raw.dtype)
    inverse = 1 / np.sqrt(np.where(raw > 0, raw, np.inf))
    # Where squares leave the range of the dtype, rows are divided by their largest element, as in `Pool.normalized`.
    far = np.flatnonzero(~np.isfinite(raw) | (raw < 4 * X.shape[1] * limits.tiny))
    if far.size:
        rows = X[far].astype(raw.dtype)
        largest = np.abs(rows).max(axis=1).astype(np.float64)
        rows = rows / np.where(largest > 0, largest, 1)[:, None]
        length = largest * np.sqrt((rows * rows).sum(axis=1))
        if length.max() * limits.tiny > 1:
            raise DataError(f"the embeddings are too large for {raw.dtype} distances: scale them (normalize)")
        # Below the smallest normal number a row counts as zeros.
        inverse[far] = np.where(length > 2 * limits.tiny, 1 / np.maximum(length, limits.tiny), 0)
    return inverse


class Points(NamedTuple):
    """The rows of a pool, scaled and centered; never stored as such."""

    X: Array  # (N, D)
    norms: Norms

    def at(self, rows: Int[Array, "..."]) -> Float[Array, "... D"]:
        """The points of rows (...)."""
        x = self.X[rows] * self.norms.scale[rows][..., None]
        return x - jnp.broadcast_to(self.norms.mean, x.shape)


def products(A: Float[Array, "*S P D"], B: Float[Array, "*S W D"]) -> Float[Array, "*S P W"]:
    """<a, b> for the rows of A and B."""
    return einsum("...pd,...td->...pt", A, B)


def squared(A: Float[Array, "*S P D"], B: Float[Array, "*S W D"]) -> Float[Array, "*S P W"]:
    """|a - b|^2 for the rows of A and B, which must be centered."""
    AA, BB = (A * A).sum(axis=-1)[..., :, None], (B * B).sum(axis=-1)[..., None, :]
    norms = AA + BB
    return above_rounding(norms - 2 * products(A, B), norms)


def above_rounding(squared: Array, scale: Array) -> Array:
    """Squared distances; 0, as of duplicates, where no larger than the rounding of numbers as large as `scale`."""
    return jnp.where(squared > 8 * jnp.finfo(squared.dtype).eps * scale, squared, 0)


def differences(a: Float[Array, "S D"], B: Float[Array, "S W D"]) -> Float[Array, "S W"]:
    """|a - b|^2 for a seed's one row a and its rows of B, with no cancellation."""
    difference = B - a[:, None]
    # a product with ones adds faster than a reduction of the last axis
    return einsum("std,d->st", difference * difference, jnp.ones(B.shape[-1], B.dtype))


def paired(A: Float[Array, "P D"], B: Float[Array, "P D"]) -> Float[Array, " P"]:
    """|a - b|^2 for the rows of A and B in pairs, with no cancellation."""
    difference = A - B
    return einsum("pd,d->p", difference * difference, jnp.ones(A.shape[-1], A.dtype))


def nearest(
    X: Float[Array, "N D"], norms: Norms, centers: Float[Array, "S W D"], known: Bool[Array, "S W"]
) -> Float[Array, "S N"]:
    """Squared distance of every row of X to the nearest of a seed's `known` centers; inf for a seed that knows none.

    The centers must be centered (taken about the mean); X is as it came, and not scaled.
    Cost: S W products with X.
    """
    n_seeds, n_centers, _ = centers.shape
    # |x - c|^2 = |x|^2 + 2 (|c|^2 / 2 - <c, x>). |x|^2 is the same for all centers, so it is added to the minimum.
    half = jnp.where(known, (centers * centers).sum(axis=2) / 2, jnp.inf)

    def block(start, size):
        rows = blocks.take(X, start, size) - norms.mean[None]
        rest = half[:, :, None] - einsum("std,nd->stn", centers, rows)
        return jnp.maximum(2 * rest.min(axis=1) + blocks.take(norms.centered, start, size)[None], 0)

    return blocks.map_blocks(block, X.shape[0], blocks.rows(n_seeds * n_centers + X.shape[1]))
