"""Writing a pool: unfinished.json, rows.parquet, the shards, manifest.json, in this order; resumable at any point."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import safetensors.numpy

from jaxal.data.files import atomic_write, locked, make_folders, remove, remove_temporaries
from jaxal.data.format import (
    FORMAT,
    MANIFEST,
    NAME_RULE,
    ROWS,
    SHARD_ROWS,
    UNFINISHED,
    Rows,
    Shard,
    check_files,
    check_finite,
    is_name,
    load,
    packed,
    parquet,
    sha256,
    shard_header,
    shards,
)
from jaxal.errors import StoreError


class Writer:
    """A pool that is being written; made by `open_writer`.

    finished: the very same pool is there already, nothing is left to do. path: its folder.
    """

    def __init__(self, path: Path, about: dict, columns: dict):
        self.path = path
        self.about, self.finished = _begin(path, about)
        if not self.finished and not (path / ROWS).is_file():
            atomic_write(path / ROWS, parquet(columns))

    def missing(self) -> list[Shard]:
        """The shards still to be written, in order."""
        headers = ((shard, shard_header(self.path / shard.file)) for shard in shards(self.about))
        return [shard for shard, header in headers if header is None or header[0] != shard.stop - shard.start]

    def write(self, shard: Shard, X: np.ndarray) -> None:
        """Store the vectors X (shard.stop - shard.start, D) of a shard, in float16 or float32 as `packed` decides.

        Raises StoreError for a wrong shape, a vector that is not finite (naming its row), or a failing disk.
        """
        if X.ndim != 2 or len(X) != shard.stop - shard.start:
            raise StoreError(
                f"{self.path / shard.file} needs {shard.stop - shard.start} vectors, not an array of shape {X.shape}"
            )
        X = packed(X)
        check_finite(X, shard, self.path)
        atomic_write(self.path / shard.file, safetensors.numpy.save({"X": X}))

    def finish(self, made: dict | None = None) -> dict:
        """Write the manifest, with `made` (how the vectors came about: versions, device) as a note, and return it.

        Raises StoreError if a shard is missing or the shards differ in D.
        """
        headers = {shard.file: shard_header(self.path / shard.file) for shard in shards(self.about)}
        written = [header for header in headers.values() if header is not None]
        if self.missing() or len({columns for _, columns, _ in written}) != 1:
            raise StoreError(f"{self.path} cannot be finished: a shard is missing, or the shards differ in dimension")
        _, columns, dtypes = zip(*written, strict=True)
        files = {
            name: {"bytes": (self.path / name).stat().st_size, "sha256": sha256(self.path / name)}
            for name in [*headers, ROWS]
        }
        result = {"D": columns[0], "dtype": max(dtypes), "files": files, "made": made or {}}
        self.about = self.about | result | {"created": datetime.now(UTC).isoformat(timespec="seconds")}
        atomic_write(self.path / MANIFEST, _json(self.about))
        remove(self.path / UNFINISHED)
        self.finished = True
        return self.about


@contextmanager
def open_writer(
    path: str | os.PathLike,
    *,
    dataset: str,
    model: str,
    settings: dict,
    class_names: list[str],
    train: Rows,
    test: Rows | None = None,
    keep_texts: bool = True,
    shard_rows: int = SHARD_ROWS,
) -> Iterator[Writer]:
    """Begin the pool in folder `path`, or go on with it; one writer at a time.

    `settings` (JSON) is everything that decides the vectors besides the texts. Other settings, rows or classes than
    those of the pool that is there are refused, unless that pool has no shard yet: then it is begun afresh.
    Raises StoreError naming each difference, or the file that cannot be written.
    """
    for kind, name in (("dataset", dataset), ("model", model)):
        if not is_name(name):
            raise StoreError(f"{name!r} cannot be the name of a {kind} in the store: give {NAME_RULE}")
    path, split = Path(path), {"train": train} | ({"test": test} if test else {})
    columns = {
        "split": [name for name, rows in split.items() for _ in rows.ids],
        "row": [i for rows in split.values() for i in range(len(rows.ids))],
        "id": [str(id) for rows in split.values() for id in rows.ids],
        "text_hash": [_text_hash(text) for rows in split.values() for text in _texts(rows)],
        "label": np.concatenate([np.asarray(rows.y, np.int32) for rows in split.values()]),
    }
    rows_sha256 = hashlib.sha256(
        json.dumps([list(map(str, column)) for column in columns.values()]).encode()
    ).hexdigest()
    keep_texts = keep_texts and train.texts is not None
    if keep_texts:
        columns["text"] = [text for rows in split.values() for text in _texts(rows)]
    about = {
        "format": FORMAT,
        "dataset": dataset,
        "model": model,
        "settings": json.loads(json.dumps(settings)),
        "class_names": [str(name) for name in class_names],
        "N": len(train.ids),
        "M": len(test.ids) if test else 0,
        "texts": keep_texts,
        "rows_sha256": rows_sha256,
        "shard_rows": shard_rows,
    }
    if not about["N"]:
        raise StoreError(f"a pool needs at least one row, {dataset} has none")
    make_folders(path)
    with locked(path, f"another process is writing {path}: wait until it has ended"):
        yield Writer(path, about, columns)


def write_arrays(
    path: str | os.PathLike,
    X: np.ndarray,
    y: np.ndarray | None,
    X_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    class_names: list[str],
    dataset: str,
    model: str,
    settings: dict,
    ids=None,
    texts=None,
    ids_test=None,
    texts_test=None,
    shard_rows: int = SHARD_ROWS,
) -> Path:
    """Store a whole pool from arrays and return its folder.

    X (N, D), X_test (M, D): float. y (N,), y_test (M,): indices into class_names, -1 where unlabeled, or None.
    ids default to row numbers.

    The manifest's settings get `vectors`, the sha256 of the arrays: other vectors are another pool. Raises StoreError.
    """

    def rows(split, X, y, ids, texts):
        y = np.full(len(X), -1, np.int32) if y is None else np.asarray(y)
        ids = range(len(X)) if ids is None else ids
        if not len(X) == len(y) == len(ids) == len(X if texts is None else texts):
            raise StoreError(
                f"the {split} split of {dataset} has {len(X)} vectors, {len(y)} labels, {len(ids)} ids: make them equal"
            )
        if np.any((y < -1) | (y >= len(class_names))):
            raise StoreError(f"the {split} split of {dataset} has labels outside its {len(class_names)} classes")
        return Rows(list(map(str, ids)), y, texts)

    splits = {"train": np.asarray(X)} | ({} if X_test is None else {"test": np.asarray(X_test)})
    train = rows("train", splits["train"], y, ids, texts)
    test = None if X_test is None else rows("test", splits["test"], y_test, ids_test, texts_test)
    digest = hashlib.sha256()
    for X in splits.values():
        digest.update(np.ascontiguousarray(X).data)
    about = {"dataset": dataset, "model": model, "settings": settings | {"vectors": digest.hexdigest()}}
    with open_writer(path, **about, class_names=class_names, train=train, test=test, shard_rows=shard_rows) as writer:
        if not writer.finished:
            for shard in writer.missing():
                writer.write(shard, splits[shard.split][shard.start : shard.stop])
            writer.finish()
    return Path(path)


def _begin(path: Path, about: dict) -> tuple[dict, bool]:
    """Make `path` a pool that is described by `about`; returns its description and whether it is finished."""
    remove_temporaries(path)
    if (path / MANIFEST).is_file():
        there = load(path / MANIFEST)
        _refuse_other(path, there, about)
        check_files(path, there)
        remove(path / UNFINISHED)
        return there, True
    old_shards = [file for split in ("train", "test") for file in path.glob(f"{split}-?????-of-?????.safetensors")]
    if (path / UNFINISHED).is_file():
        there = load(path / UNFINISHED)
        if old_shards:
            _refuse_other(path, there, about)
        if not _differences(there, about):
            return there, False
    # What another pool left must be gone before unfinished.json says that it is of this pool.
    for file in [*old_shards, path / ROWS]:
        remove(file)
    atomic_write(path / UNFINISHED, _json(about))
    return about, False


def _text_hash(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:32]


def _texts(rows: Rows) -> list:
    return [None] * len(rows.ids) if rows.texts is None else list(rows.texts)


def _json(about: dict) -> bytes:
    return json.dumps(about, indent=1, ensure_ascii=False).encode()


def _differences(there: dict, wanted: dict) -> list[str]:
    """`name: old -> new` for everything but the shard size in which two descriptions differ."""
    old, new = there["settings"], wanted["settings"]
    values = [(name, there[name], wanted[name]) for name in wanted if name not in ("settings", "shard_rows")]
    values += [(name, old.get(name), new.get(name)) for name in old | new]
    return [f"{name}: {_short(before)} -> {_short(after)}" for name, before, after in values if before != after]


def _short(value) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse_other(path: Path, there: dict, wanted: dict) -> None:
    differences = _differences(there, wanted)
    if differences:
        raise StoreError(
            f"{path} holds another pool ({'; '.join(differences)}): "
            "store this one beside it with --as NAME, or delete that folder"
        )
