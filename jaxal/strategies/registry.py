"""Query strategies by name. A new one is one file beside this one and one line in `STRATEGIES`."""

import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from jaxal.errors import ConfigError, unknown
from jaxal.strategies._badge import badge
from jaxal.strategies._coreset import coreset
from jaxal.strategies._dropquery import dropquery
from jaxal.strategies._entropy import entropy
from jaxal.strategies._margin import margin
from jaxal.strategies._probcover import probcover
from jaxal.strategies._random import random
from jaxal.strategies._typiclust import typiclust
from jaxal.strategies.interface import Strategy, per_seed

# name -> factory(variant, **settings) -> Strategy
STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "random": random,
    "margin": margin,
    "entropy": entropy,
    "badge": badge,
    "coreset": coreset,
    "typiclust": typiclust,
    "probcover": probcover,
    "dropquery": dropquery,
}

# Strategies that can also choose the initial pool: they need neither labels nor a classifier.
IPS = ("random", "coreset", "typiclust", "probcover")

_registered: dict[str, Callable[..., Strategy]] = {}


def register(name: str, strategy: Callable | Strategy) -> None:
    """Make a strategy of your own available by name: a `Strategy`, or a function `score(key, state) -> (N,)`."""
    if name in STRATEGIES:
        raise ConfigError(f"the strategy name '{name}' is taken by jaxal's own: choose another one")
    _registered[name] = _factory(strategy)


def names() -> list[str]:
    """Every strategy known here: jaxal's own, registered ones, those of the entry-point group `jaxal.strategies`."""
    return [*STRATEGIES, *_registered, *(e.name for e in entry_points(group="jaxal.strategies"))]


@cache  # the same object for the same settings, so that jax.jit finds what it compiled
def _make(factory, variant, settings) -> Strategy:
    return factory(variant=variant, **dict(settings))


def make(name: str, variant: str = "official", **settings) -> Strategy:
    """The strategy called `name`, or at `module:attribute`, with its settings (`n_masks=20`)."""
    factory = _find(name)
    known = [p for p in inspect.signature(factory).parameters if p != "variant"]
    for setting in settings:
        if setting not in known:
            raise ConfigError(
                unknown(f"setting of {name}", setting, known) if known else f"{name} has no settings (got '{setting}')"
            )
    return _make(factory, variant, tuple((name, _hashable(settings[name])) for name in sorted(settings)))


def _hashable(value):
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _find(name: str):
    known = STRATEGIES | _registered
    if name in known:
        return known[name]
    for entry in entry_points(group="jaxal.strategies", name=name):
        return _factory(entry.load())
    if ":" not in name:
        raise ConfigError(unknown("strategy", name, names()) + "; your own is given as module:function")
    module, _, attribute = name.partition(":")
    if module == "skactiveml":
        return _theirs(attribute)
    try:
        loaded = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as e:
        raise ConfigError(f"cannot load the strategy '{name}': {e}") from e
    if not (callable(loaded) or isinstance(loaded, Strategy)):
        raise ConfigError(f"the strategy '{name}' is neither a function score(key, state) nor a Strategy")
    return _factory(loaded)


@cache
def _theirs(name: str):
    try:
        from jaxal.strategies import foreign
    except ImportError as e:
        raise ConfigError(f'skactiveml:{name} needs scikit-activeml: pip install "jaxal[skactiveml]" ({e})') from e
    return foreign.factory(name)


@cache
def _factory(strategy: Callable | Strategy) -> Callable[..., Strategy]:
    """Third parties give a Strategy or a score function; settings and variants are theirs to close over."""
    made = strategy if isinstance(strategy, Strategy) else per_seed(strategy)
    return lambda variant: made
