"""No array of N x N or N x (C D) elements, and no copy of float16 embeddings in float32: every shape in every jaxpr
that strategies, fits and predictions trace.

Blocks and windows are as they are. N, D and C are such that nothing else is as large.
"""

from importlib import import_module
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr
from kernels import jitted, modules

from jaxal import Pool
from jaxal.experiments import loop
from jaxal.numerics import blocks, distances, logreg, programs, threefry
from jaxal.numerics.kmeans import kmeans
from jaxal.strategies import STRATEGIES, State, Strategy, _ball_graph, _dropquery, _typiclust, per_seed

S, N, D, C, L, B = 2, 6007, 37, 61, 10, 50
LIMIT = N * min(N, C * D)  # 13.6 million; a block has 4.2 million numbers at most, logits of all seeds .7, X .2
kmeans_module = import_module("jaxal.numerics.kmeans")
f32, i32 = jnp.float32, jnp.int32

# Kernels that a strategy calls from the host; they must be among what was looked at.
KERNELS = {
    "typiclust": {"_typiclust._select"},
    "probcover": {"_ball_graph.kmeans", "_ball_graph._radius_block", "_ball_graph._ball_block"},
    "dropquery": {"_dropquery._uncertain", "_dropquery._spread"},
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


def made(jaxpr: Any):
    """What computes an array, and its aval."""
    return (
        (equation.primitive, cast(Any, variable.aval))
        for part in jaxprs(jaxpr)
        for equation in part.eqns
        for variable in equation.outvars
    )


def too_large(jaxpr: Any):
    """What computes an array of LIMIT elements or more, and its shape."""
    return {
        f"{primitive} makes {aval.dtype}{list(aval.shape)}"
        for primitive, aval in made(jaxpr)
        if getattr(aval, "size", 0) >= LIMIT
    }


def pools_in_float32(jaxpr: Any):
    """What computes float32 rows of D, half as many as the pool has or more."""
    return {
        f"{primitive} makes {aval.dtype}{list(aval.shape)}"
        for primitive, aval in made(jaxpr)
        if getattr(aval, "dtype", None) == f32 and aval.shape[-1:] == (D,) and aval.size >= N * D // 2
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
    for module in modules():
        for kept in vars(module).values():
            if isinstance(kept, programs.Kept):
                name = f"{module.__name__.rpartition('.')[2]}.{kept._jitted.__name__}"
                monkeypatch.setattr(kept, "_jitted", recorded(name, kept._jitted))
                monkeypatch.setattr(kept, "_quick", False)
    return found


def shape(*dims, dtype=f32):
    return jax.ShapeDtypeStruct(dims, dtype)


def problem(dtype=np.float32):
    """A pool of N rows in blobs, and a state with L labeled rows a seed and a classifier that is made up."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, C, N)
    X = (rng.normal(size=(C, D))[y] + 0.3 * rng.normal(size=(N, D))).astype(dtype)
    labels = np.full((S, N), -1, np.int32)
    for row in labels:
        row[rng.choice(N, L, replace=False)] = rng.integers(0, C, L)
    params = logreg.Params(jnp.asarray(rng.normal(size=(S, C, D)), f32), jnp.zeros((S, C), f32))
    return Pool(X, y), State(blocks.to_device(X), jnp.asarray(labels), params, None, B)


def large_arrays(strategy: Strategy, traced, dtype=np.float32, large=too_large) -> dict:
    """name -> what is too large in prepare, init and select. What runs on the host runs; the rest is only traced."""
    pool, state = problem(dtype)
    aux, keys = loop.prepare(strategy, pool), loop.keys(range(S), 1)
    jaxprs = {"init": [jax.make_jaxpr(strategy.init)(aux, state)]}
    carry = strategy.init(aux, state)
    if strategy.host:
        strategy.select(keys, aux, carry, state)
    else:
        jaxprs["select"] = [jax.jit(strategy.select).trace(keys, aux, carry, state).jaxpr]
    jaxprs |= traced
    return {name: found for name, parts in jaxprs.items() if (found := set().union(*map(large, parts)))}


@pytest.mark.parametrize("variant", ["official", "skactiveml"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_no_strategy_makes_an_array_of_all_pairs_or_all_gradients(name, variant, traced):
    strategy = STRATEGIES[name](variant)
    assert large_arrays(strategy, traced) == {}
    assert KERNELS.get(name, set()) <= set(traced)
    assert name in KERNELS or not strategy.host


@pytest.fixture
def small_blocks(patch_kernels):
    patch_kernels(blocks, "_ELEMENTS", 1 << 10)
    patch_kernels(kmeans_module, "_SEED_ROWS", 1000)
    patch_kernels(_ball_graph, "_COLUMNS", 512)


@pytest.mark.parametrize("variant", ["official", "skactiveml"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_no_strategy_widens_a_pool_in_float16_at_once(name, variant, traced, small_blocks):
    assert large_arrays(STRATEGIES[name](variant), traced, np.float16, pools_in_float32) == {}


def test_the_classifier_does_not_either(small_blocks):
    params, rows = logreg.Params(shape(S, C, D), shape(S, C)), shape(S, 400, dtype=i32)
    X = blocks.Half(shape(N, D, dtype=jnp.float16))
    fit = logreg.fit.trace(X, rows, rows, weight=shape(S, 400), init=params)
    assert pools_in_float32(fit.jaxpr) == pools_in_float32(logreg.predict.trace(params, X).jaxpr) == set()


def test_a_strategy_that_does_is_found(traced):
    found = large_arrays(
        per_seed(lambda key, state: jnp.asarray(state.X).sum(axis=1)), traced, np.float16, pools_in_float32
    )
    assert found == {"select": {f"convert_element_type makes float32[{N}, {D}]"}}


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


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_largest_pools_can_be_traced(name):
    """N D = 2.7e9 is more than an int32 holds."""
    strategy, pool, n, dim = STRATEGIES[name](), Pool(np.eye(3)), 650_000, 4096
    keys = jax.eval_shape(lambda: jax.random.split(threefry.key(0), S))
    params = logreg.Params(shape(S, C, dim), shape(S, C))
    X = blocks.Half(shape(n, dim, dtype=jnp.float16))
    state, mask = State(X, shape(S, n, dtype=i32), params, None, B), shape(S, n, dtype=bool)
    norms = distances.Norms(shape(n), shape(dim), shape(n), shape(n))
    points, counts = distances.Points(X, norms), shape(S, n, dtype=i32)
    if name == "typiclust":
        rule = _typiclust._Rule(20, official=True)
        _typiclust._select.trace(keys, keys, norms, state, shape(dtype=i32), shape(dtype=i32), 500, 5000, rule)
    elif name == "dropquery":
        rule = _dropquery._Rule(3, official=True)
        _dropquery._uncertain.trace(keys, state, None, rule)
        _dropquery._spread.trace(keys, norms, state, counts, mask, n, rule)
    elif name == "probcover":
        _ball_graph._radius_block.trace(points, shape(n, dtype=i32), 0, 256)
        graph = _ball_graph.Graph(norms, limit=shape(), degrees=shape(n, dtype=i32), bits=None)
        carry = jax.eval_shape(strategy.init, graph, state)
        jax.jit(strategy.select).trace(keys, graph, carry, state)
    else:
        aux = () if strategy.prepare(pool, keys) == () else norms
        carry = jax.eval_shape(strategy.init, aux, state)
        jax.jit(strategy.select).trace(keys, aux, carry, state)
