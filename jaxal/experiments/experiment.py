"""An experiment: every strategy on one pool for all seeds, in a folder that can be extended, resumed and read."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import pandas as pd

from jaxal.data.files import remove
from jaxal.data.pool import Pool
from jaxal.errors import StrategyError
from jaxal.experiments import journal, loop, memory
from jaxal.experiments.config import Config, Settings, check, configure
from jaxal.experiments.results import Tables
from jaxal.experiments.session import Session, session
from jaxal.experiments.summary import summary
from jaxal.strategies import State, Strategy, make


class Progress(NamedTuple):
    """What a run tells while it works: a cycle of a strategy is done (or was, in an earlier run)."""

    strategy: str
    cycle: int
    cycles: int
    accuracy: float | None  # mean over seeds; None when the run was there already


OnProgress = Callable[[Progress], object]
OnFailure = Callable[[str, Exception], object]  # the strategy, and what it or the disk raised


def silent(progress: Progress) -> None:
    """Tell nobody."""


def give_up(strategy: str, error: Exception) -> None:
    """End the experiment with the first strategy that fails."""
    raise error


class Result(NamedTuple):
    """What an experiment measured, as pandas tables with the columns of its results folder.

    Each has a row for every (run_id, seed, cycle), or for every row that was labeled. They are in memory; nothing is
    computed or read when they are asked for.
    """

    tables: Tables
    path: Path | None  # the results folder, if there is one
    compile_seconds: float  # spent on compiling, in no other number
    peak_memory_gb: dict[str, float | None]  # most that the process and the device held so far, see `memory.peak`

    @property
    def picks(self) -> pd.DataFrame:
        """Rows in the order they were labeled: run_id, seed, cycle, order, row, score."""
        return self.tables.picks

    def to_pandas(self) -> pd.DataFrame:
        """Learning curves in long format: one row a (run_id, seed, cycle), columns `results.RESULTS`. No copy."""
        return self.tables.results

    def summary(self) -> pd.DataFrame:
        """One row a strategy: seeds, AULC mean and std over seeds, final accuracy, seconds (of all seeds together)."""
        return summary(self.tables.results)


def run(
    pool: Pool,
    strategies: Iterable[str] | str | None = None,
    seeds: int | Iterable[int] = 5,
    *,
    batch_size: int | None = None,
    initial_size: int | None = None,
    out: str | Path | None = None,
    force: bool = False,
    on_cycle: OnProgress = silent,
    **settings: Unpack[Settings],
) -> Result:
    """Run query strategies on a pool, all seeds at once, and measure their learning curves.

    Args:
        pool: with labels for every row and a test split.
        strategies: names, or `module:function`; None: all of jaxal's own.
        seeds: how many (0, 1, ...), or which. Seed i has the same initial pool for every strategy.
        batch_size, initial_size: rows a cycle and at the start. None: the study's for its ten tasks, else
            min(50, N // 40).
        out: results folder. Runs in it are not run again, and one that was interrupted goes on where it stopped.
        force: run again what is there.
        on_cycle: called after every cycle.
        settings: the other fields of `Config`: ips, cycles, variant, C, normalize, pool_size, warm_start, settings.
    Returns: `Result`, of the strategies and seeds asked for.
    Raises: ConfigError before anything is computed; StrategyError for a strategy that breaks its contract; StoreError
        when the results folder cannot be written, DataError when a table in it cannot be read.
    Cost: `cycles` + 1 fits and `cycles` selections of each strategy, for all seeds at once; the first run of a shape
        also compiles. Memory: the pool, which seeds share, and O(S N) numbers for bounds and labels.
    """
    config = configure(pool, strategies, seeds, batch_size=batch_size, initial_size=initial_size, **settings)
    return run_config(pool, config, out=out, force=force, on_cycle=on_cycle)


def run_config(
    pool: Pool,
    config: Config,
    *,
    out: str | Path | None = None,
    force: bool = False,
    on_cycle: OnProgress = silent,
    on_failure: OnFailure = give_up,
) -> Result:
    """`run` for a configuration that is made already; when `on_failure` returns, the other strategies go on."""
    check(pool, config)
    with session(pool, config, out, force) as work:
        problem = cache(lambda: loop.problem(work.pool, config.C, config.warm_start, config.budget))
        ips = make(config.ips, config.variant)

        @cache  # shared by all strategies
        def start(seeds: tuple[int, ...]) -> loop.Position:
            return loop.start(problem(), ips, loop.prepare(ips, work.pool), seeds, config.initial_size, config.ips)

        def finish(name: str, columns: dict[str, Any]) -> None:
            blocks = _blocks(work, columns["run_id"], config.seeds)
            if not blocks:
                on_cycle(Progress(name, config.cycles, config.cycles, None))
            for seeds in blocks:
                path = None if work.folder is None else journal.path_of(work.folder, columns["run_id"], seeds)
                strategy = make(name, config.variant, config.settings.get(name))
                run = _Run(name, strategy, loop.prepare(strategy, work.pool), problem(), config, seeds, path)
                work.keep(columns, config, seeds, run.finish(start, on_cycle))
                if path is not None:
                    remove(path)

        run_ids = []
        for name in config.strategies:
            columns = work.columns(config, name)
            run_ids.append(columns["run_id"])
            try:
                finish(name, columns)
            except Exception as error:
                on_failure(name, error)
        return Result(work.tables(run_ids, config.seeds), work.folder, work.watch.compile_seconds, memory.peak())


def _blocks(work: Session, run_id: str, wanted: Sequence[int]) -> list[tuple[int, ...]]:
    """The seeds still to run, in blocks that run together: journals go on as they were begun, then comes the rest.

    A journal that holds seeds that are done, or that are not all wanted, is of no more use and goes.
    """
    missing = list(work.missing(run_id, wanted))
    blocks = []
    paths = [] if work.folder is None else sorted((work.folder / "journal").glob(f"{run_id}-*.safetensors"))
    for path in paths:
        seeds = journal.seeds_of(path)
        if seeds and set(seeds) <= set(missing) and not work.force:
            blocks.append(tuple(seeds))
            missing = [seed for seed in missing if seed not in seeds]
        elif not seeds or set(seeds) & set(wanted):
            remove(path)
    return blocks + [tuple(missing)] * bool(missing)


class _Run(NamedTuple):
    """One strategy and one block of seeds that run together."""

    name: str
    strategy: Strategy
    aux: Any
    problem: loop.Problem
    config: Config
    seeds: tuple[int, ...]
    journal: Path | None

    def finish(self, start: Callable[[tuple[int, ...]], loop.Position], on_cycle: OnProgress) -> loop.Position:
        """Run all cycles that are left, from the journal or from the start."""
        position = self._begin(start)
        while True:
            cycle = position.cycles - 1
            on_cycle(Progress(self.name, cycle, self.config.cycles, float(position.history.accuracy[-1].mean())))
            if cycle == self.config.cycles:
                return position
            batch_size = self.config.batch_size
            position = loop.cycle(self.problem, self.strategy, self.aux, position, self.seeds, batch_size, self.name)
            if self.journal is not None:
                journal.write(self.journal, position, self.seeds)

    def _begin(self, start: Callable[[tuple[int, ...]], loop.Position]) -> loop.Position:
        if self.journal is not None and self.journal.exists():
            return journal.read(self.journal, self._carry_shapes)
        position = start(self.seeds)
        return position._replace(carry=self.strategy.init(self.aux, self._state(position)))

    def _state(self, position: loop.Position) -> State:
        return loop.state(self.problem, position, self.config.batch_size)

    def _carry_shapes(self, position: loop.Position) -> Any:
        try:
            return loop.carry_shapes(self.strategy, self.aux, self._state(position))
        except (*loop.TRACING_ERRORS, StrategyError) as e:
            if isinstance(e, StrategyError) and not isinstance(e.__cause__, loop.TRACING_ERRORS):
                raise
            raise StrategyError(
                f"the strategy {self.name} cannot go on from {self.journal}: its init must not read values of the "
                "state, since only the carry's shapes are computed then (jaxal.testing.check_strategy tells); run "
                "again with --force"
            ) from e
