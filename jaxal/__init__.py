"""jaxal: pool-based active learning on frozen text embeddings, as an array program in JAX.

    pool = jaxal.Pool(X, y, X_test, y_test)
    jaxal.run(pool, ["margin", "entropy"], seeds=5).summary()
    jaxal.query(X, labeled_rows, labels, batch_size=100)

Importing this configures nothing and starts no backend: each name is loaded when it is first used.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "Pool": "jaxal.data.pool",
    "load": "jaxal.data.pool",
    "run": "jaxal.experiments.experiment",
    "initial_pools": "jaxal.experiments.experiment",
    "Result": "jaxal.experiments.experiment",
    "query": "jaxal.labeling.query",
    "strategies": "jaxal.strategies",
    "Strategy": "jaxal.strategies",
    "State": "jaxal.strategies",
    "per_seed": "jaxal.strategies",
    "by_logits": "jaxal.strategies",
    "register": "jaxal.strategies",
    "JaxalError": "jaxal.errors",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'jaxal' has no attribute '{name}'")
    module = import_module(_HOME[name])
    return module if _HOME[name] == f"jaxal.{name}" else getattr(module, name)


def __dir__():
    return sorted(__all__)
