"""One extraction: from files with texts to a finished pool in the store."""

import itertools
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import click

from jaxal.data import store
from jaxal.data.format import NAME_RULE, is_name
from jaxal_extract import ExtractError, sanity
from jaxal_extract.encoder import Chosen, Options
from jaxal_extract.models import choose
from jaxal_extract.progress import Progress
from jaxal_extract.running import start
from jaxal_extract.splits import Columns, Split, choose_columns, number_labels, read_split, unlike_endings
from jaxal_extract.tasks import TASKS


@dataclass(frozen=True)
class Job:
    """What was asked for on the command line; see cli.py for what each option means."""

    name: str
    train: Path | None
    test: Path | None
    text_columns: tuple[str, ...]
    label_column: str | None
    id_column: str | None
    unlabeled: bool
    strip_final: str
    store_root: Path | None
    stored_as: str | None
    no_text: bool
    encoder: Options


def extract(job: Job) -> None:
    """Do the job, or what an earlier run left of it. Raises ExtractError and StoreError."""
    started = time.perf_counter()
    _check_name(job.name, "--name")
    if job.name == "digits" or job.name.endswith(".npz"):
        raise ExtractError(f"--name {job.name}: `jaxal run` would not look for that in the store, choose another name")
    for option, text in (("--prompt", job.encoder.prompt or ""), ("--strip-final", job.strip_final)):
        if not _is_unicode(text):
            raise ExtractError(f"{option} is not valid UTF-8: give it in the encoding of your terminal")
    train_file = _train_file(job)
    columns = _columns(train_file, job)
    chosen = choose(job.encoder, len(columns.texts))
    model = job.stored_as or chosen.name
    _check_name(model, "--as")
    settings = chosen.settings | {"text_columns": len(columns.texts), "strip_final": job.strip_final}
    train_split, test_split = _read(train_file, job, columns)
    class_names, y, y_test = number_labels(train_split, test_split, job.unlabeled)
    train, test = _rows(train_split, y), None if test_split is None else _rows(test_split, y_test)
    path = store.root(job.store_root) / job.name / model
    shown = click.format_filename(path)  # not every name of a folder can be printed
    about = {"dataset": job.name, "model": model, "settings": settings, "class_names": class_names}
    with store.open_writer(path, **about, train=train, test=test, keep_texts=not job.no_text) as writer:
        if writer.finished:
            click.echo(f"{shown} is there already, from the same texts with the same settings: nothing to do")
            return
        splits = {"train": train_split} | ({} if test_split is None else {"test": test_split})
        made, rows = _write_missing(writer, chosen, splits)
        about = writer.finish(made)
    seconds = time.perf_counter() - started
    click.echo(
        f"{shown}: N={about['N']} M={about['M']} D={about['D']} C={len(class_names)} {about['dtype']}, "
        f"{rows} rows in {seconds:.1f} s"
    )
    verb = "run" if test and class_names else "query"  # learning curves need labels and a test split
    click.echo(f"next: jaxal {verb} --dataset {job.name}{_options(job, path)}")


def _train_file(job: Job) -> Path:
    if job.train is None:
        if job.name in TASKS:
            raise ExtractError(
                f"loading {job.name} from the hub is not available yet: give --train FILE and --test FILE"
            )
        raise ExtractError("--train FILE is needed: a .csv, .tsv or .jsonl file, or one of these with .gz")
    return job.train


def _columns(train_file: Path, job: Job) -> Columns:
    columns = choose_columns(train_file, TASKS.get(job.name), list(job.text_columns), job.label_column, job.id_column)
    if len(columns.texts) > 2:
        raise ExtractError("--text-column can be given once, or twice for pairs of texts")
    if job.test and not columns.label:
        raise ExtractError("--test needs labels to measure with: name their column with --label-column")
    return columns


def _read(train_file: Path, job: Job, columns: Columns) -> tuple[Split, Split | None]:
    train = read_split(train_file, columns, job.strip_final)
    test = read_split(job.test, columns, job.strip_final) if job.test else None
    warning = unlike_endings(train, test) if test else None
    if warning:
        click.echo(f"Warning: {warning}", err=True)
    return train, test


def _rows(split: Split, y) -> store.Rows:
    return store.Rows(split.ids, y, ["\n".join(texts) for texts in zip(*split.texts, strict=True)])


def _write_missing(writer, chosen: Chosen, splits: dict[str, Split]) -> tuple[dict, int]:
    """Embed and store what is missing; returns how the vectors were made, and how many these were."""
    shards = writer.missing()
    texts = [[column[shard.start : shard.stop] for column in splits[shard.split].texts] for shard in shards]
    characters = [sum(map(len, itertools.chain(*columns))) for columns in texts]
    rows = sum(shard.stop - shard.start for shard in shards)
    vectors = sanity.Vectors()
    running = start(chosen)
    progress = Progress(rows, sum(characters))
    try:
        for number, X in running.run(texts, progress.advance):
            writer.write(shards[number], X)
            vectors.add(X)
            progress.shard(characters[number])
        counts = running.report()
        if counts.get("truncated"):
            length = chosen.settings.get("max_length")
            click.echo(f"{counts['truncated']:,} of {counts['texts']:,} texts were cut at {length} tokens", err=True)
        for warning in sanity.warnings(vectors, counts, chosen.settings):
            click.echo(f"Warning: {warning}", err=True)
        return running.made, rows
    finally:
        progress.close()
        running.close()


def _is_unicode(text: str) -> bool:
    """False for bytes of a command line that could not be decoded: Python passes them on as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_name(name: str, option: str) -> None:
    if not is_name(name):
        raise ExtractError(f"{name!r} cannot be a folder's name in the store: give {option} {NAME_RULE}")


def _options(job: Job, path: Path) -> str:
    """The options that `jaxal run` and `query` need to find this pool and not another one."""
    alone = [folder for folder in path.parent.iterdir() if store.is_pool(folder)] == [path]
    model = "" if alone else f" --model {path.name}"
    return model + (f" --store {shlex.quote(click.format_filename(job.store_root))}" if job.store_root else "")
