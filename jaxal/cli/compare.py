"""`jaxal compare`: two strategies against each other."""

import click

from jaxal.cli.interrupt import loading
from jaxal.cli.values import FILE


@click.command()
@click.argument("folder", type=FILE)
@click.option("--a", "-a", "a", required=True, metavar="NAME", help="A strategy.")
@click.option("--b", "-b", "b", required=True, metavar="NAME", help="The strategy it is compared with.")
def compare(folder, a, b):
    """Tell in five lines what one strategy gains over another, paired by seed.

    FOLDER is a results folder, or one with many below it.
    """
    with loading():
        from jaxal.reporting.compare import compare as compared
        from jaxal.reporting.study import Study
    click.echo(compared(Study(folder), a, b))
