"""jaxal: pool-based active learning on frozen text embeddings, as an array program in JAX.

    pool = jaxal.Pool(X, y, X_test, y_test)
    jaxal.run(pool, ["margin", "entropy"], seeds=5).summary()
    jaxal.query(X, labeled_rows, labels, batch_size=100)

Importing this configures nothing and starts no backend: each name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxal import strategies
    from jaxal.data.pool import Pool, load
    from jaxal.errors import JaxalError
    from jaxal.experiments.experiment import Result, run
    from jaxal.experiments.initial_pools import initial_pools
    from jaxal.labeling.classifier import Classifier, load_classifier
    from jaxal.labeling.query import query
    from jaxal.strategies import State, Strategy, by_logits, per_seed, register

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "JaxalError",
    "Pool",
    "Result",
    "State",
    "Strategy",
    "__version__",
    "by_logits",
    "initial_pools",
    "load",
    "load_classifier",
    "per_seed",
    "query",
    "register",
    "run",
    "strategies",
]

_MODULES = {  # where the names are, as above
    "jaxal.data.pool": ("Pool", "load"),
    "jaxal.errors": ("JaxalError",),
    "jaxal.experiments.experiment": ("Result", "run"),
    "jaxal.experiments.initial_pools": ("initial_pools",),
    "jaxal.labeling.classifier": ("Classifier", "load_classifier"),
    "jaxal.labeling.query": ("query",),
    "jaxal.strategies": ("State", "Strategy", "by_logits", "per_seed", "register"),
}


def __getattr__(name: str):
    if name == "strategies":
        return import_module("jaxal.strategies")
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'jaxal' has no attribute '{name}'")


def __dir__():
    return sorted(__all__)
