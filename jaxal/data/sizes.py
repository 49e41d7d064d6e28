"""How large a pool is: of a stored one without reading its embeddings."""

import os
from pathlib import Path
from typing import NamedTuple

from jaxal.data import pool, store


class Sizes(NamedTuple):
    """The names of a pool, as in tables, its rows to choose from (N), test rows (M), dimension (D) and classes (C)."""

    dataset: str
    model: str
    n_rows: int
    n_test: int
    dim: int
    n_classes: int


def sizes(dataset: str, model: str | None = None, root: str | os.PathLike | None = None) -> Sizes:
    """The sizes of what `pool.load` loads with the same arguments.

    Raises: DataError or StoreError when it is not there or damaged; of a stored pool only the manifest is looked at.
    Cost: reads a manifest, or a whole .npz.
    """
    stored = store.is_pool(dataset)
    if Path(dataset).suffix == ".npz" or (not stored and dataset == "digits"):
        return sizes_of(pool.load(dataset, model, root))
    about = store.manifest(dataset if stored else store.find(dataset, model, root))
    return Sizes(about["dataset"], about["model"], about["N"], about["M"], about["D"], len(about["class_names"]))


def sizes_of(loaded: pool.Pool) -> Sizes:
    """The sizes of a pool in memory."""
    n_test = 0 if loaded.X_test is None else len(loaded.X_test)
    return Sizes(loaded.dataset, loaded.model, len(loaded.X), n_test, loaded.X.shape[1], loaded.n_classes)
