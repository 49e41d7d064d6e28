"""Softmax regression for all seeds at once: objective, L-BFGS, prediction.

The model is that of scikit-learn's `LogisticRegression(solver="lbfgs")`. With weights w_l that sum to n,

    f(W, b) = sum_l w_l/n * (logsumexp_c z_cl - z_(y_l)l) + lam/2 |W|^2,    z = W X^T + b,    lam = 1 / (C n)    (1)

over the observed classes; the intercept b is not penalised. Where two classes are observed scikit-learn fits one
logit. Two softmax columns with lam doubled have the same optimum, the same gradient and the same probabilities.

While fitting, rows are centered: with b' = b + W mean the model is the same. The direction that all embeddings share,
and that competes with the intercept, is gone (Banking77, L = 1000: 24 iterations instead of 42, nearer to the optimum).

Layout: parameters (C, D) and logits (C, L), because XLA:CPU runs `X.T @ G` for thin G at a tenth of the speed of
`G @ X` (L=4000, D=4096, C=3: 46 ms against 5 ms). Gradients are written out: autodiff would take the slow product.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Shaped

from jaxal.numerics import blocks, lbfgs, programs, softmax
from jaxal.numerics.arrays import bucket, capacity, einsum
from jaxal.numerics.line_search import Step, line_search

# Iterations stop at max |gradient| <= _AIM tol. The result is then no farther from the optimum than scikit-learn's at
# tol (bench/results/warm-start.md).
_AIM = 0.7


class Params(NamedTuple):
    """Weights W (..., C, D) and intercepts b (..., C). A class that was never seen has b = -inf: probability 0."""

    W: Array
    b: Array


class Fit(NamedTuple):
    """Fitted parameters and, for each seed, what the solver says of them."""

    params: Params
    iterations: Array  # (S,) int32
    converged: Array  # (S,) bool: gradient <= tol
    gradient: Array  # (S,) max |gradient| of the mean objective at freshly computed logits, rounding of b included
    objective: Array  # (S,) f(W, b)


def zeros(n_seeds: int, n_classes: int, dim: int, dtype) -> Params:
    """Parameters of a classifier that has seen nothing: every class equally likely."""
    # No program is compiled for what NumPy makes.
    W, b = np.zeros((n_seeds, n_classes, dim), dtype), np.zeros((n_seeds, n_classes), dtype)
    return Params(jax.device_put(W), jax.device_put(b))


_SMALL = 10_000_000  # L C D up to which compiling takes longer than a run's fits, some .1 s a fit of 5 seeds
_STATIC = ("tol", "max_iter", "intercept", "vmapped")


@partial(jax.jit, static_argnames=_STATIC)
def fit(
    X: Float[Array, "N D"],
    rows: Integer[Array | np.ndarray, "S L"],
    y: Integer[Array | np.ndarray, "S L"],
    *,
    weight: Shaped[Array | np.ndarray, "S L"],
    init: Params,
    count: ArrayLike | None = None,
    C: ArrayLike = 1.0,
    tol: float = 1e-4,
    max_iter: int = 1000,
    intercept: bool = True,
    vmapped: bool | None = None,
) -> Fit:
    """Fit one classifier a seed, each on its own rows of one shared matrix.

    Args:
        X: float32 or float64; the arithmetic follows it.
        rows: rows of X; padding may name any row.
        y: classes in 0 .. C-1.
        weight: sample weights, 0 for padding.
        init: where to start, (S, C, D) and (S, C); -inf intercepts count as 0.
        count: how many of the L rows are used, `bucket` of something; all by default. The others are padding, and one
            program serves every count. They cost nothing where seeds go one after the other, else as much as rows.
        C: inverse strength of the L2 penalty, as in scikit-learn: a number, or (S,) one each, for studies that tune it.
        tol: converged when the largest gradient element of the mean objective is at most this; it aims at .7 of it.
        intercept: whether to fit b; without it b stays 0.
        vmapped: seeds in one batch (accelerators) or one after the other (the default on CPU).
    Returns: `Fit`. One observed class is legal: that class gets probability 1.
    Cost: two products of `count` x D x C an iteration and seed, however many trials the line search takes. Memory: on
        CPU 3 L D numbers, for one seed at a time.
    Reference: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.5; Hager and Zhang 2005 (line search).
    """
    if vmapped is None:
        # On CPU a vmapped fit runs until its slowest seed is done, and its arrays fall out of cache. Seconds for 5
        # seeds, one at a time / vmapped: (L, D, C) = (25, 768, 2) .005/.003, (1000, 384, 6) .023/.017,
        # (1000, 768, 6) .047/.067, (1000, 384, 77) .10/.14, (5000, 4096, 77) 5.0/7.2. So vmap gains milliseconds, on
        # the smallest fits.
        vmapped = jax.default_backend() != "cpu"
    count = jnp.asarray(bucket(rows.shape[1]) if count is None else count, jnp.int32)

    def one(parts, seed):
        rows, y, weight, init, C = seed
        n = weight.sum()
        data, means = softmax.gather(X, rows, y, weight / n, count, init.W.shape[0], parts, intercept=intercept)
        # Two softmax columns with lam doubled are scikit-learn's one logit.
        lam = jnp.where(data.seen.sum() == 2, 2, 1).astype(X.dtype) / (C * n)
        return data.parts, _fit_one(data, means, init, lam, tol, max_iter, intercept)

    C = jnp.broadcast_to(jnp.asarray(C, X.dtype), rows.shape[:1])
    seeds = (rows, y, weight.astype(X.dtype), init, C)
    if vmapped:
        return jax.vmap(partial(one, ()))(seeds)[1]
    L = bucket(rows.shape[1])
    rows, y, weight = (jnp.pad(a, ((0, 0), (0, L - a.shape[1]))) for a in seeds[:3])
    return lax.scan(one, softmax.room(L, X.shape[1], X.dtype), (rows, y, weight, init, C))[1]


def fit_rows(
    X: Float[Array, "N D"],
    rows: Integer[np.ndarray, "S L"],
    y: Integer[np.ndarray, "S L"],
    *,
    weight: Shaped[np.ndarray, "S L"] | None = None,
    most: int = 0,
    **options,
) -> Fit:
    """`fit` with room for more rows, so that few programs are compiled; without `weight` every row counts as 1.

    most: as many rows as later fits of X will have; they then share this one's program.
    options: `init` and the others of `fit`.
    """
    n = rows.shape[1]
    padding = ((0, 0), (0, capacity(n, most) - n))
    weight = np.ones(rows.shape, X.dtype) if weight is None else weight
    rows, y, weight = (np.pad(a, padding) for a in (rows, y, weight))
    return _kept_fit(X, rows, y, weight=weight, count=np.int32(bucket(n)), **options)


def _small(X, rows, y, *, init: Params, **_) -> bool:
    _, n_classes, dim = init.W.shape
    return rows.shape[1] * n_classes * dim <= _SMALL


_kept_fit = programs.Kept(fit, "fit", _STATIC, quick=_small)


class _State(NamedTuple):
    """Where the solver of one seed stands. Vectors (P,) hold W and then b, for centered rows."""

    theta: Array  # (P,) parameters
    grad: Array  # (P,)
    f: Array
    WW: Array  # |W|^2
    Z: Array  # (C, L) logits, relative
    G: Array  # (C, L) what `softmax.loss` writes into
    largest: Array  # gradient element, for rows as they came
    memory: lbfgs.Memory
    iterations: Array  # int32
    afresh: Array  # bool: everything of `theta` is to be computed from nothing, since running logits drift
    fresh: Array  # bool: it just was
    failures: Array  # int32: searches in a row that found no step, from fresh logits


def _fit_one(rows: softmax.Rows, means: softmax.Means, init: Params, lam, tol, max_iter, intercept) -> Fit:
    """Fit one seed. lam: of (1)."""
    (n_classes, dim), dtype = init.W.shape, init.W.dtype

    def split(vector) -> Params:
        return Params(vector[: n_classes * dim].reshape(n_classes, dim), vector[n_classes * dim :])

    def joined(W, b):
        return jnp.concatenate([W.ravel(), b if intercept else jnp.zeros_like(b)])

    def iterate(state: _State) -> _State:
        """One step of L-BFGS; or, `afresh`, the step from nothing to theta.

        Logits are linear in the parameters: along P they are Z + length dZ, so that the trials of the line search need
        no product with the rows.
        """
        base = ~state.afresh
        direction, slope = lbfgs.descent(state.memory)
        P = jnp.where(base, direction, state.theta)
        dW, db = split(P)
        dZ = softmax.logits(rows, dW, db)
        WW, WP = (jnp.where(base, a, 0) for a in (state.WW, jnp.vdot(split(state.theta).W, dW)))
        PP = jnp.vdot(dW, dW)

        def attempt(length, G) -> Step:
            f, slope, G = softmax.loss(rows, state.Z, dZ, base, length, G)
            f = f + lam / 2 * (WW + 2 * length * WP + length * length * PP)
            return Step(length, f, slope + lam * (WP + length * PP), G)

        step, accepted = line_search(attempt, state.f, slope, state.G, once=state.afresh)
        # Where none was accepted nothing moves. The gradient is then of another point, but is computed afresh next.
        length = jnp.where(accepted, step.length, 0)
        move = jnp.where(accepted, length * P, 0)
        theta = jnp.where(base, state.theta, 0) + move
        W = split(theta).W
        Z, gb = softmax.moved(rows, state.Z, dZ, base, length, step.extra)
        gW = softmax.gradient(rows, step.extra) + lam * W
        grad = joined(gW, gb)
        largest = jnp.maximum(jnp.abs(gW + gb[:, None] * means.x[None]).max(), jnp.abs(grad[n_classes * dim :]).max())
        iterations = state.iterations + base.astype(jnp.int32)
        failures = jnp.where(accepted, 0, jnp.where(state.fresh, state.failures + 1, 1))
        return _State(
            theta,
            grad,
            step.f,
            WW + 2 * length * WP + length * length * PP,
            Z,
            step.extra,
            largest,
            lbfgs.remember(state.memory, move, state.grad, grad, add=accepted & base, forget=~accepted),
            iterations,
            afresh=base & ~(accepted & unfinished(largest, iterations)),
            fresh=state.afresh,
            failures=jnp.where(base, failures, state.failures),
        )

    def unfinished(largest, iterations):
        return (largest > _AIM * tol) & (iterations < max_iter)

    def going(state: _State):
        # Where steepest descent from fresh logits finds no step either, the digits of the dtype are exhausted.
        return state.afresh | (unfinished(state.largest, state.iterations) & (state.failures < 2))

    # Where to begin, for centered rows: 0 for classes that have no row.
    W = jnp.where(rows.seen[:, None], init.W, 0)
    b = jnp.where(rows.seen & jnp.isfinite(init.b), init.b, 0) + einsum("cd,d->c", W, means.x)
    theta = joined(W, b)
    Z, zero, none, yes = jnp.zeros((n_classes, rows.y.size), dtype), jnp.zeros((), dtype), jnp.int32(0), jnp.bool_(True)
    memory = lbfgs.empty(_n_pairs(theta.size), theta.size, dtype)
    state = _State(theta, theta, zero, zero, Z, Z, zero, memory, none, yes, yes, none)
    return _as_fit(rows, means, split, lax.while_loop(going, iterate, state), tol)


def _as_fit(rows: softmax.Rows, means: softmax.Means, split: Callable, state: _State, tol) -> Fit:
    """The result, for rows as they came."""
    W, b = split(state.theta)
    b = _uncentered(W, b, means.x)
    # What float rounding may hide: that of b, which may be large, and of the sum W x, as a random walk of its D terms.
    # A logit wrong by r makes a probability wrong by r / 2 at most.
    size = means.size + jnp.abs(means.x)
    rounding = jnp.finfo(W.dtype).eps / 2 * (jnp.abs(b).max() + jnp.sqrt(((W * size[None]) ** 2).sum(axis=1).max()))
    gradient = state.largest + rounding / 2 * size.max()
    params = Params(W, jnp.where(rows.seen, b, -jnp.inf))
    return Fit(params, state.iterations, gradient <= tol, gradient, state.f)


def _n_pairs(n_parameters: int) -> int:
    """L-BFGS keeps 7 pairs of steps and gradient changes: as many iterations as with 10 (24 and 33 on Banking77), in
    5-10 % less time. Of large parameters it keeps 4, because more would push X out of the cache (L=1000, D=4096, C=77:
    19 iterations in .83 s with 7, 18 in .70 s with 4).
    """
    return 7 if n_parameters <= 1 << 17 else 4


def _uncentered(W, b, mean):
    """B - W mean (C,), rounded once: the terms may be large and their sum small.

    It is computed with twice the digits (Dekker 1971): numbers are split into halves whose products are exact, and the
    rounding error of each sum is summed too.
    """
    info = jnp.finfo(W.dtype)

    def halves(a, axis):
        high = lax.reduce_precision(a, info.nexp, (info.nmant + 1) // 2 - 1)
        return jnp.stack([high, a - high], axis)

    def add(one, other):
        (a, lost_a), (b, lost_b) = one, other
        total = a + b
        part = total - a
        return total, lost_a + lost_b + ((a - (total - part)) + (b - part))

    terms = -halves(W, 1)[:, :, None] * halves(mean, 0)[None, None]  # (C, 2, 2, D)
    zero = jnp.zeros((), W.dtype)
    total = lax.reduce((terms, jnp.zeros_like(terms)), (zero, zero), add, (1, 2, 3))
    total, lost = add(total, (b, jnp.zeros_like(b)))
    return total + lost


# ---- prediction


def logits(params: Params, X) -> Array:
    """Logits (..., N, C) of rows X (N, D); -inf for classes never seen."""
    Z = einsum("nd,...cd->...nc", X, params.W)
    return Z + jnp.broadcast_to(params.b[..., None, :], Z.shape)


def logits_each(params: Params, X) -> Array:
    """Logits (S, P, C) of each seed's own rows X (S, P, D)."""
    return einsum("spd,scd->spc", X, params.W) + params.b[:, None]


def logits_of(params: Params, X) -> Array:
    """Logits (S, C, R) of a block of rows X (R, D), the same for all seeds. Classes come before rows because a CPU
    reduces few long vectors fast, and many short ones slowly.
    """
    return einsum("scd,nd->scn", params.W, X) + params.b[:, :, None]


def map_logits(f, params: Params, X, *, block_rows: int | None = None) -> Array:
    """f(logits (S, C, R)) -> (S, R), applied to blocks of R rows of X (N, D); returns (S, N).

    A block's logits stay in cache and the (S, C, N) array is never whole. Every seed reads a block while it is there.
    """
    size = block_rows or blocks.rows(params.b.size + X.shape[1])
    return blocks.map_blocks(lambda start, size: f(logits_of(params, blocks.take(X, start, size))), X.shape[0], size)


@jax.jit
def predict(params: Params, X) -> Array:
    """The most probable class of every row and seed, (S, N) int32; ties go to the lower class, as in scikit-learn."""
    return map_logits(lambda z: jnp.argmax(z, axis=1).astype(jnp.int32), params, X)
