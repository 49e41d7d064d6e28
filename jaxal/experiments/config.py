"""Every setting of an experiment: defaults, checks before the first second of work, and the identity of a run."""

import hashlib
import json
import operator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from jaxal import strategies
from jaxal.data.pool import Pool
from jaxal.data.tasks import TASKS
from jaxal.errors import ConfigError, unknown

VARIANTS = ("official", "skactiveml")
_MOST_SEEDS = 1_000_000
_KINDS = (
    dict.fromkeys(("cycles", "batch_size", "initial_size", "pool_size"), (operator.index, "a whole number"))
    | {"C": (float, "a number")}
    | dict.fromkeys(("normalize", "warm_start"), (bool, "true or false"))
)


@dataclass(frozen=True)
class Config:
    """Every setting of an experiment. `settings` holds those of single strategies: {"dropquery": {"n_masks": 20}}."""

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
    settings: dict = field(default_factory=dict)

    @property
    def schedule(self) -> np.ndarray:
        """Rows labeled after each cycle, (cycles + 1,)."""
        return self.initial_size + self.batch_size * np.arange(self.cycles + 1)

    def of_strategies(self) -> dict:
        """What distinguishes the runs of one experiment."""
        return {name: self.settings.get(name, {}) for name in self.strategies}

    def shared(self) -> dict:
        """What all runs of a results folder have in common: everything but strategies, their settings, and seeds."""
        return {k: v for k, v in asdict(self).items() if k not in ("strategies", "seeds", "settings")}


def configure(pool: Pool, names=None, seeds=5, *, batch_size=None, initial_size=None, **settings) -> Config:
    """A Config with the defaults of the pool filled in."""
    n = min(len(pool.X), settings.get("pool_size") or len(pool.X))
    default = TASKS[pool.dataset].batch_size if pool.dataset in TASKS else max(1, min(50, n // 40))
    known = Config.__dataclass_fields__
    for name in settings:
        if name not in known:
            raise ConfigError(unknown("setting", name, known))
    names = strategies.STRATEGIES if names is None else [names] if isinstance(names, str) else names
    settings |= {
        "batch_size": default if batch_size is None else batch_size,
        "initial_size": default if initial_size is None else initial_size,
    }
    return Config(
        strategies=tuple(dict.fromkeys(names)),
        seeds=_seeds(seeds),
        **{name: _plain(name, value) for name, value in settings.items()},
    )


def _seeds(seeds) -> tuple[int, ...]:
    """Distinct seeds in the order given; a number is a count."""
    if isinstance(seeds, int | np.integer):
        seeds = range(seeds)
    if isinstance(seeds, range) and seeds.stop - seeds.start > _MOST_SEEDS:
        raise ConfigError(f"seeds: {seeds.stop - seeds.start:,} are too many, give {_MOST_SEEDS:,} at most")
    try:
        return tuple(dict.fromkeys(map(operator.index, seeds)))
    except TypeError:
        raise ConfigError(f"seeds must be a count or whole numbers, not {seeds!r}") from None


def _plain(name: str, value):
    """A setting as Python's own type of its field: 1, 1.0 and NumPy's 1 are one setting, and must hash as one."""
    if name not in _KINDS or (value is None and name == "pool_size"):
        return value
    make, kind = _KINDS[name]
    try:
        return make(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} is {value!r}: it must be {kind}") from None


def check(pool: Pool, config: Config) -> None:
    """Everything that can be known to be wrong before the first second of work."""
    at_least = {"initial_size": 1, "batch_size": 1, "cycles": 0, "pool_size": 1}
    for name, least in at_least.items():
        if getattr(config, name) is not None and getattr(config, name) < least:
            raise ConfigError(f"{name} is {getattr(config, name)}: it must be at least {least}")
    if not (config.seeds and config.strategies):
        raise ConfigError("nothing to run: give at least one strategy and one seed")
    check_values(config.seeds, config.C, config.variant)
    if config.ips not in strategies.IPS:
        raise ConfigError(unknown("initial pool selection", config.ips, strategies.IPS))
    for name in config.settings:
        if name not in config.strategies:
            raise ConfigError(f"a setting for {name}, which is not among the strategies {', '.join(config.strategies)}")
    for name, settings in config.of_strategies().items():
        strategies.make(name, config.variant, settings)
    if pool.y is None or (pool.y < 0).any():
        raise ConfigError("a run needs a label for every row of the pool; to choose rows to label, use `query`")
    if pool.X_test is None or pool.y_test is None:
        raise ConfigError("a run needs a test split to measure learning curves on; this pool has none")
    n, budget = min(len(pool.X), config.pool_size or len(pool.X)), int(config.schedule[-1])
    if budget > n:
        raise ConfigError(
            f"the budget of {config.initial_size} + {config.cycles} x {config.batch_size} = {budget:,} rows is larger "
            f"than the pool of {n:,}: lower the batch size, the initial size or the cycles"
        )


def check_values(seeds, C: float, variant: str) -> None:
    """What a run and a single query have in common."""
    for seed in (min(seeds), max(seeds)):
        if not 0 <= seed < 2**32:
            raise ConfigError(f"seed is {seed}: seeds must be between 0 and 2^32 - 1")
    if not (isinstance(C, int | float | np.number) and 0 < C < float("inf")):
        raise ConfigError(f"C is {C}: it must be positive, and finite")
    if variant not in VARIANTS:
        raise ConfigError(unknown("variant", variant, VARIANTS))


def columns(pool: Pool, config: Config, identity: dict, strategy: str) -> dict:
    """The columns of `results.SETTINGS` for one strategy; `run_id` hashes all that can change a row but the seed."""
    shared = config.shared()
    everything = shared | identity | {"strategy": strategy, "settings": config.settings.get(strategy, {})}
    columns = {k: shared[k] for k in ("ips", "variant", "C", "normalize", "batch_size", "initial_size", "warm_start")}
    return {
        "run_id": _hash(everything),
        "dataset": identity["dataset"],
        "model": identity["model"],
        "strategy": strategy,
        "pool_size": len(pool.X),
        **columns,
    }


def default_folder(pool: Pool, config: Config) -> Path:
    """runs/<dataset>-<model>-<hash>: the same for the same settings, whatever the seeds and strategies."""
    return Path("runs") / f"{pool.dataset}-{pool.model}-{_hash(config.shared())[:8]}"


def _hash(settings: dict) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
