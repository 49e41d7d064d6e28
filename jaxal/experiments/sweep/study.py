"""study.toml: the grid of a sweep, read with errors that name the line at fault, before anything runs."""

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxal.errors import ConfigError, unknown
from jaxal.experiments.config import VARIANTS, check_values, shown
from jaxal.strategies import IPS, STRATEGIES, make


class Study(NamedTuple):
    """What study.toml says. All but `seeds` and `settings` are axes of the grid; None is the pool's own default."""

    datasets: list[str]  # as `jaxal run` takes them
    models: list[str | None]
    strategies: list[str]
    variants: list[str]
    ips: list[str]
    budgets: list[int | None]  # labels bought in all cycles: a query, and the initial pool, has budget // cycles
    cycles: list[int]
    pool_sizes: list[int | None]  # None: the full pool
    C: list[float]
    normalize: list[bool]
    warm_start: list[bool]
    seeds: list[int]
    settings: dict[str, dict[str, Any]]  # of strategies, by their names


class _Key(NamedTuple):
    kind: str  # what a value must be
    takes: Callable[[Any], bool]
    default: list


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 1


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


_KEYS = {
    "datasets": _Key("a name or path", _text, []),
    "models": _Key("a name", _text, [None]),
    "strategies": _Key("a name", _text, list(STRATEGIES)),
    "variants": _Key("a name", _text, ["official"]),
    "ips": _Key("a name", _text, ["random"]),
    "budgets": _Key("a whole number from 1", _whole, [None]),
    "cycles": _Key("a whole number from 1", _whole, [20]),
    "pool_sizes": _Key('a whole number from 1, or "full"', lambda value: _whole(value) or value == "full", [None]),
    "C": _Key("a positive number", lambda value: type(value) in (int, float) and 0 < value < float("inf"), [1.0]),
    "normalize": _Key("true or false", lambda value: type(value) is bool, [False]),
    "warm_start": _Key("true or false", lambda value: type(value) is bool, [True]),
}
_NAMES = {"variants": ("variant", VARIANTS), "ips": ("initial pool selection", IPS)}


def read(path: Path) -> Study:
    """The study in a file. Raises ConfigError, one sentence with the line, for what cannot be or be loaded."""
    try:
        text = path.read_text("utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(
            f"cannot read {path} ({error.strerror}): `jaxal sweep --example small` prints a study"
        ) from error
    except ValueError as error:  # of TOML, which names the line, or of UTF-8
        raise ConfigError(f"{path} is not TOML: {error}") from error
    try:
        return _study(content)
    except _Wrong as wrong:
        line = _line(text, wrong.key, wrong.value)
        raise ConfigError(f"{path}{'' if line is None else f', line {line}'}: {wrong}") from wrong


class _Wrong(ConfigError):
    """A key whose value, or part of it, cannot be."""

    def __init__(self, key: str, what: str, value: Any = None):
        super().__init__(what)
        self.key, self.value = key, value


def _study(content: Mapping[str, Any]) -> Study:
    for key in content:
        if key not in Study._fields:
            raise _Wrong(key, unknown("key", key, Study._fields))
    if "datasets" not in content:
        raise ConfigError('a study needs `datasets`, such as datasets = ["digits"]')
    axes = {name: _axis(name, content[name]) if name in content else key.default for name, key in _KEYS.items()}
    axes["pool_sizes"] = [None if size == "full" else size for size in axes["pool_sizes"]]
    axes["C"] = [float(C) for C in axes["C"]]
    for name, (kind, known) in _NAMES.items():
        for value in axes[name]:
            if value not in known:
                raise _Wrong(name, unknown(kind, value, known), value)
    small = [(budget, cycles) for budget in axes["budgets"] for cycles in axes["cycles"] if budget and budget < cycles]
    if small:
        raise _Wrong("budgets", "a budget of {} labels is less than one a cycle of {}".format(*small[0]), small[0][0])
    settings = _settings(content.get("settings", {}), axes["strategies"], axes["variants"])
    return Study(**axes, seeds=_seeds(content.get("seeds", 5)), settings=settings)


def _axis(name: str, given: Any) -> list:
    """The distinct values of an axis; a value that stands alone is one."""
    kind, takes, _ = _KEYS[name]
    values = given if isinstance(given, list) else [given]
    if not values:
        raise _Wrong(name, f"{name} is empty: give at least one value, or leave {name} out")
    for value in values:
        if not takes(value):
            raise _Wrong(name, f"{name} has {shown(value)}: each value must be {kind}", value)
    return list(dict.fromkeys(values))


def _seeds(given: Any) -> list[int]:
    """5 is a count, "5:50" a range, [0, 3, 7] a list."""
    ends = re.fullmatch(r"(\d{1,10}):(\d{1,10})", given) if isinstance(given, str) else None
    if ends:
        seeds = range(int(ends[1]), int(ends[2]))
    elif type(given) is int:
        seeds = range(given)
    else:
        seeds = given
    if isinstance(seeds, str) or not (isinstance(seeds, list | range) and len(seeds) and len(seeds) <= 1_000_000):
        raise _Wrong("seeds", f'seeds is {shown(given)}: it must be a count (5), a range ("5:50") or a list ([0, 3])')
    for seed in seeds:
        if type(seed) is not int:
            raise _Wrong("seeds", f"seeds has {shown(seed)}: each must be a whole number", seed)
    try:
        check_values(seeds, 1.0, "official")
    except ConfigError as error:
        raise _Wrong("seeds", str(error)) from error
    return list(dict.fromkeys(seeds))


def _settings(given: Any, strategies: list[str], variants: list[str]) -> dict[str, dict[str, Any]]:
    """The options of strategies, which are all made once to see that they can be."""
    if not (isinstance(given, dict) and all(isinstance(options, dict) for options in given.values())):
        raise _Wrong("settings", "settings are tables by strategy: [settings.dropquery] and then n_masks = 20")
    for name in given:
        if name not in strategies:
            what = f"settings of {name}, which is not among the strategies {', '.join(strategies)}"
            raise _Wrong(f"settings.{name}", what)
    for name in strategies:
        for variant in variants:
            try:
                make(name, variant, given.get(name))
            except ConfigError as error:
                key = f"settings.{name}" if given.get(name) else "strategies"
                raise _Wrong(key, str(error), name if key == "strategies" else None) from error
    return given


def _line(text: str, key: str, value: Any) -> int | None:
    """The line, from 1, of a value of a key, else of the key.

    tomllib tells no positions, and neither do the values of tomlkit; a study is flat enough to look for the key at the
    beginning of a line, and from there for the value as it is written.
    """
    name = r"\s*\.\s*".join(rf"[\"']?{re.escape(part)}[\"']?" for part in key.split("."))
    found = re.search(rf"^[ \t]*\[*[ \t]*{name}[ \t]*[=.\]]", text, re.MULTILINE)
    if found is None:
        return None
    at = found.start()
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        written = re.compile(rf"(?<![\w.:-]){re.escape(str(value))}(?![\w.:-])").search(text, found.end())
        at = written.start() if written else at
    return text.count("\n", 0, at) + 1
