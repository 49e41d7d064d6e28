"""`jaxal sweep`: a grid of experiments from one file, here or on a cluster."""

import time
from contextlib import suppress
from pathlib import Path
from threading import Event

import click

from jaxal.cli.interrupt import loading, on_term
from jaxal.cli.options import store_option
from jaxal.cli.progress import Bar
from jaxal.cli.values import FILE, FOLDER
from jaxal.errors import ConfigError, DataError

EXAMPLES = Path(__file__).parents[1] / "experiments" / "sweep" / "examples"


def _print_example(ctx, _, name):
    if name is not None:
        click.echo((EXAMPLES / f"{name}.toml").read_text(), nl=False)
        ctx.exit()


@click.command()
@click.argument("study", type=FILE, required=False)
@click.option("--out", "-o", type=FOLDER, help="Folder of all results folders [default: runs/STUDY].")
@store_option
@click.option("--dry-run", is_flag=True, help="Print groups, and the time and memory they will take; run nothing.")
@click.option("--status", type=FOLDER, metavar="DIR", help="Print how far the sweep in DIR is.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Groups at a time.")
@click.option("--group", metavar="I", help="Run one group, by its number or name, in this process.")
@click.option("--slurm", metavar="OPTIONS", help='Submit a job array: --slurm "--partition=gpu --time=4:00:00".')
@click.option("--ray", is_flag=True, help="Run groups as Ray tasks, at $RAY_ADDRESS or here (extra ray).")
@click.option(
    "--example",
    type=click.Choice(sorted(path.stem for path in EXAMPLES.glob("*.toml"))),
    callback=_print_example,
    expose_value=False,
    is_eager=True,
    help="Print a study.",
)
def sweep(study, out, store, dry_run, status, workers, group, slurm, ray):
    """Run the grid of STUDY, a TOML file: every strategy on every pool, with every combination of settings.

    Each pool is a group, loaded once. The same command goes on where a sweep stopped, runs what a study was extended
    by, and tries again what failed; the exit code is 1 if something did.
    """
    if sum((dry_run, status is not None, group is not None, slurm is not None, ray)) > 1:
        raise ConfigError("--dry-run, --status, --group, --slurm and --ray are five things to do: give one of them")
    if status is not None:
        return _show(_read(status), status)
    if study is not None:
        out, plan = out or Path("runs") / study.stem, _plan(study, store)
    elif out is not None and group is not None:
        plan = _read(out)
    else:
        raise ConfigError("give a study: `jaxal sweep STUDY.toml`; `jaxal sweep --example small` prints one")
    if dry_run:
        return _show(plan, out)
    if study is not None:
        _write(plan, out)
    if group is not None:
        return _run_group(plan, out, plan.group(group))
    if slurm is not None:
        return _submit(plan, out, slurm)
    return _run_all(plan, out, None if ray else workers)


def _plan(study: Path, store: str | None):
    with loading():
        from jaxal.cli.startup import start_jax
        from jaxal.experiments.sweep import cost, plan
        from jaxal.experiments.sweep.study import read

        start_jax()
    return cost.longest_first(plan.make(read(study), store))


def _write(plan, out: Path) -> None:
    from jaxal.experiments.sweep.plan import write

    write(plan, out)


def _read(folder: Path):
    with loading():
        from jaxal.experiments.sweep.plan import read
    return read(folder)


def _states(plan, out: Path) -> dict:
    with loading():
        from jaxal.experiments.sweep.status import state
    return {group.folder: state(plan, group, out) for group in plan.groups}


def _costs(plan, out: Path, states) -> dict:
    """An estimate of what is left of each group, by what the sweep itself has measured, if anything."""
    from jaxal.experiments import results
    from jaxal.experiments.sweep import cost

    measured = []
    for group in plan.groups:
        for run in group.runs if group.sizes else ():
            with suppress(DataError):  # of a damaged table; its run says so
                measured.append((group.sizes, results.read(out / group.folder / run.folder).results))
    rates = cost.fitted((sizes, table) for sizes, table in measured if len(table))
    return {group.folder: cost.estimate(group, plan, states[group.folder].todo, rates) for group in plan.groups}


