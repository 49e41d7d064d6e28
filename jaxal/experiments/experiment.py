"""An experiment: every strategy on one pool for all seeds, in a folder that can be extended, resumed and read."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd

from jaxal import strategies
from jaxal.data.files import remove
from jaxal.data.pool import Pool
from jaxal.errors import ConfigError
from jaxal.experiments import journal, loop, results
from jaxal.experiments.config import Config, check, columns, configure
from jaxal.experiments.folder import opened, settle

IPS_SIZES = (20, 50, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 2000, 5000)  # K0 of the initial pool experiment


class Progress(NamedTuple):
    """What a run tells while it works: a cycle of a strategy is done (or was, in an earlier run)."""

    strategy: str
    cycle: int
    cycles: int
    accuracy: float | None  # mean over seeds; None when the run was there already


class Result(NamedTuple):
    """What an experiment measured."""

    tables: results.Tables
    path: Path | None  # the results folder, if there is one
    compile_seconds: float  # spent on compiling, in no other number

    @property
    def picks(self) -> pd.DataFrame:
        """Rows in the order they were labeled: run_id, seed, cycle, order, row, score."""
        return self.tables.picks

    def to_pandas(self) -> pd.DataFrame:
        """Learning curves in long format: one row a (run_id, seed, cycle), columns `results.RESULTS`."""
        return self.tables.results

    def summary(self) -> pd.DataFrame:
        """One row a strategy: seeds, AULC mean and std over seeds, final accuracy, seconds."""
        return results.summary(self.tables.results)


def run(
    pool: Pool,
    strategies: Iterable[str] | str | None = None,
    seeds: int | Iterable[int] = 5,
    *,
    batch_size: int | None = None,
    initial_size: int | None = None,
    out: str | Path | None = None,
    force: bool = False,
    on_cycle: Callable[[Progress], None] = lambda progress: None,
    **settings,
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
    Raises: ConfigError before anything is computed; StoreError when the results folder cannot be written.
    """
    config = configure(pool, strategies, seeds, batch_size=batch_size, initial_size=initial_size, **settings)
    check(pool, config)
    pool, identity = _as_configured(pool, config)
    folder = None if out is None else Path(out)
    compiled = loop.compile_seconds()
    # float64 embeddings are computed in float64, as scikit-learn does
    with jax.enable_x64(pool.X.dtype == np.float64), nullcontext() if folder is None else opened(folder):
        if folder is not None:
            settle(folder, config, identity)
        tables = _run_all(pool, config, identity, folder, force, on_cycle)
    return Result(tables, folder, loop.compile_seconds() - compiled)


def initial_pools(
    pool: Pool,
    selections: Iterable[str] = ("random", "coreset", "typiclust"),
    sizes: Iterable[int] = IPS_SIZES,
    seeds: int | Iterable[int] = 5,
    *,
    out: str | Path | None = None,
    force: bool = False,
    on_pool: Callable[[Progress], None] = lambda progress: None,
    **settings,
) -> Result:
    """The study's experiment on initial pools: choose K0 rows by each selection, fit, measure; no query after it.

    Args:
        selections: names of initial pool selections. sizes: K0; those above the pool are clipped to it.
        seeds, out, force: as of `run`. on_pool: called after every selection and size.
        settings: variant, C, normalize, pool_size.
    Returns: `Result` with one row a (selection, K0, seed), `strategy` "none", cycle 0.
    Raises: as `run`.
    """
    n = min(len(pool.X), settings.get("pool_size") or len(pool.X))
    sizes, selections = sorted({min(size, n) for size in sizes}), list(dict.fromkeys(selections))
    if not (sizes and selections):
        raise ConfigError("nothing to run: give at least one initial pool selection and one size")
    base = configure(pool, "random", seeds, batch_size=1, initial_size=sizes[0], cycles=0, **settings)
    steps = [replace(base, ips=ips, initial_size=size) for ips in selections for size in sizes]
    for step in steps:
        check(pool, step)
    pool, identity = _as_configured(pool, base)
    folder = None if out is None else Path(out)
    compiled = loop.compile_seconds()
    done = []
    with jax.enable_x64(pool.X.dtype == np.float64), nullcontext() if folder is None else opened(folder):
        if folder is not None:
            settle(folder, replace(base, ips="each", initial_size=0), identity)
        problem = loop.problem(pool, base.C, base.warm_start)
        prepared = cache(lambda ips: loop.prepare(ips, pool))
        for step in steps:
            ips, row = strategies.make(step.ips, step.variant), columns(pool, step, identity, "none")
            missing = step.seeds if folder is None or force else _missing(folder, row["run_id"], step.seeds)
            accuracy = None
            if missing:
                position = loop.start(problem, ips, prepared(ips), missing, step.initial_size)
                accuracy = float(position.history[0, :, 0].mean())
                done.append(_tables(pool, row, missing, step.schedule, position))
                if folder is not None:
                    results.append(folder, done[-1])
            on_pool(Progress(f"{step.ips} {step.initial_size}", 1, 1, accuracy))
        if folder is not None:
            run_ids = [columns(pool, step, identity, "none")["run_id"] for step in steps]
            tables = results.select(results.read(folder), run_ids, base.seeds)
        else:
            tables = results.Tables(*(pd.concat(parts, ignore_index=True) for parts in zip(*done, strict=True)))
    return Result(tables, folder, loop.compile_seconds() - compiled)


