"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

import csv
import glob
import json
import math
import re
import subprocess
import sys
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path

import click

from jaxal import __version__
from jaxal.errors import ConfigError, DataError, JaxalError
from jaxal.tasks import TASKS


class _Main(click.Group):
    """Turns a JaxalError into one line and exit code 2; anything else is a fault of ours, with its traceback."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except JaxalError as e:
            error = click.ClickException(" ".join(str(e).splitlines()))
            error.exit_code = 2
            raise error from e


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jaxal")
def main():
    """Active learning on frozen text embeddings: exact strategies on the full pool, all seeds at once."""


def _pool_options(command):
    for option in (
        click.option("--store", metavar="DIR", help="Root of the store [default: $JAXAL_STORE, else the user cache]."),
        click.option(
            "--model", "-m", help="Embedding model [default: the only one stored for the dataset, else minilm]."
        ),
        click.option(
            "--dataset",
            "-d",
            required=True,
            help="A dataset in the store, the path of a stored pool or .npz, or digits.",
        ),
    ):
        command = option(command)
    return command


@main.command()
@_pool_options
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
    seeds = _seeds(seeds)
    settings["settings"] = _settings(set_)
    names = None if strategies is None else [name.strip() for name in strategies.split(",") if name.strip()]
    _start_jax()
    from jaxal import experiment, report
    from jaxal.config import check, configure, default_folder

    pool = _load(dataset, model, store)
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
    with _Bar(len(config.strategies) * config.cycles) as bar:
        try:
            result = experiment.run(pool, config.strategies, config.seeds, initial_size=initial, out=out, force=force,
                                    on_cycle=bar.show, **settings)  # fmt: skip
        except KeyboardInterrupt:
            raise click.ClickException("interrupted: the same command goes on where this stopped") from None
    curves = result.to_pandas()
    figure = report.curves(curves, out / "curves.png")
    click.echo(report.table(curves))
    click.echo(f"\ncompiling took {result.compile_seconds:.1f} s, in no number above" * (result.compile_seconds > 0.05))
    unconverged = int((~curves["converged"]).sum())
    if unconverged:
        click.echo(f"warning: {unconverged} of {len(curves)} fits did not converge (column `converged`)", err=True)
    click.echo(f"results  {out / 'results.parquet'}\npicks    {out / 'picks.parquet'}\nfigure   {figure}")


@main.command()
@_pool_options
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
    seeds = _seeds(seeds)
    names = [name.strip() for name in selections.split(",") if name.strip()]
    _start_jax()
    from jaxal import experiment, report
    from jaxal.config import configure, default_folder

    try:
        sizes = experiment.IPS_SIZES if sizes is None else [int(size) for size in sizes.split(",") if size]
    except ValueError:
        raise ConfigError(f"--sizes {sizes}: give numbers of rows, such as 20,100,500") from None
    pool = _load(dataset, model, store)
    if out is None:
        folder = default_folder(pool, configure(pool, seeds=seeds, ips="each", **settings))
        out = folder.with_name(folder.name.replace(f"-{pool.model}-", f"-{pool.model}-ips-"))
    n = min(len(pool.X), settings["pool_size"] or len(pool.X))
    with _Bar(len(dict.fromkeys(names)) * len({min(size, n) for size in sizes}), unit="pool") as bar:
        try:
            result = experiment.initial_pools(
                pool, names, sizes, seeds, out=out, force=force, on_pool=bar.show, **settings
            )
        except KeyboardInterrupt:
            raise click.ClickException("interrupted: the same command goes on where this stopped") from None
    measured = result.to_pandas()
    figure = report.curves(measured, out / "curves.png")
    click.echo(report.table(measured))
    click.echo(f"\ncompiling took {result.compile_seconds:.1f} s" * (result.compile_seconds > 0.05))
    click.echo(f"results  {out / 'results.parquet'}\npicks    {out / 'picks.parquet'}\nfigure   {figure}")


@main.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
    options_metavar="--name NAME --train FILE [OPTIONS]",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def extract(arguments):
    """Embed texts and store them as a pool (needs torch: pip install "jaxal[extract]")."""
    # its own process: torch and JAX never share one, nor a GPU's memory
    sys.exit(subprocess.run([sys.executable, "-m", "jaxal_extract", *arguments], check=False).returncode)


@main.command()
@_pool_options
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
    given = _settings(item if item.startswith(f"{strategy}.") else f"{strategy}.{item}" for item in set_)
    if set(given) - {strategy}:
        raise ConfigError(f"--set is for {strategy}, the strategy of this query: write it as name=value")
    given = given.get(strategy, {})
    if given.keys() & settings:
        raise ConfigError(f"--set {min(given.keys() & settings)}: that is no setting of a strategy but an option")
    _start_jax()
    from jaxal import labeling

    pool = _load(dataset, model, store)
    rows, labels = labeling.read_labels(labeled, pool) if labeled else ([], [])
    codes, n_classes = labeling.encode(labels, pool.class_names, labeled)
    pool = pool.normalized() if normalize else pool
    rows, scores = labeling.choose(pool, rows, codes, n_classes, strategy, batch_size, seed, **settings, **given)
    format_ = format_ or ("jsonl" if out and out.suffix == ".jsonl" else "csv")
    text = _batch(labeling.describe(pool, rows, scores), format_)
    if out is None:
        click.echo(text, nl=False)
    else:
        from jaxal.files import atomic_write

        atomic_write(out, text.encode())
        click.echo(f"{len(rows)} rows in {out}", err=True)


@main.command(name="list")
@click.option("--store", metavar="DIR", help="Root of the store [default: $JAXAL_STORE, else the user cache].")
def list_(store):
    """List datasets (of the study, and stored), embedding models, and strategies."""
    from jaxal import store as stores
    from jaxal.strategies import IPS, names
    from jaxal_extract.models import MODELS

    click.echo(
        f"{'dataset':<12}{'title':<12}{'classes':>8}{'train':>10}{'test':>8}{'budget':>8}{'batch':>7}   stored with"
    )
    pools = stores.listing(store)
    for name, task in TASKS.items():
        there = ", ".join(p.model + " (unfinished)" * (not p.finished) for p in pools if p.dataset == name)
        click.echo(
            f"{name:<12}{task.title:<12}{task.n_classes:>8}{task.n_train:>10,}{task.n_test:>8,}{task.budget:>8,}"
            f"{task.batch_size:>7}   {there}"
        )
    click.echo(f"{'digits':<12}{'built in':<12}{10:>8}{1437:>10,}{360:>8,}{735:>8}{35:>7}   pixels")
    for p in pools:
        if p.dataset not in TASKS:
            name = p.model + " (unfinished)" * (not p.finished)
            click.echo(
                f"{p.dataset:<12}{'your own':<12}{p.n_classes:>8}{p.n_train:>10,}{p.n_test:>8,}{'':>15}   {name}"
            )
    click.echo(f"\nmodels: {', '.join(MODELS)}, or a local folder")
    click.echo(f"strategies: {', '.join(names())}, or module:function\ninitial pool selections: {', '.join(IPS)}")
    click.echo(f"store: {stores.root(store)}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Figure to write [default: FOLDER/curves.png].")
def report(folder, out):
    """Draw the learning curves of a results folder and print their table."""
    from jaxal import report, results

    curves = results.read(folder).results
    if curves.empty:
        raise DataError(f"{folder} has no results.parquet with finished runs: `jaxal run --out {folder}` makes one")
    figure = report.curves(curves, out or folder / "curves.png")
    click.echo(report.table(curves))
    click.echo(f"\nfigure   {figure}")


def _start_jax() -> None:
    """Keep compiled programs between commands, and find strategies of one's own in the current folder."""
    import jax
    import platformdirs

    if jax.config.jax_compilation_cache_dir is None:  # $JAX_COMPILATION_CACHE_DIR
        jax.config.update("jax_compilation_cache_dir", str(platformdirs.user_cache_path("jaxal", False) / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if "" not in sys.path:
        sys.path.append("")  # last: a random.py or queue.py here must not take the place of Python's own
    warnings.showwarning = partial(_show_warning, warnings.showwarning)


def _show_warning(show, message, *rest, **options):
    """Show a warning, but for JAX's of a compiled program that it can neither read nor replace: delete that one.

    A kill or a full disk leaves it half written, and every later command would say so and compile it again.
    """
    broken = re.match(r"Error (?:reading|writing) persistent compilation cache entry for '([^']+)'", str(message))
    if broken is None:
        return show(message, *rest, **options)
    import jax

    for entry in Path(jax.config.jax_compilation_cache_dir).glob(f"{glob.escape(broken[1])}-*"):
        with suppress(OSError):
            entry.unlink()


def _load(dataset, model, store):
    """The pool; a stored task of other sizes than the study's says so in one line."""
    from jaxal.pool import load

    pool = load(dataset, model, store)
    task = TASKS.get(pool.dataset)
    if task is not None:
        here = (len(pool.X), 0 if pool.X_test is None else len(pool.X_test), pool.n_classes)
        if here != (task.n_train, task.n_test, task.n_classes):
            click.echo(
                f"note: {pool.dataset} has {task.n_train:,} train rows, {task.n_test:,} test rows and {task.n_classes} "
                f"classes in the study; this pool has {here[0]:,}, {here[1]:,} and {here[2]}",
                err=True,
            )
    return pool


class _Bar:
    """Strategy, cycle, accuracy, seconds and time left on a terminal; silent elsewhere."""

    def __init__(self, total: int, unit: str = "cycle"):
        from tqdm import tqdm

        # miniters 0: left to itself, tqdm learns from fast strategies to look away for many cycles of slow ones
        self.bar = tqdm(total=total, unit=unit, disable=None, leave=False, dynamic_ncols=True, miniters=0)
        self.begun: dict[str, int] = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def show(self, progress) -> None:
        accuracy = "done before" if progress.accuracy is None else f"accuracy {progress.accuracy:.4f}"
        self.bar.set_description(f"{progress.strategy} {progress.cycle}/{progress.cycles} {accuracy}", refresh=False)
        before = self.begun.get(progress.strategy, 0)
        self.begun[progress.strategy] = max(before, progress.cycle)
        self.bar.update(max(0, progress.cycle - before))


def _seeds(text: str):
    """'5' is a count; '5:50' a range; '0,3,7' and '7,' are lists."""
    try:
        if ":" in text:
            begin, end = text.split(":")
            return range(int(begin), int(end))
        if "," in text:
            return [int(seed) for seed in text.split(",") if seed]
        return int(text)
    except ValueError:
        raise ConfigError(f"--seeds {text}: give a count (5), a range (5:50) or a list (0,3,7)") from None


def _settings(items) -> dict:
    """{'dropquery': {'n_masks': 20}} from 'dropquery.n_masks=20'; values are read as JSON where they can be."""
    settings: dict[str, dict] = {}
    for item in items:
        name, equals, value = item.partition("=")
        strategy, dot, setting = name.rpartition(".")
        if not (equals and dot and strategy and setting):
            raise ConfigError(f"--set {item}: write it as strategy.name=value, such as dropquery.n_masks=20")
        try:
            settings.setdefault(strategy, {})[setting] = json.loads(value)
        except ValueError:
            settings[strategy][setting] = value
    return settings


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
