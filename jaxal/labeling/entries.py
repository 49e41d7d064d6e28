"""Labels that come from outside, checked against a project and added to its log."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxal.data import store
from jaxal.errors import DataError, unknown
from jaxal.labeling.labels import rows_by_id
from jaxal.labeling.log import Line
from jaxal.labeling.project import Project
from jaxal.labeling.rounds import ids_of, now


class Entry(NamedTuple):
    """What a file or a server says of one row: its number or its id, and what else is known."""

    where: str  # "labels.csv line 3": how errors name it
    row: int | None
    id: str | None
    label: str | None
    annotator: str | None = None
    seconds: float | None = None
    time: str | None = None
    action: str = "label"
    text: str | None = None  # to see that it is this pool's row


class Added(NamedTuple):
    """What came of entries."""

    lines: list[Line]  # as they are in the log now
    corrected: int  # of the lines: their annotator had said something else before
    unchanged: int  # entries that say what the log says
    new_classes: list[str]


def add(project: Project, entries: Sequence[Entry], new_classes: bool | None = None) -> Added:
    """Add what is new in `entries` to the log of the project, which is locked: all of them, or none if one is wrong.

    Of several entries of one annotator for one row the last counts.

    Args: new_classes: whether labels may bring classes; None: as the project says.
    Raises DataError that names the first entry at fault. Cost: O(entries), and for ids without row one pass over them.
    """
    entries = list({(e.row, e.id if e.row is None else None, e.annotator): e for e in entries}.values())
    rows, ids = _rows(project, entries)
    known = project.settings.classes
    fresh = list(
        dict.fromkeys(entry.label for entry in entries if entry.label is not None and entry.label not in known)
    )
    if fresh and not (project.settings.new_classes if new_classes is None else new_classes):
        where = next(entry.where for entry in entries if entry.label == fresh[0])
        raise DataError(f"{where}: {unknown('label', fresh[0], known)}; --new-classes adds it to the project")
    votes = {row: dict(word.votes) for row, word in project.words.items()}
    lines, count = [], Counter()
    for entry, row, id_ in zip(entries, rows, ids, strict=True):
        said = votes.setdefault(row, {})
        change = _change(said, entry)
        count[change] += 1
        if change == "unchanged":
            continue
        lines.append(Line(row, id_, entry.label, entry.annotator, entry.seconds, entry.time or now(),
                          project.rounds.get(row, (0, 0))[0], entry.action))  # fmt: skip
        if entry.annotator is None:
            said.clear()
        said.pop(None, None)
        said.pop(entry.annotator, None)
        if entry.action != "withdraw":
            said[entry.annotator] = entry.label
    if fresh:
        project.add_classes(fresh)  # first: a log with labels of no class would be refused
    if lines:
        project.append(lines)
    return Added(lines, count["corrected"], count["unchanged"], fresh)


def _change(said: dict[str | None, str | None], entry: Entry) -> str:
    """What an entry does to what the annotators of its row said so far: new, corrected or unchanged."""
    if entry.action == "withdraw":
        return "corrected" if entry.annotator in said else "unchanged"
    if entry.annotator in said:
        return "unchanged" if said[entry.annotator] == entry.label else "corrected"
    if entry.annotator is None and said:
        return "unchanged" if set(said.values()) == {entry.label} else "corrected"
    return "new"


def _rows(project: Project, entries: Sequence[Entry]) -> tuple[list[int], list[str]]:
    """The row and the id of each entry. Raises DataError for one that this pool does not have."""
    pool = project.pool()
    n = len(pool.X)
    by_id = _index(project) if any(entry.row is None for entry in entries) else None
    rows = []
    for entry in entries:
        row = entry.row
        if row is None:
            assert by_id is not None
            row = by_id.get(str(entry.id), -1)
            if row < 0:
                raise DataError(f"{entry.where}: the pool has no id '{entry.id}'")
        if not 0 <= row < n:
            raise DataError(f"{entry.where}: the pool has no row {row}: it has rows 0 to {n - 1}")
        rows.append(row)
    ids = ids_of(pool, np.array(rows, np.int64))
    texts = store.texts(pool.path, rows) if pool.path and any(entry.text for entry in entries) else None
    for i, (entry, row) in enumerate(zip(entries, rows, strict=True)):
        if entry.row is not None and entry.id is not None and entry.id != ids[i]:
            raise DataError(f"{entry.where}: row {row} of the pool has the id '{ids[i]}', not '{entry.id}'")
        if texts and entry.text is not None and entry.text.split() != texts[i].split():
            raise DataError(f"{entry.where}: row {row} of the pool has another text: these labels are of another pool")
    return rows, ids


def _index(project: Project) -> dict[str, int]:
    path = project.pool().path
    if path is None:
        return {str(row): row for row in range(len(project.pool().X))}
    return rows_by_id(path, "name rows by number, in `row`")
