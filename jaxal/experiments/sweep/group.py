"""One group: its pool is loaded once, and every run on it that is not finished is run, by the code of `jaxal run`."""

import itertools
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from jaxal.data.pool import Pool, load
from jaxal.errors import DataError, JaxalError
from jaxal.experiments import results
from jaxal.experiments.config import configure
from jaxal.experiments.experiment import OnProgress, Progress, run_config, silent
from jaxal.experiments.sweep import failures
from jaxal.experiments.sweep.lease import Lease, Lost, holder, lease
from jaxal.experiments.sweep.plan import Group, Plan, Run
from jaxal.experiments.sweep.status import missing

Stop = Callable[[], bool]
Capped = Callable[[int | None], Pool]  # size -> the pool, of that many rows at most

_PATIENCE = 2.0  # seconds between looks at runs that other processes are at work on


class Stopped(Exception):
    """The caller asked to stop: cycles that are done are kept, and the next call goes on from there."""


def run_group(
    plan: Plan,
    group: Group,
    out: Path,
    *,
    on_cycle: OnProgress = silent,
    on_wait: Callable[[str], object] = lambda sentence: None,
    stop: Stop = lambda: False,
) -> None:
    """Run what is missing in a group's folders below `out`, and try again what failed.

    A run that another process holds is left to it and looked at again at the end. What fails is kept in `failures` and
    the rest goes on.

    Args:
        on_cycle: called after every cycle. on_wait: told whom it waits for.
        stop: asked after every cycle; when it says so, Stopped is raised.
    Raises: Stopped; StoreError when `out` cannot be written to.
    Cost: as `experiment.run` of every run folder; nothing is loaded when all is finished.
    """
    folder = out / group.folder
    failures.forget(folder)
    runs = [run for run in group.runs if not _is_finished(plan, folder / run.folder)]
    for run, name in itertools.product(group.runs, plan.strategies):
        if run not in runs:
            on_cycle(Progress(f"{run.folder} {name}", run.cycles, run.cycles, None))
    if not runs:
        return
    try:
        capped = cache(load(group.dataset, group.model, plan.store).cap)  # one copy, whose fingerprint is computed once
    except (JaxalError, MemoryError) as error:
        failures.add(folder, failures.ALL, error)
        return
    told = ""
    while runs:
        busy = [run for run in runs if not _run_one(plan, run, folder / run.folder, capped, on_cycle, stop)]
        if len(busy) == len(runs):
            sentence = _whom(folder / busy[0].folder)
            if sentence != told:
                on_wait(sentence)
            told = sentence
            time.sleep(_PATIENCE)
        runs = busy


def _is_finished(plan: Plan, path: Path) -> bool:
    try:
        return not missing(plan, path)
    except DataError:  # a damaged table, which the run will tell of
        return False


def _run_one(plan: Plan, run: Run, path: Path, capped: Capped, on_cycle: OnProgress, stop: Stop) -> bool:
    """Run one folder and keep what fails. False when another process is at work on it. Raises Stopped."""
    if stop():
        raise Stopped
    try:
        with lease(path) as held:
            if held is not None:
                _run_held(plan, run, path, capped, held, on_cycle, stop)
            return held is not None
    except Lost:
        return False


def _run_held(plan: Plan, run: Run, path: Path, capped: Capped, held: Lease, on_cycle: OnProgress, stop: Stop) -> None:
    def after_cycle(progress: Progress) -> None:
        on_cycle(progress._replace(strategy=f"{run.folder} {progress.strategy}"))
        held.check()
        if stop():
            raise Stopped

    def failed(name: str, error: Exception) -> None:
        if isinstance(error, Stopped | Lost):
            raise error
        failures.add(path, name, error)

    failures.forget(path)
    try:
        results.read(path)  # a damaged table is one failure, not one of each strategy
        pool = capped(run.settings["pool_size"])
        config = configure(pool, plan.strategies, plan.seeds, settings=plan.settings, **run.settings)
        run_config(pool, config, out=path, on_cycle=after_cycle, on_failure=failed)
    except (Stopped, Lost):
        raise
    except Exception as error:  # of all strategies together: a budget larger than the pool, a folder of other settings
        failures.add(path, failures.ALL, error)


def _whom(path: Path) -> str:
    who = holder(path) or {}
    job = f", job {who['job']}" if "job" in who else ""
    return (
        f"waiting for {path}: process {who.get('pid', '?')} on {who.get('host', 'another host')}{job} is at work on it"
    )
