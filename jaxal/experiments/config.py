"""Every setting of an experiment: defaults, checks before the first second of work, and the identity of a run."""

import hashlib
import json
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from jaxal.data.pool import Pool
from jaxal.data.tasks import TASKS
from jaxal.errors import ConfigError, unknown
from jaxal.strategies import IPS, STRATEGIES, make

VARIANTS = ("official", "skactiveml")
_MOST_SEEDS = 1_000_000

Options = Mapping[str, Mapping[str, Any]]  # of strategies, by their names: {"dropquery": {"n_masks": 20}}


class Settings(TypedDict, total=False):
    """The fields of `Config` that library calls take as keywords."""

    ips: str
    cycles: int
    variant: str
    C: float
    normalize: bool
    pool_size: int | None
    warm_start: bool
    settings: Options


@dataclass(frozen=True)
class Config:
    """Every setting of an experiment, each as Python's own type: 1, 1.0 and NumPy's 1 are one setting and hash as one.

    `settings` holds the options of single strategies, {"dropquery": {"n_masks": 20}}.
    Raises: ConfigError for a value of another type. `check` tells whether the values can be.
    """

    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    ips: str = "random"
    cycles: int = 20
    batch_size: int = 50
    initial_size: int = 50
    variant: str = "official"
    C: float = 1.0
    normalize: bool = False
    pool_size: int | None = None
    # Nearer to the optimum than scikit-learn's fits, as fits from scratch are, in .56 to .76 of the iterations:
    # see bench/results/warm-start.md, 20 cycles on three pools.
    warm_start: bool = True
    settings: Options = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            object.__setattr__(self, name, _plain(name, getattr(self, name)))

    @property
    def budget(self) -> int:
        """Rows labeled after the last cycle."""
        return self.initial_size + self.cycles * self.batch_size

    @property
    def schedule(self) -> np.ndarray:
        """Rows labeled after each cycle, (cycles + 1,)."""
        return self.initial_size + self.batch_size * np.arange(self.cycles + 1)

    def options(self) -> dict[str, Mapping[str, Any]]:
        """The options of each strategy, which distinguish the runs of one experiment."""
        return {name: self.settings.get(name, {}) for name in self.strategies}

    def shared(self) -> dict[str, Any]:
        """What all runs of a results folder have in common: everything but strategies, their options, and seeds."""
        return {k: v for k, v in asdict(self).items() if k not in ("strategies", "seeds", "settings")}


def configure(
    pool: Pool,
    strategies: Iterable[str] | str | None = None,
    seeds: int | Iterable[int] = 5,
    *,
    batch_size: int | None = None,
    initial_size: int | None = None,
    **settings: Unpack[Settings],
) -> Config:
    """A Config with the defaults of the pool filled in. Raises ConfigError."""
    if not isinstance(pool, Pool):
        raise ConfigError(f"pool is {shown(pool)}: give a jaxal.Pool, such as jaxal.load('digits')")
    for name in settings:
        if name not in Config.__dataclass_fields__:
            raise ConfigError(unknown("setting", name, Config.__dataclass_fields__))
    cap = _plain("pool_size", settings.get("pool_size"))
    default = default_batch_size(pool.dataset, len(pool.X) if cap is None else min(len(pool.X), cap))
    return Config(
        strategies=_plain("strategies", STRATEGIES if strategies is None else strategies),
        seeds=_plain("seeds", seeds),
        batch_size=default if batch_size is None else batch_size,
        initial_size=default if initial_size is None else initial_size,
        **settings,
    )


