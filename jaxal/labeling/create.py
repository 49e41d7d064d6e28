"""A new labeling project."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxal import strategies
from jaxal.data.files import atomic_write, make_folders
from jaxal.data.pool import Pool
from jaxal.errors import ConfigError, DataError
from jaxal.experiments.config import check_values
from jaxal.labeling import log
from jaxal.labeling.project import BATCHES, SETTINGS, Project, Settings, save
from jaxal.strategies.interface import check_setting


def create(
    folder: str | os.PathLike,
    pool: Pool,
    *,
    strategy: str = "badge",
    batch_size: int = 50,
    classes: Sequence[str] | None = None,
    new_classes: bool | None = None,
    cold_start: str = "typiclust",
    seed: int = 0,
    variant: str = "official",
    C: float = 1.0,
    normalize: bool = False,
    options: Mapping[str, Any] | None = None,
    source: str | os.PathLike | None = None,
) -> Project:
    """Make a labeling project of a pool in `folder`, which is not there or is empty.

    Args:
        classes: names, by class number; None: the pool's, and where it has none those that labels bring.
        new_classes: whether labels may bring classes; None: only where there are none yet.
        cold_start: what chooses the first batch where the strategy needs labels: a strategy that needs none.
        source: what `jaxal.load` finds the pool by, for a pool that is not in the store.
    Raises: ConfigError for a setting that cannot be, DataError for a folder that holds something.
    """
    folder, where = Path(folder), pool.path if source is None else source
    if where is None:
        raise ConfigError(
            "the pool is in memory alone: store it, or save it as .npz, so that the project finds it again"
        )
    names = _classes(pool.class_names if classes is None else classes)
    settings = Settings(
        pool=os.fspath(where) if where == "digits" else os.path.abspath(where),
        dataset=pool.dataset,
        model=pool.model,
        fingerprint=pool.fingerprint,
        strategy=strategy,
        batch_size=check_setting("batch_size", batch_size, int, 1),
        classes=names,
        new_classes=not names if new_classes is None else new_classes,
        cold_start=cold_start,
        seed=check_setting("seed", seed, int, 0, most=2**32 - 1),
        variant=variant,
        C=C,
        normalize=normalize,
        options=dict(options or {}),
    )
    check_values([seed], C, variant)
    strategies.make(strategy, variant, options)
    if cold_start not in strategies.IPS:
        raise ConfigError(f"{cold_start} cannot choose without labels: start with {', '.join(strategies.IPS)}")
    if len(names) == 1 and not settings.new_classes:
        raise ConfigError(f"there is one class, {names[0]}: nothing can be told apart; name two or more")
    if folder.exists() and any(path.name not in (BATCHES, log.NAME) for path in _content(folder)):
        project = (folder / SETTINGS).is_file()
        raise DataError(
            f"{folder} {'is a labeling project already' if project else 'is not empty'}: choose another name"
        )
    make_folders(folder / BATCHES)
    atomic_write(folder / log.NAME, b"")
    save(folder, settings)  # last: from now on it is a project
    return Project(folder, settings)


def _classes(names) -> tuple[str, ...]:
    names = tuple(str(name).strip() for name in names or ())
    if "" in names:
        raise ConfigError("a class has no name: write them as a,b,c")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"the class {twice[0]} is named twice")
    return names


def _content(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be a project's folder ({error.strerror})") from None
