"""A study: every results folder below a folder, read as one table of learning curves.

A *setting* is all that a strategy does not choose: the pool and how it was worked on. Comparisons are made inside a
setting, seed by seed. Where several settings were run on the same dataset and model, one of them is the main one and
the others show how sensitive it is.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxal.errors import DataError
from jaxal.experiments import results
from jaxal.strategies import STRATEGIES

UNIT = ["dataset", "model"]
METHOD = ["ips", "variant", "C", "normalize", "warm_start"]  # chosen by whoever runs a study, for all of its pools
SIZES = ["pool", "pool_size", "batch_size", "initial_size", "cycles"]  # differ from pool to pool by default
SETTING = [*UNIT, *METHOD, *SIZES]
BASELINE = "random"
_SAME = ["accuracy", "macro_f1", "balanced_accuracy", "fit_iterations"]  # of a seed that stands in two folders


class Study:
    """Learning curves and initial pools of many results folders. Raises DataError where there are none."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.configs: dict[Path, dict[str, Any]] = {}
        self.damaged: list[str] = []  # what could not be read or does not fit, a sentence each
        parts = [part for path in sorted(folder.rglob("results.parquet")) if len(part := self._read(path.parent))]
        if not parts:
            nothing = f"{folder} has no results.parquet with finished runs: `jaxal run --out {folder}` makes one"
            raise DataError(self.damaged[0] if self.damaged else nothing)
        table = self._distinct(pd.concat(parts))
        self.pools = table[table["strategy"] == "none"]  # the experiment on initial pools
        self.runs = table[table["strategy"] != "none"]

    def _read(self, folder: Path) -> pd.DataFrame:
        """The results of one folder, with the columns `pool` (a fingerprint), `cycles` and the strategies' options."""
        try:
            table = results.read(folder).results
        except DataError as e:
            self.damaged.append(str(e))
            return pd.DataFrame()
        try:
            config = json.loads((folder / "config.json").read_text())
            options, pool = dict(config["settings"]), str(config["pool"])
        except (OSError, ValueError, LookupError, TypeError) as e:
            self.damaged.append(f"{folder}/config.json cannot be read ({type(e).__name__}): it has no provenance")
            config, options, pool = {}, {}, ""
        self.configs[folder] = config
        names = {name: _with_options(name, options.get(name) or {}) for name in table["strategy"].unique()}
        cycles = table.groupby("run_id")["cycle"].transform("max")
        return table.assign(strategy=table["strategy"].map(names), pool=pool, cycles=cycles)

    def _distinct(self, table: pd.DataFrame) -> pd.DataFrame:
        """Each (run, seed, cycle) once; one that is in two folders with other numbers is told."""
        key = ["run_id", "seed", "cycle"]
        table = table.sort_values([*SETTING, "strategy", "seed", "cycle"], ignore_index=True)
        differ = len(table.drop_duplicates([*key, *_SAME])) - len(table.drop_duplicates(key))
        if differ:
            self.damaged.append(f"{differ} rows stand in two folders with other numbers: the first were taken")
        return table.drop_duplicates(key, ignore_index=True)

    @cached_property
    def strategies(self) -> list[str]:
        """Names in the order of jaxal's own, then others by name."""
        known = list(STRATEGIES)
        return sorted(
            self.runs["strategy"].unique(),
            key=lambda name: (known.index(base) if (base := name.split(" ")[0]) in known else len(known), name),
        )

    @cached_property
    def baseline(self) -> str:
        """What strategies are compared with: random, or the first one where random was not run."""
        return BASELINE if BASELINE in self.strategies else self.strategies[0]

    @cached_property
    def method(self) -> dict[str, Any]:
        """The main values of METHOD: those of most runs; of as many, random ips, `official`, C = 1 before others."""
        counts = self.runs[[*UNIT, "strategy", "seed", *METHOD]].drop_duplicates().groupby(METHOD).size()
        best = min(counts.index, key=lambda m: (-counts[m], m[0] != "random", m[1] != "official", m[2] != 1, m[3:]))
        return dict(zip(METHOD, best, strict=True))

    def main(self, *, baseline: str | None = None, **other: Any) -> "Sample":
        """One setting for each dataset and model: the main method, but for what `other` says, in its main sizes."""
        rows = matching(self.runs, self.method | {k: v for k, v in other.items() if k in METHOD})
        rows = matching(rows, {k: v for k, v in other.items() if k in SIZES})
        return Sample(_main_sizes(rows), self.strategies, baseline or self.baseline)

    def levels(self, factor: str) -> list[Any]:
        """The values of a column of METHOD or SIZES that some dataset and model were run with, beside others."""
        others = {name: value for name, value in self.method.items() if name != factor}
        rows = matching(self.runs, others)
        several = rows.groupby(UNIT)[factor].transform("nunique") > 1
        return sorted(rows.loc[several, factor].unique())


