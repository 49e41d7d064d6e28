"""Texts of the study's tasks from the Hugging Face hub, or from what its cache on this machine holds of them.

`datasets.load_dataset(id, revision=...)` does not look into the hub's cache when there is no network, only among copies
of its own. So huggingface_hub fetches the files of a task's splits, or finds them in its cache, and they are read as
anybody's files are: one path, with a network or without. Nothing of a repository is run.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import click

from jaxal_extract import ExtractError
from jaxal_extract.patience import first_answer
from jaxal_extract.texts import parquet
from jaxal_extract.texts.labels import name_classes, rename
from jaxal_extract.texts.splits import Cleaning, Columns, Split, Texts, is_blank, join_files, take
from jaxal_extract.texts.tasks import Task

_PARTS = re.compile(r"-\d+-of-(\d+)")


def read_task(name: str, task: Task, columns: Columns, cleaning: Cleaning) -> Texts:
    """Fetch and read the splits of a task. Rows whose label is -1, and rows without any text, are left out and counted.

    Raises ExtractError if the hub cannot be reached and its cache lacks a file, or if what is there has other splits,
    columns, sizes or classes than the task.
    """
    folder = _snapshot(name, task)
    splits = []
    for parts, size in ((task.train, task.facts.n_train), ((task.test,), task.facts.n_test)):
        files = [folder / file for part in parts for file in split_files(_listed(folder), task.folder, part)]
        split = join_files(files, columns, cleaning, f"{task.repository}@{folder.name[:10]} {'+'.join(parts)}")
        if len(split.ids) != size:
            raise _unlike(split, f"{len(split.ids):,} rows", f"{name} has {size:,}")
        splits.append(_with_our_names(name, task, split, files[0], columns.label))
    classes = None
    if columns.label in task.labels:  # and not another column that was asked for
        splits, classes = name_classes(task, splits)
        for split in splits:
            _check_labels(name, task, split)
    (train, lost_train), (test, lost_test) = map(_usable, splits)
    about = {"hub": task.repository, "revision": folder.name, "left_out": {"train": lost_train, "test": lost_test}}
    return Texts(train, test, classes, about)


def _with_our_names(name: str, task: Task, split: Split, file: Path, label: str | None) -> Split:
    """The split with our names of classes that are known by number only.

    Raises ExtractError if `file`, one of its own, names other classes than the task.
    """
    if label not in task.labels or not parquet.is_parquet(file) or (names := parquet.class_names(file, label)) is None:
        return split
    if task.by_number and len(names) == len(task.classes):
        return rename(split, dict(zip(names, task.classes, strict=True)))
    lacking, unknown = _without(task.classes, names), _without(names, task.classes)
    if lacking or unknown:
        raise _unlike(
            split, f"{len(names)} classes{_listing(unknown)}", f"{name} has {len(task.classes)}{_listing(lacking)}"
        )
    return split


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    return [name for name in names if name not in others]


def _listing(names: list[str]) -> str:
    return f" (among them {', '.join(names[:5])})" if names else ""


def _unlike(split: Split, found: str, expected: str) -> ExtractError:
    return ExtractError(
        f"{split.source} has {found} where {expected}: if these are the texts that you want, give their files with "
        "--train FILE --test FILE"
    )


def _check_labels(name: str, task: Task, split: Split) -> None:
    """Raises ExtractError for a label that is none of the task's classes."""
    numbers = [str(number) for number in range(len(task.classes))]
    other = sorted(set(split.labels or []) - {"", *task.classes}, key=lambda label: (label in numbers, label))
    if other:
        row = (split.labels or []).index(other[0]) + 1
        known = f"{', '.join(task.classes[:20])}, or the numbers 0 to {len(task.classes) - 1}"
        raise _unlike(split, f"the label {other[0][:60]!r} in row {row}", f"{name} has {known}")


def _usable(split: Split) -> tuple[Split, dict[str, int]]:
    """The rows with a label and a text, and how many others there are, by what they lack."""
    unlabeled = [label == "" for label in split.labels or []]
    blank = [is_blank(texts) for texts in zip(*split.texts, strict=True)]
    counts = {"without a label (-1)": sum(unlabeled), "without a text": sum(blank)}
    left_out = {what: count for what, count in counts.items() if count}
    for what, count in left_out.items():
        click.echo(f"{split.source}: {count:,} rows {what} are left out", err=True)
    rows = [row for row, lacks in enumerate(zip(unlabeled, blank, strict=True)) if not any(lacks)]
    return (take(split, rows) if left_out else split), left_out


