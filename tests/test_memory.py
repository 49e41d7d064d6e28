"""No array of N x N or N x (C D) elements: every shape in every jaxpr that strategies, fits and predictions trace.

Blocks and windows are as they are. N, D and C are such that nothing else is as large.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr
from kernels import jitted

from jaxal import Pool
from jaxal.experiments import loop
from jaxal.numerics import distances, logreg, threefry
from jaxal.numerics.kmeans import kmeans
from jaxal.strategies import STRATEGIES, State, Strategy, _ball_graph, per_seed

S, N, D, C, L, B = 2, 6007, 37, 61, 10, 50
LIMIT = N * min(N, C * D)  # 13.6 million; a block has 4.2 million numbers at most, logits of all seeds .7, X .2
f32, i32 = jnp.float32, jnp.int32

# Kernels that a strategy calls from the host; they must be among what was looked at.
KERNELS = {
    "typiclust": {"_typiclust._select"},
    "probcover": {"_ball_graph.kmeans", "_ball_graph._radius_block", "_ball_graph._ball_block"},
    "dropquery": {"_dropquery.disagreements", "_dropquery._candidates", "_dropquery._spread"},
}


def jaxprs(value):
    """A jaxpr and all those in it: the bodies of loops, conditions and jitted functions."""
    if isinstance(value, ClosedJaxpr):
        value = value.jaxpr
    if isinstance(value, Jaxpr):
        yield value
        for equation in value.eqns:
            for parameter in equation.params.values():
                for leaf in parameter if isinstance(parameter, tuple | list) else (parameter,):
                    yield from jaxprs(leaf)


def too_large(jaxpr: Any):
    """What computes an array of LIMIT elements or more, and its shape."""
    return {
        f"{equation.primitive} makes {aval.dtype}{list(aval.shape)}"
        for part in jaxprs(jaxpr)
        for equation in part.eqns
        for aval in (cast(Any, variable.aval) for variable in equation.outvars)
        if getattr(aval, "size", 0) >= LIMIT
    }


@pytest.fixture
def traced(monkeypatch):
    """name -> jaxprs of every jitted function of jaxal that is called from the host, as it is called."""
    found = {}

    def recorded(name, function):
        def call(*arguments, **keywords):
            if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((arguments, keywords))):
                found.setdefault(name, []).append(function.trace(*arguments, **keywords).jaxpr)
            return function(*arguments, **keywords)

        return call

    for module, name, function in jitted(imported=True):
        monkeypatch.setattr(module, name, recorded(f"{module.__name__.rpartition('.')[2]}.{name}", function))
    return found


def shape(*dims, dtype=f32):
    return jax.ShapeDtypeStruct(dims, dtype)


def problem():
    """A pool of N rows in blobs, and a state with L labeled rows a seed and a classifier that is made up."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, C, N)
    X = (rng.normal(size=(C, D))[y] + 0.3 * rng.normal(size=(N, D))).astype(np.float32)
    labels = np.full((S, N), -1, np.int32)
    for row in labels:
        row[rng.choice(N, L, replace=False)] = rng.integers(0, C, L)
    params = logreg.Params(jnp.asarray(rng.normal(size=(S, C, D)), f32), jnp.zeros((S, C), f32))
    return Pool(X, y), State(jnp.asarray(X), jnp.asarray(labels), params, None, B)


def large_arrays(strategy: Strategy, traced) -> dict:
    """name -> what is too large in prepare, init and select. What runs on the host runs; the rest is only traced."""
    pool, state = problem()
    aux, keys = loop.prepare(strategy, pool), loop.keys(range(S), 1)
    jaxprs = {"init": [jax.make_jaxpr(strategy.init)(aux, state)]}
    carry = strategy.init(aux, state)
    if strategy.host:
        strategy.select(keys, aux, carry, state)
    else:
        jaxprs["select"] = [jax.jit(strategy.select).trace(keys, aux, carry, state).jaxpr]
    jaxprs |= traced
    return {name: large for name, parts in jaxprs.items() if (large := set().union(*map(too_large, parts)))}