def _show(plan, out: Path) -> None:
    """Print a line a group: rows, jobs, what is left to do and where it is being done; then what failed."""
    states = _states(plan, out)
    costs = _costs(plan, out, states)
    lines: list[list] = [["", "group", "rows", "D", "classes", "jobs", "done", "time left", "memory", "state"]]
    for number, group in enumerate(plan.groups):
        state, cost = states[group.folder], costs[group.folder]
        sizes = (f"{group.sizes.n_rows:,}", group.sizes.dim, group.sizes.n_classes) if group.sizes else ("?", "?", "?")
        left = (_duration(cost.seconds), f"{cost.bytes / 1e9:.1f} GB" if cost.bytes else "") if cost else ("?", "?")
        lines.append([number, group.folder, *sizes, state.jobs, state.done, *left, _word(state)])
    cells = [[str(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        numbers = (cell.rjust(width) for cell, width in zip(line[2:-1], widths[2:-1], strict=True))
        click.echo("  ".join([line[0].rjust(widths[0]), line[1].ljust(widths[1]), *numbers, line[-1]]).rstrip())
    known = [cost.seconds for cost in costs.values() if cost]
    jobs, done = (sum(getattr(state, name) for state in states.values()) for name in ("jobs", "done"))
    click.echo(f"{done} of {jobs} jobs are done; about {_duration(sum(known))} left, one group at a time")
    _tell_failures(states)


def _word(state) -> str:
    if state.held_by:
        return "running: " + ", ".join(state.held_by)
    return f"{len(state.failed)} failed" if state.failed else "finished" if not state.todo else "waiting"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _tell_failures(states) -> int:
    lines = [f"failed: {job}: {sentence}" for state in states.values() for job, sentence in state.failed.items()]
    for line in lines:
        click.echo(line, err=True)
    return len(lines)


def _run_group(plan, out: Path, group) -> None:
    """Run one group here. TERM lets the cycle finish and, in an element of a SLURM array, requeues it."""
    with loading():
        from jaxal.cli.startup import start_jax
        from jaxal.experiments.sweep.group import Stopped, run_group
        from jaxal.experiments.sweep.slurm import requeue

        start_jax()
    asked = Event()
    total = len(plan.strategies) * sum(run.cycles for run in group.runs)
    with on_term(asked.set):  # to the end: SLURM sends TERM again when it requeues
        try:
            with Bar(total) as bar:
                tell = lambda sentence: click.echo(sentence, err=True)  # noqa: E731
                run_group(plan, group, out, on_cycle=bar.show, on_wait=tell, stop=asked.is_set)
        except Stopped:
            element = requeue()
            click.echo(f"stopped by TERM{f'; {element} is requeued' if element else ''}", err=True)
            raise KeyboardInterrupt from None
    states = {group.folder: _states(plan, out)[group.folder]}
    if _tell_failures(states):
        raise click.exceptions.Exit(1)


def _submit(plan, out: Path, options: str) -> None:
    from jaxal.experiments.sweep.slurm import submit

    states = _states(plan, out)
    numbers = [number for number, group in enumerate(plan.groups) if states[group.folder].todo]
    if not numbers:
        click.echo(f"everything is finished in {out}")
        return
    job = submit(numbers, out, options)
    click.echo(f"submitted array {job} of {len(numbers)} groups; `jaxal sweep --status {out}` tells how far it is")


def _run_all(plan, out: Path, workers: int | None) -> None:
    """Run every group that is not finished, and end with what failed, a line each. workers: None for Ray's."""
    from jaxal.experiments.sweep.on_ray import run_groups as run_with_ray
    from jaxal.experiments.sweep.workers import LOG, run_groups

    states = _states(plan, out)
    costs = _costs(plan, out, states)
    todo = [group.folder for group in plan.groups if states[group.folder].todo]
    left = {name: costs[name].seconds if costs[name] else 0.0 for name in todo}
    began, total, died = time.time(), sum(left.values()), []

    def on_end(ended) -> None:
        left.pop(ended.group)
        state = _states(plan._replace(groups=[plan.group(ended.group)]), out)[ended.group]
        if ended.exit_code not in (0, 1) or (ended.exit_code and not state.failed):
            how = f"exit code {ended.exit_code}" if ended.exit_code > 0 else f"signal {-ended.exit_code}"
            died.append(f"failed: {ended.group}: its process ended with {how}, see {out / ended.group / LOG}")
        spent, rest = time.time() - began, sum(left.values())
        until = f"; about {_duration(spent * rest / (total - rest))} left" if left and total > rest else ""
        number = len(todo) - len(left)
        click.echo(f"[{number}/{len(todo)}] {ended.group}: {state.done} of {state.jobs} jobs done{until}", err=True)

    with on_term(_interrupt):
        if workers is None:
            run_with_ray(todo, out, on_end)
        else:
            run_groups(todo, out, workers, on_end)
    states = _states(plan, out)
    jobs, done = (sum(getattr(state, name) for state in states.values()) for name in ("jobs", "done"))
    click.echo(f"{done} of {jobs} jobs are done in {out}")
    for line in died:
        click.echo(line, err=True)
    if _tell_failures(states) or died:
        raise click.exceptions.Exit(1)


def _interrupt() -> None:
    raise KeyboardInterrupt