def default_batch_size(dataset: str, n_rows: int) -> int:
    """Rows of a query and of the initial pool: the study's for its ten tasks, else min(50, N // 40)."""
    return TASKS[dataset].batch_size if dataset in TASKS else max(1, min(50, n_rows // 40))


def shown(value: object) -> str:
    """A value as one short line of an error."""
    return " ".join(repr(value).split())[:80]


def _plain(name: str, value: Any) -> Any:
    """A setting as Python's own type of its field. Raises ConfigError."""
    if name == "pool_size" and value is None:
        return value
    make, kind = _KINDS[name]
    try:
        return make(value)
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise ConfigError(f"{name} is {shown(value)}: it must be {kind}") from None


def _seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """Distinct seeds in the order given; a number is a count."""
    if isinstance(seeds, int | np.integer):
        seeds = range(seeds)
    if isinstance(seeds, range) and seeds.stop - seeds.start > _MOST_SEEDS:
        raise ConfigError(f"seeds: {seeds.stop - seeds.start:,} are too many, give {_MOST_SEEDS:,} at most")
    try:
        return tuple(dict.fromkeys(map(operator.index, seeds)))
    except TypeError:
        raise ConfigError(f"seeds must be a count or whole numbers, not {shown(seeds)}") from None


def _name(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _names(names: Iterable[str] | str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(_name, [names] if isinstance(names, str) else names)))


def _truth(value: bool) -> bool:
    if value not in (False, True):
        raise ValueError
    return bool(value)


def _options(options: Options) -> dict[str, dict[str, Any]]:
    """Options as config.json gives them back: NumPy's numbers become Python's, tuples lists."""
    plain = {_name(strategy): {_name(k): _scalar(v) for k, v in of.items()} for strategy, of in dict(options).items()}
    return json.loads(json.dumps(plain))


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


_KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "strategies": (_names, "names; a Strategy or function of your own gets one by jaxal.register"),
    "seeds": (_seeds, "a count or whole numbers"),
    **dict.fromkeys(("ips", "variant"), (_name, "a name")),
    **dict.fromkeys(("cycles", "batch_size", "initial_size", "pool_size"), (operator.index, "a whole number")),
    "C": (float, "a number"),
    **dict.fromkeys(("normalize", "warm_start"), (_truth, "true or false")),
    "settings": (_options, "options by strategy, such as {'dropquery': {'n_masks': 20}}"),
}


def check(pool: Pool, config: Config) -> None:
    """Everything that can be known to be wrong before the first second of work. Raises ConfigError."""
    at_least = {"initial_size": 1, "batch_size": 1, "cycles": 0, "pool_size": 1}
    for name, least in at_least.items():
        value = getattr(config, name)
        if value is not None and value < least:
            raise ConfigError(f"{name} is {value}: it must be at least {least}")
    if not (config.seeds and config.strategies):
        raise ConfigError("nothing to run: give at least one strategy and one seed")
    check_values(config.seeds, config.C, config.variant)
    if config.ips not in IPS:
        raise ConfigError(unknown("initial pool selection", config.ips, IPS))
    for name in config.settings:
        if name not in config.strategies:
            raise ConfigError(f"a setting for {name}, which is not among the strategies {', '.join(config.strategies)}")
    for name, options in config.options().items():
        make(name, config.variant, options)
    _check_pool(pool, config)


def _check_pool(pool: Pool, config: Config) -> None:
    if pool.y is None or (pool.y < 0).any():
        raise ConfigError("a run needs a label for every row of the pool; to choose rows to label, use `query`")
    if pool.X_test is None or pool.y_test is None:
        raise ConfigError("a run needs a test split to measure learning curves on; this pool has none")
    for name in (pool.dataset, pool.model):  # they stand in every row of the tables
        if not isinstance(name, str) or any("\ud800" <= c <= "\udfff" for c in name):
            raise ConfigError(f"the pool's dataset or model is called {shown(name)}: give it a name of plain text")
    n = min(len(pool.X), config.pool_size or len(pool.X))
    if config.budget > n:
        raise ConfigError(
            f"the budget of {config.initial_size} + {config.cycles} x {config.batch_size} = {config.budget:,} rows is "
            f"larger than the pool of {n:,}: lower the batch size, the initial size or the cycles"
        )


def check_values(seeds: Collection[int], C: float, variant: str) -> None:
    """What a run and a single query have in common. Raises ConfigError."""
    for seed in (min(seeds), max(seeds)):
        if not 0 <= seed < 2**32:
            raise ConfigError(f"seed is {seed}: seeds must be between 0 and 2^32 - 1")
    if not (isinstance(C, int | float | np.number) and 0 < C < float("inf")):
        raise ConfigError(f"C is {C}: it must be positive, and finite")
    if variant not in VARIANTS:
        raise ConfigError(unknown("variant", variant, VARIANTS))


def columns(pool: Pool, config: Config, identity: Mapping[str, str], strategy: str) -> dict[str, Any]:
    """The columns `results.RUN` of one strategy; `run_id` hashes all that can change a row but the seed."""
    shared = config.shared()
    everything = {**shared, **identity, "strategy": strategy, "settings": config.settings.get(strategy, {})}
    columns = {k: shared[k] for k in ("ips", "variant", "C", "normalize", "batch_size", "initial_size", "warm_start")}
    return {
        "run_id": _hash(everything),
        "dataset": identity["dataset"],
        "model": identity["model"],
        "strategy": strategy,
        "pool_size": len(pool.X),
        **columns,
    }


def default_folder(pool: Pool, config: Config, kind: str = "") -> Path:
    """runs/<dataset>-<model>-<kind-><hash>: the same for the same settings, whatever the seeds and strategies.

    It is directly in `runs`, whatever the pool is called: separators become `_`, and long names are cut to what file
    systems take, 255 bytes.
    """
    end = f"-{kind}{_hash(config.shared())[:8]}"
    name = f"{pool.dataset}-{pool.model}".translate(dict.fromkeys(map(ord, "/\\\0"), "_")).encode(errors="ignore")
    return Path("runs") / (name[: 255 - len(end)].decode(errors="ignore") + end)


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
