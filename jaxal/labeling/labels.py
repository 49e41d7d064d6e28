"""Labels so far, out of a CSV file that people label in."""

import bz2
import csv
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxal.data import store
from jaxal.data.pool import Pool
from jaxal.errors import DataError, unknown

_OPEN = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_PACKED = (".zip", ".zst", ".tar", ".tgz", ".7z")
_UNREADABLE = (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError)


class Table(NamedTuple):
    """The cells of a CSV file as strings, a list a column; and the line at which each record begins."""

    columns: dict[str, list[str]]
    lines: list[int]


def read_labels(path: Path, pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """Rows (L,) int64 and labels (L,) strings of a CSV with the columns `label` and `row`, or `id` for a stored pool.

    Other columns are not looked at. Raises DataError, one sentence that names the file and the line.
    """
    table = read_csv(path)
    if "label" not in table.columns or not {"row", "id"} & set(table.columns):
        raise DataError(f"{path} needs the columns label and row (or id); it has {', '.join(table.columns)}")
    rows = _row_numbers(path, table, pool) if "row" in table.columns else _rows_of_ids(path, table, pool)
    labels = table.columns["label"]
    _refuse(path, table, [not label.strip() for label in labels], lambda i: " has no label")
    return rows, np.array(labels, str)


def read_csv(path: Path) -> Table:
    """The table under the names in the first line, without blank lines. .gz, .bz2 and .xz are unpacked."""
    if path.suffix.lower() in _PACKED:
        raise DataError(f"{path} cannot be read as CSV: unpack it first ({', '.join(_OPEN)} are read as they are)")
    records, lines, line = [], [], 1
    try:
        with _OPEN.get(path.suffix.lower(), open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            csv.field_size_limit(1 << 30)  # texts may be long; 131,072 characters unless told
            reader = csv.reader(file, strict=True)
            for record in reader:
                if record or not records:
                    records.append(record)
                    lines.append(line)
                if len(record) > len(records[0]):
                    raise csv.Error(f"{len(record)} cells, the first line has {len(records[0])}")
                line = reader.line_num + 1
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except csv.Error as e:
        raise DataError(f"{path} cannot be read as CSV: line {line}: {e}") from e
    except _UNREADABLE as e:
        raise DataError(f"{path} cannot be read as CSV: {e}") from e
    if not records:
        raise DataError(f"{path} cannot be read as CSV: it is empty")
    names, *records = records
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise DataError(f"{path} has the column {twice[0]} twice: leave one of them out")
    whole = [
        (line, record + [""] * (len(names) - len(record)))
        for line, record in zip(lines[1:], records, strict=True)
        if any(cell.strip() for cell in record)
    ]
    columns = {name: [record[i] for _, record in whole] for i, name in enumerate(names)}
    return Table(columns, [line for line, _ in whole])


def _refuse(path: Path, table: Table, wrong, what: Callable[[int], str]) -> None:
    """Raise a DataError about the first record that is wrong, if any is: `what(i)` says it of record i."""
    if np.any(wrong):
        i = int(np.argmax(wrong))
        raise DataError(f"{path} line {table.lines[i]}{what(i)}")


def _row_numbers(path: Path, table: Table, pool: Pool) -> np.ndarray:
    """The column `row`; if there is also `id`, it must be that of the pool's row."""
    text = table.columns["row"]
    odd = [not (cell.isascii() and cell.isdigit() and len(cell) <= 18) for cell in text]
    _refuse(path, table, odd, lambda i: f": '{text[i]}' is no row number")
    rows = np.array(text, np.int64)
    if "id" in table.columns and pool.path is not None and len(rows) and rows.max() < len(pool.X):
        given, ids = table.columns["id"], store.ids(pool.path, rows)
        _refuse(  # labels of another pool would be taken for this one's
            path,
            table,
            np.not_equal(given, ids),
            lambda i: f": row {rows[i]} of the pool has the id '{ids[i]}', not '{given[i]}'",
        )
    return rows


def _rows_of_ids(path: Path, table: Table, pool: Pool) -> np.ndarray:
    if pool.path is None:
        raise DataError(f"{path} names rows by id, but this pool has no ids: use the column row")
    known = rows_by_id(pool.path, f"use the column row in {path}")
    given = table.columns["id"]
    rows = np.array([known.get(id_, -1) for id_ in given], np.int64)
    _refuse(path, table, rows < 0, lambda i: f": the pool has no id '{given[i]}'")
    return rows


def rows_by_id(path: Path, instead: str) -> dict[str, int]:
    """The row of each id of a stored pool. Raises DataError where two rows have the same; `instead` says what helps."""
    ids = store.ids(path)
    known = {id_: row for row, id_ in enumerate(ids)}
    if len(known) < len(ids):
        twice = next(id_ for row, id_ in enumerate(ids) if known[id_] != row)
        raise DataError(f"the pool has the id '{twice}' twice: {instead}")
    return known


def encode(labels, class_names, source) -> tuple[np.ndarray, int]:
    """Class numbers (L,) of labels, and C: by the pool's class names, or by what was labeled when it has none."""
    names = np.unique(np.asarray(labels, str)) if class_names is None else class_names
    known = {str(name): code for code, name in enumerate(names)}
    codes = np.array([known.get(str(label), -1) for label in labels], np.int64)
    if (codes < 0).any():
        raise DataError(f"{source}: {unknown('label', labels[int(np.argmax(codes < 0))], names)}")
    return codes, max(1, len(names))
