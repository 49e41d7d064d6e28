"""`jaxal ips`: the study's experiment on initial pool selections."""

import click

from jaxal.cli.inputs import load_pool
from jaxal.cli.interrupt import loading
from jaxal.cli.options import experiment_options, pool_options
from jaxal.cli.progress import Bar
from jaxal.cli.report import files, show
from jaxal.cli.values import FOLDER, NAMES, SIZES


@click.command()
@pool_options
@click.option(
    "--selections", "-s", type=NAMES, default="random,coreset,typiclust", show_default=True, help="Comma-separated."
)
@click.option(
    "--sizes", "-k", type=SIZES, help="K0, comma-separated [default: 13 from 20 to 5000, clipped to the pool]."
)
@experiment_options
@click.option("--out", "-o", type=FOLDER, help="Results folder [default: runs/DATASET-MODEL-ips-HASH].")
def ips(dataset, model, store, yes, selections, sizes, seeds, out, force, **settings):
    """Compare initial pool selections: choose K0 rows, fit, measure, for each K0."""
    with loading():
        from jaxal.cli.startup import start_jax
        from jaxal.experiments import initial_pools

        start_jax()
    pool = load_pool(dataset, model, store, yes, files(out))
    steps = initial_pools.configure(
        pool, selections, initial_pools.SIZES if sizes is None else sizes, seeds, **settings
    )
    out = out or initial_pools.default_folder(pool, steps)
    with Bar(len(steps), unit="pool") as bar:
        result = initial_pools.run_configs(pool, steps, out=out, force=force, on_pool=bar.show)
    show(result, out)
