"""The pool that a command works on, and care that its output does not overwrite what it reads."""

import os
from collections.abc import Iterable
from pathlib import Path

import click

from jaxal.cli.once import make_if_missing
from jaxal.data.tasks import TASKS
from jaxal.errors import ConfigError


def load_pool(dataset: str, model: str | None, store: str | None, yes: bool, outputs: Iterable[Path]):
    """The pool, made now if it is of the study and missing; it must not lie where the command is to write.

    One of a task of the study in other sizes says so.
    """
    from jaxal.data.pool import load

    outputs = list(outputs)
    make_if_missing(dataset, model, store, yes)
    if dataset.endswith(".npz"):
        refuse_overwriting(outputs, [Path(dataset)])
    pool = load(dataset, model, store)
    if pool.path is not None:
        refuse_overwriting(outputs, [pool.path])
    task = TASKS.get(pool.dataset)
    if task is not None:
        sizes = (len(pool.X), 0 if pool.X_test is None else len(pool.X_test), pool.n_classes)
        if sizes != (task.n_train, task.n_test, task.n_classes):
            click.echo(
                f"note: {pool.dataset} has {task.n_train:,} train rows, {task.n_test:,} test rows and {task.n_classes} "
                f"classes in the study; this pool has {sizes[0]:,}, {sizes[1]:,} and {sizes[2]}",
                err=True,
            )
    return pool


def refuse_overwriting(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse an output that is an input, by whatever name or link, or that lies in a folder that is one."""
    inputs = list(inputs)
    for output in outputs:
        place = Path(os.path.realpath(output))
        for path in inputs:
            if _same(output, path) or any(path.is_dir() and _same(folder, path) for folder in place.parents):
                raise ConfigError(f"--out would write {output} over {path}, which this command reads: choose another")


def _same(a: Path, b: Path) -> bool:
    try:
        return os.path.samefile(a, b)
    except OSError:  # one of them is not there
        return False
