"""Every jitted kernel lowers for GPU and TPU, and compiles no more often than there are shapes."""

import jax
import jax.numpy as jnp
import pytest
from jax import export

from jaxal import logreg, loop
from jaxal.strategies import STRATEGIES, State, make

S, N, D, C, L = 3, 50, 8, 4, 16
f32, i32 = jnp.float32, jnp.int32


def shape(*dims, dtype=f32):
    return jax.ShapeDtypeStruct(dims, dtype)


PARAMS = logreg.Params(shape(S, C, D), shape(S, C))
STATE = State(shape(N, D), shape(S, N, dtype=i32), PARAMS, None, 5)
KEYS = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), S))

KERNELS = {
    "fit": (
        lambda X, rows, y, w, init: logreg.fit(X, rows, y, w, init, vmapped=True),
        (shape(N, D), shape(S, L, dtype=i32), shape(S, L, dtype=i32), shape(S, L), PARAMS),
    ),
    "predict": (logreg.predict, (PARAMS, shape(N, D))),
    "reveal": (loop._reveal, (STATE.labels, shape(S, 5, dtype=i32), shape(S, 5, dtype=i32))),
    "keys": (lambda seeds: loop._keys(seeds, 3, 1), (shape(S, dtype=jnp.uint32),)),
}


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_lower(name, platform):
    f, arguments = KERNELS[name]
    assert export.export(jax.jit(f), platforms=[platform])(*arguments).mlir_module()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("variant", ["official", "skactiveml"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_lower(name, variant, platform):
    strategy = make(name, variant)
    carry = jax.eval_shape(lambda state: strategy.init((), state), STATE)
    exported = export.export(jax.jit(lambda k, c, s: strategy.select(k, (), c, s)), platforms=[platform])
    assert exported(KEYS, carry, STATE).mlir_module()


def test_a_run_compiles_one_fit_a_bucket():
    """Six sizes of labeled rows, all below 64: one shape, one trace."""
    X = jnp.ones((70, 3))
    before = logreg.fit._cache_size()
    for n in (5, 9, 20, 33, 50, 64):
        rows = jnp.arange(n)[None]
        logreg.fit_rows(X, rows, rows % 3, logreg.zeros(1, 3, 3, X.dtype), 1.0)
    assert logreg.fit._cache_size() == before + 1
