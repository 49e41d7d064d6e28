"""`jaxal run`, `jaxal ips`, and `jaxal report` on what they wrote."""

from pathlib import Path

import click

from jaxal.cli.options import load_pool, parse_seeds, parse_settings, pool_options
from jaxal.cli.progress import Bar
from jaxal.cli.startup import start_jax
from jaxal.errors import ConfigError, DataError


@click.command()
@pool_options
@click.option("--strategies", "-s", help="Names, comma-separated; your own as module:function [default: all].")
@click.option("--ips", default="random", show_default=True, help="Initial pool selection.")
@click.option("--seeds", default="5", show_default=True, help="How many, or which: 5, 5:50, or 0,3,7.")
@click.option("--cycles", type=int, default=20, show_default=True, help="Queries after the initial pool.")
@click.option("--batch-size", "-b", type=int, help="Rows a query [default: the study's, else min(50, N/40)].")
@click.option("--initial", "-k", type=int, help="Rows of the initial pool [default: as for --batch-size].")
@click.option("--pool-size", type=int, help="Cap the pool, to one fixed subset a dataset [default: the full pool].")
@click.option("--variant", default="official", show_default=True, help="official, or skactiveml as in the study.")
@click.option("--C", "C", type=float, default=1.0, show_default=True, help="Inverse L2 strength of the classifier.")
@click.option("--normalize", is_flag=True, help="Scale embeddings to unit length.")
@click.option(
    "--warm-start/--no-warm-start", default=True, show_default=True, help="Start each fit at the one before it."
)
@click.option("--set", "set_", multiple=True, metavar="STRATEGY.NAME=VALUE", help="Setting of a strategy; repeatable.")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Results folder [default: runs/DATASET-MODEL-HASH].")
@click.option("--force", is_flag=True, help="Run again what the results folder has.")
def run(dataset, model, store, strategies, seeds, initial, set_, out, force, **settings):
    """Run strategies on a pool and measure their learning curves.

    A run that was interrupted goes on where it stopped when the same command is given again; one that is finished is
    not repeated. More seeds or strategies extend a results folder.
    """
    seeds = parse_seeds(seeds)
    settings["settings"] = parse_settings(set_)
    names = None if strategies is None else [name.strip() for name in strategies.split(",") if name.strip()]
    start_jax()
    from jaxal.experiments import experiment
    from jaxal.experiments.config import check, configure, default_folder
    from jaxal.reporting.curves import draw, table

    pool = load_pool(dataset, model, store)
    config = configure(pool, names, seeds, initial_size=initial, **settings)
    check(pool, config)
    out = out or default_folder(pool, config)
    n, dim = pool.X.shape
    click.echo(
        f"{pool.dataset} ({pool.model}): {min(n, config.pool_size or n):,} rows x {dim}, "
        f"{pool.n_classes} classes; {len(config.seeds)} seeds, "
        f"{config.initial_size} + {config.cycles} x {config.batch_size} labels",
        err=True,
    )
    with Bar(len(config.strategies) * config.cycles) as bar:
        try:
            result = experiment.run_config(pool, config, out=out, force=force, on_cycle=bar.show)
        except KeyboardInterrupt:
            raise click.ClickException("interrupted: the same command goes on where this stopped") from None
    curves = result.to_pandas()
    figure = draw(curves, out / "curves.png")
    click.echo(table(curves))
    click.echo(f"\ncompiling took {result.compile_seconds:.1f} s, in no number above" * (result.compile_seconds > 0.05))
    unconverged = int((~curves["converged"]).sum())
    if unconverged:
        click.echo(f"warning: {unconverged} of {len(curves)} fits did not converge (column `converged`)", err=True)
    click.echo(f"results  {out / 'results.parquet'}\npicks    {out / 'picks.parquet'}\nfigure   {figure}")


@click.command()
@pool_options
@click.option("--selections", "-s", default="random,coreset,typiclust", show_default=True, help="Comma-separated.")
@click.option("--sizes", "-k", help="K0, comma-separated [default: 13 from 20 to 5000, clipped to the pool].")
@click.option("--seeds", default="5", show_default=True, help="How many, or which: 5, 5:50, or 0,3,7.")
@click.option("--pool-size", type=int, help="Cap the pool, to one fixed subset a dataset [default: the full pool].")
@click.option("--variant", default="official", show_default=True, help="official, or skactiveml as in the study.")
@click.option("--C", "C", type=float, default=1.0, show_default=True, help="Inverse L2 strength of the classifier.")
@click.option("--normalize", is_flag=True, help="Scale embeddings to unit length.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="Results folder [default: runs/DATASET-MODEL-ips-HASH]."
)
@click.option("--force", is_flag=True, help="Run again what the results folder has.")
def ips(dataset, model, store, selections, sizes, seeds, out, force, **settings):
    """Compare initial pool selections: choose K0 rows, fit, measure, for each K0."""
    seeds = parse_seeds(seeds)
    names = [name.strip() for name in selections.split(",") if name.strip()]
    start_jax()
    from jaxal.experiments import initial_pools
    from jaxal.reporting.curves import draw, table

    try:
        sizes = initial_pools.SIZES if sizes is None else [int(size) for size in sizes.split(",") if size]
    except ValueError:
        raise ConfigError(f"--sizes {sizes}: give numbers of rows, such as 20,100,500") from None
    pool = load_pool(dataset, model, store)
    steps = initial_pools.configure(pool, names, sizes, seeds, **settings)
    out = out or initial_pools.default_folder(pool, steps)
    with Bar(len(steps), unit="pool") as bar:
        try:
            result = initial_pools.run_configs(pool, steps, out=out, force=force, on_pool=bar.show)
        except KeyboardInterrupt:
            raise click.ClickException("interrupted: the same command goes on where this stopped") from None
    measured = result.to_pandas()
    figure = draw(measured, out / "curves.png")
    click.echo(table(measured))
    click.echo(f"\ncompiling took {result.compile_seconds:.1f} s" * (result.compile_seconds > 0.05))
    click.echo(f"results  {out / 'results.parquet'}\npicks    {out / 'picks.parquet'}\nfigure   {figure}")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Figure to write [default: FOLDER/curves.png].")
def report(folder, out):
    """Draw the learning curves of a results folder and print their table."""
    from jaxal.experiments import results
    from jaxal.reporting.curves import draw, table

    curves = results.read(folder).results
    if curves.empty:
        raise DataError(f"{folder} has no results.parquet with finished runs: `jaxal run --out {folder}` makes one")
    figure = draw(curves, out or folder / "curves.png")
    click.echo(table(curves))
    click.echo(f"\nfigure   {figure}")
