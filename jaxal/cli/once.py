"""A pool of the study that is not in the store yet is made, once, when a command needs it."""

import importlib.util
import shlex
import subprocess
import sys

import click

from jaxal.data.tasks import TASKS
from jaxal.errors import DataError

_BYTES = 2  # a number in the store: float16


def make_if_missing(dataset: str, model: str | None, root: str | None, yes: bool) -> None:
    """Extract a task of the study that the store lacks, in a process of its own, when the user agrees.

    Does nothing for pools that are there and for other datasets. Raises DataError with the one command to run where
    that cannot be done, or is not wanted; ends with extraction's own exit code if that fails.
    """
    if dataset not in TASKS or not _is_missing(dataset, model, root):
        return
    model = model or "minilm"
    options = ["--name", dataset, "--model", model, *(["--store", root] if root else [])]
    command = f"jaxal extract {shlex.join(options)}"
    if importlib.util.find_spec("torch") is None:
        raise DataError(
            f'{dataset} is not in the store: pip install "jaxal[extract]", then make it with `{command}` '
            "(with --train FILE --test FILE where there is no network)"
        )
    if not (yes or (sys.stdin.isatty() and _agreed(dataset, model, root))):
        raise DataError(f"{dataset} is not in the store: make it with `{command}`, or give --yes to do that now")
    done = subprocess.run([sys.executable, "-m", "jaxal_extract", *options], check=False)  # torch and JAX stay apart
    if done.returncode:
        raise click.exceptions.Exit(done.returncode if done.returncode > 0 else 128 - done.returncode)


def _is_missing(dataset: str, model: str | None, root: str | None) -> bool:
    """Whether no finished pool answers to this; not if the model is unknown and others are there: a slip of the pen."""
    from jaxal.data import store
    from jaxal_extract.models import table

    if store.is_pool(dataset):  # a folder of that name comes first
        return False
    finished = [p.model for p in store.listing(root) if p.dataset == dataset and p.finished]
    if model is None or not finished:
        return not finished
    return model not in finished and table.dimension(model) is not None


def _agreed(dataset: str, model: str, root: str | None) -> bool:
    from jaxal.data import store
    from jaxal_extract.models import table

    task = TASKS[dataset]
    n = task.n_train + task.n_test
    known = table.dimension(model)
    size = f"about {n * known * _BYTES / 1e9:.2g} GB" if known else f"{n:,} vectors"
    where = click.format_filename(store.root(root))
    return click.confirm(
        f"{dataset} with {model} is not in the store {where}: embed its {n:,} texts now, once ({size}, and what has to "
        "be downloaded)?",
        default=True,
        err=True,
    )
