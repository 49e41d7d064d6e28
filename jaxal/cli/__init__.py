"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

import click

from jaxal import __version__
from jaxal.cli.pools import extract, list_
from jaxal.cli.query import query
from jaxal.cli.run import ips, report, run
from jaxal.errors import JaxalError


class _Main(click.Group):
    """Turns a JaxalError into one line and exit code 2; anything else is a fault of ours, with its traceback."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except JaxalError as e:
            error = click.ClickException(" ".join(str(e).splitlines()))
            error.exit_code = 2
            raise error from e


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jaxal")
def main():
    """Active learning on frozen text embeddings: exact strategies on the full pool, all seeds at once."""


for _command in (run, ips, extract, query, list_, report):
    main.add_command(_command)
