"""Query strategies: what they are, jaxal's own, and how they are found by name."""

import sys
from types import ModuleType

from jaxal.strategies.checks import check_picks
from jaxal.strategies.interface import State, Strategy, by_logits, per_seed, pick_best
from jaxal.strategies.registry import IPS, STRATEGIES, make, names, own, register

__all__ = [
    "IPS",
    "STRATEGIES",
    "State",
    "Strategy",
    "by_logits",
    "check_picks",
    "make",
    "names",
    "own",
    "per_seed",
    "pick_best",
    "register",
]


class _Callable(ModuleType):
    """`jaxal.strategies` is both this package and, called, the list of names: `jaxal.strategies()`.

    A function of that name in `jaxal` would be replaced by this package as soon as anything imports it.
    """

    def __call__(self) -> list[str]:
        return names()


sys.modules[__name__].__class__ = _Callable