def _with_options(name: str, options: dict[str, Any]) -> str:
    """`dropquery n_masks=20`: a strategy with other options is another one."""
    return " ".join([name, *(f"{option}={value}" for option, value in sorted(options.items()))])


def matching(rows: pd.DataFrame, values: dict[str, Any]) -> pd.DataFrame:
    """The rows that have these values."""
    keep = np.ones(len(rows), bool)
    for name, value in values.items():
        keep &= (rows[name] == value).to_numpy()
    return rows[keep]


def _main_sizes(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each dataset and model the sizes that most strategies and seeds were run with; of as many, most labels."""
    runs = rows[rows["cycle"] == rows["cycles"]].groupby([*UNIT, *SIZES], as_index=False)
    counts = runs.agg(runs=("seed", "size"), labels=("n_labeled", "max"))
    main = counts.sort_values(["runs", "labels"]).drop_duplicates(UNIT, keep="last")
    return rows.merge(main[[*UNIT, *SIZES]], on=[*UNIT, *SIZES])


class Sample:
    """Learning curves of one setting for each dataset and model, paired by seed."""

    def __init__(self, rows: pd.DataFrame, strategies: Sequence[str], baseline: str):
        self.rows = rows
        present = set(rows["strategy"])
        self.strategies = [name for name in strategies if name in present]
        self.baseline = baseline
        self.units: list[tuple[str, str]] = list(rows[UNIT].drop_duplicates().itertuples(index=False, name=None))
        self._groups = {key: group for key, group in rows.groupby([*UNIT, "strategy"])}
        self._pivots: dict[tuple[str, ...], pd.DataFrame] = {}  # what was asked for before

    def curves(self, unit: tuple[str, str], *names: str, metric: str = "accuracy") -> np.ndarray | None:
        """Curves (S, T, len(names)) of strategies on the seeds that all of them have; None where there are none."""
        parts = [part for name in names if (part := self.runs(unit, name, metric)) is not None]
        if len(parts) < len(names):
            return None
        seeds = parts[0].index
        for part in parts[1:]:
            seeds = seeds.intersection(part.index)
        return np.stack([part.loc[seeds].to_numpy() for part in parts], axis=-1) if len(seeds) else None

    def runs(self, unit: tuple[str, str], name: str, metric: str = "accuracy") -> pd.DataFrame | None:
        """The curves of one strategy, a row a seed and a column a cycle; None where it was not run."""
        if (*unit, name) not in self._groups:
            return None
        key = (*unit, name, metric)
        if key not in self._pivots:
            self._pivots[key] = self._groups[*unit, name].pivot(index="seed", columns="cycle", values=metric)
        return self._pivots[key]

    def labels(self, unit: tuple[str, str]) -> np.ndarray:
        """Rows labeled at each cycle, (T,)."""
        return next(np.sort(group["n_labeled"].unique()) for key, group in self._groups.items() if key[:2] == unit)

    def differences(self, a: str, b: str) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
        """Each (dataset, model) with the accuracies of `a` minus those of `b` in points, (S, T), seed by seed."""
        for unit in self.units:
            both = self.curves(unit, a, b)
            if both is not None:
                yield unit, 100 * (both[..., 0] - both[..., 1])

    @cached_property
    def means(self) -> pd.DataFrame:
        """Accuracy by (dataset, model, cycle), mean over seeds, a column a strategy; seeds that all have are used."""
        rows = []
        for unit in self.units:
            here = [name for name in self.strategies if self.runs(unit, name) is not None]
            curves = self.curves(unit, *here)
            if curves is None:
                continue
            for cycle, values in enumerate(curves.mean(axis=0).round(12)):  # what is equal is a tie
                rows.append((*unit, cycle, *pd.Series(values, here).reindex(self.strategies)))
        return pd.DataFrame(rows, columns=[*UNIT, "cycle", *self.strategies]).set_index([*UNIT, "cycle"])

    @property
    def seeds(self) -> pd.Series:
        """Seeds by (dataset, model, strategy)."""
        return self.rows.groupby([*UNIT, "strategy"])["seed"].nunique()
