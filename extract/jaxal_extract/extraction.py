"""One extraction: from files with texts to a finished pool in the store."""

import itertools
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import click

from jaxal.data import store
from jaxal.data.format import NAME_RULE, is_name
from jaxal.errors import did_you_mean
from jaxal_extract import ExtractError, sanity
from jaxal_extract.models.encoder import Chosen, Options
from jaxal_extract.models.table import choose
from jaxal_extract.progress import Progress
from jaxal_extract.running import start
from jaxal_extract.texts import checks, hub
from jaxal_extract.texts.labels import name_classes, number_labels
from jaxal_extract.texts.splits import Cleaning, Columns, Split, Texts, choose_columns, read_split
from jaxal_extract.texts.tables import FORMATS
from jaxal_extract.texts.tasks import TASKS


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
    unescape: bool
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
    columns = _columns(job)
    chosen = choose(job.encoder, len(columns.texts))
    model = job.stored_as or chosen.name
    _check_name(model, "--as")
    settings = chosen.settings | _text_settings(job, len(columns.texts))
    path = store.root(job.store_root) / job.name / model
    texts = _read(job, columns)
    train_split, test_split = texts.train, texts.test
    class_names, y, y_test = number_labels(train_split, test_split, job.unlabeled, texts.classes)
    _warn(
        *checks.of_texts(train_split, test_split),
        *checks.of_labels(class_names, y, y_test),
        checks.other_order(class_names, path),
    )
    train, test = _rows(train_split, y), None if test_split is None else _rows(test_split, y_test)
    shown = click.format_filename(path)  # not every name of a folder can be printed
    about = {"dataset": job.name, "model": model, "settings": settings, "class_names": class_names}
    with store.open_writer(path, **about, train=train, test=test, keep_texts=not job.no_text) as writer:
        if writer.finished:
            click.echo(f"{shown} is there already, from the same texts with the same settings: nothing to do")
            return
        splits = {"train": train_split} | ({} if test_split is None else {"test": test_split})
        made, rows = _write_missing(writer, chosen, splits)
        about = writer.finish(made | ({"texts": texts.about} if texts.about else {}))
    seconds = time.perf_counter() - started
    click.echo(
        f"{shown}: N={about['N']} M={about['M']} D={about['D']} C={len(class_names)} {about['dtype']}, "
        f"{rows} rows in {seconds:.1f} s"
    )
    verb = "run" if test and class_names else "query"  # learning curves need labels and a test split
    click.echo(f"next: jaxal {verb} --dataset {job.name}{_options(job, path)}")


def _columns(job: Job) -> Columns:
    """The columns to read; of a task without files those of the hub."""
    task = TASKS.get(job.name)
    if job.train:
        columns = choose_columns(job.train, task, list(job.text_columns), job.label_column, job.id_column)
    elif task is None:
        raise ExtractError(
            f"--train FILE is needed: {FORMATS}; or as --name a task of the study, which is read from the Hugging Face "
            f"hub{did_you_mean(job.name, TASKS)}"
        )
    elif job.test:
        raise ExtractError(f"--test FILE needs --train FILE; without both, {job.name} comes from the Hugging Face hub")
    else:
        columns = Columns(list(job.text_columns or task.texts[0]), job.label_column or task.labels[0], job.id_column)
    if len(columns.texts) > 2:
        raise ExtractError("--text-column can be given once, or twice for pairs of texts")
    if job.test and not columns.label:
        raise ExtractError("--test needs labels to measure with: name their column with --label-column")
    return columns


def _read(job: Job, columns: Columns) -> Texts:
    task = TASKS.get(job.name)
    cleaning = Cleaning(job.strip_final, task is not None and task.leading_blanks, job.unescape)
    if task and job.train is None:
        return hub.read_task(job.name, task, columns, cleaning)
    splits = [read_split(file, columns, cleaning) for file in (job.train, job.test) if file]
    classes = None
    if task and columns.label in task.labels:
        splits, classes = name_classes(task, splits)
        _warn(None if classes else checks.unlike_task(job.name, task, splits[0]))
    return Texts(splits[0], splits[1] if job.test else None, classes, {})


def _warn(*warnings: str | None) -> None:
    for warning in filter(None, warnings):
        click.echo(f"Warning: {warning}", err=True)


def _text_settings(job: Job, text_columns: int) -> dict:
    """What is done to texts. Pools of before `unescape` have no such key, which the tasks that need it always have."""
    settings: dict = {"text_columns": text_columns, "strip_final": job.strip_final}
    escaped = job.name in TASKS and TASKS[job.name].escaped
    return settings | ({"unescape": job.unescape} if job.unescape or escaped else {})


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
