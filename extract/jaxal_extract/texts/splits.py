"""From tables to splits that can be embedded: texts, labels and ids, checked row by row."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxal_extract import ExtractError
from jaxal_extract.texts.tables import header, read_columns
from jaxal_extract.texts.tasks import Task

_ESCAPES = {r"\n": "\n", r"\"": '"'}


class Columns(NamedTuple):
    """Which columns to read: one or two of text, one of labels (None: no labels), one of ids (None: row numbers)."""

    texts: list[str]
    label: str | None
    id: str | None


class Cleaning(NamedTuple):
    r"""What is done to every text: unescape makes line breaks of `\n` and quotes of `\"`; strip_start cuts whitespace
    off its start, strip_final these characters and whitespace off its end.
    """

    strip_final: str = ""
    strip_start: bool = False
    unescape: bool = False


class Split(NamedTuple):
    """Rows as read. source: the file, for errors; texts: n strings for each text column; labels: n strings, or None;
    ids: n distinct strings.
    """

    source: Path | str
    texts: list[list[str]]
    labels: list[str] | None
    ids: list[str]


class Texts(NamedTuple):
    """What there is to embed. classes: their names in the order of their numbers, where a task sets it; about: where
    the texts are from, for the manifest.
    """

    train: Split
    test: Split | None
    classes: list[str] | None
    about: dict


def choose_columns(path: Path, task: Task | None, texts: list[str], label: str | None, id: str | None) -> Columns:
    """The columns that were named, and a task's own where none was. Raises ExtractError listing those of the file."""
    there = header(path)
    if not texts:
        found = [names for names in task.texts if set(names) <= set(there)] if task else []
        if not found:
            raise ExtractError(
                f"name the text column of {path} with --text-column; its columns are: {', '.join(there)}"
            )
        texts = list(found[0])
    if label is None and task:
        label = next((name for name in task.labels if name in there), None)
        if label is None:
            raise ExtractError(
                f"name the label column of {path} with --label-column; its columns are: {', '.join(there)}"
            )
    return Columns(texts, label, id)


def read_split(path: Path, columns: Columns, cleaning: Cleaning) -> Split:
    """One file as a split. Raises ExtractError naming the row that has no text, or an id that another row has."""
    split = join_files([path], columns, cleaning, path)
    for number, row in enumerate(zip(*split.texts, strict=True), 1):
        if is_blank(row):
            raise ExtractError(f"{path} row {number} has no text in {' or '.join(columns.texts)}")
    return split


def join_files(files: Sequence[Path], columns: Columns, cleaning: Cleaning, source: Path | str) -> Split:
    """Several files as one split, in their order; rows may be without text. Raises ExtractError."""
    names = [*columns.texts, *(name for name in (columns.label, columns.id) if name)]
    parts = [read_columns(file, names) for file in files]
    cells = [[cell for part in parts for cell in part[i]] for i in range(len(names))]
    texts = [[clean(text, cleaning) for text in cells.pop(0)] for _ in columns.texts]
    labels = [label.strip() for label in cells.pop(0)] if columns.label else None
    ids = cells.pop(0) if columns.id else [str(row) for row in range(len(texts[0]))]
    seen = {}
    for number, id in enumerate(ids, 1):
        if seen.setdefault(id, number) != number:
            raise ExtractError(f"{source} rows {seen[id]} and {number} have the same id {shortened(id)}")
    return Split(source, texts, labels, ids)


def take(split: Split, rows: Sequence[int]) -> Split:
    """These rows of a split, counted from 0."""
    texts = [[column[row] for row in rows] for column in split.texts]
    labels = None if split.labels is None else [split.labels[row] for row in rows]
    return Split(split.source, texts, labels, [split.ids[row] for row in rows])


def is_blank(texts: Sequence[str]) -> bool:
    """Whether a row has nothing to embed: each of its texts is whitespace."""
    return not any(text.strip() for text in texts)


def shortened(text: str) -> str:
    """The text in quotes, for an error: at most its first 60 characters."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def clean(text: str, cleaning: Cleaning) -> str:
    """`text` after what `cleaning` asks for, see there."""
    if cleaning.unescape:
        text = re.sub(r'\\[n"]', lambda found: _ESCAPES[found[0]], text)
    if cleaning.strip_start:
        text = text.lstrip()
    return strip_end(text, cleaning.strip_final)


def strip_end(text: str, characters: str) -> str:
    """`text` without whitespace and the given characters at its end, in any mixture; as it is without characters."""
    before = None
    while characters and text != before:
        before, text = text, text.rstrip().rstrip(characters)
    return text
