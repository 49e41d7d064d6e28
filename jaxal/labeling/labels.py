"""The files that people label in: labels read from a CSV, and a batch described for the labeler."""

from pathlib import Path

import numpy as np
import pandas as pd

from jaxal.data import store
from jaxal.data.pool import Pool
from jaxal.errors import DataError, unknown


def read_labels(path: Path, pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """Rows (L,) and labels (L,) of a CSV with the columns `label` and `row` (or `id`, for a stored pool)."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, ValueError) as e:  # an empty file, a ragged line, bytes that are no UTF-8
        raise DataError(f"{path} cannot be read as CSV: {e}") from e
    if "label" not in table or not {"row", "id"} & set(table):
        raise DataError(f"{path} needs the columns label and row (or id); it has {', '.join(table)}")
    if "row" in table:
        bad = ~table["row"].str.fullmatch(r"\d{1,18}")
        if bad.any():
            raise DataError(f"{_line(path, bad)}: '{table['row'][bad].iloc[0]}' is no row number")
        rows = table["row"].astype(np.int64).to_numpy()
        if "id" in table and pool.path is not None and len(rows) and rows.max() < len(pool.X):
            there = np.asarray(store.ids(pool.path, rows))
            bad = there != table["id"].to_numpy(str)
            if bad.any():  # labels of another pool would be taken for this one's
                i = int(np.argmax(bad))
                raise DataError(
                    f"{_line(path, bad)}: row {rows[i]} of the pool has the id '{there[i]}', not '{table['id'][i]}'"
                )
    else:
        if pool.path is None:
            raise DataError(f"{path} names rows by id, but this pool has no ids: use the column row")
        ids = pd.Index(store.ids(pool.path))
        if not ids.is_unique:
            raise DataError(f"the pool has the id '{ids[ids.duplicated()][0]}' twice: use the column row in {path}")
        rows = ids.get_indexer(table["id"])
        if (rows < 0).any():
            raise DataError(f"{_line(path, rows < 0)}: the pool has no id '{table['id'][rows < 0].iloc[0]}'")
    empty = table["label"].str.strip() == ""
    if empty.any():
        raise DataError(f"{_line(path, empty)} has no label")
    return rows, table["label"].to_numpy(str)


def _line(path: Path, bad) -> str:
    """Where the first of the bad records is, in a file of one line a record."""
    return f"{path} line {int(np.argmax(bad)) + 2}"


def encode(labels, class_names, source) -> tuple[np.ndarray, int]:
    """Class numbers (L,) of labels, and C: by the pool's class names, or by what was labeled when it has none."""
    names = np.unique(np.asarray(labels, str)) if class_names is None else class_names
    codes = pd.Index(names, dtype=object).get_indexer(pd.Index(np.asarray(labels, str), dtype=object))
    if (codes < 0).any():
        raise DataError(f"{source}: {unknown('label', labels[int(np.argmax(codes < 0))], names)}")
    return codes, max(1, len(names))


def describe(pool: Pool, rows, scores) -> list[dict]:
    """What a labeler needs of each row: order, row, id and text where the pool is stored, score."""
    if not len(rows):
        return []
    ids = store.ids(pool.path, rows) if pool.path else None
    texts = store.texts(pool.path, rows) if pool.path else None
    records = []
    for i, (row, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True)):
        record = {"order": i, "row": row, "id": ids[i] if ids else str(row), "score": score}
        records.append(record if texts is None else record | {"text": texts[i]})
    return records
