"""`jaxal run`: learning curves of strategies on a pool."""

import click

from jaxal.cli.inputs import load_pool
from jaxal.cli.interrupt import loading
from jaxal.cli.options import experiment_options, pool_options, set_option
from jaxal.cli.progress import Bar
from jaxal.cli.report import files, show
from jaxal.cli.values import FOLDER, NAMES
from jaxal.errors import ConfigError


@click.command()
@pool_options
@click.option(
    "--strategies", "-s", type=NAMES, help="Names, comma-separated; your own as module:function [default: all]."
)
@click.option("--ips", default="random", show_default=True, help="Initial pool selection.")
@click.option("--cycles", type=int, default=20, show_default=True, help="Queries after the initial pool.")
@click.option("--batch-size", "-b", type=int, help="Rows a query [default: the study's, else min(50, N/40)].")
@click.option("--initial", "-k", "initial_size", type=int, help="Initial pool [default: as for --batch-size].")
@experiment_options
@click.option(
    "--warm-start/--no-warm-start", default=True, show_default=True, help="Start each fit at the one before it."
)
@set_option
@click.option("--out", "-o", type=FOLDER, help="Results folder [default: runs/DATASET-MODEL-HASH].")
def run(dataset, model, store, yes, strategies, seeds, set_, out, force, **settings):
    """Run strategies on a pool and measure their learning curves.

    A run that was interrupted goes on where it stopped when the same command is given again; one that is finished is
    not repeated. More seeds or strategies extend a results folder.
    """
    settings["settings"] = _by_strategy(set_)
    with loading():
        from jaxal.cli.startup import start_jax
        from jaxal.experiments.config import check, configure, default_folder
        from jaxal.experiments.experiment import run_config

        start_jax()
    pool = load_pool(dataset, model, store, yes, files(out))
    config = configure(pool, strategies, seeds, **settings)
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
        result = run_config(pool, config, out=out, force=force, on_cycle=bar.show)
    show(result, out)


def _by_strategy(given) -> dict[str, dict]:
    """{"dropquery": {"n_masks": 20}} from the values of --set."""
    options: dict[str, dict] = {}
    for strategy, option, value in given:
        if strategy is None:
            raise ConfigError(f"--set {option}: write it as strategy.name=value, such as dropquery.n_masks=20")
        options.setdefault(strategy, {})[option] = value
    return options
