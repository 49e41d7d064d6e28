"""Columns of text out of Parquet files, with pyarrow, which is imported when such a file is opened."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxal_extract import ExtractError
from jaxal_extract.texts.files import readable


def is_parquet(path: Path) -> bool:
    """Whether the name says that this is a Parquet file."""
    return path.suffix.lower() == ".parquet"


def header(path: Path) -> list[str]:
    """The names of the columns. Raises ExtractError."""
    with _opened(path) as file:
        return file.schema_arrow.names


def class_names(path: Path, column: str) -> list[str] | None:
    """What the file calls the classes that the numbers in `column` stand for; None if it does not say.

    `datasets` writes such names into the schema, so the hub's files have them.
    """
    with _opened(path) as file:
        written = (file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        names = json.loads(written)["info"]["features"][column]["names"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def read_columns(path: Path, names: list[str]) -> list[list[str]]:
    """The named columns, which must be there once, a list of cells each; a null is an empty cell.

    Numbers of classes that the file names become these names, and -1 an empty cell. Raises ExtractError for a file that
    is damaged, a column of neither texts nor numbers, and, naming the row, for bytes that are not UTF-8 or a class
    without a name.
    """
    with _opened(path) as file:
        table = file.read(columns=names)
    return [_cells(path, name, table[name]) for name in names]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A pyarrow.parquet.ParquetFile."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with readable(path):
        try:
            with pq.ParquetFile(path) as file:
                yield file
        except pa.ArrowException as error:
            raise ExtractError(f"{path} cannot be read as Parquet ({' '.join(str(error).split())})") from None


def _cells(path: Path, name: str, column) -> list[str]:
    import pyarrow.types as types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    if not (text or number or types.is_null(kind)):
        raise ExtractError(f"{path} holds {kind} in {name!r}, not texts")
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        row = _undecodable(column)
        raise ExtractError(f"{path} row {row} is not UTF-8 in {name!r}: write the file again from UTF-8") from None
    names = class_names(path, name) if types.is_integer(kind) else None
    if names is not None:
        return _named(path, name, values, names)
    return ["" if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]


def _named(path: Path, name: str, numbers: list[int | None], names: list[str]) -> list[str]:
    for row, number in enumerate(numbers, 1):
        if number is not None and not -1 <= number < len(names):
            raise ExtractError(f"{path} row {row} has {number} in {name!r}, but the file names {len(names)} classes")
    return ["" if number is None or number == -1 else names[number] for number in numbers]


def _undecodable(column) -> int:
    """The first row, counted from 1, whose bytes are no text."""
    for row, value in enumerate(column, 1):
        try:
            value.as_py()
        except UnicodeDecodeError:
            return row
    raise ValueError("all rows are texts")
