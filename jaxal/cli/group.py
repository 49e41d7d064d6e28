"""The command `jaxal` and its verbs, and what becomes of their errors.

A new verb is a file beside this one with a click command, and its name in the loop at the end.
"""

import os
import sys
import traceback
from typing import NoReturn

import click

from jaxal import __version__
from jaxal.cli.audit import audit
from jaxal.cli.compare import compare
from jaxal.cli.fit import fit, predict
from jaxal.cli.interrupt import interruptible
from jaxal.cli.ips import ips
from jaxal.cli.label import label
from jaxal.cli.pools import extract, list_
from jaxal.cli.query import query
from jaxal.cli.report import report
from jaxal.cli.run import run
from jaxal.cli.store import store
from jaxal.cli.sweep import sweep
from jaxal.errors import ConfigError, JaxalError, StoreError, StrategyError, outcome


class _Verbs(click.Group):
    """Ends with one line and an exit code for what is the user's to put right; a fault of ours shows its traceback."""

    def invoke(self, ctx):
        try:
            with interruptible():  # click would answer a KeyboardInterrupt outside of it with a word of its own
                return super().invoke(ctx)
        except click.BadParameter as error:
            _fail(ConfigError(error.format_message()))
        except (JaxalError, KeyboardInterrupt) as error:
            _fail(error)

    def main(self, *arguments, **settings):
        try:
            return super().main(*arguments, **settings)
        except OSError as error:
            if traceback.extract_tb(error.__traceback__)[-1].name != "echo":  # it is not click that could not print
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python writes what is left when it ends
            code, line = outcome(StoreError(f"cannot write to standard output ({error.strerror})"))
            click.echo(line, err=True)
            sys.exit(code)


def _fail(error: JaxalError | KeyboardInterrupt) -> NoReturn:
    if isinstance(error, StrategyError) and error.__cause__ is not None:
        # its author has to see where; the traceback begins in their code
        click.echo("".join(traceback.format_exception(error.__cause__)), err=True, nl=False)
    code, line = outcome(error)
    click.echo(line, err=True)
    raise click.exceptions.Exit(code) from error


@click.group(name="jaxal", cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jaxal")
def group():
    """Active learning on frozen text embeddings: exact strategies on the full pool, all seeds at once."""


for _verb in (run, ips, sweep, report, compare, extract, query, label, audit, fit, predict, list_, store):
    group.add_command(_verb)
