"""Softmax regression for all seeds at once: objective, L-BFGS, prediction.

The model is that of scikit-learn's `LogisticRegression(solver="lbfgs")`. With weights w_l that sum to n,

    f(W, b) = sum_l w_l/n * (logsumexp_c z_cl - z_(y_l)l) + lam/2 |W|^2,    z = W X^T + b,    lam = 1 / (C n)

over the observed classes; the intercept b is not penalised. Two observed classes are one logit in scikit-learn. Two
softmax columns with the penalty doubled have the same optimum, the same gradient and the same probabilities.

Rows are centred while fitting: with b' = b + W mean the model is the same, and the strong direction that embeddings
share with the intercept is gone (Banking77, L = 1000: 42 iterations become 24, and they end nearer to the optimum).

Layout: parameters (C, D) and logits (C, L), because XLA:CPU runs `X.T @ G` for thin G at a tenth of the speed of
`G @ X` (L=4000, D=4096, C=3: 46 ms against 5 ms). Gradients are written out: autodiff would take the slow product.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from jaxal.numerics import blocks

_AIM = 0.7  # of tol, where iterations stop: what is no farther from the optimum than scikit-learn's result at tol
_MAX_TRIALS = 20  # of one line search
_SLOPE_DROP = 0.8  # accepted when |slope| falls below this share of its start

_matmul = partial(jnp.einsum, precision=lax.Precision.HIGHEST)  # tensor cores would round to 10 bits


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


def _lbfgs(n_parameters: int) -> optax.GradientTransformation:
    """Keeps 7 pairs: as many iterations as with 10 (24 and 33 on Banking77), 5-10 % less time. Of large parameters 4:
    more would take the cache from X (L=1000, D=4096, C=77: 19 iterations in .83 s with 7, 18 in .70 s with 4)."""
    return optax.scale_by_lbfgs(memory_size=7 if n_parameters <= 1 << 17 else 4)


def zeros(n_seeds: int, n_classes: int, dim: int, dtype) -> Params:
    """Parameters of a classifier that has seen nothing: every class equally likely."""
    return Params(jnp.zeros((n_seeds, n_classes, dim), dtype), jnp.zeros((n_seeds, n_classes), dtype))


@partial(jax.jit, static_argnames=("tol", "max_iter", "intercept", "vmapped"))
def fit(X, rows, y, weight, init: Params, C=1.0, *, tol=1e-4, max_iter=1000, intercept=True, vmapped=None) -> Fit:
    """Fit one classifier a seed, each on its own rows of one shared matrix.

    Args:
        X: (N, D) float32 or float64; the arithmetic follows it.
        rows: (S, L) int32, rows of X; padding may name any row.
        y: (S, L) int32 classes in 0..C-1.
        weight: (S, L) sample weights, 0 for padding.
        init: where to start, (S, C, D) and (S, C); -inf intercepts count as 0.
        C: inverse strength of the L2 penalty, as in scikit-learn: a number, or (S,) one each, for studies that tune it.
        tol: converged when the largest gradient element of the mean objective is at most this; it aims at .7 of it.
        intercept: whether to fit b; without it b stays 0.
        vmapped: seeds in one batch (accelerators) or one after the other (the default on CPU).
    Returns: `Fit`. One observed class is legal: that class gets probability 1.
    Cost: two products of L x D x C an iteration and seed, however many trials the line search takes.
    Reference: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.5; Hager and Zhang 2005 (line search).
    """
    if vmapped is None:
        # On CPU a batch waits for its slowest seed and falls out of cache. 5 seeds, one at a time / vmapped, in s:
        # (L, D, C) = (25, 768, 2) .005/.003, (1000, 384, 6) .023/.017, (1000, 768, 6) .047/.067,
        # (1000, 384, 77) .10/.14, (5000, 4096, 77) 5.0/7.2. What vmap gains, on the smallest fits, is milliseconds.
        vmapped = jax.default_backend() != "cpu"

    def one(seed):
        rows, y, weight, init, C = seed
        return _fit_one(X[rows], y, weight, init, C, tol, max_iter, intercept)

    C = jnp.broadcast_to(jnp.asarray(C, X.dtype), rows.shape[:1])
    seeds = (rows, y, weight.astype(X.dtype), init, C)
    return jax.vmap(one)(seeds) if vmapped else lax.map(one, seeds)


def bucket(n: int) -> int:
    """The padded number of rows that n labeled rows are fitted with.

    Powers of two from 64 to 1024, then four steps an octave. Compiling one shape takes 1.5 s, as long as fitting
    5 seeds on 1,000 rows and 77 classes fourteen times, so small fits share few shapes; above, padding adds 25 % at
    most and 9 % on average.
    """
    power = 1 << max(6, (n - 1).bit_length())
    step = power // 8 if n > 1024 else power
    return -(-n // step) * step


def fit_rows(X, rows, y, init: Params, C=1.0, weight=None, **options) -> Fit:
    """`fit` on rows (S, L) with classes y (S, L) and weights (S, L) or None, padded so that few shapes are compiled."""
    padding = ((0, 0), (0, bucket(rows.shape[1]) - rows.shape[1]))
    weight = np.ones(rows.shape, X.dtype) if weight is None else weight
    return fit(X, *(np.pad(a, padding) for a in (rows, y, weight)), init, C, **options)


class _Point(NamedTuple):
    """Where the solver stands: parameters, their relative logits (C, L), gradient and objective."""

    params: Params
    logits: Array
    grad: Params
    f: Array


class _Softmax(NamedTuple):
    """Weighted probabilities E * share."""

    E: Array  # (C, L)
    share: Array  # (1, L)


class _Trial(NamedTuple):
    """One step length along a direction: the objective there, its slope, and the softmax."""

    step: Array
    f: Array
    slope: Array
    softmax: _Softmax


def _fit_one(X, y, weight, init, C, tol, max_iter, intercept):
    n_classes = init.W.shape[0]
    lbfgs = _lbfgs(init.W.size)
    n = weight.sum()
    weight = weight[None] / n  # (1, L), as all that is one number a row
    target = jnp.where(y[None] == jnp.arange(n_classes, dtype=y.dtype)[:, None], weight, 0)  # (C, L)
    seen = jnp.any(target > 0, axis=1)
    lam = jnp.where(seen.sum() == 2, 2, 1).astype(X.dtype) / (C * n)
    mean = _matmul("ol,ld->od", weight, X) if intercept else jnp.zeros_like(X[:1])  # (1, D)
    X = X - mean
    # A finite stand-in for -inf: it stays put when a step times 0 is added to it.
    never = jnp.finfo(X.dtype).min / 4

    def relative(Z):
        """Logits minus that of each row's own class: then no difference of large numbers makes up the loss."""
        return Z - jnp.take_along_axis(Z, y[None], axis=0, mode="promise_in_bounds")

    def loss(Z):
        """Mean cross entropy of relative logits, every term >= 0, and their softmax."""
        top = Z.max(axis=0, keepdims=True)
        E = jnp.exp(Z - top)
        total = E.sum(axis=0, keepdims=True)
        return (weight * (jnp.log(total) + top)).sum(), _Softmax(E, weight / total)

    def gradient(W, softmax):
        G = softmax.E * softmax.share - target
        b = G.sum(axis=1) if intercept else jnp.zeros(n_classes, X.dtype)
        return Params(_matmul("cl,ld->cd", G, X) + lam * W, b)

    def evaluate(params):
        Z = _times(params.W, X) + params.b[:, None]
        Z = relative(jnp.where(seen[:, None], Z, never))
        f, softmax = loss(Z)
        return _Point(params, Z, gradient(params.W, softmax), f + lam / 2 * jnp.vdot(params.W, params.W))

    def iterate(carry):
        point, memory, iterations, _ = carry
        minus_P, memory = lbfgs.update(point.grad, memory, point.params)
        P = jax.tree.map(jnp.negative, minus_P)
        dZ = relative(_times(P.W, X) + P.b[:, None])
        slope = jnp.vdot(point.grad.W, P.W) + jnp.vdot(point.grad.b, P.b)
        WW, WP, PP = (jnp.vdot(a, b) for a, b in ((point.params.W,) * 2, (point.params.W, P.W), (P.W,) * 2))

        def attempt(step):
            f, softmax = loss(point.logits + step * dZ)
            slope = (softmax.share * (softmax.E * dZ).sum(axis=0, keepdims=True)).sum() + lam * (WP + step * PP)
            return _Trial(step, f + lam / 2 * (WW + 2 * step * WP + step * step * PP), slope, softmax)

        best, accepted = _line_search(attempt, point.f, slope)
        # A refused step moves nothing. The gradient is then of another point, but `solve` takes both afresh.
        step = jnp.where(accepted, best.step, 0)
        params = jax.tree.map(lambda w, p: w + jnp.where(accepted, step * p, 0), point.params, P)
        logits = point.logits + jnp.where(accepted, step * dZ, 0)
        return _Point(params, logits, gradient(params.W, best.softmax), best.f), memory, iterations + 1, accepted

    def largest(grad):
        """The largest gradient element for rows as they came, centred + mean."""
        W = grad.W + grad.b[:, None] * mean
        return jnp.maximum(jnp.abs(W).max(), jnp.abs(grad.b).max())

    def unfinished(point, iterations):
        return (largest(point.grad) > _AIM * tol) & (iterations < max_iter)

    def solve(carry):
        """L-BFGS until it seems done or a step is refused; then logits and gradient afresh: running logits drift."""
        point, memory, before, failures = carry
        point, memory, iterations, accepted = lax.while_loop(
            lambda c: unfinished(c[0], c[2]) & c[3], iterate, (point, memory, before, True)
        )
        # After a refusal the memory is emptied: next comes steepest descent. With count and weights at 0 optax ignores
        # the pairs that are still stored. When that is refused too, float precision is exhausted.
        memory = memory._replace(
            count=jnp.where(accepted, memory.count, 0), weights_memory=jnp.where(accepted, memory.weights_memory, 0)
        )
        failures = jnp.where(accepted, 0, jnp.where(iterations == before + 1, failures + 1, 1))
        return evaluate(point.params), memory, iterations, failures

    start = Params(jnp.where(seen[:, None], init.W, 0), jnp.where(seen & jnp.isfinite(init.b), init.b, 0))
    start = start._replace(b=start.b + _matmul("cd,od->c", start.W, mean))
    # optax counts in int32 but adds int64 under x64, which strict promotion refuses
    memory = lbfgs.init(start)._replace(count=jnp.zeros((), int))
    point, _, iterations, _ = lax.while_loop(
        lambda c: unfinished(c[0], c[2]) & (c[3] < 2), solve, (evaluate(start), memory, 0, 0)
    )
    W, b = point.params
    b = _uncentred(W, b, mean)
    # For rows as they came b may be large and its rounding coarse. Moving a logit by r moves a probability by r / 2.
    rounding = jnp.finfo(X.dtype).eps / 2 * jnp.abs(b).max()
    size = (_matmul("ol,ld->od", weight, jnp.abs(X)) + jnp.abs(mean)).max()
    gradient_max = largest(point.grad) + rounding / 2 * size
    return Fit(Params(W, jnp.where(seen, b, -jnp.inf)), iterations, gradient_max <= tol, gradient_max, point.f)


