"""A labeling project in Label Studio: batches go there, annotations come back, until nobody asks for more.

Nothing is remembered but what the project folder and the server hold: which rows are there is read back from
`data.row`. A batch is in the folder before it is pushed. So a kill at any moment, or a server that answers too late,
neither loses nor doubles a label or a task.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxal.data.files import atomic_write
from jaxal.errors import ConfigError, DataError, unknown
from jaxal.labeling import entries, exports, rounds, tasks
from jaxal.labeling.entries import Entry
from jaxal.labeling.exports import ANNOTATOR
from jaxal.labeling.label_studio import Form, LabelStudio, ServerAway, form
from jaxal.labeling.project import Project

NAME = "label-studio.json"  # in the project folder: where its tasks are
_COUNTS = ("task_number", "total_annotations_number", "skipped_annotations_number", "num_tasks_with_annotations")
_ALL_AGAIN = 30.0  # seconds: edits of annotations change no count

Tell = Callable[[str], None]


class Place(NamedTuple):
    """Where the tasks of a project are."""

    url: str
    project: int


def place(folder: Path) -> Place | None:
    """Where the project was before; None where it was nowhere. Raises DataError for a damaged file."""
    path = folder / NAME
    try:
        return Place(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be used ({error}): delete it and name --url and --project again") from None


def connect(project: Project, server: LabelStudio, number: int | None, create: bool) -> "Studio":
    """Check that the server's project asks for the project's classes, and remember it.

    Args: number: of the server's project; None: the one that it was connected with before, or a new one (`create`).
    Raises ConfigError or DataError where they do not fit; ServerAway.
    """
    before = place(project.folder)
    if number is None:
        if before is not None and before.url == server.url:
            number = before.project
        elif create:
            if not project.settings.classes:
                raise ConfigError(
                    f"{project.folder} has no classes yet, which the form needs: name them at `label init`"
                )
            where = project.folder.resolve()
            mark = f"jaxal {where} {project.settings.fingerprint[:12]}"
            number = server.create(where.name, project.settings.classes, mark)
        else:
            raise ConfigError("name the project of Label Studio with --project, or make one with --create")
    about = server.about(number)
    found, classes = form(about), project.settings.classes
    missing = [name for name in classes if name not in found.classes]
    if missing:
        raise DataError(
            f"project {number} of Label Studio lacks the label {missing[0]}, a class of {project.folder}: add it"
        )
    more = [name for name in found.classes if name not in classes]
    if more and not project.settings.new_classes:
        what = unknown("label", more[0], classes)
        raise DataError(f"project {number} of Label Studio: {what}; take it out there, or begin with --new-classes")
    if more:
        project.add_classes(more)
    atomic_write(project.folder / NAME, json.dumps({"url": server.url, "project": number}).encode())
    return Studio(project, server, number, found)


class Studio:
    """A locked project and its tasks on a server."""

    def __init__(self, project: Project, server: LabelStudio, number: int, form: Form):
        self.project, self._server, self.number, self._form = project, server, number, form
        self._told: set[str] = set()
        self._counts: list[Any] = []
        self._pulled = 0.0

    def sync(self, tell: Tell) -> int:
        """Take what was answered, and bring what waits and is not there. Returns how many rows wait. Raises ServerAway.

        Cost: one small request where nothing has changed; else all tasks are read.
        """
        about = self._server.about(self.number)
        counts = [about.get(name) for name in _COUNTS]
        if counts != self._counts or time.monotonic() > self._pulled + _ALL_AGAIN:
            there = self._pull(tell)
            self._push([row for row in self.project.waiting() if row not in there])
            self._counts, self._pulled = counts, time.monotonic()
        return len(self.project.waiting())

    def next_round(self) -> None:
        """Choose the next batch and push it."""
        batch = rounds.next_batch(self.project)
        self._push(batch.rows.tolist())

    def _pull(self, tell: Tell) -> set[int]:
        """Bring the log up to date; returns the rows that are on the server."""
        by_row: dict[int, list[dict]] = {}
        for task in self._server.tasks(self.number):
            row = task["data"].get("row")
            if type(row) is int and 0 <= row < len(self.project.pool().X):
                by_row.setdefault(row, []).append(task)
            else:
                self._once(tell, f"task {task['id']} has no row of this pool in its data: it is left alone")
        found = [entry for row, twins in by_row.items() for entry in self._said(row, twins, tell)]
        entries.add(self.project, sorted(found, key=lambda entry: entry.time or ""))
        self._delete_twins(by_row, tell)
        return set(by_row)

    def _said(self, row: int, twins: list[dict], tell: Tell) -> Iterator[Entry]:
        """What annotators say of a row, and what they take back: an annotation that was deleted."""
        speakers = set()
        for task in twins:
            try:
                said = list(exports.label_studio_task(f"task {task['id']}", task))
            except (DataError, KeyError, TypeError) as error:
                self._once(tell, f"task {task['id']} is left out: {error}")
                return
            for entry in said:
                speakers.add(entry.annotator)
                if entry.label is None or entry.label in self.project.settings.classes:
                    yield entry
                else:
                    known = unknown("label", entry.label, self.project.settings.classes)
                    self._once(tell, f"{entry.where} is left out: {known}")
        word = self.project.words.get(row)
        for annotator in word.votes if word else ():
            if annotator is not None and annotator.startswith(ANNOTATOR) and annotator not in speakers:
                yield Entry("", row, None, None, annotator, action="withdraw")

    def _delete_twins(self, by_row: dict[int, list[dict]], tell: Tell) -> None:
        """Of tasks that are there twice, only one is asked: the others go, unless somebody has answered them."""
        surplus = []
        for twins in by_row.values():
            answered = [task for task in twins if task["annotations"]]
            open_ = sorted(task["id"] for task in twins if not task["annotations"])
            surplus += open_ if answered else open_[1:]
        if surplus:
            self._server.delete(self.number, surplus)
            tell(f"{len(surplus)} tasks were there twice and not answered: deleted")

    def _push(self, rows: list[int]) -> None:
        """Rows of batches, in this order, as tasks with rank and suggestion."""
        if not rows:
            return
        self._counts = []  # whatever comes of it, the next look is at all tasks
        batch = rounds.part(self.project, rows)
        pushed = tasks.label_studio_tasks(tasks.records(self.project, batch), tasks.agent(batch), self._form)
        self._server.push(self.number, pushed, tasks.agent(batch))

    def _once(self, tell: Tell, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            tell(what)


def loop(studio: Studio, *, every: float, most_open: int, most_rounds: int | None, tell: Tell, report: Tell) -> None:
    """Label until `most_rounds` rounds are answered, or the pool is, or Ctrl-C.

    Args:
        every: seconds between two looks at the server.
        most_open: the next batch comes when so many rows wait, or fewer.
        tell: gets notes. report: is called after each round.
    """
    away = 0.0
    while True:
        try:
            waiting = studio.sync(tell)
            if away:
                tell(f"the server answers again after {time.monotonic() - away:.0f} s")
                away = 0.0
            done = len(studio.project.batches())
            last = (most_rounds is not None and done >= most_rounds) or _nothing_left(studio.project)
            if waiting <= (0 if last else most_open):
                if not last:
                    studio.next_round()  # before the report, which takes a while: nobody waits for tasks
                if done:
                    report(f"round {done} is answered")
                if last:
                    return
                continue
        except ServerAway as error:
            if not away:
                tell(f"{' '.join(str(error).split())}; nothing is lost, it is asked again until it answers")
                away = time.monotonic()
        time.sleep(every)


def _nothing_left(project: Project) -> bool:
    return len(project.words) + len(project.waiting()) >= len(project.pool().X)
