"""How far a sweep is, read from its folders alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxal.errors import DataError
from jaxal.experiments import results
from jaxal.experiments.sweep import failures
from jaxal.experiments.sweep.lease import holder
from jaxal.experiments.sweep.plan import Group, Plan


class State(NamedTuple):
    """A group's jobs, each a strategy in a run folder: those to do, by folder, and what failed, one line each."""

    jobs: int
    todo: dict[str, list[str]]
    failed: dict[str, str]  # job -> sentence
    held_by: list[str]  # processes at work on it, host:pid

    @property
    def done(self) -> int:
        """Jobs that are finished."""
        return self.jobs - sum(map(len, self.todo.values()))


def missing(plan: Plan, folder: Path) -> list[str]:
    """The strategies of a run folder that some seed is missing of. Raises DataError when its table is damaged."""
    table = results.read(folder).results
    have = table.groupby("strategy")["seed"].agg(set).to_dict()
    return [name for name in plan.strategies if not set(plan.seeds) <= have.get(name, set())]


def state(plan: Plan, group: Group, out: Path) -> State:
    """The state of a group below `out`; a run whose table is damaged has failed."""
    folder, todo, failed, holders = out / group.folder, {}, dict(_failed(group, out / group.folder)), []
    for run in group.runs:
        try:
            todo[run.folder] = missing(plan, folder / run.folder)
        except DataError as damage:
            todo[run.folder] = plan.strategies
            failed[f"{group.folder}/{run.folder}"] = str(damage)
        holders.append(holder(folder / run.folder))
    return State(
        jobs=len(group.runs) * len(plan.strategies),
        todo={name: names for name, names in todo.items() if names},
        failed=failed,
        held_by=list(dict.fromkeys(f"{h.get('host', '?')}:{h.get('pid', '?')}" for h in holders if h is not None)),
    )


def _failed(group: Group, folder: Path) -> Iterator[tuple[str, str]]:
    for part in ("", *(run.folder for run in group.runs)):
        for strategy, sentence in failures.of(folder / part).items():
            names = [group.folder, part, "" if strategy == failures.ALL else strategy]
            yield "/".join(filter(None, names)), sentence