def _uncentred(W, b, mean):
    """b - W mean (C,) of weights (C, D) and mean (1, D), as if it were computed with twice the digits and then rounded:
    the terms may be large and their sum small. Halves of numbers have exact products; what a sum loses is kept."""
    info = jnp.finfo(W.dtype)

    def halves(a):
        high = lax.reduce_precision(a, info.nexp, (info.nmant + 1) // 2 - 1)
        return high, a - high

    def add(one, other):
        (a, lost_a), (b, lost_b) = one, other
        total = a + b
        part = total - a
        return total, lost_a + lost_b + ((a - (total - part)) + (b - part))

    terms = jnp.concatenate([b[:, None], *(-w * m for w in halves(W) for m in halves(mean))], axis=1)
    zero = jnp.zeros((), W.dtype)
    total, lost = lax.reduce((terms, jnp.zeros_like(terms)), (zero, zero), add, (1,))
    return total + lost


def _times(W, X):
    """W X^T, (C, L). For few classes XLA:CPU multiplies row by row twice as fast (L=4096, D=4096, C=3: 2.2 against
    4.3 ms); the barrier keeps it from turning the product around."""
    if W.shape[0] > 16:
        return _matmul("cd,ld->cl", W, X)
    return lax.optimization_barrier(_matmul("ld,cd->lc", X, W)).T


def _line_search(attempt, f0, slope0):
    """A step where the slope has dropped and the objective has not risen, along a convex function.

    The test is on derivatives (Hager and Zhang's approximate Wolfe conditions): Armijo's on the objective drowns in
    float32 rounding near the optimum. |slope| <= .8 |slope0| also makes <s, y> >= .2 step |slope0| > 0, the curvature
    that L-BFGS needs. Between trials the secant of two slopes, kept inside the bracket.
    """
    ceiling = f0 + 10 * jnp.finfo(f0.dtype).eps * jnp.abs(f0)

    def good(trial):
        return (jnp.abs(trial.slope) <= -_SLOPE_DROP * slope0) & (trial.f <= ceiling)

    def searching(carry):
        trial, *_, count = carry
        return ~good(trial) & (count < _MAX_TRIALS) & (slope0 < 0)

    def narrow(carry):
        trial, low, low_slope, high, count = carry
        secant = low + (trial.step - low) * low_slope / (low_slope - trial.slope)
        too_far = ~((trial.slope < 0) & (trial.f <= ceiling))  # also when anything is NaN
        low, low_slope, high = jax.tree.map(
            lambda far, near: jnp.where(too_far, far, near),
            (low, low_slope, trial.step),
            (trial.step, trial.slope, high),
        )
        margin = (high - low) / 10
        open_ended = jnp.isinf(high)
        bottom = jnp.where(open_ended, 2 * low, low + margin)
        top = jnp.where(open_ended, 10 * low, high - margin)
        step = jnp.clip(jnp.where(jnp.isfinite(secant), secant, (bottom + top) / 2), bottom, top)
        return attempt(step), low, low_slope, high, count + 1

    one = jnp.ones((), f0.dtype)
    carry = (attempt(one), 0 * one, slope0, jnp.inf * one, 1)
    trial, *_ = lax.while_loop(searching, narrow, carry)
    return trial, good(trial)


def logits(params: Params, X) -> Array:
    """Logits (..., N, C) of rows X (N, D); -inf for classes never seen."""
    Z = _matmul("nd,...cd->...nc", X, params.W)
    return Z + jnp.broadcast_to(params.b[..., None, :], Z.shape)


def logits_each(params: Params, X) -> Array:
    """Logits (S, P, C) of each seed's own rows X (S, P, D)."""
    return _matmul("spd,scd->spc", X, params.W) + params.b[:, None]


def logits_of(params: Params, X) -> Array:
    """Logits (S, C, R) of a block of rows X (R, D), the same for all seeds. Classes come before rows because a CPU
    reduces few long vectors fast, and many short ones slowly."""
    return _matmul("scd,nd->scn", params.W, X) + params.b[:, :, None]


def map_logits(f, params: Params, X, *, block_rows: int | None = None) -> Array:
    """f(logits (S, C, R)) -> (S, R), applied to blocks of R rows of X (N, D); returns (S, N).

    A block's logits stay in cache and the (S, C, N) array is never whole. Every seed reads a block while it is there.
    """
    size = block_rows or blocks.rows(params.b.size)
    return blocks.map_blocks(lambda start, size: f(logits_of(params, blocks.take(X, start, size))), X.shape[0], size)


@jax.jit
def predict(params: Params, X) -> Array:
    """The most probable class of every row and seed, (S, N) int32; ties go to the lower class, as in scikit-learn."""
    return map_logits(lambda z: jnp.argmax(z, axis=1).astype(jnp.int32), params, X)
