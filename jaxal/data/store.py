"""On-disk pools: embeddings, labels and texts in plain files that any program can read. No JAX, no torch.

    <root>/<dataset>/<model>/
        unfinished.json                    what is being written; written first, removed last
        rows.parquet                       train rows, then test: split, row, id, text_hash, label (-1: unlabeled), text
        train-00000-of-00002.safetensors   one tensor `X`; 8192 rows in each shard but the last
        test-00000-of-00001.safetensors    absent in a pool without a test split
        manifest.json                      what the pool is, size and sha256 of each file; comes last: finished
        probcover-<hash>.cache             what ProbCover computed of the pool; not part of it, may be deleted
        .lock                              keeps a second writer out while one writes; means nothing when left behind

Each file is written beside its place, fsynced and renamed, so that a name that exists holds whole content: a kill or a
full disk loses at most the shard in flight, and writing the same pool again goes on from there.

This module finds and reads pools; writer.py writes them, format.py holds what both must agree on.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxal.data.files import locked
from jaxal.data.format import (
    MANIFEST,
    ROWS,
    UNFINISHED,
    Rows,
    aligned_empty,
    check_files,
    check_hashes,
    damaged,
    load,
    read_rows,
    read_shard,
    shards,
)
from jaxal.data.tasks import TASKS
from jaxal.data.writer import Writer, open_writer, write_arrays
from jaxal.errors import StoreError, unknown

__all__ = [
    "Entry",
    "Rows",
    "Stored",
    "Writer",
    "datasets",
    "find",
    "ids",
    "is_pool",
    "listing",
    "manifest",
    "open_writer",
    "read",
    "remove",
    "root",
    "texts",
    "verify",
    "write_arrays",
]


class Entry(NamedTuple):
    """One line of `listing`. n_test is 0 without a test split; dim is None until the pool is finished.

    damage: what is wrong with the pool, a sentence that names the file; its sizes are then unknown, and 0.
    """

    dataset: str
    model: str
    path: Path
    n_train: int
    n_test: int
    dim: int | None
    n_classes: int
    finished: bool
    damage: str | None = None


class Stored(NamedTuple):
    """A pool in memory. X (N, D) and X_test (M, D): float16 or float32; y (N,) and y_test (M,): int32 indices into
    class_names, -1 where unlabeled. X_test and y_test are None without a test split.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray | None
    y_test: np.ndarray | None
    class_names: list[str]
    manifest: dict
    path: Path


# ---- finding pools


def root(path: str | os.PathLike | None = None) -> Path:
    """The store's folder: `path`, else $JAXAL_STORE, else `store` in the user cache directory of jaxal.

    Raises StoreError for a `~` that cannot be expanded.
    """
    chosen = path or os.environ.get("JAXAL_STORE")
    if chosen:
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise StoreError(f"the store {chosen} is in the home of an unknown user: give its full path") from None
    import platformdirs

    return platformdirs.user_cache_path("jaxal", appauthor=False) / "store"


def is_pool(path: str | os.PathLike) -> bool:
    """Whether `path` is the folder of a pool, finished or not."""
    return any(os.path.isfile(os.path.join(path, name)) for name in (MANIFEST, UNFINISHED))


def _folders(path: Path) -> list[Path]:
    """What is in a folder, by name; nothing if it is not there, or may not be looked into."""
    try:
        return sorted(path.iterdir())
    except (OSError, ValueError):
        return []


def _pools(folder: Path) -> list[Path]:
    return [path for path in _folders(folder) if is_pool(path)]


def datasets(root_path: str | os.PathLike | None = None) -> list[str]:
    """The names of all datasets in the store, sorted. `root_path`: see `root`."""
    return [folder.name for folder in _folders(root(root_path)) if _pools(folder)]


def listing(root_path: str | os.PathLike | None = None) -> list[Entry]:
    """Every pool of the store, by dataset and model, damaged ones included. Looks at manifests and file sizes only.

    `root_path`: see `root`.
    """
    return [_entry(path) for folder in _folders(root(root_path)) for path in _pools(folder)]


def _entry(path: Path) -> Entry:
    finished = (path / MANIFEST).is_file()
    try:
        about = load(path / (MANIFEST if finished else UNFINISHED))
        if finished:
            check_files(path, about)
    except StoreError as error:
        return Entry(path.parent.name, path.name, path, 0, 0, None, 0, finished, str(error))
    sizes = about["N"], about["M"], about.get("D"), len(about["class_names"])
    return Entry(path.parent.name, path.name, path, *sizes, finished)


def find(dataset: str, model: str | None = None, root_path: str | os.PathLike | None = None) -> Path:
    """The folder of a finished pool; without `model`, of minilm if the dataset has it, else of its only one.

    `root_path`: see `root`. Raises StoreError, saying what is there, for an unknown dataset or model, an unfinished
    pool, or an open choice.
    """
    base = root(root_path)
    pools = {path.name: path for path in _pools(base / dataset)}
    if not pools:
        files = "" if dataset in TASKS else " --train FILE"  # those of the study come from the hub
        raise StoreError(
            f"{unknown('dataset', dataset, datasets(base))} (in the store {base}); "
            f"make it with: jaxal extract --name {dataset}{files}"
        )
    finished = [name for name, path in pools.items() if (path / MANIFEST).is_file()]
    if model is None:
        if "minilm" in finished:
            return pools["minilm"]
        if len(finished) == 1:
            return pools[finished[0]]
        if finished:
            raise StoreError(
                f"{base / dataset} holds pools of several models ({', '.join(finished)}): name one with --model"
            )
        model = next(iter(pools))
    if model not in pools:
        raise StoreError(f"{unknown('model', model, pools)} (in {base / dataset})")
    if model not in finished:
        raise _unfinished(pools[model])
    return pools[model]


