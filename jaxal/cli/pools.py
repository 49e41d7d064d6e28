"""`jaxal extract` and `jaxal list`: making pools, and which there are."""

import os
import signal
import subprocess
import sys

import click

from jaxal.data.tasks import TASKS


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
    options_metavar="--name NAME --train FILE [OPTIONS]",
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


@click.command(name="list")
@click.option("--store", metavar="DIR", help="Root of the store [default: $JAXAL_STORE, else the user cache].")
def list_(store):
    """List datasets (of the study, and stored), embedding models, and strategies."""
    from jaxal.data import store as stores
    from jaxal.strategies import IPS, names
    from jaxal_extract.models import MODELS

    click.echo(
        f"{'dataset':<12}{'title':<12}{'classes':>8}{'train':>10}{'test':>8}{'budget':>8}{'batch':>7}   stored with"
    )
    pools = stores.listing(store)
    for name, task in TASKS.items():
        there = ", ".join(p.model + " (unfinished)" * (not p.finished) for p in pools if p.dataset == name)
        click.echo(
            f"{name:<12}{task.title:<12}{task.n_classes:>8}{task.n_train:>10,}{task.n_test:>8,}{task.budget:>8,}"
            f"{task.batch_size:>7}   {there}"
        )
    click.echo(f"{'digits':<12}{'built in':<12}{10:>8}{1437:>10,}{360:>8,}{735:>8}{35:>7}   pixels")
    for p in pools:
        if p.dataset not in TASKS:
            name = p.model + " (unfinished)" * (not p.finished)
            click.echo(
                f"{p.dataset:<12}{'your own':<12}{p.n_classes:>8}{p.n_train:>10,}{p.n_test:>8,}{'':>15}   {name}"
            )
    click.echo(f"\nmodels: {', '.join(MODELS)}, or a local folder")
    click.echo(f"strategies: {', '.join(names())}, or module:function\ninitial pool selections: {', '.join(IPS)}")
    click.echo(f"store: {stores.root(store)}")
