"""From labels that were read to class names and class numbers."""

import re

import numpy as np

from jaxal.errors import did_you_mean
from jaxal_extract import ExtractError
from jaxal_extract.texts.splits import Split, shortened
from jaxal_extract.texts.tasks import Task


def name_classes(task: Task, splits: list[Split]) -> tuple[list[Split], list[str] | None]:
    """The splits with a task's class names for labels, and its classes in the order of the hub's numbers.

    Labels may be these names, or the hub's numbers, whose -1 is no label. If they are neither, or there are none, the
    splits come back as they are, with None. Names among which one is unknown are for `number_labels` to refuse.
    """
    found = {label for split in splits for label in split.labels or []} - {""}
    names = {str(number): name for number, name in enumerate(task.classes)} | {"-1": ""}
    if found & set(task.classes):
        return splits, list(task.classes)
    if found and found <= set(names):
        return [rename(split, names) for split in splits], list(task.classes)
    return splits, None


def rename(split: Split, names: dict[str, str]) -> Split:
    """The split with other labels; those that `names` does not have stay."""
    return split._replace(labels=[names.get(label, label) for label in split.labels or []])


def number_labels(
    train: Split, test: Split | None, unlabeled: bool, classes: list[str] | None = None
) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """Class names, and the labels of train (N,) and test (M,) as int32 indices into them, -1 where unlabeled.

    Without `classes` they are the labels of train, sorted by name, or by value if all are integers. `unlabeled` allows
    train rows without label. Raises ExtractError naming the row that has no label, or one that is no class.
    """
    names = _sorted(set(train.labels or []) - {""}) if classes is None else classes
    other = "which no row of --train has" if classes is None else f"which is no class of the task ({_shown(names)})"
    y = _indices(train, names, unlabeled, other)
    return names, y, None if test is None else _indices(test, names, False, other)


def _sorted(names: set[str]) -> list[str]:
    integers = all(re.fullmatch(r"-?[0-9]{1,640}", name) for name in names)  # Python may refuse longer ones
    return sorted(names, key=(lambda name: (int(name), name)) if integers else None)


def _shown(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _indices(split: Split, names: list[str], unlabeled: bool, other: str) -> np.ndarray:
    if split.labels is None:
        return np.full(len(split.ids), -1, np.int32)
    index = {name: i for i, name in enumerate(names)} | ({"": -1} if unlabeled else {})
    for number, label in enumerate(split.labels, 1):
        if label in index:
            continue
        row = f"{split.source} row {number} has"
        if label == "":
            raise ExtractError(f"{row} no label; --unlabeled allows this in --train")
        raise ExtractError(f"{row} the label {shortened(label)}{did_you_mean(label, names)}, {other}")
    return np.array([index[label] for label in split.labels], np.int32)