def remove(path: str | os.PathLike) -> None:
    """Delete a pool, finished, unfinished or damaged, and its dataset's folder if that is empty then.

    Its manifest goes first, so that what a kill leaves is never taken for a pool that is whole. Raises StoreError if
    `path` is no pool, if it is being written, or if something in it cannot be deleted.
    """
    path = Path(path)
    if not is_pool(path):
        raise StoreError(f"{path} is not a stored pool: it has no {MANIFEST}")
    try:
        with locked(path, f"{path} is being written by another process: stop that first"):
            for name in (MANIFEST, UNFINISHED):
                (path / name).unlink(missing_ok=True)
            shutil.rmtree(path)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    except OSError as error:
        raise StoreError(f"{path} cannot be deleted ({error.strerror or error})") from None


# ---- reading


def _unfinished(path: Path) -> StoreError:
    return StoreError(
        f"{path} is unfinished: run the `jaxal extract` command that began it again, it goes on where it stopped"
    )


def manifest(path: str | os.PathLike) -> dict:
    """The manifest of a finished pool. Raises StoreError if `path` is no pool, unfinished or damaged."""
    path = Path(path)
    if not is_pool(path):
        raise StoreError(f"{path} is not a stored pool: it has no {MANIFEST}")
    if not (path / MANIFEST).is_file():
        raise _unfinished(path)
    return load(path / MANIFEST)


def read(path: str | os.PathLike) -> Stored:
    """Load a finished pool into memory; each file is read once, and hashed as it is read.

    Raises StoreError naming the file and what is wrong with it: damage, a vector that is not finite, or N, M, D, C or
    labels other than the manifest's. Memory: the arrays, and one shard where it is float16 and others are not.
    """
    path = Path(path)
    about = manifest(path)
    check_files(path, about)
    y, y_test = np.split(_labels(path, about), [about["N"]])
    sizes = {"train": about["N"], "test": about["M"]}
    X = {split: aligned_empty((n, about["D"]), about["dtype"]) for split, n in sizes.items()}
    for shard in shards(about):
        read_shard(path, about, shard, X[shard.split][shard.start : shard.stop])
    test = (X["test"], y_test) if about["M"] else (None, None)
    return Stored(X["train"], y, *test, about["class_names"], about, path)


def verify(path: str | os.PathLike) -> None:
    """Hash every file of a finished pool again; StoreError names the first that is missing or not as it was written."""
    path = Path(path)
    about = manifest(path)
    check_files(path, about)
    check_hashes(path, about)


def texts(path: str | os.PathLike, rows: Sequence[int] | np.ndarray | None = None, split: str = "train") -> list | None:
    """The texts of the given rows (0-based in the split; all without `rows`), None for a pool stored without texts.

    Where only one split was stored with texts, each of the other's is None.
    """
    return _cells(path, "text", rows, split) if manifest(path)["texts"] else None


def ids(path: str | os.PathLike, rows: Sequence[int] | np.ndarray | None = None, split: str = "train") -> list[str]:
    """The ids of the given rows (0-based in the split; all without `rows`)."""
    return _cells(path, "id", rows, split)


def _cells(path: str | os.PathLike, name: str, rows: Sequence[int] | np.ndarray | None, split: str) -> list:
    path, about = Path(path), manifest(path)
    start, n = {"train": (0, about["N"]), "test": (about["N"], about["M"])}[split]
    column = _column(path, about, name, start, n)
    if rows is None:
        return column.to_pylist()
    outside = [row for row in rows if not 0 <= row < n]
    if outside:
        raise StoreError(f"{path} has no row {outside[0]} in its {split} split of {n} rows")
    return column.take(np.asarray(rows, np.int64)).to_pylist()


def _labels(path: Path, about: dict) -> np.ndarray:
    import pyarrow as pa

    column = _column(path, about, "label", 0, about["N"] + about["M"])
    if not pa.types.is_integer(column.type) or column.null_count:
        raise damaged(path / ROWS, f"has labels that are not all integers, but {column.type}")
    y = column.to_numpy()
    if not -1 <= y.min() <= y.max() < len(about["class_names"]):
        raise damaged(path / ROWS, f"has labels outside the {len(about['class_names'])} classes of the manifest")
    return y.astype(np.int32)


def _column(path: Path, about: dict, name: str, start: int, n: int):
    """N cells of one column of rows.parquet, from `start`; train rows come first. Returns a pyarrow array."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = path / ROWS
    try:
        with pq.ParquetFile(pa.BufferReader(read_rows(path, about))) as parquet:
            if parquet.metadata.num_rows != about["N"] + about["M"]:
                rows = parquet.metadata.num_rows
                raise damaged(file, f"has {rows} rows where the manifest says {about['N']} + {about['M']}")
            column = parquet.read(columns=[name])[name]
    except (OSError, KeyError, pa.ArrowException) as error:
        raise damaged(file, f"cannot be read ({error})") from error
    return column.slice(start, n)