def _as_configured(pool: Pool, config: Config) -> tuple[Pool, dict]:
    """The pool, capped and normalized, and what a results folder knows it by."""
    pool = pool.cap(config.pool_size)
    identity = {"dataset": pool.dataset, "model": pool.model, "pool": pool.fingerprint}
    return pool.normalized() if config.normalize else pool, identity


def _run_all(pool: Pool, config: Config, identity: dict, folder: Path | None, force: bool, on_cycle) -> results.Tables:
    problem = cache(lambda: loop.problem(pool, config.C, config.warm_start))
    ips = strategies.make(config.ips, config.variant)

    @cache  # shared by all strategies
    def start(seeds) -> loop.Position:
        return loop.start(problem(), ips, loop.prepare(ips, pool), seeds, config.initial_size)

    runs = [columns(pool, config, identity, name) for name in config.strategies]
    done = []
    for settings in runs:
        name = settings["strategy"]
        blocks = [config.seeds] if folder is None else _unfinished(folder, settings["run_id"], config.seeds, force)
        if not blocks:
            on_cycle(Progress(name, config.cycles, config.cycles, None))
        for seeds in blocks:
            strategy = strategies.make(name, config.variant, config.settings.get(name))
            position = _run_one(pool, problem(), strategy, start, config, settings, seeds, folder, on_cycle)
            tables = _tables(pool, settings, seeds, config.schedule, position)
            if folder is None:
                done.append(tables)
            else:
                results.append(folder, tables)
                remove(journal.path_of(folder, settings["run_id"], seeds))
    if folder is None:
        return results.Tables(*(pd.concat(parts, ignore_index=True) for parts in zip(*done, strict=True)))
    return results.select(results.read(folder), [settings["run_id"] for settings in runs], config.seeds)


def _tables(pool: Pool, settings: dict, seeds, schedule, position: loop.Position) -> results.Tables:
    """A finished run as table rows, numbered as in the original pool."""
    rows = position.rows if pool.rows is None else pool.rows[position.rows]
    history = dict(zip(loop.HISTORY, np.moveaxis(position.history, 2, 0), strict=True))
    return results.of_run(settings, seeds, schedule, history, rows, position.scores)


def _missing(folder: Path, run_id: str, wanted: Sequence[int]) -> tuple[int, ...]:
    """The seeds that the results folder lacks."""
    have = set.intersection(*(set(table.loc[table["run_id"] == run_id, "seed"]) for table in results.read(folder)))
    return tuple(seed for seed in wanted if seed not in have)


def _unfinished(folder: Path, run_id: str, wanted: Sequence[int], force: bool) -> list[tuple[int, ...]]:
    """The seeds still to run, in blocks that run together: journals go on as they were begun, then comes the rest.

    A journal that holds seeds that are done, or that are not all wanted, is of no more use and goes.
    """
    missing = list(wanted if force else _missing(folder, run_id, wanted))
    blocks = []
    for path in sorted((folder / "journal").glob(f"{run_id}-*.safetensors")):
        seeds = journal.seeds_of(path)
        if seeds and set(seeds) <= set(missing) and not force:
            blocks.append(tuple(seeds))
            missing = [seed for seed in missing if seed not in seeds]
        elif not seeds or set(seeds) & set(wanted):
            remove(path)
    return blocks + [tuple(missing)] * bool(missing)


def _run_one(pool, problem, strategy, start, config, settings, seeds, folder, on_cycle) -> loop.Position:
    """One strategy and block of seeds, from its journal or from the start."""
    aux = loop.prepare(strategy, pool)
    path = None if folder is None else journal.path_of(folder, settings["run_id"], seeds)

    def first_carry(position):
        return strategy.init(aux, loop.state(problem, position, config.batch_size))

    if path is not None and path.exists():
        position = journal.read(path, lambda position: jax.eval_shape(first_carry, position))
    else:
        position = start(seeds)
        position = position._replace(carry=first_carry(position))
    while True:
        cycle = len(position.history) - 1
        on_cycle(Progress(settings["strategy"], cycle, config.cycles, float(position.history[-1, :, 0].mean())))
        if cycle == config.cycles:
            return position
        position = loop.cycle(problem, strategy, aux, position, seeds, config.batch_size)
        if path is not None:
            journal.write(path, position, seeds)
