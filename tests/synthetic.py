"""Results folders of a study that was never run: curves of a formula and noise, in the files of `jaxal run`."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from jaxal.experiments import results

EFFECT = {"random": 0.0, "margin": 0.03, "entropy": 0.02, "badge": 0.028, "coreset": -0.02, "typiclust": 0.01}


def write_study(
    root: Path,
    datasets=("trec6", "banking77", "sst2"),
    models=("minilm", "glove-50d"),
    strategies=tuple(EFFECT),
    ips=("random", "typiclust"),
    seeds=5,
    cycles=6,
    variants=("official",),
    **changes,
) -> Path:
    """A folder a (dataset, model, ips, variant), below folders of the dataset. `changes` go into every config.json."""
    rng = np.random.default_rng(0)
    for dataset in datasets:
        for model in models:
            for selection in ips:
                for variant in variants:
                    folder = root / dataset / f"{model}-{selection}-{variant}"
                    write_run(
                        folder, rng, dataset, model, strategies, selection, range(seeds), cycles, variant, **changes
                    )
    return root


def write_run(folder, rng, dataset, model, strategies, ips="random", seeds=range(5), cycles=6, variant="official",
              batch_size=10, **changes):  # fmt: skip
    """One results folder; curves rise to a level of the model's, strategies differ by EFFECT, seeds by noise."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "dataset": dataset, "model": model, "pool": f"sha of {dataset} {model}", "ips": ips, "cycles": cycles,
        "batch_size": batch_size, "initial_size": batch_size, "variant": variant, "C": 1.0, "normalize": False,
        "pool_size": None, "warm_start": True, "settings": {name: {} for name in strategies}, "seeds": list(seeds),
        "versions": {"jaxal": "0.1.0", "jax": "0.10.2"}, "python": "3.11", "device": "TFRT_CPU_0",
    } | changes  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    noise = {seed: rng.normal(0, 0.01, size=cycles + 1).cumsum() / 3 for seed in seeds}
    parts = []
    for name in strategies:
        for seed in seeds:
            n = batch_size * np.arange(1, cycles + 2)
            level = 0.9 if model == "minilm" else 0.75
            gain = EFFECT.get(name, 0.015) * np.minimum(np.arange(cycles + 1), 3) / 3
            gain = gain + (0.02 * np.exp(-np.arange(cycles + 1)) if ips == "typiclust" else 0)
            accuracy = level - 0.5 * n**-0.4 + gain + noise[seed] + rng.normal(0, 0.004, cycles + 1) * (n > batch_size)
            accuracy = np.round(accuracy, 3)
            parts.append(_rows(config, name, seed, n, accuracy, len(list(seeds))))
    results.write(folder / "results.parquet", pd.concat(parts, ignore_index=True))
    return folder


def write_pools(folder, dataset="trec6", model="minilm", sizes=(20, 50, 200), seeds=range(5)):
    """A results folder of `jaxal ips`: typiclust is best in small pools, random in large ones."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    config = {"dataset": dataset, "model": model, "pool": "p", "settings": {"none": {}}, "seeds": list(seeds), "C": 1.0,
              "normalize": False, "variant": "official", "warm_start": True, "batch_size": 1, "pool_size": None,
              "cycles": 0}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    parts = []
    for ips in ("random", "coreset", "typiclust"):
        for size in sizes:
            for seed in seeds:
                lift = {"typiclust": 0.08 - 0.0006 * size, "coreset": -0.05}.get(ips, 0.0)
                accuracy = np.array([round(0.6 + 0.05 * np.log(size / 20) + lift + rng.normal(0, 0.01), 3)])
                settings = config | {"ips": ips, "initial_size": size}
                parts.append(_rows(settings, "none", seed, np.array([size]), accuracy, len(list(seeds))))
    results.write(folder / "results.parquet", pd.concat(parts, ignore_index=True))
    return folder


def _rows(config, strategy, seed, n, accuracy, seeds_in_block) -> pd.DataFrame:
    own = {k: config[k] for k in ("dataset", "model", "ips", "variant", "C", "normalize", "batch_size", "initial_size",
                                  "warm_start")}  # fmt: skip
    identity = json.dumps([own, config["pool"], config["cycles"], strategy, config["settings"].get(strategy)])
    table = pd.DataFrame(
        own
        | {"run_id": hashlib.sha256(identity.encode()).hexdigest()[:16], "strategy": strategy, "pool_size": 5452}
        | {"seed": seed, "cycle": np.arange(len(n)), "n_labeled": n, "accuracy": accuracy}
        | {"macro_f1": accuracy - 0.01, "balanced_accuracy": accuracy - 0.02, "fit_seconds": 0.5, "eval_seconds": 0.1}
        | {"select_seconds": 1.0 + len(strategy), "seeds_in_block": seeds_in_block, "fit_iterations": 20}
        | {"converged": True}
    )
    return table.astype({k: v for k, v in results.RESULTS.items() if v != "string"})[list(results.RESULTS)]
