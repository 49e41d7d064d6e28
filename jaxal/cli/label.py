"""`jaxal label`: a labeling project, from the first batch to the labels that are taken away."""

from pathlib import Path

import click

from jaxal.cli.inputs import load_pool, refuse_overwriting
from jaxal.cli.interrupt import loading
from jaxal.cli.options import method_options, pool_options, set_option
from jaxal.cli.query import options_of
from jaxal.cli.values import FILE, FILE_TO_WRITE, FOLDER, NAMES
from jaxal.errors import ConfigError

_TASKS = ("csv", "jsonl", "label-studio", "argilla", "prodigy", "doccano")
_EXPORTS = ("csv", "jsonl", "label-studio", "label-studio-min", "argilla", "prodigy", "doccano")
_TABLES = ("csv", "jsonl", "parquet")
_project = click.argument("project", type=FOLDER)


@click.group()
def label():
    """Label in rounds: init, next, add, status, export; studio does it all in Label Studio.

    PROJECT is a folder, which `jaxal label init` makes.
    """


@label.command()
@_project
@pool_options
@click.option("--strategy", "-s", default="badge", show_default=True, help="A name; your own as module:function.")
@click.option("--batch-size", "-b", type=int, default=50, show_default=True, help="Rows in a round.")
@click.option("--classes", type=NAMES, help="a,b,c [default: those of the dataset, else what labels bring].")
@click.option("--new-classes", is_flag=True, help="Labels may bring classes that are not named yet.")
@click.option("--cold-start", default="typiclust", show_default=True, help="Chooses while there is no label.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of whatever is drawn at random.")
@method_options
@set_option
def init(project, dataset, model, store, yes, strategy, set_, classes, new_classes, **settings):
    """Make a project: which pool, which strategy, which classes."""
    options = options_of(strategy, set_)
    with loading():
        from jaxal.cli.startup import start_jax
        from jaxal.labeling.create import create

        start_jax()
    pool = load_pool(dataset, model, store, yes, [project])
    made = create(
        project,
        pool,
        strategy=strategy,
        options=options,
        classes=classes,
        new_classes=True if new_classes else None,
        source=pool.path or dataset,
        **settings,
    )
    names = made.settings.classes
    shown = f"{len(names)} classes" if names else "no classes yet: labels bring them"
    click.echo(f"{project}: {len(pool.X):,} rows, {shown}; the first batch: jaxal label next {project}", err=True)


@label.command(name="next")
@_project
@click.option("--format", "format_", type=click.Choice(_TASKS), help="[default: as --out ends, else csv]")
@click.option("--out", "-o", type=FILE_TO_WRITE, help="File to write [default: standard output].")
@click.option("--more", is_flag=True, help="Choose a new batch though rows still wait for a label.")
def next_(project, format_, out, more):
    """Choose and write the next batch; while rows wait for a label, those rows again."""
    if out is not None:
        refuse_overwriting([out], [project])
    with loading():
        from jaxal.cli.startup import start_jax
        from jaxal.data.files import atomic_write
        from jaxal.labeling import rounds, tasks
        from jaxal.labeling.project import Project

        start_jax()
    opened = Project.open(project)
    with opened.locked():
        batch = None if more else rounds.waiting_batch(opened)
        what = "rows still wait for a label: those"
        if batch is None:
            _tell_torn(opened)
            batch, what = rounds.next_batch(opened), "rows"
    text = tasks.write(opened, batch, format_ or _by_ending(out, ("csv", "jsonl")))
    click.echo(f"round {batch.round}: {len(batch.rows)} {what} chosen by {batch.why}", err=True)
    if out is None:
        click.echo(text, nl=False)
    else:
        atomic_write(out, text.encode())


@label.command()
@_project
@click.argument("files", type=FILE, nargs=-1, required=True, metavar="FILE...")
@click.option("--format", "format_", type=click.Choice(_EXPORTS), help="[default: told by the content]")
@click.option("--new-classes", is_flag=True, help="Labels may bring classes that the project does not have yet.")
def add(project, files, format_, new_classes):
    """Add labels from files: CSV, JSONL, or exports of Label Studio, Argilla, Prodigy, doccano."""
    with loading():
        from jaxal.labeling import entries, exports
        from jaxal.labeling.project import Project
    opened = Project.open(project)
    with opened.locked():
        _tell_torn(opened)
        for file in files:
            name, found = exports.read(file, format_)
            added = entries.add(opened, found, new_classes or None)
            more = f", {added.corrected} corrected" * bool(added.corrected)
            more += f", {added.unchanged} there before" * bool(added.unchanged)
            more += f"; new classes: {', '.join(added.new_classes)}" * bool(added.new_classes)
            click.echo(f"{file} ({name}): {len(added.lines) - added.corrected} new{more}", err=True)


