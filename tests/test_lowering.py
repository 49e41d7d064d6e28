"""Every jitted kernel lowers for GPU and TPU, and compiles no more often than there are shapes."""

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxal import Pool
from jaxal.experiments import loop
from jaxal.numerics import distances, logreg
from jaxal.strategies import STRATEGIES, State, make
from jaxal.strategies import _ball_graph as graphs

dropquery, typiclust = (import_module(f"jaxal.strategies._{n}") for n in ("dropquery", "typiclust"))
S, N, D, C, L = 3, 50, 8, 4, 16
f32, i32 = jnp.float32, jnp.int32


def shape(*dims, dtype=f32):
    return jax.ShapeDtypeStruct(dims, dtype)


PARAMS = logreg.Params(shape(S, C, D), shape(S, C))
STATE = State(shape(N, D), shape(S, N, dtype=i32), PARAMS, None, 5)
KEYS = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), S))

MASK = shape(S, N, dtype=bool)
NORMS = distances.Norms(shape(N), shape(D), shape(N), shape(N))
POINTS = distances.Points(shape(N, D), NORMS)
TYPICLUST = {variant: typiclust._Rule(5, variant == "official") for variant in ("official", "skactiveml")}
DROPQUERY = {variant: dropquery._Rule(3, variant == "official") for variant in ("official", "skactiveml")}

KERNELS = {
    "fit": (
        lambda X, rows, y, w, init: logreg.fit(X, rows, y, w, init, vmapped=True),
        (shape(N, D), shape(S, L, dtype=i32), shape(S, L, dtype=i32), shape(S, L), PARAMS),
    ),
    "predict": (logreg.predict, (PARAMS, shape(N, D))),
    "reveal": (loop._reveal, (STATE.labels, shape(S, 5, dtype=i32), shape(S, 5, dtype=i32))),
    "keys": (lambda seeds: loop._keys(seeds, 3, 1), (shape(S, dtype=jnp.uint32),)),
    "probcover radii": (lambda p, label: graphs._radius_block(p, label, 0, 32), (POINTS, shape(N, dtype=i32))),
    "probcover balls": (lambda p, limit: graphs._ball_block(p, limit, 0, 32), (POINTS, shape())),
    "probcover degrees": (lambda p, limit: graphs._degree_block(p, limit, 0, 32), (POINTS, shape())),
}
for variant in ("official", "skactiveml"):
    KERNELS |= {
        f"typiclust {variant}": (
            lambda k, a, s, r=TYPICLUST[variant], b=8 if variant == "official" else None: typiclust._select(
                k, k, a, s, 7, 16, b, r
            ),
            (KEYS, NORMS, STATE),
        ),
        f"dropquery {variant}, masks": (
            lambda k, s, r=DROPQUERY[variant]: dropquery.disagreements(k, s, r),
            (KEYS, STATE),
        ),
        f"dropquery {variant}, candidates": (
            lambda k, d, m, r=DROPQUERY[variant]: dropquery._candidates(k, d, m, 5, r),
            (KEYS, shape(S, N, dtype=i32), MASK),
        ),
        f"dropquery {variant}, spread": (
            lambda k, a, s, d, m, r=DROPQUERY[variant]: dropquery._spread(k, a, s, d, m, 32, r),
            (KEYS, NORMS, STATE, shape(S, N, dtype=i32), MASK),
        ),
    }


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_lower(name, platform):
    f, arguments = KERNELS[name]
    assert export.export(jax.jit(f), platforms=[platform])(*arguments).mlir_module()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("variant", ["official", "skactiveml"])
@pytest.mark.parametrize("name", [name for name in STRATEGIES if not make(name).host])
def test_strategies_lower(name, variant, platform):
    strategy = make(name, variant)
    aux = loop.prepare(strategy, Pool(np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)))
    carry = jax.eval_shape(strategy.init, aux, STATE)
    assert export.export(jax.jit(strategy.init), platforms=[platform])(aux, STATE).mlir_module()
    assert export.export(jax.jit(strategy.select), platforms=[platform])(KEYS, aux, carry, STATE).mlir_module()


def test_a_run_compiles_one_fit_a_bucket():
    """Six sizes of labeled rows, all below 64: one shape, one trace."""
    X = jnp.ones((70, 3))
    before = logreg.fit._cache_size()
    for n in (5, 9, 20, 33, 50, 64):
        rows = jnp.arange(n)[None]
        logreg.fit_rows(X, rows, rows % 3, logreg.zeros(1, 3, 3, X.dtype), 1.0)
    assert logreg.fit._cache_size() == before + 1
