"""Where the numbers come from, and what a reader has to be warned of."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from jaxal.data.tasks import TASKS
from jaxal.reporting import classes
from jaxal.reporting.study import UNIT, Study

# Models whose list of training data has the task's texts, as their makers give it to MTEB.
TRAINED_ON = {"banking77": ("nv-embed-v2", "bge-en-icl", "stella-v5", "f2llm", "kalm")}
FEW_SEEDS = 10
_SKEWED = 5.0  # points between accuracy and balanced accuracy


def provenance(study: Study) -> pd.DataFrame:
    """A row a results folder: pool, versions, device, and the command that makes it again."""
    rows = []
    for folder, config in study.configs.items():
        versions = config.get("versions") or {}
        rows.append(
            {
                "folder": str(folder.relative_to(study.folder)),
                "dataset": config.get("dataset", "?"),
                "model": config.get("model", "?"),
                "pool": str(config.get("pool", "?"))[:12],
                "seeds": len(config.get("seeds") or []),
                "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
                "python": config.get("python", "?"),
                "device": config.get("device", "?"),
                "peak GB": _peak(config),
                "command": command(config),
            }
        )
    return pd.DataFrame(rows)


def _peak(config: Mapping[str, Any]) -> str:
    """The most memory that a process of a folder held, and that of its device where that is another one."""
    peak = config.get("peak_memory_gb")
    if not isinstance(peak, dict):  # of an earlier version, or edited
        return "?"
    return ", ".join(f"{name} {value}" for name, value in peak.items() if value is not None) or "?"


def command(config: Mapping[str, Any]) -> str:
    """The command of a results folder, all settings written out; empty where its config.json could not be read."""
    if "dataset" not in config:
        return ""
    pools = config.get("ips") == "each"
    parts = [f"jaxal {'ips' if pools else 'run'} -d {config['dataset']} -m {config['model']}"]
    names = {"C": "C", "variant": "variant", "pool_size": "pool-size"}
    if not pools:
        parts.append(f"-s {','.join(config['settings'])}")
        names |= {"ips": "ips", "cycles": "cycles", "batch_size": "batch-size", "initial_size": "initial"}
    parts.append(f"--seeds {','.join(map(str, config['seeds']))}{',' * (len(config['seeds']) == 1)}")
    parts += [f"--{option} {config[name]}" for name, option in names.items() if config.get(name) is not None]
    parts += ["--normalize"] * bool(config.get("normalize"))
    parts += ["--no-warm-start"] * (not config.get("warm_start", True) and not pools)
    options = [(strategy, *item) for strategy, of in config["settings"].items() for item in of.items()]
    return " ".join(parts + [f"--set {strategy}.{name}={value}" for strategy, name, value in options])


def warnings(study: Study, pools: Mapping[str, classes.Facts]) -> list[str]:
    """What a reader has to know before believing a number, a sentence each. pools: those at hand."""
    return [*study.damaged, *_of_pools(study), *_of_texts(pools), *_of_runs(study), *_of_machines(study)]


def _by_dataset(told: Iterable[tuple[str, str, str]]) -> list[str]:
    """(dataset, model, what) as sentences: models of a dataset of which the same is told share one."""
    models: dict[tuple[str, str], list[str]] = {}
    for dataset, model, what in told:
        models.setdefault((dataset, what), []).append(model)
    return [f"{', '.join([dataset, *names])}: {what}" for (dataset, what), names in models.items()]


def _of_texts(pools: Mapping[str, classes.Facts]) -> list[str]:
    def again(n: int) -> str:
        what = "text of the test split is" if n == 1 else "texts of the test split are"
        return f"{n:,} {what} in the pool too, but for case, blanks and signs"

    return _by_dataset((p.dataset, p.model, again(p.duplicates)) for p in pools.values() if p.duplicates)


def _of_pools(study: Study) -> list[str]:
    told = []
    for (dataset, model), here in pd.concat([study.runs, study.pools]).groupby(UNIT):
        known = [c for c in study.configs.values() if (c.get("dataset"), c.get("model")) == (dataset, model)]
        told += [(str(dataset), str(model), what) for what in _of_pool(str(dataset), str(model), here, known)]
    return _by_dataset(told)


def _of_pool(dataset: str, model: str, rows: pd.DataFrame, known: list[dict[str, Any]]) -> Iterator[str]:
    """What is odd about a pool, of its rows of the results and its config.json."""
    size, task = rows["pool_size"].max(), TASKS.get(dataset)
    caps = sorted({config["pool_size"] for config in known if config.get("pool_size") is not None})
    if caps:
        yield f"the pool is capped to {', '.join(f'{cap:,}' for cap in caps)} rows"
    elif task is not None and size < task.n_train:
        yield f"{size:,} of the task's {task.n_train:,} rows are in the pool"
    if any(name in model.lower() for name in TRAINED_ON.get(dataset, ())):
        yield "the model was trained on texts of this task, as its makers say"
    pools = rows.groupby("pool_size")["pool"].nunique().max()  # a cap makes another pool of the same
    if pools > 1:
        yield f"{pools} different pools have this name; each is compared with itself only"


def _of_runs(study: Study) -> list[str]:
    told, runs = [], study.runs
    if runs.empty:
        return told
    fits = pd.concat([runs, study.pools])
    open_ = int((~fits["converged"].astype(bool)).sum())
    if open_:
        told.append(f"{open_:,} of {len(fits):,} fits did not converge (column converged of the results)")
    sample = study.main()
    few = sample.seeds[sample.seeds < FEW_SEEDS]
    if len(few):
        told.append(
            f"{len(few)} of {len(sample.seeds)} curves have fewer than {FEW_SEEDS} seeds ({few.min()} at least): "
            "their intervals rest on little"
        )
    lacking = len(sample.units) * len(sample.strategies) - len(sample.seeds)
    if lacking:
        told.append(
            f"{lacking} of {len(sample.units) * len(sample.strategies)} (dataset, model, strategy) were not run"
        )
    apart = "classes are skewed, read balanced accuracy and macro-F1 beside accuracy"
    return told + _by_dataset((*unit, apart) for unit in skewed(study))


def skewed(study: Study) -> list[tuple[str, str]]:
    """The (dataset, model) whose final accuracy and balanced accuracy are more than 5 points apart."""
    rows = study.main().rows
    last = rows[rows["cycle"] == rows["cycles"]]
    apart = 100 * (last["accuracy"] - last["balanced_accuracy"]).groupby([last[name] for name in UNIT]).mean().abs()
    return list(apart[apart > _SKEWED].index)


def _of_machines(study: Study) -> list[str]:
    told = []
    for name, plural in (("versions", "sets of versions"), ("device", "devices")):
        found = {str(config[name]) for config in study.configs.values() if name in config}
        if len(found) > 1:
            told.append(f"the folders were computed with {len(found)} {plural}: do not compare their seconds")
    return told
