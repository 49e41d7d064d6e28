"""`jaxal audit`: the accuracy of a labeling project's classifier, where there is no test split."""

from pathlib import Path

import click

from jaxal.cli.inputs import refuse_overwriting
from jaxal.cli.interrupt import loading
from jaxal.cli.values import FILE, FILE_TO_WRITE
from jaxal.errors import ConfigError


@click.command()
@click.argument("project", type=FILE)
@click.option("--rows", "-m", "size", type=int, help="How many rows to draw, the first time [default: 200].")
@click.option("--labels", "-l", type=FILE, help="CSV of their labels: row or id, and label.")
@click.option("--out", "-o", type=FILE_TO_WRITE, help="File for the rows to label [default: standard output].")
def audit(project, size, labels, out):
    """Measure accuracy without a test split: draw rows of the pool once, label them, and read the number.

    The first time it draws rows and writes them as CSV. With --labels FILE it takes their labels, and says what the
    accuracy is on the rows without a label; the labels count for later rounds too. They are no training labels.
    """
    if out is not None:
        refuse_overwriting([out], [project, *([labels] if labels else [])])
    with loading():
        from jaxal.cli.startup import start_jax
        from jaxal.labeling import audit as audits
        from jaxal.labeling import progress
        from jaxal.labeling.project import Project

        start_jax()
    opened = Project.open(project)
    with opened.locked():
        drawn = audits.read(opened)
        if drawn is None:
            if labels is not None:
                raise ConfigError(f"--labels {labels}: no rows were drawn yet; `jaxal audit {project}` draws them")
            model = progress.progress(opened).seen[-1].params
            drawn = audits.begin(opened, progress.doubt(opened, model), 200 if size is None else size)
        elif size not in (None, len(drawn.rows)):
            raise ConfigError(
                f"-m {size}: {project} has an audit of {len(drawn.rows)} rows; delete {project / 'audit'} for another"
            )
        if labels is not None:
            audits.add_labels(opened, drawn, labels)
    known = len(audits.labels(opened, drawn))
    if known < len(drawn.rows) and labels is None:
        _write(audits.to_label(opened, drawn), out)
        click.echo(f"label them, in this order if not all, then: jaxal audit {project} --labels FILE", err=True)
    elif known < audits.LEAST_ROWS:
        click.echo(f"{known} of {len(drawn.rows)} rows have a label, from the first on: {audits.LEAST_ROWS} are needed")
    else:
        click.echo("\n".join(progress.accuracy(opened, progress.progress(opened), audit=True)))
        if known < len(drawn.rows):
            click.echo(f"{known} of {len(drawn.rows)} rows count, those before the first one without a label")


def _write(rows: str, out: Path | None) -> None:
    from jaxal.data.files import atomic_write

    if out is None:
        click.echo(rows, nl=False)
    else:
        atomic_write(out, rows.encode())
        click.echo(f"rows to label in {out}", err=True)
