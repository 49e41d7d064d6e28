"""Rows of our own invention for the ten tasks, in the files and folders that the hub has, as its cache holds them.

Functions here run in a process of their own, which may load torch and whose environment says where the cache is.
"""

import contextlib
import io
import json
import os
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from test_tables import write_csv
from tiny_bert import run_main

from jaxal_extract import extraction
from jaxal_extract.texts import hub
from jaxal_extract.texts.splits import Cleaning, Columns
from jaxal_extract.texts.tasks import TASKS

COMMIT = "0123456789abcdef0123456789abcdef01234567"  # of what the table names a branch for

# Texts and labels of train and test: labels are the hub's numbers, or names in FNC-1's CSV files.
ROWS = {
    "agnews": (
        [("Harbour opens. The new harbour opens on Monday.", 0), ("Late goal. They won.", 1), ("Bread is dearer.", 2)],
        [("A probe lands on a moon.", 3), ("Rates stay.", 2)],
    ),
    "banking77": (
        [
            ("where is my new card", 11),
            ("refund is not there", 51),
            ("why was it reverted?", 53),
            ("how old must i be", 1),
        ],
        [("is my card on its way", 11), ("the rate is wrong", 32)],
    ),
    "dbpedia": (
        [(" Elmwood Mills is a maker of paper.", 0), (" The grey heron is a bird.", 9), (" Low Tide is a film.", 12)],
        [(" Brook Hall is a school.", 1), (" Elm Lake is a lake.", 7)],
    ),
    "fnc1": (
        [
            ("Bridge to close", "The bridge will close,\nthe town says.", "agree"),
            ("Cat elected", "No cat ran.", "disagree"),
        ],
        [("Rain ahead", 'A recipe for soup: take "one" onion.', "unrelated"), ("NA", "nan", "discuss")],
    ),
    "mnli": (
        [
            ("He left early.", "He stayed.", 2),
            ("Two dogs run.", "Animals move.", 0),
            ("She reads.", "She reads Proust.", 1),
        ],
        [("It snows.", "It is July.", 1), ("The shop is shut.", "It is open.", 2)],
    ),
    "qnli": (
        [("Who built it?", "It was built by monks.", 0), ("When?", "The river is long.", 1)],
        [("How high is it?", "It is 80 m high.", 0)],
    ),
    "sst2": ([("a dull hour ", 0), ("bright and warm ", 1)], [("I would watch it again.", 1), ("Never again.", 0)]),
    "trec6": (
        [
            ("What does NATO mean ?", 0),
            ("Who painted it ?", 3),
            ("What is a quark ?", 2),
            ("How many moons are there ?", 5),
        ],
        [("Where is Lima ?", 4), ("What bird is blue ?", 1)],
    ),
    "wikitalk": (
        [("Thanks for the edit.", 0), ("You are a fool.", 1), ("See the talk page.", 0)],
        [("Go away, idiot.", 1)],
    ),
    "yelp5": (
        [('Cold soup.\\n\\nNever \\"again\\".', 0), ("Fine.", 2), ("Lovely people.", 4)],
        [("A bit loud.\\nGood food.", 3)],
    ),
}
CLASSES = {name: list(task.classes) for name, task in TASKS.items()} | {"wikitalk": ["non", "tox"], "fnc1": None}
FOLDERS = {"agnews": "data", "banking77": "data", "dbpedia": "dbpedia_14", "yelp5": "yelp_review_full"}


def splits(name):
    """The rows of a task by the hub's split; wikitalk's train rows are in two."""
    train, test = ROWS[name]
    parts = {"train": train} if name != "wikitalk" else {"train": train[:2], "validation": train[2:]}
    return parts | {TASKS[name].test: test}


