"""Every jitted kernel lowers for GPU and TPU, and compiles no more often than there are shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from kernels import KERNELS

from jaxal import Pool
from jaxal.experiments import loop
from jaxal.numerics import distances, logreg, threefry
from jaxal.strategies import STRATEGIES, State, _ball_graph, _dropquery, _typiclust, make

S, N, D, C, L, B, M = 3, 50, 8, 4, 16, 5, 32
f32, i32 = jnp.float32, jnp.int32


def shape(*dims, dtype=f32):
    return jax.ShapeDtypeStruct(dims, dtype)


PARAMS = logreg.Params(shape(S, C, D), shape(S, C))
STATE = State(shape(N, D), shape(S, N, dtype=i32), PARAMS, None, B)
KEYS = jax.eval_shape(lambda: jax.random.split(threefry.key(0), S))

MASK = shape(S, N, dtype=bool)
COUNTS = shape(S, N, dtype=i32)
ROWS = shape(S, B, dtype=i32)
LABELED = shape(S, L, dtype=i32)
NUMBER = shape(dtype=i32)
NORMS = distances.Norms(shape(N), shape(D), shape(N), shape(N))
POINTS = distances.Points(shape(N, D), NORMS)
GRAPH = _ball_graph.Graph(NORMS, shape(), shape(N, dtype=i32), shape(N, -(-N // 32), dtype=jnp.uint32))
TYPICLUST = {"official": (_typiclust._Rule(20, True), 8), "skactiveml": (_typiclust._Rule(5, False), None)}
DROPQUERY = {"official": _dropquery._Rule(3, True), "skactiveml": _dropquery._Rule(20, False)}

# Of every kernel: case -> its arguments, and those given by name, static ones among them
CASES = {
    "numerics.kmeans.kmeans": {
        name: ((KEYS, POINTS, COUNTS, MASK, NUMBER), {"max_clusters": 7, "batch": batch})
        for name, batch in (("Lloyd", None), ("mini-batches", 8))
    },
    "numerics.logreg.fit": {
        name: (
            (shape(N, D), LABELED, LABELED),
            {"weight": shape(S, L), "init": PARAMS, "vmapped": vmapped},
        )
        for name, vmapped in (("seeds at once", True), ("one seed after the other", False))
    },
    "numerics.logreg.predict": {"": ((PARAMS, shape(N, D)), {})},
    "experiments.loop._keys": {"": ((shape(S, dtype=jnp.uint32), NUMBER, NUMBER), {})},
    "experiments.loop._pool_key": {"": ((), {})},
    "strategies._ball_graph._radius_block": {"": ((POINTS, shape(N, dtype=i32), NUMBER), {"size": M})},
    "strategies._ball_graph._ball_block": {"": ((POINTS, shape(), NUMBER), {"size": M})},
    "strategies._ball_graph._degree_block": {"": ((POINTS, shape(), NUMBER), {"size": M})},
    "strategies._coreset._init": {"": ((NORMS, STATE), {})},
    "strategies._probcover._init": {
        "balls kept": ((GRAPH, STATE), {}),
        "balls computed anew": ((GRAPH._replace(bits=None), STATE), {}),
    },
    "strategies._typiclust._select": {
        variant: ((KEYS, KEYS, NORMS, STATE, NUMBER, NUMBER), {"max_clusters": 16, "batch": batch, "rule": rule})
        for variant, (rule, batch) in TYPICLUST.items()
    },
    "strategies._typiclust._utilities": {
        variant: ((KEYS, NORMS, STATE, ROWS, NUMBER), {"max_clusters": 16, "batch": batch, "rule": rule})
        for variant, (rule, batch) in TYPICLUST.items()
    },
    "strategies._dropquery._uncertain": {
        variant: ((KEYS, STATE, counted), {"rule": rule})
        for name, rule in DROPQUERY.items()
        for variant, counted in ((name, None), (f"{name}, somebody else's classifier", COUNTS))
    },
    "strategies._dropquery._spread": {
        variant: ((KEYS, NORMS, STATE, COUNTS, MASK), {"size": M, "rule": rule}) for variant, rule in DROPQUERY.items()
    },
    "strategies._dropquery._utilities": {
        variant: ((KEYS, NORMS, STATE, MASK), {"size": M, "rule": rule}) for variant, rule in DROPQUERY.items()
    },
    "strategies.utilities._available": {"": ((shape(S, B, N), MASK, ROWS), {})},
}


def missing(kernels):
    """One sentence on each jitted function that has no case here, and on each case whose function is gone."""
    return [f"{name} is jitted and has no case here" for name in sorted(set(kernels) - set(CASES))] + [
        f"{name} has a case here, but no such function is jitted" for name in sorted(set(CASES) - set(kernels))
    ]


def test_every_kernel_has_a_case():
    assert not missing(KERNELS)
    new = KERNELS | {"numerics.new.kernel": jax.jit(jnp.sin)}
    assert missing(new) == ["numerics.new.kernel is jitted and has no case here"]
    assert missing({}) == [f"{name} has a case here, but no such function is jitted" for name in sorted(CASES)]


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in CASES.items() for case in cases])
def test_kernels_lower(name, case, platform):
    arguments, keywords = CASES[name][case]
    assert export.export(KERNELS[name], platforms=[platform])(*arguments, **keywords).mlir_module()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("variant", ["official", "skactiveml"])
@pytest.mark.parametrize("name", [name for name in STRATEGIES if not make(name).host])
def test_strategies_lower(name, variant, platform):
    strategy = make(name, variant)
    aux = loop.prepare(strategy, Pool(np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)))
    carry = jax.eval_shape(strategy.init, aux, STATE)
    assert export.export(jax.jit(strategy.init), platforms=[platform])(aux, STATE).mlir_module()
    assert export.export(jax.jit(strategy.select), platforms=[platform])(KEYS, aux, carry, STATE).mlir_module()


def test_a_run_compiles_one_fit_a_bucket(count_traces):
    """Six sizes of labeled rows, all below 64: one shape, one trace."""
    X = jnp.ones((70, 3))
    traces = count_traces(logreg, "fit", ("tol", "max_iter", "intercept", "vmapped"))
    for n in (5, 9, 20, 33, 50, 64):
        rows = jnp.arange(n)[None]
        logreg.fit_rows(X, rows, rows % 3, init=logreg.zeros(1, 3, 3, X.dtype))
    assert len(traces) == 1
