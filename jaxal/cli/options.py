"""Options that several verbs share."""

import click

from jaxal.cli.values import SEEDS, SETTING


def _together(*options):
    """One decorator that gives a command several options, in this order."""

    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


store_option = click.option(
    "--store", metavar="DIR", help="Root of the store [default: $JAXAL_STORE, else the user cache]."
)

pool_options = _together(
    click.option(
        "--dataset", "-d", required=True, help="A dataset in the store, the path of a stored pool or .npz, or digits."
    ),
    click.option("--model", "-m", help="Embedding model [default: the only one stored for the dataset, else minilm]."),
    store_option,
    click.option("--yes", "-y", is_flag=True, help="Embed a dataset of the study that is not stored without asking."),
)

# what is computed, in an experiment as in a single query
method_options = _together(
    click.option("--variant", default="official", show_default=True, help="official, or skactiveml as in the study."),
    click.option("--C", "C", type=float, default=1.0, show_default=True, help="Inverse L2 strength of the classifier."),
    click.option("--normalize", is_flag=True, help="Scale embeddings to unit length."),
)

experiment_options = _together(
    click.option("--seeds", type=SEEDS, default="5", show_default=True, help="How many, or which: 5, 5:50, or 0,3,7."),
    click.option("--pool-size", type=int, help="Cap the pool, to one fixed subset a dataset [default: the full pool]."),
    method_options,
    click.option("--force", is_flag=True, help="Run again what the results folder has."),
)

set_option = click.option(
    "--set",
    "set_",
    type=SETTING,
    multiple=True,
    metavar="STRATEGY.NAME=VALUE",
    help="Setting of a strategy; repeatable.",
)