def repository(name, folder, rows=None, classes=None, columns=None):
    """Write the files of a task's repository, as they lie on the hub, into `folder`; returns their names."""
    task, rows = TASKS[name], rows or splits(name)
    columns, classes = columns or [*task.texts[0], task.labels[0]], CLASSES[name] if classes is None else classes
    names = []
    for split, part in rows.items():
        cells = dict(zip(columns, map(list, zip(*part, strict=True)), strict=True))
        if name == "fnc1":
            names.append(f"{split}.csv")
            write_csv(_place(folder, names[-1]), columns, *cells.values())
        elif name in ("trec6", "wikitalk"):
            names.append(f"default/{split}/0000.parquet")
            _write(_place(folder, names[-1]), cells, {columns[-1]: classes})
        else:
            parts = 2 if name == "yelp5" and split == "train" else 1
            for part in range(parts):
                names.append(f"{task.folder or FOLDERS[name]}/{split}-{part:05d}-of-{parts:05d}.parquet")
                half = {key: values[part * 2 :][: 2 if parts == 2 else None] for key, values in cells.items()}
                _write(_place(folder, names[-1]), half, {columns[-1]: classes})
    _place(folder, "README.md").write_text("---\nlicense: other\n---\n# Rows\n")
    if task.folder:  # what else GLUE has
        hidden = {task.texts[0][0]: ["?"], task.texts[0][-1]: ["?"], "label": [-1]}
        others = ["mnli/test_matched", "mnli/validation_mismatched"] if name == "mnli" else [f"{task.folder}/test"]
        for other in (*others, "ax/test"):
            _write(_place(folder, f"{other}-00000-of-00001.parquet"), hidden, {"label": classes})
    if name == "fnc1":
        write_csv(_place(folder, "validation.csv"), columns, ["Left out"], ["It is not used."], ["agree"])
    return names


def _place(folder, name):
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write(path, cells, classes):
    features = {name: {"dtype": "string", "_type": "Value"} for name in cells}
    features |= {name: {"names": names, "_type": "ClassLabel"} for name, names in classes.items() if names}
    info = json.dumps({"info": {"features": features}})
    pq.write_table(pa.table(cells).replace_schema_metadata({"huggingface": info}), path)


def cache(home, name, **changes):
    """A task's repository in the cache of HF_HOME `home`, with links to blobs and, for a branch, its reference."""
    task = TASKS[name]
    base = Path(home) / "hub" / f"datasets--{task.repository.replace('/', '--')}"
    commit = task.revision if len(task.revision) == 40 else COMMIT
    snapshot = base / "snapshots" / commit
    with TemporaryDirectory() as folder:
        repository(name, folder, **changes)
        for file in Path(folder).rglob("*.*"):
            link = _place(snapshot, file.relative_to(folder))
            blob = _place(base, f"blobs/{sha256(file.read_bytes()).hexdigest()}")
            blob.write_bytes(file.read_bytes())
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    if commit != task.revision:
        reference = base / "refs" / task.revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)
    return snapshot


def sized(name, n_train=None, n_test=None):
    """The task with the sizes of our rows in place of the hub's."""
    task, (train, test) = TASKS[name], ROWS[name]
    facts = task.facts._replace(n_train=n_train or len(train), n_test=n_test or len(test))
    return task._replace(facts=facts)


# ---- in a process of its own


def read(name, n_train=None, n_test=None, cleaning=None, columns=None, **changes):
    """`hub.read_task` for a task with the sizes of our rows."""
    task = sized(name, n_train, n_test)._replace(**changes)
    columns = columns or Columns(list(task.texts[0]), task.labels[0], None)
    return hub.read_task(name, task, columns, cleaning or Cleaning())


def said(*arguments):
    """What `read` says on stderr."""
    with contextlib.redirect_stderr(io.StringIO()) as err:
        read(*arguments)
    return err.getvalue()


def command(*arguments):
    """The command line, with exit code and output, while the tasks have the sizes of our rows."""
    with mock.patch.dict(extraction.TASKS, {name: sized(name) for name in TASKS}):
        return run_main(arguments)


def by_datasets(snapshot, name, split):
    """Texts and labels of a split as `datasets` reads them, the labels by name."""
    import datasets

    datasets.disable_progress_bars()
    task = TASKS[name]
    files = sorted(
        str(file)
        for file in (Path(snapshot) / (task.folder or "")).rglob("*.*")
        if split in (file.parent.name, file.stem.split("-")[0])
    )
    kind = "csv" if name == "fnc1" else "parquet"
    options: Any = {"na_filter": False} if kind == "csv" else {}
    table = datasets.load_dataset(kind, data_files=files, split="train", **options)
    label = table.features[task.labels[0]]
    labels = [label.int2str(number) if kind == "parquet" else number for number in table[task.labels[0]]]
    return [list(table[column]) for column in task.texts[0]], labels


def loaded(*names):
    """Which of these modules the process has imported."""
    import sys

    return [name for name in names if name in sys.modules]
