"""What several benchmarks share: scikit-activeml's strategies as they are compared with, and result files."""

import json
import os
from pathlib import Path


def rival_strategy(name: str, n_classes: int, seed: int):
    """scikit-activeml's strategy with the study's settings: DropQuery with 20 masks, ProbCover told the classes."""
    from skactiveml import pool

    return {
        "random": lambda: pool.RandomSampling(random_state=seed),
        "margin": lambda: pool.UncertaintySampling(method="margin_sampling", random_state=seed),
        "entropy": lambda: pool.UncertaintySampling(method="entropy", random_state=seed),
        "badge": lambda: pool.Badge(random_state=seed),
        "coreset": lambda: pool.CoreSet(random_state=seed),
        "typiclust": lambda: pool.TypiClust(random_state=seed),
        "probcover": lambda: pool.ProbCover(random_state=seed, n_classes=n_classes),
        "dropquery": lambda: pool.DropQuery(
            n_dropout_samples=20, random_state=seed, cluster_algo_dict={"random_state": seed}
        ),
    }[name]()


USE_A_CLASSIFIER = ("margin", "entropy", "badge", "dropquery")


def write(options, stem: str, title: str, header: str, rows: list, line, below: str = "", **about) -> None:
    """`stem`.json in the folder `--out`, with the options and what the numbers were measured on, and `stem`.md with a
    line for each row; nothing without a folder.
    """
    if options.out is None:
        return
    options.out.mkdir(parents=True, exist_ok=True)
    given = {name: value for name, value in vars(options).items() if name not in ("out", "run")}
    given = {name: _without_folders(value) for name, value in given.items()}
    content = machine() | given | about | {"rows": rows}
    (options.out / f"{stem}.json").write_text(json.dumps(content, indent=1, default=float) + "\n")
    table = "".join(line(row) + "\n" for row in rows)
    (options.out / f"{stem}.md").write_text(f"{title}\n\n{header}\n{table}{below}")


def _without_folders(value):
    """Files by name: where they lie on this machine is nobody's business."""
    if isinstance(value, list):
        return [_without_folders(Path(item)) for item in value]
    return value.name.removesuffix(".npz") if isinstance(value, Path) else value


def machine() -> dict:
    """Versions, cores and JAX's device."""
    import jax
    import numpy
    import sklearn

    device = jax.devices()[0].device_kind
    versions = {"jax": jax.__version__, "numpy": numpy.__version__, "sklearn": sklearn.__version__}
    return versions | {"device": device, "cores": os.cpu_count()}
