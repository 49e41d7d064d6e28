"""`jaxal fit` and `jaxal predict`: the classifier of a labeling project, and classes of new texts."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from jaxal.cli.inputs import load_pool, refuse_overwriting
from jaxal.cli.interrupt import loading
from jaxal.cli.options import store_option
from jaxal.cli.values import FILE, FILE_TO_WRITE, FOLDER
from jaxal.errors import ConfigError, DataError

_TABLES = (".csv", ".tsv", ".jsonl", ".parquet", ".gz")


@click.command()
@click.argument("project", type=FILE)
@click.option("--out", "-o", type=FOLDER, required=True, help="Folder to write.")
def fit(project, out):
    """Fit the classifier of a labeling project's labels, to take away."""
    refuse_overwriting([out / "classifier.json"], [project])
    with loading():
        from jaxal.cli.startup import start_jax
        from jaxal.labeling.classifier import fit as fit_
        from jaxal.labeling.project import Project

        start_jax()
    classifier = fit_(Project.open(project))
    classifier.save(out)
    fitted = classifier.fitted
    click.echo(f"{out}: {len(classifier.class_names)} classes, from {fitted['labels']:,} labels", err=True)
    if not classifier.probe_texts:
        why = "its pool is no stored one" if classifier.embedding is None else "its pool is stored without texts"
        click.echo(f"note: {why}, so that nobody can check how new texts are embedded", err=True)


@click.command()
@click.argument("model", type=FILE)
@click.argument("source")
@click.option(
    "--text-column", "text_columns", multiple=True, help="Column with the text [default: text]; twice for pairs."
)
@click.option("--embedding", help="The embedding model, where its folder is elsewhere now.")
@click.option("--base-url", metavar="URL", help="Address of the server that embeds texts.")
@click.option("--pool-model", help="Embedding model of a stored SOURCE [default: the classifier's].")
@store_option
@click.option("--format", "format_", type=click.Choice(["csv", "jsonl"]), help="[default: as --out ends, else csv]")
@click.option("--out", "-o", type=FILE_TO_WRITE, help="File to write [default: standard output].")
def predict(model, source, text_columns, embedding, base_url, pool_model, store, format_, out):
    """Classify SOURCE, a file of texts or a pool: row, label, probability, and the text where there is one.

    A file (CSV, TSV, JSONL, Parquet) is embedded as the classifier's own texts were; MODEL is what `jaxal fit` wrote.
    A pool is a dataset in the store, the path of a stored pool, or an .npz file.
    """
    with loading():
        from jaxal.data.files import atomic_write
        from jaxal.labeling.classifier import load_classifier

    outputs = [] if out is None else [out]
    refuse_overwriting(outputs, [model])
    classifier = load_classifier(model)
    if source.endswith(_TABLES):
        refuse_overwriting(outputs, [Path(source)])
        X, texts = _embedded(classifier, Path(source), text_columns or ("text",), embedding, base_url)
    else:
        X, texts = _stored(classifier, source, pool_model, store, outputs)
    text = _written(classifier, X, texts, format_ or (out.suffix.removeprefix(".") if out else "csv"))
    if out is None:
        click.echo(text, nl=False)
    else:
        atomic_write(out, text.encode())
        click.echo(f"{len(X):,} rows in {out}", err=True)


def _stored(classifier, source: str, model: str | None, root: str | None, outputs: list[Path]):
    """Embeddings of a pool, and its texts where it is stored with them."""
    from jaxal.data import store

    mine = None if classifier.embedding is None else classifier.embedding["model"]
    named = model or (mine if source in store.datasets(root) else None)
    pool = load_pool(source, named, root, False, outputs)
    if pool.path is None:
        return pool.X, None
    classifier.check_settings(store.manifest(pool.path)["settings"], f"{source} ({pool.model})")
    return pool.X, store.texts(pool.path)


def _embedded(classifier, file: Path, columns: tuple[str, ...], model: str | None, base_url: str | None):
    """Embeddings of the texts in a file, made in a process of its own; and these texts."""
    from jaxal.data import store
    from jaxal_extract.models.table import arguments
    from jaxal_extract.texts.tables import read_columns

    if classifier.embedding is None:
        raise DataError(
            "the classifier's pool is no stored one, so how to embed texts is unknown: give embeddings (.npz)"
        )
    settings = classifier.embedding["settings"]
    known = settings.get("text_columns", 1)
    if len(columns) != known:
        often = "1 text column: give --text-column once" if known == 1 else "pairs of texts: give --text-column twice"
        raise ConfigError(f"the classifier learned from {often}")
    options = arguments(settings, model)
    texts = list(zip(*read_columns(file, list(columns)), strict=True))
    probes = [tuple(text.split("\n", 1)) if len(columns) == 2 else (text,) for text in classifier.probe_texts]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "texts.jsonl"
        # probes come last, so that errors name the rows of the file
        rows = [dict(zip(columns, row, strict=True)) for row in [*texts, *probes]]
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
        options += ["--name=texts", f"--train={table}", f"--store={folder}", "--as=model"]
        options += [f"--text-column={name}" for name in columns] + ([f"--base-url={base_url}"] if base_url else [])
        command = [sys.executable, "-m", "jaxal_extract", *options]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)  # torch and JAX stay apart
        if done.returncode:
            raise click.exceptions.Exit(done.returncode if done.returncode > 0 else 128 - done.returncode)
        stored = store.read(Path(folder) / "texts" / "model")
    classifier.check_settings(stored.manifest["settings"], str(file), probed=True)
    classifier.check_probes(stored.X[len(texts) :])
    return stored.X[: len(texts)], ["\n".join(row) for row in texts]


def _written(classifier, X, texts: list[str] | None, format_: str) -> str:
    from jaxal.labeling.batch import as_csv

    shares = classifier.predict_proba(X)
    best = shares.argmax(axis=1)
    records = [
        {"row": row, "label": classifier.class_names[code], "probability": round(float(shares[row, code]), 6)}
        for row, code in enumerate(best)
    ]
    if texts is not None:
        records = [record | {"text": text} for record, text in zip(records, texts, strict=True)]
    if format_ == "jsonl":
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    return as_csv(records)
