"""Options that several commands share, and how their values are read."""

import json

import click

from jaxal.data.tasks import TASKS
from jaxal.errors import ConfigError


def pool_options(command):
    for option in (
        click.option("--store", metavar="DIR", help="Root of the store [default: $JAXAL_STORE, else the user cache]."),
        click.option(
            "--model", "-m", help="Embedding model [default: the only one stored for the dataset, else minilm]."
        ),
        click.option(
            "--dataset",
            "-d",
            required=True,
            help="A dataset in the store, the path of a stored pool or .npz, or digits.",
        ),
    ):
        command = option(command)
    return command


def load_pool(dataset, model, store):
    """The pool; a stored task of other sizes than the study's says so in one line."""
    from jaxal.data.pool import load

    pool = load(dataset, model, store)
    task = TASKS.get(pool.dataset)
    if task is not None:
        here = (len(pool.X), 0 if pool.X_test is None else len(pool.X_test), pool.n_classes)
        if here != (task.n_train, task.n_test, task.n_classes):
            click.echo(
                f"note: {pool.dataset} has {task.n_train:,} train rows, {task.n_test:,} test rows and {task.n_classes} "
                f"classes in the study; this pool has {here[0]:,}, {here[1]:,} and {here[2]}",
                err=True,
            )
    return pool


def parse_seeds(text: str):
    """'5' is a count; '5:50' a range; '0,3,7' and '7,' are lists."""
    try:
        if ":" in text:
            begin, end = text.split(":")
            return range(int(begin), int(end))
        if "," in text:
            return [int(seed) for seed in text.split(",") if seed]
        return int(text)
    except ValueError:
        raise ConfigError(f"--seeds {text}: give a count (5), a range (5:50) or a list (0,3,7)") from None


def parse_settings(items) -> dict:
    """{'dropquery': {'n_masks': 20}} from 'dropquery.n_masks=20'; values are read as JSON where they can be."""
    settings: dict[str, dict] = {}
    for item in items:
        name, equals, value = item.partition("=")
        strategy, dot, setting = name.rpartition(".")
        if not (equals and dot and strategy and setting):
            raise ConfigError(f"--set {item}: write it as strategy.name=value, such as dropquery.n_masks=20")
        try:
            settings.setdefault(strategy, {})[setting] = json.loads(value)
        except ValueError:
            settings[strategy][setting] = value
    return settings
