"""A labeling project: a folder that holds all there is to know of it, in files that any editor shows.

    <project>/
        project.json          the pool, how rows are chosen from it, and the classes, to which some projects add
        labels.jsonl          the log of labels, see log.py
        batches/0001.json     the rows of round 1 in pick order: why, scores, seed; written before anybody sees them
        .lock                 keeps a second writer out while one writes; means nothing when left behind

Whatever kills a command, each file holds what it held before, or all of the new; the log may lose its last line.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxal.data import pool as pools
from jaxal.data.files import atomic_write, locked, remove_temporaries
from jaxal.data.pool import Pool
from jaxal.errors import DataError, unknown
from jaxal.labeling import log
from jaxal.labeling.log import Line, Word

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
SETTINGS, BATCHES = "project.json", "batches"


@dataclass(frozen=True)
class Settings:
    """project.json."""

    pool: str  # the folder of a stored pool, an .npz file, or digits
    dataset: str
    model: str
    fingerprint: str  # of the pool as it was at `init`
    strategy: str
    batch_size: int
    classes: tuple[str, ...]  # by class number
    new_classes: bool = False  # whether labels that are no class yet become one
    cold_start: str = "typiclust"  # chooses while no row has a label
    seed: int = 0
    variant: str = "official"
    C: float = 1.0
    normalize: bool = False
    options: dict[str, Any] = field(default_factory=dict)  # of the strategy


class Batch(NamedTuple):
    """The rows of one round, as they were chosen."""

    round: int  # from 1
    rows: np.ndarray  # (B,) int64, in pick order
    ids: list[str]
    scores: list[float | None]  # of the strategy; None where infinite
    suggestions: list[str | None]  # what the classifier takes them for; None before there is one
    confidences: list[float | None]  # its probability of that
    strategy: str
    why: str  # a sentence
    seed: int
    n_labeled: int  # rows that the classifier knew
    seconds: float  # to fit and choose
    time: str


class Project:
    """An open project. What it reads it reads once: open it again to see what other processes add.

    Args: folder: of the project. Raises: DataError where it is none, is damaged, or is of a newer jaxal.
    """

    def __init__(self, folder: Path, settings: Settings):
        self.folder, self.settings = Path(folder), settings
        self._pool: Pool | None = None

    @classmethod
    def open(cls, folder: str | Path) -> "Project":
        """The project in `folder`. Cost: reads project.json; everything else when it is asked for."""
        return cls(Path(folder), _settings(Path(folder) / SETTINGS))

    def pool(self) -> Pool:
        """The pool, normalized if the project says so. Cost: reads and hashes all of it, the first time.

        Raises DataError or StoreError where it is gone, or holds other embeddings than at `init`.
        """
        if self._pool is None:
            pool = pools.load(self.settings.pool)
            if pool.fingerprint != self.settings.fingerprint:
                raise DataError(
                    f"{self.settings.pool} has other embeddings or labels than when {self.folder} was made: "
                    "put the old pool back, or begin a new project"
                )
            self._pool = pool.normalized() if self.settings.normalize else pool
        return self._pool

    @cached_property
    def _log(self) -> tuple[list[Line], int]:
        return log.read(self.folder / log.NAME)

    @property
    def lines(self) -> list[Line]:
        """Every whole line of the log, as it was written."""
        return self._log[0]

    @cached_property
    def torn(self) -> bool:
        """Whether the log ends in a part of a line, which nobody reads and the next writer cuts off."""
        path = self.folder / log.NAME
        return path.is_file() and path.stat().st_size > self._log[1]

    @cached_property
    def words(self) -> dict[int, Word]:
        """What counts of each row that was spoken of, see `log.words`. Raises DataError for a log edited wrongly."""
        found, known = log.words(self.lines), set(self.settings.classes)
        for row, word in found.items():
            for label in word.votes.values():
                if label is not None and label not in known:
                    raise DataError(
                        f"{self.folder / log.NAME}: row {row}: {unknown('label', label, self.settings.classes)}; "
                        f"correct the line, or add the class to {self.folder / SETTINGS}"
                    )
        return found

    def batches(self) -> list[Batch]:
        """The rounds so far, in order. Raises DataError for one that is missing or damaged."""
        return self._batches

    @cached_property
    def _batches(self) -> list[Batch]:
        paths = sorted((self.folder / BATCHES).glob("[0-9]*.json"), key=lambda path: int(path.stem))
        return [_batch(path, number) for number, path in enumerate(paths, 1)]

    @cached_property
    def rounds(self) -> dict[int, tuple[int, int]]:
        """Row -> its round and place in it, of every row that was chosen."""
        return {row: (b.round, i) for b in self.batches() for i, row in enumerate(b.rows.tolist())}

    def labels(self) -> "pd.DataFrame":
        """A line for each labeled row: row, id, label, code, annotator, seconds, time, round, annotators, agreement.

        By round and pick order; rows that no batch holds come first, as they were labeled. `code` is the class number;
        annotator, seconds and time are those of the line that decides; agreement is the share of the annotators who
        skipped it not that gave this label.
        """
        import pandas as pd  # here, since it takes a quarter of a second, which most commands do without

        codes = {name: code for code, name in enumerate(self.settings.classes)}
        table = pd.DataFrame([_record(word, codes) for word in self._labeled], columns=[*_LABELS])
        return table.astype(_LABELS)

    def labeled(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows (L,) int64 and class numbers (L,) int64, in the order of `labels`: what a classifier is fitted on."""
        codes = {name: code for code, name in enumerate(self.settings.classes)}
        rows = [word.line.row for word in self._labeled]
        return np.array(rows, np.int64), np.array([codes[str(word.line.label)] for word in self._labeled], np.int64)

    @property
    def _labeled(self) -> list[Word]:
        words = [word for word in self.words.values() if word.label is not None]
        return sorted(words, key=lambda word: self.rounds.get(word.line.row, (0, 0)))

    def waiting(self) -> list[int]:
        """The rows of all rounds, in pick order, that were neither labeled nor skipped."""
        return [row for batch in self.batches() for row in batch.rows.tolist() if row not in self.words]

    def skipped(self) -> list[int]:
        """The rows that have no label since all who saw them skipped them."""
        return [row for row, word in self.words.items() if word.label is None]

    # ---- writing, all of it under the lock

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out. What was read before is forgotten: it may have been another's turn since.

        Raises StoreError when another process writes to the project.
        """
        busy = f"another process is working on {self.folder}: wait for it, or end it first"
        with locked(self.folder, busy):
            remove_temporaries(self.folder)
            remove_temporaries(self.folder / BATCHES)
            self.settings = _settings(self.folder / SETTINGS)
            self.forget()
            yield

    def forget(self) -> None:
        """Read the log and the batches again when they are next asked for."""
        for name in ("_log", "torn", "words", "_batches", "rounds"):
            self.__dict__.pop(name, None)

    def append(self, lines: list[Line]) -> None:
        """Add lines to the log, durably. Under the lock."""
        log.append(self.folder / log.NAME, lines, self._log[1])
        self.forget()

    def add_batch(self, batch: Batch) -> None:
        """Write a round's rows, before anybody sees them. Under the lock."""
        record = batch._asdict() | {"rows": batch.rows.tolist()}
        path = self.folder / BATCHES / f"{batch.round:04d}.json"
        atomic_write(path, (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode())
        self.forget()

    def add_classes(self, names: list[str]) -> None:
        """Give class numbers to new labels, behind those that are there. Under the lock."""
        self.settings = replace(self.settings, classes=(*self.settings.classes, *names))
        save(self.folder, self.settings)
        self.forget()


_LABELS = {
    "row": "int64",
    "id": str,
    "label": str,
    "code": "int64",
    "annotator": object,
    "seconds": "float64",
    "time": object,
    "round": "int64",
    "annotators": "int64",
    "agreement": "float64",
}


def _record(word: Word, codes: dict[str, int]) -> tuple:
    line, given = word.line, [label for label in word.votes.values() if label is not None]
    assert line.label is not None
    told = line.annotator, line.seconds, line.time, line.round
    return line.row, line.id, line.label, codes[line.label], *told, len(given), given.count(line.label) / len(given)


def save(folder: Path, settings: Settings) -> None:
    """Write project.json."""
    record = {"format": FORMAT, **asdict(settings)}
    atomic_write(folder / SETTINGS, (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode())


def _settings(path: Path) -> Settings:
    try:
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict) or not isinstance(record.get("format"), int):
            raise ValueError("it has no format")
        if record.pop("format") > FORMAT:
            raise DataError(f"{path} was written by a newer jaxal: update jaxal to work on this project")
        _check(record, Settings.__dataclass_fields__)
        if not all(isinstance(name, str) and name for name in record["classes"]):
            raise ValueError("its classes are not names")
        if len(set(record["classes"])) < len(record["classes"]):
            raise ValueError("it has a class twice")
        named: dict[str, Any] = record | {"classes": tuple(record["classes"])}
        return Settings(**named)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path.parent} is no labeling project: `jaxal label init` makes one") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be used ({error}): put back what it was") from None


PER_ROW = ("ids", "scores", "suggestions", "confidences")


def _batch(path: Path, number: int) -> Batch:
    try:
        record = json.loads(path.read_bytes())
        _check(record, Batch._fields)
        if record["round"] != number:
            raise ValueError(f"round {number} is missing")
        rows = np.array(record["rows"])
        if rows.dtype.kind != "i" or any(len(record[name]) != len(rows) for name in PER_ROW):
            raise ValueError(f"its {', '.join(PER_ROW)} do not match its rows")
        return Batch(**record | {"rows": rows.astype(np.int64)})
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise DataError(f"{path} is not as jaxal wrote it ({error}): put back what it was") from None


def _check(record, names) -> None:
    """Raise ValueError unless `record` is an object with just these names."""
    if not isinstance(record, dict):
        raise ValueError("it is no object")
    odd = set(record) ^ set(names)
    if odd:
        raise ValueError(f"{'no' if min(odd) in names else 'unknown'} '{min(odd)}'")
