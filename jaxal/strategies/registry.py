"""Query strategies by name. A new one is one file beside this one and one line in `STRATEGIES`."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from jaxal.errors import ConfigError, unknown
from jaxal.strategies._badge import badge
from jaxal.strategies._coreset import coreset
from jaxal.strategies._dropquery import dropquery
from jaxal.strategies._entropy import entropy
from jaxal.strategies._margin import margin
from jaxal.strategies._probcover import probcover
from jaxal.strategies._random import random
from jaxal.strategies._typiclust import typiclust
from jaxal.strategies.checks import call
from jaxal.strategies.interface import Strategy, per_seed

# name -> factory(variant, **options) -> Strategy
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
_made: dict[tuple, Strategy] = {}
_own: dict[Strategy, str] = {}


def register(name: str, strategy: Callable | Strategy) -> None:
    """Make a strategy of your own available by name: a `Strategy`, or a function `score(key, state) -> (N,)` floats.

    Raises ConfigError for a name that jaxal's own have, and for what is neither.
    """
    if name in STRATEGIES:
        raise ConfigError(f"the strategy name '{name}' is taken by jaxal's own: choose another one")
    _registered[name] = _factory(name, strategy)


def names() -> list[str]:
    """Every strategy known here: jaxal's own, registered ones, those of the entry-point group `jaxal.strategies`."""
    return [*STRATEGIES, *_registered, *(e.name for e in entry_points(group="jaxal.strategies"))]


def make(name: str, variant: str = "official", options: Mapping[str, Any] | None = None) -> Strategy:
    """The strategy called `name`, or at `module:attribute`, with options of its own, such as {"n_masks": 20}.

    Returns: the same object for the same arguments, so that jax.jit finds what it compiled.
    Raises: ConfigError for an unknown name or option, for an option that cannot be, and for code that does not load.
    """
    factory, options = _find(name), _checked(name, options)
    known = [parameter for parameter in inspect.signature(factory).parameters if parameter != "variant"]
    for option in options:
        if option not in known:
            raise ConfigError(
                unknown(f"setting of {name}", option, known) if known else f"{name} has no settings (got '{option}')"
            )
    key = (factory, variant, _frozen(options))
    try:
        known_before = key in _made
    except TypeError:  # an option that has no hash
        return factory(variant=variant, **options)
    if not known_before:
        _made[key] = factory(variant=variant, **options)
        if name in STRATEGIES:
            _own[_made[key]] = repr((name, variant, sorted(options.items())))
    return _made[key]


def own(strategy: Strategy) -> str | None:
    """Which of jaxal's own `make` made this, with its variant and options; None for somebody else's."""
    return _own.get(strategy)


def _checked(name: str, options) -> dict[str, Any]:
    if options is not None and not (isinstance(options, Mapping) and all(isinstance(key, str) for key in options)):
        raise ConfigError(f"the settings of {name} are {options!r}: give a dictionary, such as {{'k': 10}}")
    return dict(options or {})


def _frozen(value):
    """A value to look up by, of which 1, 1.0 and True are three; it has a hash if what it is made of has."""
    if isinstance(value, Mapping):
        return dict, frozenset((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return list, tuple(map(_frozen, value))
    return type(value), value


def _find(name: str) -> Callable[..., Strategy]:
    if not isinstance(name, str):
        raise ConfigError(f"a strategy is given by its name, not as {name!r}: `jaxal.register` names one of your own")
    known = STRATEGIES | _registered
    if name in known:
        return known[name]
    for entry in entry_points(group="jaxal.strategies", name=name):
        return _loaded(name, entry.load)
    if ":" not in name:
        raise ConfigError(unknown("strategy", name, names()) + "; your own is given as module:function")
    module, _, attribute = name.partition(":")
    if module == "skactiveml":
        return _theirs(attribute)
    return _loaded(name, lambda: getattr(import_module(module), attribute))


def _loaded(name: str, load: Callable) -> Callable[..., Strategy]:
    """The factory of a strategy in somebody else's module, whose import may raise anything."""
    try:
        strategy = load()
    except (Exception, SystemExit) as e:
        kind = "" if isinstance(e, ImportError | AttributeError) else f"{type(e).__name__}: "
        raise ConfigError(f"cannot load the strategy '{name}': {kind}{e}") from e
    return _factory(name, strategy)


@cache
def _theirs(name: str):
    try:
        from jaxal.strategies import foreign
    except ImportError as e:
        raise ConfigError(f'skactiveml:{name} needs scikit-activeml: pip install "jaxal[skactiveml]" ({e})') from e
    return foreign.factory(name)


def _factory(name: str, strategy: Callable | Strategy) -> Callable[..., Strategy]:
    """Third parties give a Strategy or a score function; options and variants are theirs to close over."""
    if not (callable(strategy) or isinstance(strategy, Strategy)):
        raise ConfigError(f"the strategy '{name}' is neither a function score(key, state) nor a Strategy")
    return _named(name, strategy)


@cache  # the same object whenever a name is looked up
def _named(name: str, strategy: Callable | Strategy) -> Callable[..., Strategy]:
    if isinstance(strategy, Strategy):
        parts = {part: partial(call, name, getattr(strategy, part)) for part in ("prepare", "init", "select")}
        made = strategy._replace(**parts)
    else:
        made = per_seed(strategy, name)
    parts = {part: _given_float32(getattr(made, part)) for part in ("prepare", "init", "select", "utilities")}
    made = made._replace(**parts)
    return lambda variant: made


def _given_float32(function: Callable | None) -> Callable | None:
    """The function of a pool or a state, with float32 in place of float16, which jaxal's own widen by the block."""
    if function is None:
        return None
    return lambda *arguments: function(*(a.widened() if hasattr(a, "widened") else a for a in arguments))
