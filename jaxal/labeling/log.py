"""The log of labels: a line for everything that an annotator said, in the order it came; lines are only ever added.

    {"row": 17, "id": "id-17", "label": "yes", "annotator": "ann", "seconds": 3.2, "time": "2026-11-28T05:00:00Z",
     "round": 2, "action": "label"}

`label` is null where the action is "skip" (no label can be given: the row is not asked again) or "withdraw" (the
annotator took back what they said). `annotator`, `seconds` and `time` are null where nobody knows.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from jaxal.data import files
from jaxal.errors import DataError

NAME = "labels.jsonl"
ACTIONS = ("label", "skip", "withdraw")


class Line(NamedTuple):
    """One line of the log."""

    row: int
    id: str
    label: str | None
    annotator: str | None
    seconds: float | None
    time: str | None  # UTC, ISO 8601
    round: int  # of the batch that holds the row; 0: none does
    action: str = "label"


_KINDS = {
    "row": int,
    "id": str,
    "label": str | None,
    "annotator": str | None,
    "seconds": int | float | None,
    "time": str | None,
    "round": int,
    "action": str,
}


def read(path: Path) -> tuple[list[Line], int]:
    """All lines, and the length in bytes of what is whole: what lies behind it was cut off while it was written.

    Raises DataError that names the first line which jaxal cannot have written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from None
    whole, lines = 0, []
    for number, text in enumerate(content.splitlines(keepends=True), 1):
        try:
            lines.append(_line(text))
        except (ValueError, RecursionError) as error:
            if not text.endswith(b"\n"):  # the last one
                break
            raise DataError(
                f"{path} line {number} is not as jaxal writes it ({error}): correct or delete it; "
                "to change a label, add the new one with `jaxal label add`"
            ) from None
        whole += len(text)
    return lines, whole


def _line(text: bytes) -> Line:
    values = json.loads(text)
    if not isinstance(values, dict) or set(values) != set(_KINDS):
        raise ValueError(f"it needs {', '.join(_KINDS)}")
    for name, kind in _KINDS.items():
        if not isinstance(values[name], kind) or isinstance(values[name], bool):
            raise ValueError(f"its {name} is {values[name]!r}"[:100])
    if values["action"] not in ACTIONS or (values["action"] == "label") != bool(values["label"]):
        raise ValueError(f"its action is {values['action']!r} and its label {values['label']!r}"[:100])
    return Line(**values)


def append(path: Path, lines: Iterable[Line], whole: int) -> None:
    """Add lines durably, behind the first `whole` bytes; what follows these was never whole. Raises StoreError.

    A kill leaves some of the lines, in order, and perhaps a part of one more, which `read` notices.
    """
    text = "".join(json.dumps(line._asdict(), ensure_ascii=False) + "\n" for line in lines)
    with files.one_sentence(path), open(path, "a+b") as file:
        file.truncate(whole)
        if whole and not _ends_with_newline(file):  # an editor left it out
            text = "\n" + text
        files.append(file, text.encode())


def _ends_with_newline(file) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


class Word(NamedTuple):
    """What counts of a row: the line that decides it, and what its annotators say."""

    line: Line  # the last one that gave the label, or that skipped the row
    votes: dict[str | None, str | None]  # annotator -> label, None: skipped; in the order they first spoke

    @property
    def label(self) -> str | None:
        """The row's label; None where all who saw it skipped it."""
        return self.line.label


def words(lines: Iterable[Line]) -> dict[int, Word]:
    """What counts, by row, in the order in which rows were first spoken of; rows of which all was withdrawn are absent.

    The last line of an annotator counts, and the majority of annotators; of equals the one that spoke last. A line
    without an annotator replaces all before it, and is replaced by any after it.
    """
    by_row: dict[int, dict[str | None, Line]] = {}
    for line in lines:
        votes = by_row.setdefault(line.row, {})
        if line.annotator is None:
            votes.clear()
        votes.pop(None, None)
        votes.pop(line.annotator, None)  # the order of a row's votes is that of their last words
        if line.action != "withdraw":
            votes[line.annotator] = line
    return {row: Word(_decided(votes), {a: line.label for a, line in votes.items()})
            for row, votes in by_row.items() if votes}  # fmt: skip


def _decided(votes: dict[str | None, Line]) -> Line:
    given = [line for line in votes.values() if line.label is not None]
    if not given:
        return list(votes.values())[-1]
    labels = [line.label for line in given]
    return max(enumerate(given), key=lambda at: (labels.count(at[1].label), at[0]))[1]


def disagreed(found: dict[int, Word]) -> Iterator[int]:
    """The rows to which annotators gave different labels."""
    return (row for row, word in found.items() if len({label for label in word.votes.values() if label}) > 1)
