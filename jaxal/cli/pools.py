"""`jaxal extract` and `jaxal list`: making pools, and which there are."""

import os
import signal
import subprocess
import sys

import click

from jaxal.cli.options import store_option
from jaxal.data.tasks import TASKS


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
    options_metavar="--name NAME [--train FILE] [OPTIONS]",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def extract(arguments):
    """Embed texts and store them as a pool (needs torch: pip install "jaxal[extract]")."""
    # Torch and JAX never share a process, nor a GPU's memory.
    command = [sys.executable, "-m", "jaxal_extract", *arguments]
    if sys.platform == "win32":
        sys.exit(subprocess.run(command, check=False).returncode)
    # This process becomes that one, so that whatever signal ends `jaxal extract` ends the work. Ctrl-C waits until
    # jaxal_extract is ready for it: Python would show a traceback while it starts.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.execv(sys.executable, command)


_MODEL = "{:<18}{:<50}{:>5}{:>8}  {:<13}{}"


@click.command(name="list")
@store_option
def list_(store):
    """List datasets (of the study, and stored), embedding models, and strategies."""
    from jaxal.data import store as stores
    from jaxal.strategies import IPS, names
    from jaxal_extract.models import static
    from jaxal_extract.models.table import MODELS

    click.echo(_row("dataset", "title", "classes", "train", "test", "budget", "batch", "stored with"))
    pools = stores.listing(store)
    for name, task in TASKS.items():
        there = ", ".join(_model(pool) for pool in pools if pool.dataset == name)
        sizes = task.n_classes, f"{task.n_train:,}", f"{task.n_test:,}", f"{task.budget:,}", task.batch_size
        click.echo(_row(name, task.title, *sizes, there))
    click.echo(_row("digits", "built in", 10, "1,437", 360, 735, 35, "pixels"))
    for pool in pools:
        if pool.dataset not in TASKS:
            sizes = pool.n_classes, f"{pool.n_train:,}", f"{pool.n_test:,}"
            sizes = ("", "", "") if pool.damage else sizes
            click.echo(_row(pool.dataset, "your own", *sizes, "", "", _model(pool)))
    for number, damage in enumerate(pool.damage for pool in pools if pool.damage):
        click.echo("\n" * (number == 0) + f"damaged: {click.format_filename(damage)}")
    click.echo("\n" + _MODEL.format("model", "Hugging Face hub", "D", "tokens", "pooling", "notes"))
    for name, model in MODELS.items():
        click.echo(_MODEL.format(name, *model.summary()).rstrip())
    for name, model in static.MODELS.items():
        click.echo(_MODEL.format(name, model.package, model.dim, "all", model.pooling, "a package, no torch"))
    click.echo("and the folder of a transformers model, openai:NAME at --base-url, or package.module:callable")
    click.echo(f"\nstrategies: {', '.join(names())}, or module:function\ninitial pool selections: {', '.join(IPS)}")
    click.echo(f"store: {click.format_filename(stores.root(store))}")


def _row(dataset, title, classes, train, test, budget, batch, models) -> str:
    return f"{dataset:<12}{title:<12}{classes:>8}{train:>10}{test:>8}{budget:>8}{batch:>7}   {models}".rstrip()


def _model(pool) -> str:
    state = " (damaged)" if pool.damage else "" if pool.finished else " (unfinished)"
    return pool.model + state
