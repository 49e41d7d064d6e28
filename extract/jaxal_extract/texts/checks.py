"""Warnings about texts and labels, with numbers: what is legal, and yet most often a mistake."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from jaxal.data import store
from jaxal.data.texts import folded
from jaxal.errors import StoreError
from jaxal_extract.texts.splits import Split
from jaxal_extract.texts.tasks import Task

_UNEVEN = 20  # times as many rows in the largest class as in the smallest


def of_texts(train: Split, test: Split | None) -> Iterator[str]:
    """Warnings about what the two splits have in common, and should, or should not."""
    if test:
        yield from filter(None, (unlike_endings(train, test), in_both(train, test)))


def of_labels(names: Sequence[str], y: np.ndarray, y_test: np.ndarray | None) -> Iterator[str]:
    """Warnings about classes of y (N,) and y_test (M,), indices into names or -1, that have few rows or none."""
    for split, labels in (("train", y), ("test", y_test)):
        if labels is None or not names:
            continue
        counts = np.bincount(labels[labels >= 0], minlength=len(names))
        empty = [name for name, count in zip(names, counts, strict=True) if count == 0]
        if empty:
            yield f"{len(empty)} of {len(names)} classes have no row in {split}: {_listed(empty)}"
        few, many = int(np.argmin(np.where(counts, counts, counts.max()))), int(np.argmax(counts))
        if split == "train" and counts[many] > _UNEVEN * counts[few]:
            yield (
                f"the classes are very uneven: {names[many]} has {counts[many]:,} rows of train, {names[few]} has "
                f"{counts[few]:,}; accuracy hides the small ones, look at macro-F1 and balanced accuracy too"
            )


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


def in_both(train: Split, test: Split) -> str | None:
    """A warning if texts of test, of pairs whole pairs, are in train too, as far as letters and digits go."""
    ours = {_normal(row) for row in zip(*train.texts, strict=True)}
    rows = [row for row, texts in enumerate(zip(*test.texts, strict=True), 1) if _normal(texts) in ours]
    if not rows:
        return None
    return (
        f"{len(rows):,} of the {len(test.ids):,} test texts ({len(rows) / len(test.ids):.1%}) are in train too, but "
        f"for case, blanks and signs (the first is row {rows[0]} of test): accuracy on them is too high"
    )


def unlike_task(name: str, task: Task, train: Split) -> str | None:
    """A warning for labels that are neither the names nor the numbers of a task's classes: they stay as they are."""
    labels = sorted(set(train.labels or []) - {""})
    if not labels:
        return None
    shown, classes = ", ".join(label[:30] for label in labels[:3]), _listed(list(task.classes))
    return (
        f"{train.source} has labels like {shown}, which are neither the classes of {name} ({classes}) "
        f"nor their numbers, 0 to {len(task.classes) - 1}: they are kept, in sorted order, which is not that of the hub"
    )


def other_order(names: Sequence[str], pool: Path) -> str | None:
    """A warning if a finished pool beside `pool`, of the same data, has these classes in another order, or others."""
    for path in sorted(pool.parent.iterdir()) if pool.parent.is_dir() else []:
        try:
            stored = store.manifest(path)["class_names"] if path != pool else []
        except StoreError:  # no pool, or unfinished, or damaged: no business of this one
            continue
        if stored and names and stored != list(names):
            same = sorted(stored) == sorted(names)
            a, b = next(pair for pair in zip_longest(stored, names, fillvalue="no class") if pair[0] != pair[1])
            what = "these classes in another order" if same else "other classes"
            return f"{path} has {what} ({a} where {b} is here): class numbers of the two pools do not mean the same"
    return None


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _normal(texts: Sequence[str]) -> int:
    """A hash: a set of the texts themselves would be as large as they are."""
    return hash(tuple(map(folded, texts)))
