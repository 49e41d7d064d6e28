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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Shaped

from jaxal.numerics import blocks
from jaxal.numerics.arrays import einsum
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
    return Params(jnp.zeros((n_seeds, n_classes, dim), dtype), jnp.zeros((n_seeds, n_classes), dtype))


@partial(jax.jit, static_argnames=("tol", "max_iter", "intercept", "vmapped"))
def fit(
    X: Float[Array, "N D"],
    rows: Integer[Array | np.ndarray, "S L"],
    y: Integer[Array | np.ndarray, "S L"],
    *,
    weight: Shaped[Array | np.ndarray, "S L"],
    init: Params,
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
        C: inverse strength of the L2 penalty, as in scikit-learn: a number, or (S,) one each, for studies that tune it.
        tol: converged when the largest gradient element of the mean objective is at most this; it aims at .7 of it.
        intercept: whether to fit b; without it b stays 0.
        vmapped: seeds in one batch (accelerators) or one after the other (the default on CPU).
    Returns: `Fit`. One observed class is legal: that class gets probability 1.
    Cost: two products of L x D x C an iteration and seed, however many trials the line search takes.
    Reference: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.5; Hager and Zhang 2005 (line search).
    """
    if vmapped is None:
        # On CPU a vmapped fit runs until its slowest seed is done, and its arrays fall out of cache. Seconds for 5
        # seeds, one at a time / vmapped: (L, D, C) = (25, 768, 2) .005/.003, (1000, 384, 6) .023/.017,
        # (1000, 768, 6) .047/.067, (1000, 384, 77) .10/.14, (5000, 4096, 77) 5.0/7.2. So vmap gains milliseconds, on
        # the smallest fits.
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


def fit_rows(
    X: Float[Array, "N D"],
    rows: Integer[np.ndarray, "S L"],
    y: Integer[np.ndarray, "S L"],
    *,
    weight: Shaped[np.ndarray, "S L"] | None = None,
    **options,
) -> Fit:
    """`fit` with rows padded to `bucket(L)`, so that few shapes are compiled; without `weight` every row counts as 1.

    options: `init` and the others of `fit`.
    """
    padding = ((0, 0), (0, bucket(rows.shape[1]) - rows.shape[1]))
    weight = np.ones(rows.shape, X.dtype) if weight is None else weight
    rows, y, weight = (np.pad(a, padding) for a in (rows, y, weight))
    return fit(X, rows, y, weight=weight, **options)


class _Problem(NamedTuple):
    """One seed's fit."""

    X: Array  # (L, D) centered rows
    mean: Array  # (1, D) what was taken off; 0 without an intercept
    y: Array  # (L,) classes
    weight: Array  # (1, L), sums to 1
    target: Array  # (C, L) weight of the row's own class, else 0
    seen: Array  # (C,) bool, classes with a row
    lam: Array  # () of (1)
    intercept: bool


class _Softmax(NamedTuple):
    """Weighted probabilities: E * share."""

    E: Array  # (C, L)
    share: Array  # (1, L)


class _Point(NamedTuple):
    """Parameters, and what is computed of them."""

    params: Params
    logits: Array  # (C, L), relative
    grad: Params
    f: Array


class _Search(NamedTuple):
    """Where L-BFGS stands."""

    point: _Point
    memory: Any  # optax's
    iterations: Array
    accepted: Array  # whether the last line search found a step


def _fit_one(X, y, weight, init, C, tol, max_iter, intercept) -> Fit:
    """Fit one seed on its own rows X (L, D), with classes y (L,) and sample weights (L,)."""
    problem = _problem(X, y, weight, init.W.shape[0], C, intercept)
    lbfgs = _lbfgs(init.W.size)

    def unfinished(point, iterations):
        return (_largest(problem, point.grad) > _AIM * tol) & (iterations < max_iter)

    def descend(carry):
        """L-BFGS until it seems done or finds no step; then logits and gradient afresh: running logits drift."""
        search, failures = carry
        before = search.iterations
        search = lax.while_loop(
            lambda search: unfinished(search.point, search.iterations) & search.accepted,
            partial(_iterate, problem, lbfgs),
            search._replace(accepted=jnp.bool_(True)),
        )
        failed_at_once = ~search.accepted & (search.iterations == before + 1)
        failures = jnp.where(search.accepted, 0, jnp.where(failed_at_once, failures + 1, 1))
        # Without a step the memory is emptied, and steepest descent comes next.
        empty = lbfgs.init(search.point.params)
        memory = jax.tree.map(partial(jnp.where, search.accepted), search.memory, empty)
        return search._replace(point=_evaluate(problem, search.point.params), memory=memory), failures

    start = _start(problem, init)
    search = _Search(_evaluate(problem, start), lbfgs.init(start), jnp.int32(0), jnp.bool_(True))
    # Where steepest descent finds no step either, the digits of the dtype are exhausted.
    search, _ = lax.while_loop(
        lambda carry: unfinished(carry[0].point, carry[0].iterations) & (carry[1] < 2), descend, (search, 0)
    )
    return _as_fit(problem, search, tol)


def _problem(X, y, weight, n_classes: int, C, intercept: bool) -> _Problem:
    n = weight.sum()
    weight = weight[None] / n
    target = jnp.where(y[None] == jnp.arange(n_classes, dtype=y.dtype)[:, None], weight, 0)
    seen = jnp.any(target > 0, axis=1)
    lam = jnp.where(seen.sum() == 2, 2, 1).astype(X.dtype) / (C * n)
    mean = einsum("ol,ld->od", weight, X) if intercept else jnp.zeros_like(X[:1])
    return _Problem(X - mean, mean, y, weight, target, seen, lam, intercept)


def _start(problem: _Problem, init: Params) -> Params:
    """Where to begin, for centered rows: 0 for classes that have no row."""
    W = jnp.where(problem.seen[:, None], init.W, 0)
    b = jnp.where(problem.seen & jnp.isfinite(init.b), init.b, 0)
    return Params(W, b + einsum("cd,od->c", W, problem.mean))


def _as_fit(problem: _Problem, search: _Search, tol) -> Fit:
    """The result, for rows as they came."""
    (W, b), mean, dtype = search.point.params, problem.mean, problem.X.dtype
    b = _uncentered(W, b, mean)
    # b may be large then, and its rounding coarse. A logit wrong by r makes a probability wrong by r / 2 at most.
    rounding = jnp.finfo(dtype).eps / 2 * jnp.abs(b).max()
    size = (einsum("ol,ld->od", problem.weight, jnp.abs(problem.X)) + jnp.abs(mean)).max()
    gradient = _largest(problem, search.point.grad) + rounding / 2 * size
    params = Params(W, jnp.where(problem.seen, b, -jnp.inf))
    return Fit(params, search.iterations, gradient <= tol, gradient, search.point.f)


# ---- the objective


def _relative(problem: _Problem, Z):
    """Logits (C, L) less that of each row's own class: the loss is then no difference of two large numbers."""
    return Z - jnp.take_along_axis(Z, problem.y[None], axis=0, mode="promise_in_bounds")


def _loss(problem: _Problem, Z):
    """Mean cross entropy of relative logits, a sum of terms >= 0, and their softmax."""
    top = Z.max(axis=0, keepdims=True)
    E = jnp.exp(Z - top)
    total = E.sum(axis=0, keepdims=True)
    return (problem.weight * (jnp.log(total) + top)).sum(), _Softmax(E, problem.weight / total)


def _gradient(problem: _Problem, W, softmax: _Softmax) -> Params:
    """The gradient of (1): (p - e_y) X + lam W, and the sum of p - e_y."""
    G = softmax.E * softmax.share - problem.target
    b = G.sum(axis=1) if problem.intercept else jnp.zeros(len(W), W.dtype)
    return Params(einsum("cl,ld->cd", G, problem.X) + problem.lam * W, b)


def _largest(problem: _Problem, grad: Params):
    """The largest gradient element for rows as they came: centered rows + mean."""
    W = grad.W + grad.b[:, None] * problem.mean
    return jnp.maximum(jnp.abs(W).max(), jnp.abs(grad.b).max())


def _evaluate(problem: _Problem, params: Params) -> _Point:
    # Classes without a row get the lowest finite logit that stays put when a step times 0 is added to it.
    never = jnp.finfo(problem.X.dtype).min / 4
    Z = _times(params.W, problem.X) + params.b[:, None]
    Z = _relative(problem, jnp.where(problem.seen[:, None], Z, never))
    f, softmax = _loss(problem, Z)
    f = f + problem.lam / 2 * jnp.vdot(params.W, params.W)
    return _Point(params, Z, _gradient(problem, params.W, softmax), f)


# ---- L-BFGS


class _Lbfgs(NamedTuple):
    """optax's L-BFGS, whose result is minus the step, with dtypes that stay as they were."""

    init: Callable  # params -> memory
    update: Callable  # (grad, memory, params) -> (minus the step, memory)


def _lbfgs(n_parameters: int) -> _Lbfgs:
    """It keeps 7 pairs of steps and gradient changes: as many iterations as with 10 (24 and 33 on Banking77), in 5-10 %
    less time. Of large parameters it keeps 4, because more would push X out of the cache (L=1000, D=4096, C=77: 19
    iterations in .83 s with 7, 18 in .70 s with 4).
    """
    lbfgs = optax.scale_by_lbfgs(memory_size=7 if n_parameters <= 1 << 17 else 4)

    def update(grad, memory, params):
        # Under x64 optax adds int64 to its int32 counter, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            step, after = lbfgs.update(grad, memory, params)
        return jax.tree.map(lambda new, old: new.astype(old.dtype), (step, after), (grad, memory))

    return _Lbfgs(lbfgs.init, update)


def _iterate(problem: _Problem, lbfgs: _Lbfgs, search: _Search) -> _Search:
    """One step of L-BFGS. Logits are linear in the parameters: along P they are Z + length * dZ, so that the trials of
    the line search need no matrix product.
    """
    point, lam = search.point, problem.lam
    minus_P, memory = lbfgs.update(point.grad, search.memory, point.params)
    P = jax.tree.map(jnp.negative, minus_P)
    dZ = _relative(problem, _times(P.W, problem.X) + P.b[:, None])
    slope = jnp.vdot(point.grad.W, P.W) + jnp.vdot(point.grad.b, P.b)
    WW, WP, PP = (jnp.vdot(a, b) for a, b in ((point.params.W,) * 2, (point.params.W, P.W), (P.W,) * 2))

    def attempt(length) -> Step:
        f, softmax = _loss(problem, point.logits + length * dZ)
        f = f + lam / 2 * (WW + 2 * length * WP + length * length * PP)
        slope = (softmax.share * (softmax.E * dZ).sum(axis=0, keepdims=True)).sum() + lam * (WP + length * PP)
        return Step(length, f, slope, softmax)

    step, accepted = line_search(attempt, point.f, slope)
    # Where none was accepted nothing moves. The gradient is then of another point, but `descend` computes it afresh.
    length = jnp.where(accepted, step.length, 0)
    params = jax.tree.map(lambda w, p: w + jnp.where(accepted, length * p, 0), point.params, P)
    logits = point.logits + jnp.where(accepted, length * dZ, 0)
    point = _Point(params, logits, _gradient(problem, params.W, step.extra), step.f)
    return _Search(point, memory, search.iterations + 1, accepted)


# ---- products and sums


def _times(W, X):
    """W X^T, (C, L). For few classes X W^T is twice as fast on XLA:CPU (L=4096, D=4096, C=3: 2.2 against 4.3 ms); the
    barrier keeps the compiler from turning it around.
    """
    if W.shape[0] > 16:
        return einsum("cd,ld->cl", W, X)
    return lax.optimization_barrier(einsum("ld,cd->lc", X, W)).T


def _uncentered(W, b, mean):
    """B - W mean (C,), rounded once: the terms may be large and their sum small.

    It is computed with twice the digits (Dekker 1971): numbers are split into halves whose products are exact, and the
    rounding error of each sum is summed too.
    """
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
    size = block_rows or blocks.rows(params.b.size)
    return blocks.map_blocks(lambda start, size: f(logits_of(params, blocks.take(X, start, size))), X.shape[0], size)


@jax.jit
def predict(params: Params, X) -> Array:
    """The most probable class of every row and seed, (S, N) int32; ties go to the lower class, as in scikit-learn."""
    return map_logits(lambda z: jnp.argmax(z, axis=1).astype(jnp.int32), params, X)
