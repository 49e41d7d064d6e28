"""From tables to splits that can be embedded: texts, class numbers and ids, checked row by row."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxal_extract import ExtractError
from jaxal_extract.tables import header, read_columns
from jaxal_extract.tasks import Task


class Columns(NamedTuple):
    """Which columns to read: one or two of text, one of labels (None: no labels), one of ids (None: row numbers)."""

    texts: list[str]
    label: str | None
    id: str | None


class Split(NamedTuple):
    """A table as read. texts: n strings for each text column; labels: n strings, or None; ids: n distinct strings."""

    path: Path
    texts: list[list[str]]
    labels: list[str] | None
    ids: list[str]


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


def read_split(path: Path, columns: Columns, strip_final: str) -> Split:
    """One file as a split. Raises ExtractError naming the row that has no text, or an id that another row has."""
    names = [*columns.texts, *(name for name in (columns.label, columns.id) if name)]
    cells = read_columns(path, names)
    texts = [[strip_end(text, strip_final) for text in cells.pop(0)] for _ in columns.texts]
    labels = [label.strip() for label in cells.pop(0)] if columns.label else None
    ids = cells.pop(0) if columns.id else [str(row) for row in range(len(texts[0]))]
    for number, row in enumerate(zip(*texts, strict=True), 1):
        if not any(text.strip() for text in row):
            raise ExtractError(f"{path} row {number} has no text in {' or '.join(columns.texts)}")
    seen = {}
    for number, id in enumerate(ids, 1):
        if seen.setdefault(id, number) != number:
            raise ExtractError(f"{path} rows {seen[id]} and {number} have the same id {shortened(id)}")
    return Split(path, texts, labels, ids)


def shortened(text: str) -> str:
    """The text in quotes, for an error: at most its first 60 characters."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def strip_end(text: str, characters: str) -> str:
    """`text` without whitespace and the given characters at its end, in any mixture; as it is without characters."""
    before = None
    while characters and text != before:
        before, text = text, text.rstrip().rstrip(characters)
    return text


def number_labels(train: Split, test: Split | None, unlabeled: bool) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """Class names, and the labels of train (N,) and test (M,) as int32 indices into them, -1 where unlabeled.

    Classes are the labels of train, sorted by name, or by value if all are integers. `unlabeled` allows train rows
    without label. Raises ExtractError naming the row that has no label, or one that train does not have.
    """
    names = set(train.labels or []) - {""}
    integers = all(re.fullmatch(r"-?[0-9]{1,640}", name) for name in names)  # Python may refuse longer ones
    names = sorted(names, key=(lambda name: (int(name), name)) if integers else None)
    index = {name: i for i, name in enumerate(names)}
    if unlabeled or train.labels is None:
        y = np.array([index.get(label, -1) for label in train.labels or [""] * len(train.ids)], np.int32)
    else:
        y = _indices(train, index)
    return names, y, None if test is None else _indices(test, index)


def _indices(split: Split, index: dict[str, int]) -> np.ndarray:
    labels = split.labels or []
    for number, label in enumerate(labels, 1):
        if label == "":
            raise ExtractError(f"{split.path} row {number} has no label; --unlabeled allows this in --train")
        if label not in index:
            raise ExtractError(
                f"{split.path} row {number} has the label {shortened(label)}, which no row of --train has"
            )
    return np.array([index[label] for label in labels], np.int32)


def unlike_endings(train: Split, test: Split) -> str | None:
    """A warning if the share of texts that end in a full stop differs by more than 50 points between the splits."""
    for ours, theirs in zip(train.texts, test.texts, strict=True):
        shares = [np.mean([text.rstrip().endswith(".") for text in texts]) for texts in (ours, theirs)]
        if abs(shares[0] - shares[1]) > 0.5:
            return (
                f"{shares[0]:.0%} of the train texts and {shares[1]:.0%} of the test texts end in a full stop; "
                "if one file has lost them, --strip-final . makes both alike"
            )
    return None
