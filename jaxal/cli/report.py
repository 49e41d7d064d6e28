"""`jaxal report`, and what `run` and `ips` print when they are done."""

from pathlib import Path

import click

from jaxal.cli.inputs import refuse_overwriting
from jaxal.cli.interrupt import loading
from jaxal.cli.options import store_option
from jaxal.cli.progress import Bar
from jaxal.cli.values import FILE, FILE_TO_WRITE, FOLDER
from jaxal.errors import DataError


@click.command()
@click.argument("folder", type=FILE)
@click.option("--out", "-o", type=FILE_TO_WRITE, help="Draw the learning curves of one results folder here, no more.")
@click.option("--to", type=FOLDER, help="Folder of the report [default: FOLDER/report].")
@click.option("--rules", metavar="POOL", help="Say what stopping rules would have cost, no more; on this pool.")
@store_option
def report(folder, out, to, rules, store):
    """Write the report of a study: a page of HTML, every figure and every table.

    FOLDER is a results folder, or one with many below it. Of a results folder the learning curves are drawn into
    FOLDER/curves.png too, and their table is printed.

    With --rules the fits of one results folder are computed again from the picks, to see when each stopping rule would
    have fired. At a price of so many labels a point of accuracy, its regret is what that cost beyond the cheapest
    cycle, in labels.
    """
    if out is not None:
        refuse_overwriting([out], [path for path in files(folder) if path.name != "curves.png"])
    with loading():
        from jaxal.reporting.curves import draw, table
    if rules is not None:
        click.echo(_rules(folder, _curves(folder), rules, store))
        return
    if out is not None or (folder / "results.parquet").exists():
        curves = _curves(folder)
        figure = draw(curves, out or folder / "curves.png")
        click.echo(table(curves))
        click.echo(f"\nfigure   {figure}")
    if out is None:
        _write(folder, to or folder / "report", store)


def _curves(folder: Path):
    """The curves of one results folder. Raises DataError where there are none."""
    from jaxal.experiments import results

    curves = results.read(folder).results
    if curves.empty:
        raise DataError(f"{folder} has no results.parquet with finished runs: `jaxal run --out {folder}` makes one")
    return curves


def _rules(folder: Path, curves, dataset: str, root: str | None) -> str:
    with loading():
        from jaxal.cli.startup import start_jax
        from jaxal.data.pool import load
        from jaxal.experiments.replay import replay
        from jaxal.reporting.stopping import regrets, table

        start_jax()
    model = None if dataset.endswith(".npz") else curves["model"].iloc[0]
    with Bar(curves["run_id"].nunique(), unit="run") as bar:
        seen = replay(folder, load(dataset, model, root), on_run=bar.step)
    return table(regrets(seen))


def _write(folder: Path, to: Path, root: str | None) -> None:
    """The page of a study, with a bar while it is made, and where it is."""
    with loading():
        from tqdm import tqdm

        from jaxal.reporting.page import write
        from jaxal.reporting.study import Study
    study = Study(folder)
    with tqdm(unit="section", disable=None, leave=False) as bar:

        def done(title: str, total: int) -> None:
            bar.total = total
            bar.set_description(title, refresh=False)
            bar.update()

        page = write(study, to, root, done)
    click.echo(f"report   {page}")


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
    peak = ", ".join(f"{gb:.2f} GB ({of})" for of, gb in result.peak_memory_gb.items() if gb is not None)
    if peak:
        click.echo(f"peak memory {peak}")
    unconverged = int((~curves["converged"]).sum())
    if unconverged:
        click.echo(f"warning: {unconverged} of {len(curves)} fits did not converge (column `converged`)", err=True)
    click.echo(f"results  {out / 'results.parquet'}\npicks    {out / 'picks.parquet'}\nfigure   {figure}")
