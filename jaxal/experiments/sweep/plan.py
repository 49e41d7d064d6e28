"""The grid of a study as a list of groups, one a pool, each with its run folders; kept in `plan.json`."""

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxal.data import store
from jaxal.data.files import atomic_write, make_folders
from jaxal.data.sizes import Sizes, sizes
from jaxal.errors import ConfigError, DataError, StoreError, unknown
from jaxal.experiments.config import default_batch_size
from jaxal.experiments.sweep.study import Study

PLAN = "plan.json"


class Run(NamedTuple):
    """One results folder: the settings that all its strategies share, as `config.configure` takes them."""

    folder: str  # below the group's
    settings: dict[str, Any]

    @property
    def cycles(self) -> int:
        """Queries after the initial pool."""
        return self.settings["cycles"]


class Group(NamedTuple):
    """All runs on one pool, which is loaded once."""

    dataset: str
    model: str | None
    folder: str
    sizes: Sizes | None  # None: the pool is not there, or damaged
    runs: list[Run]


class Plan(NamedTuple):
    """What a sweep runs: every strategy and seed in every run folder."""

    strategies: list[str]
    seeds: list[int]
    settings: dict[str, dict[str, Any]]
    store: str | None
    groups: list[Group]

    def group(self, which: str) -> Group:
        """A group by its number in the list, or by its folder. Raises ConfigError."""
        folders = {group.folder: group for group in self.groups}
        if which.isdecimal() and int(which) < len(self.groups):
            return self.groups[int(which)]
        if which not in folders:
            last = len(self.groups) - 1
            raise ConfigError(unknown("group", which, folders) + f"; they have the numbers 0 to {last}")
        return folders[which]


def make(study: Study, root: str | None = None) -> Plan:
    """The plan of a study, groups as the study names them. root: of the store, see `store.root`.

    Raises ConfigError when two pools would have one folder.
    """
    groups = [_group(study, *pool, root) for pool in itertools.product(study.datasets, study.models)]
    folders = [group.folder for group in groups]
    for group in groups:
        if folders.count(group.folder) > 1:
            same = [g.dataset for g in groups if g.folder == group.folder]
            raise ConfigError(f"{' and '.join(same)} would both be kept in {group.folder}: rename one of them")
    return Plan(study.strategies, study.seeds, study.settings, root and os.path.abspath(root), groups)


def _group(study: Study, dataset: str, model: str | None, root: str | None) -> Group:
    try:
        known = sizes(dataset, model, root)
    except (DataError, StoreError):  # told when the group is run
        known = None
    names = (known.dataset, known.model) if known else (Path(dataset).stem, model or "minilm")
    folder = "-".join(names).translate(dict.fromkeys(map(ord, "/\\\0 "), "_"))
    if dataset.endswith(".npz") or store.is_pool(dataset):
        dataset = os.path.abspath(dataset)  # a cluster's jobs begin elsewhere
    return Group(dataset, model, folder, known, list(_runs(study)))


def _runs(study: Study) -> Iterator[Run]:
    """Runs on one matrix are neighbours: the pool is capped once for all of them."""
    axes = ("pool_sizes", "normalize", "variants", "ips", "budgets", "cycles", "C", "warm_start")
    for values in itertools.product(*(getattr(study, axis) for axis in axes)):
        size, normalize, variant, ips, budget, cycles, C, warm_start = values
        # Names hold what is not by default, so that a study that grows keeps its folders.
        parts = [ips, variant * (variant != "official"), f"budget{budget}" * (budget is not None),
                 f"cycles{cycles}" * (cycles != 20), f"pool{size}" * (size is not None), f"C{C}" * (C != 1),
                 "normalize" * normalize, "cold" * (not warm_start)]  # fmt: skip
        settings = {"ips": ips, "variant": variant, "cycles": cycles, "C": C, "normalize": normalize,
                    "pool_size": size, "warm_start": warm_start}  # fmt: skip
        if budget is not None:
            settings |= dict.fromkeys(("batch_size", "initial_size"), budget // cycles)
        yield Run("-".join(filter(None, parts)), settings)


def batch_size(group: Group, run: Run) -> int:
    """Rows of a query, and of the initial pool, of a group whose sizes are known."""
    assert group.sizes is not None
    n = min(group.sizes.n_rows, run.settings["pool_size"] or group.sizes.n_rows)
    return run.settings.get("batch_size") or default_batch_size(group.sizes.dataset, n)


def write(plan: Plan, folder: Path) -> None:
    """Keep a plan in the folder of a sweep. Raises StoreError."""
    text = json.dumps(plan._asdict() | {"groups": [group._asdict() for group in plan.groups]}, indent=1)
    make_folders(folder)
    path = folder / PLAN
    if not (path.exists() and path.read_text() == text):
        atomic_write(path, text.encode())


def read(folder: Path) -> Plan:
    """The plan in the folder of a sweep. Raises StoreError."""
    path = folder / PLAN
    try:
        content = json.loads(path.read_text())
        groups = [
            Group(**g | {"sizes": g["sizes"] and Sizes(*g["sizes"]), "runs": [Run(*run) for run in g["runs"]]})
            for g in content.pop("groups")
        ]
        return Plan(**content, groups=groups)
    except FileNotFoundError:
        raise StoreError(f"{folder} has no {PLAN}: `jaxal sweep STUDY.toml --out {folder}` makes it") from None
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}): `jaxal sweep STUDY.toml` writes it again") from error