# ---- files of a repository


def split_files(names: Sequence[str], folder: str | None, split: str) -> list[str]:
    """Which files of a repository hold a split, in order; none if one of them is absent, or if two folders have some.

    Repositories have them as train.csv, data/train-00000-of-00002.parquet, or default/train/0000.parquet; `folder` is
    the first part of these paths, where that tells several data sets apart.
    """
    begin = re.escape(f"{folder}/") if folder else ""
    split = re.escape(split)
    forms = rf"{split}\.(parquet|csv)|{split}-\d+-of-\d+[^/]*\.parquet|{split}/\d+\.parquet"
    found = sorted(name for name in names if re.fullmatch(rf"{begin}([^/]+/)*({forms})", name))
    folders = {name.rpartition("/")[0] for name in found}
    parts = {int(of[1]) for name in found if (of := _PARTS.search(name, name.rfind("/") + 1))}
    return found if len(folders) == 1 and parts <= {len(found)} else []


def _listed(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def _has_splits(folder: Path, task: Task) -> bool:
    return all(split_files(_listed(folder), task.folder, split) for split in (*task.train, task.test))


# ---- the hub and its cache


def _snapshot(name: str, task: Task) -> Path:
    """The folder of the hub's cache with the files of a task's splits; its name is the commit.

    What is not there is fetched. A commit that is there is not asked for again; a branch is, if the hub can be reached.
    """
    import huggingface_hub

    begin = f"{task.folder}/" if task.folder else ""
    files = [f"{begin}*{split}*.{kind}" for split in (*task.train, task.test) for kind in ("parquet", "csv")]
    place = {"repo_id": task.repository, "repo_type": "dataset", "revision": task.revision, "allow_patterns": files}
    cached = _cached(task, place)
    if cached and (_offline() or cached.name == task.revision):
        return cached
    if _offline():
        raise _unreachable(name, task, "HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set")
    ask = huggingface_hub.HfApi().dataset_info
    try:
        commit = first_answer(lambda: ask(task.repository, revision=task.revision)).sha
    except Exception as error:  # of requests, httpx or httpx2: what huggingface_hub uses depends on its version
        if cached:
            return cached
        status = getattr(getattr(error, "response", None), "status_code", None)
        why = f"the hub answers {status}" if status else f"the hub cannot be reached: {type(error).__name__}"
        raise _unreachable(name, task, why) from None
    if cached and cached.name == commit:
        return cached
    click.echo(f"{name}: fetching {task.repository} at {task.revision}", err=True)
    return _fetched(name, task, place)


def _cached(task: Task, place: dict) -> Path | None:
    import huggingface_hub

    try:
        folder = Path(huggingface_hub.snapshot_download(**place, local_files_only=True))
    except (OSError, ValueError):  # what is not there, or not whole: LocalEntryNotFoundError is both
        return None
    return folder if _has_splits(folder, task) else None


def _fetched(name: str, task: Task, place: dict) -> Path:
    import huggingface_hub

    if not os.isatty(2):
        huggingface_hub.utils.disable_progress_bars()
    try:
        folder = Path(huggingface_hub.snapshot_download(**place))
    except Exception as error:  # as above, or the disk is full
        raise ExtractError(
            f"{name}: fetching {task.repository} stopped ({type(error).__name__}: {str(error)[:150]}); the same "
            "command goes on where it stopped"
        ) from None
    if not _has_splits(folder, task):
        raise ExtractError(
            f"{task.repository}@{folder.name[:10]} lacks Parquet or CSV files of {', '.join((*task.train, task.test))} "
            f"(it has {', '.join(_listed(folder)[:10]) or 'none'}): give --train FILE --test FILE"
        )
    return folder


def _offline() -> bool:
    import huggingface_hub

    datasets = os.environ.get("HF_DATASETS_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    return datasets or huggingface_hub.constants.HF_HUB_OFFLINE


def _unreachable(name: str, task: Task, why: str) -> ExtractError:
    import huggingface_hub

    return ExtractError(
        f"{name} is {task.repository} at {task.revision}, which {huggingface_hub.constants.HF_HUB_CACHE} does not have "
        f"({why}): give --train FILE --test FILE, or set HF_HOME to a cache that has it"
    )
