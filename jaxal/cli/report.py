"""`jaxal report`, and what `run` and `ips` print when they are done."""

from pathlib import Path

import click

from jaxal.cli.inputs import refuse_overwriting
from jaxal.cli.interrupt import loading
from jaxal.cli.values import FILE, FILE_TO_WRITE
from jaxal.errors import DataError


@click.command()
@click.argument("folder", type=FILE)
@click.option("--out", "-o", type=FILE_TO_WRITE, help="Figure to write [default: FOLDER/curves.png].")
def report(folder, out):
    """Draw the learning curves of a results folder and print their table."""
    if out is not None:
        refuse_overwriting([out], [path for path in files(folder) if path.name != "curves.png"])
    with loading():
        from jaxal.experiments import results
        from jaxal.reporting.curves import draw, table
    curves = results.read(folder).results
    if curves.empty:
        raise DataError(f"{folder} has no results.parquet with finished runs: `jaxal run --out {folder}` makes one")
    figure = draw(curves, out or folder / "curves.png")
    click.echo(table(curves))
    click.echo(f"\nfigure   {figure}")


def files(folder: Path | None) -> list[Path]:
    """What a results folder holds; None is a folder not yet chosen."""
    names = ("results.parquet", "picks.parquet", "config.json", "curves.png")
    return [] if folder is None else [folder / name for name in names]


def show(result, out: Path) -> None:
    """Draw what an experiment measured into its results folder, and print the table and where everything is."""
    with loading():
        from jaxal.reporting.curves import draw, table
    curves = result.to_pandas()
    figure = draw(curves, out / "curves.png")
    click.echo(table(curves))
    click.echo(f"\ncompiling took {result.compile_seconds:.1f} s, in no number above" * (result.compile_seconds > 0.05))
    unconverged = int((~curves["converged"]).sum())
    if unconverged:
        click.echo(f"warning: {unconverged} of {len(curves)} fits did not converge (column `converged`)", err=True)
    click.echo(f"results  {out / 'results.parquet'}\npicks    {out / 'picks.parquet'}\nfigure   {figure}")