@pytest.mark.parametrize("variant", ["official", "skactiveml"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_no_strategy_makes_an_array_of_all_pairs_or_all_gradients(name, variant, traced):
    strategy = STRATEGIES[name](variant)
    assert large_arrays(strategy, traced) == {}
    assert KERNELS.get(name, set()) <= set(traced)
    assert name in KERNELS or not strategy.host


def test_probcover_makes_none_where_balls_are_not_kept(traced, patch_kernels):
    patch_kernels(_ball_graph, "_KEPT_BYTES", 0)
    assert large_arrays(STRATEGIES["probcover"](), traced) == {}
    assert "_ball_graph._degree_block" in traced


@pytest.mark.parametrize("vmapped", [False, True])
def test_the_classifier_makes_none(vmapped):
    """Fitted to all rows of the pool."""
    params, rows = logreg.Params(shape(S, C, D), shape(S, C)), shape(S, N, dtype=i32)
    fit = logreg.fit.trace(shape(N, D), rows, rows, weight=shape(S, N), init=params, vmapped=vmapped)
    assert too_large(fit.jaxpr) == set()
    assert too_large(logreg.predict.trace(params, shape(N, D)).jaxpr) == set()


def all_pairs(key, state):
    """The mean distance to all rows, from one matrix of distances."""
    return jnp.sqrt(((state.X[:, None] - state.X[None]) ** 2).sum(axis=2)).mean(axis=1)


def all_gradients(key, state):
    p = jax.nn.softmax(state.logits, axis=-1)
    return ((p[:, :, None] * state.X[:, None]).reshape(N, C * D) ** 2).sum(axis=1)


def all_pairs_in_a_loop(key, state):
    """In the body of a loop, in a branch, in a jitted function."""
    products = jax.jit(lambda X: (X @ X.T).max(axis=1))

    def body(i, best):
        return best + lax.cond(i > 0, products, lambda X: X[:, 0], state.X)

    return lax.fori_loop(0, 3, body, jnp.zeros(N, f32))


@pytest.mark.parametrize(
    ("score", "large"),
    [
        (all_pairs, f"sub makes float32[{N}, {N}, {D}]"),
        (all_gradients, f"mul makes float32[{S}, {N}, {C}, {D}]"),
        (all_pairs_in_a_loop, f"dot_general makes float32[{N}, {N}]"),
    ],
)
def test_a_strategy_that_makes_one_is_found(score, large, traced):
    assert large in large_arrays(per_seed(score), traced)["select"]


def test_what_a_strategy_jits_itself_is_found(traced, patch_kernels):
    """On the host, where nothing traces the whole of `select`."""
    from jaxal.strategies import _dropquery

    def wasteful(label, squared, valid, n_clusters):
        return found(label, squared, valid, n_clusters) + 0 * (squared[None] - squared[:, None]).max().astype(i32)

    found = _dropquery.nearest_members
    patch_kernels(_dropquery, "nearest_members", wasteful)
    assert large_arrays(STRATEGIES["dropquery"](), traced) == {"_dropquery._spread": {f"sub makes float32[{N}, {N}]"}}


def test_the_table_of_kmeans_is_found():
    """The one array of all pairs that there is: while first centers are chosen, of pools so small that it is 512 MB at
    most, and only for so many clusters that more pairs would be computed one by one."""
    points = distances.Points(shape(N, D), distances.Norms(shape(N), shape(D), shape(N), shape(N)))
    keys, mask = jax.eval_shape(lambda: jax.random.split(threefry.key(0), S)), shape(S, N, dtype=bool)

    def large(max_clusters):
        rows = shape(1, N, dtype=i32)
        return too_large(kmeans.trace(keys, points, rows, mask, shape(dtype=i32), max_clusters=max_clusters).jaxpr)

    assert large(64) == set()
    assert f"dot_general makes float32[1, {N}, {N}]" in large(1024)
