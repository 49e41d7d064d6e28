"""Columns of text out of CSV, TSV and JSONL files, each also gzipped, and of Parquet, told apart by their extension.

CSV is quoted in the standard way, with newlines allowed inside quotes; TSV has no quoting; JSONL is one object a line.
All are UTF-8. Rows are counted from 1 and without the header in every error.

The text formats are read here, since the readers of pyarrow and pandas (which `datasets` uses) lose what a user needs
to mend a file. Of the broken tables in tests/test_tables.py pyarrow 26 takes as good: a column that is there twice (it
keeps the last), blank rows, JSON rows without the field, lists in place of texts, and numbers that are too long (as
infinity). It refuses ragged rows and bytes that are not UTF-8 without saying in which row. pandas fills ragged rows up,
or moves their cells one column on.
"""

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from jaxal.errors import did_you_mean
from jaxal_extract import ExtractError
from jaxal_extract.texts import parquet
from jaxal_extract.texts.files import readable

FORMATS = ".csv, .tsv, .jsonl, one of these with .gz, or .parquet"


def header(path: Path) -> list[str]:
    """The names of the columns; of a JSONL file, the keys of its first object. Raises ExtractError."""
    if parquet.is_parquet(path):
        return parquet.header(path)
    for _, record in _records(path):
        return list(record)
    raise ExtractError(f"{path} is empty")


def read_columns(path: Path, names: list[str]) -> list[list[str]]:
    """The named columns, a list of cells each; a null of JSON or Parquet is an empty cell.

    Class numbers in a Parquet file that names its classes become these names, and -1 an empty cell. Raises
    ExtractError, naming file and row, for a missing file or column, bytes that are not UTF-8, a broken or ragged row,
    or a file without rows.
    """
    there = header(path)
    for name in names:
        if name not in there:
            shown = ", ".join(column[:40] for column in there)
            raise ExtractError(f"{path} has no column {name!r}{did_you_mean(name, there)}; its columns are: {shown}")
        if there.count(name) > 1:
            raise ExtractError(f"{path} has the column {name!r} {there.count(name)} times: rename all but one")
    columns = parquet.read_columns(path, names) if parquet.is_parquet(path) else _text_columns(path, names, there)
    if not columns[0]:
        raise ExtractError(f"{path} has a header but no rows")
    return columns


def _text_columns(path: Path, names: list[str], there: list[str]) -> list[list[str]]:
    columns = [[] for _ in names]
    for number, record in _records(path):
        if number == 0:
            continue
        if isinstance(record, list):
            if len(record) != len(there):
                raise ExtractError(f"{path} row {number} has {len(record)} cells, the header has {len(there)}")
            record = dict(zip(there, record, strict=True))
        for column, name in zip(columns, names, strict=True):
            column.append(_cell(record, name, path, number))
    return columns


def _cell(record: dict, name: str, path: Path, number: int) -> str:
    if name not in record:
        raise ExtractError(f"{path} row {number} has no {name!r}")
    value = record[name]
    if isinstance(value, dict | list):
        raise ExtractError(f"{path} row {number} holds a {type(value).__name__} in {name!r}, not a text")
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _records(path: Path) -> Iterator[tuple[int, list | dict]]:
    """(0, header cells), then (row, cells); of a JSONL file (row, object). Blank lines are allowed at the end only."""
    readers = {".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl}
    reader = readers.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    if reader is None:
        raise ExtractError(f"{path} has an unknown extension: use {FORMATS}")
    blank = None
    for number, record in enumerate(reader(path), 1 if reader is _jsonl else 0):
        if not record:
            blank = number if blank is None else blank
        elif blank is not None:
            raise ExtractError(f"{path} row {blank} is blank")
        else:
            yield number, record


def _csv(path: Path) -> Iterator[list[str]]:
    csv.field_size_limit(2**31 - 1)  # the default refuses texts of more than 131,072 characters
    reader = csv.reader(_lines(path), strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise ExtractError(f"{path} line {reader.line_num} is not valid CSV ({error})") from None


def _tsv(path: Path) -> Iterator[list[str]]:
    for line in _lines(path):
        cells = line.rstrip("\r\n")
        yield cells.split("\t") if cells else []


def _jsonl(path: Path) -> Iterator[dict]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            yield {}
            continue
        try:
            record = json.loads(line, object_pairs_hook=_distinct)
            json.dumps(record, ensure_ascii=False).encode()  # a lone surrogate, "\ud800", is legal JSON but no text
        except RecursionError:
            raise ExtractError(f"{path} line {number} is nested too deeply") from None
        except ValueError as error:
            raise ExtractError(f"{path} line {number} is not valid JSON ({error})") from None
        if not isinstance(record, dict) or not record:
            raise ExtractError(f"{path} line {number} is not a JSON object with fields")
        yield record


def _distinct(fields: list[tuple]) -> dict:
    record = dict(fields)
    if len(record) < len(fields):
        names = [name for name, _ in fields]
        raise ValueError(f"the field {max(names, key=names.count)!r} is there twice")
    return record


def _lines(path: Path) -> Iterator[str]:
    """Lines with their ends, decoded one by one so that an error can say where."""
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    number = 1
    try:
        with readable(path), opener(path, "rb") as file:
            for number, line in enumerate(file, 1):
                text = line.decode("utf-8")
                yield text.removeprefix("\ufeff") if number == 1 else text
    except UnicodeDecodeError as error:
        raise ExtractError(f"{path} line {number} is not UTF-8 ({error.reason}): save the file as UTF-8") from None
