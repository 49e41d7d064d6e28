"""`jaxal query`: the next rows to label, as a file."""

import csv
import json
import math
from pathlib import Path

import click

from jaxal.cli.options import load_pool, parse_settings, pool_options
from jaxal.cli.startup import start_jax
from jaxal.errors import ConfigError


@click.command()
@pool_options
@click.option("--labeled", "-l", type=click.Path(path_type=Path), help="CSV of labels so far: row or id, and label.")
@click.option("--strategy", "-s", default="badge", show_default=True)
@click.option("--batch-size", "-b", type=int, default=100, show_default=True, help="Rows to choose.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--variant", default="official", show_default=True)
@click.option("--C", "C", type=float, default=1.0, show_default=True)
@click.option("--normalize", is_flag=True, help="Scale embeddings to unit length.")
@click.option("--set", "set_", multiple=True, metavar="NAME=VALUE", help="A setting of the strategy; repeatable.")
@click.option("--format", "format_", type=click.Choice(["csv", "jsonl"]), help="[default: as --out ends, else csv]")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="File to write [default: standard output].")
def query(dataset, model, store, labeled, strategy, batch_size, seed, normalize, set_, format_, out, **settings):
    """Choose the rows to label next: order, row, id, score, and the text when it is stored."""
    given = parse_settings(item if item.startswith(f"{strategy}.") else f"{strategy}.{item}" for item in set_)
    if set(given) - {strategy}:
        raise ConfigError(f"--set is for {strategy}, the strategy of this query: write it as name=value")
    given = given.get(strategy, {})
    if given.keys() & settings:
        raise ConfigError(f"--set {min(given.keys() & settings)}: that is no setting of a strategy but an option")
    start_jax()
    from jaxal.labeling.labels import describe, encode, read_labels
    from jaxal.labeling.query import choose

    pool = load_pool(dataset, model, store)
    rows, labels = read_labels(labeled, pool) if labeled else ([], [])
    codes, n_classes = encode(labels, pool.class_names, labeled)
    pool = pool.normalized() if normalize else pool
    rows, scores = choose(
        pool,
        labeled_rows=rows,
        codes=codes,
        n_classes=n_classes,
        strategy=strategy,
        batch_size=batch_size,
        seed=seed,
        options=given,
        **settings,
    )
    format_ = format_ or ("jsonl" if out and out.suffix == ".jsonl" else "csv")
    text = _batch(describe(pool, rows, scores), format_)
    if out is None:
        click.echo(text, nl=False)
    else:
        from jaxal.data.files import atomic_write

        atomic_write(out, text.encode())
        click.echo(f"{len(rows)} rows in {out}", err=True)


def _batch(records: list[dict], format_: str) -> str:
    """Records as CSV with a header, or as JSON lines; JSON has no infinite scores, they are null there."""
    if format_ == "jsonl":
        plain = (record | {"score": record["score"] if math.isfinite(record["score"]) else None} for record in records)
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in plain)
    import io

    text = io.StringIO()
    columns = list(records[0]) if records else ["order", "row", "id", "score"]
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
