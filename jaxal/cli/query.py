"""`jaxal query`: the next rows to label, as a file."""

import click

from jaxal.cli.inputs import load_pool, refuse_overwriting
from jaxal.cli.interrupt import loading
from jaxal.cli.options import method_options, pool_options, set_option
from jaxal.cli.values import FILE, FILE_TO_WRITE
from jaxal.errors import ConfigError


@click.command()
@pool_options
@click.option("--labeled", "-l", type=FILE, help="CSV of labels so far: row or id, and label.")
@click.option("--strategy", "-s", default="badge", show_default=True, help="A name; your own as module:function.")
@click.option("--batch-size", "-b", type=int, default=100, show_default=True, help="Rows to choose.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of whatever is drawn at random.")
@method_options
@set_option
@click.option("--format", "format_", type=click.Choice(["csv", "jsonl"]), help="[default: as --out ends, else csv]")
@click.option("--out", "-o", type=FILE_TO_WRITE, help="File to write [default: standard output].")
def query(dataset, model, store, yes, labeled, strategy, normalize, set_, format_, out, **settings):
    """Choose the rows to label next: order, row, id, score, and the text when it is stored."""
    options = options_of(strategy, set_)
    outputs = [] if out is None else [out]
    if labeled:
        refuse_overwriting(outputs, [labeled])
    with loading():
        from jaxal.cli.startup import start_jax
        from jaxal.data.files import atomic_write
        from jaxal.labeling.batch import as_csv, as_jsonl, describe
        from jaxal.labeling.labels import encode, read_labels
        from jaxal.labeling.query import choose

        start_jax()
    pool = load_pool(dataset, model, store, yes, outputs)
    rows, labels = read_labels(labeled, pool) if labeled else ([], [])
    codes, n_classes = encode(labels, pool.class_names, labeled)
    rows, scores = choose(
        pool.normalized() if normalize else pool,
        labeled_rows=rows,
        codes=codes,
        n_classes=n_classes,
        strategy=strategy,
        options=options,
        **settings,
    )
    write = as_jsonl if (format_ or (out and out.suffix)) in ("jsonl", ".jsonl") else as_csv
    text = write(describe(pool, rows, scores))
    if out is None:
        click.echo(text, nl=False)
    else:
        atomic_write(out, text.encode())
        click.echo(f"{len(rows)} rows in {out}", err=True)


def options_of(strategy: str, given) -> dict:
    """The strategy's options from the values of --set, in which its name may be left out."""
    for other, option, _ in given:
        if other not in (None, strategy):
            raise ConfigError(f"--set {other}.{option}: this query's strategy is {strategy}, so write {option}=value")
    return {option: value for _, option, value in given}
