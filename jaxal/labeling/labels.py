"""Labels so far, out of a CSV file that people label in."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from jaxal.data import store
from jaxal.data.pool import Pool
from jaxal.errors import DataError, unknown

_UNREADABLE = (  # no file, an empty or ragged one, bytes that are no UTF-8, broken or unknown compression
    OSError,
    ValueError,
    EOFError,
    ImportError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)


def read_labels(path: Path, pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """Rows (L,) int64 and labels (L,) strings of a CSV with the columns `label` and `row`, or `id` for a stored pool.

    Other columns are not looked at. Raises DataError, one sentence that names the file and the line.
    """
    table = read_csv(path)
    if "label" not in table or not {"row", "id"} & set(table):
        raise DataError(f"{path} needs the columns label and row (or id); it has {', '.join(map(str, table.columns))}")
    rows = _row_numbers(path, table, pool) if "row" in table else _rows_of_ids(path, table, pool)
    _refuse(path, table, table["label"].str.strip() == "", lambda i: " has no label")
    return rows, table["label"].to_numpy(str)


def read_csv(path: Path) -> pd.DataFrame:
    """The cells as strings under the names in the first line; the index is the line at which each record begins."""
    try:
        # header=None: with names, pandas takes the first cell for an index where a line has one cell too many
        cells = pd.read_csv(path, header=None, dtype=str, na_filter=False, skip_blank_lines=False)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except _UNREADABLE as e:
        raise DataError(f"{path} cannot be read as CSV: {e}") from e
    names = cells.iloc[0].tolist()
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise DataError(f"{path} has the column {twice[0]} twice: leave one of them out")
    line_ends = 1 + sum(cells[column].str.count("\n").to_numpy(int) for column in cells)
    begins = np.cumsum(line_ends) - line_ends + 1
    blank = np.all([cells[column].str.strip() == "" for column in cells], axis=0)
    return cells.set_axis(names, axis=1).set_axis(begins)[1:][~blank[1:]]


def _refuse(path: Path, table: pd.DataFrame, wrong, what: Callable[[int], str]) -> None:
    """Raise a DataError about the first record that is wrong, if any is: `what(i)` says it of record i."""
    if np.any(wrong):
        i = int(np.argmax(wrong))
        raise DataError(f"{path} line {table.index[i]}{what(i)}")


def _row_numbers(path: Path, table: pd.DataFrame, pool: Pool) -> np.ndarray:
    """The column `row`; if there is also `id`, it must be that of the pool's row."""
    text = table["row"].tolist()
    _refuse(path, table, ~table["row"].str.fullmatch(r"[0-9]{1,18}"), lambda i: f": '{text[i]}' is no row number")
    rows = np.array(text, np.int64)
    if "id" in table and pool.path is not None and len(rows) and rows.max() < len(pool.X):
        given, ids = table["id"].tolist(), store.ids(pool.path, rows)
        _refuse(  # labels of another pool would be taken for this one's
            path,
            table,
            np.not_equal(given, ids),
            lambda i: f": row {rows[i]} of the pool has the id '{ids[i]}', not '{given[i]}'",
        )
    return rows


def _rows_of_ids(path: Path, table: pd.DataFrame, pool: Pool) -> np.ndarray:
    if pool.path is None:
        raise DataError(f"{path} names rows by id, but this pool has no ids: use the column row")
    ids = pd.Index(store.ids(pool.path))
    if not ids.is_unique:
        raise DataError(f"the pool has the id '{ids[ids.duplicated()][0]}' twice: use the column row in {path}")
    given = table["id"].tolist()
    rows = ids.get_indexer(pd.Index(given))
    _refuse(path, table, rows < 0, lambda i: f": the pool has no id '{given[i]}'")
    return rows


def encode(labels, class_names, source) -> tuple[np.ndarray, int]:
    """Class numbers (L,) of labels, and C: by the pool's class names, or by what was labeled when it has none."""
    names = np.unique(np.asarray(labels, str)) if class_names is None else class_names
    codes = pd.Index(names, dtype=object).get_indexer(pd.Index(np.asarray(labels, str), dtype=object))
    if (codes < 0).any():
        raise DataError(f"{source}: {unknown('label', labels[int(np.argmax(codes < 0))], names)}")
    return codes, max(1, len(names))