@label.command()
@_project
def status(project):
    """Show where the project stands: labels, rounds, classes, how good the classifier is, what more labels bring."""
    with loading():
        from jaxal.cli.startup import start_jax
        from jaxal.labeling import progress
        from jaxal.labeling.project import Project
        from jaxal.labeling.status import lines

        start_jax()
    opened = Project.open(project)
    for of in (lines, progress.lines):  # the first needs no pool
        for line in of(opened):
            click.echo(line)


@label.command()
@_project
@click.option("--format", "format_", type=click.Choice(_TABLES), help="[default: as --out ends, else csv]")
@click.option("--out", "-o", type=FILE_TO_WRITE, help="File to write [default: standard output].")
@click.option("--log", is_flag=True, help="Every line of the log, not what counts of it.")
def export(project, format_, out, log):
    """Write the labels as CSV, JSON lines or Parquet: a line for each labeled row, with its text."""
    format_ = format_ or _by_ending(out, _TABLES)
    if out is None and format_ == "parquet":
        raise ConfigError("parquet is not text: name a file with --out")
    if out is not None:
        refuse_overwriting([out], [project])
    with loading():
        from jaxal.data.files import atomic_write
        from jaxal.labeling.project import Project
        from jaxal.labeling.table import as_bytes, table
    opened = Project.open(project)
    content = as_bytes(table(opened, log), format_)
    if out is None:
        click.echo(content, nl=False)
    else:
        atomic_write(out, content)


@label.command()
@_project
@click.option("--url", envvar="LABEL_STUDIO_URL", help="Of the server [default: $LABEL_STUDIO_URL, or the last one].")
@click.option("--project", "number", type=int, help="Its project [default: the last one].")
@click.option("--create", is_flag=True, help="Make the server's project, unless there is one already.")
@click.option("--every", type=float, default=1.0, show_default=True, help="Seconds between two looks at the server.")
@click.option("--open", "most_open", type=int, default=5, show_default=True, help="Open tasks at which more come.")
@click.option("--rounds", type=int, help="End when so many rounds are answered [default: go on until Ctrl-C].")
def studio(project, url, number, create, every, most_open, rounds):
    """Label in Label Studio: push batches, pull annotations, refit, in rounds; the token is $LABEL_STUDIO_API_KEY."""
    if every < 0 or most_open < 0 or (rounds is not None and rounds < 1):
        raise ConfigError("--every and --open must not be negative, and --rounds must be 1 or more")
    with loading():
        from jaxal.cli.startup import start_jax
        from jaxal.labeling import label_studio, progress, status
        from jaxal.labeling import studio as studios
        from jaxal.labeling.project import Project

        start_jax()
    opened = Project.open(project)
    before = studios.place(opened.folder)
    url = url or (before.url if before else None)
    if url is None:
        raise ConfigError("name the server with --url, such as http://localhost:8080")
    with opened.locked():
        _tell_torn(opened)
        server = label_studio.LabelStudio(url)
        connected = studios.connect(opened, server, number, create)
        click.echo(f"{project}: project {connected.number} of {server.url}; Ctrl-C ends it, at any time", err=True)

        def report(what: str) -> None:
            click.echo(f"\n{what}")
            for line in (*status.lines(opened), *progress.lines(opened)):
                click.echo(line)

        tell = lambda what: click.echo(f"note: {what}", err=True)  # noqa: E731
        studios.loop(connected, every=every, most_open=most_open, most_rounds=rounds, tell=tell, report=report)


def _by_ending(out: Path | None, endings) -> str:
    ending = "" if out is None else out.suffix.removeprefix(".")
    return ending if ending in endings else "csv"


def _tell_torn(project) -> None:
    if project.torn:
        click.echo("note: the log ended in a part of a line, cut off while it was written: left out", err=True)
