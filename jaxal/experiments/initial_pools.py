"""The study's experiment on initial pools: choose K0 rows by each selection, fit, measure; no query after it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Unpack

import numpy as np

from jaxal.data.pool import Pool
from jaxal.errors import ConfigError, unknown
from jaxal.experiments import config as configs
from jaxal.experiments import loop, memory
from jaxal.experiments.config import Config, Settings
from jaxal.experiments.experiment import OnProgress, Progress, Result, silent
from jaxal.experiments.session import session
from jaxal.strategies import Strategy, make

SELECTIONS = ("random", "coreset", "typiclust")
SIZES = (20, 50, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 2000, 5000)  # K0
_SHARED = ("variant", "C", "normalize", "pool_size")  # settings of all steps


def initial_pools(
    pool: Pool,
    selections: Iterable[str] = SELECTIONS,
    sizes: Iterable[int] = SIZES,
    seeds: int | Iterable[int] = 5,
    *,
    out: str | Path | None = None,
    force: bool = False,
    on_pool: OnProgress = silent,
    **settings: Unpack[Settings],
) -> Result:
    """Measure initial pools of each selection and size, all seeds at once.

    Args:
        selections: names of initial pool selections. sizes: K0; those above the pool are clipped to it.
        seeds, out, force: as of `run`. on_pool: called after every selection and size.
        settings: variant, C, normalize, pool_size.
    Returns: `Result` with one row a (selection, K0, seed), `strategy` "none", cycle 0.
    Raises: as `run`.
    Cost: one fit for each (selection, K0) and one selection, all seeds at once. CoreSet selects once, for the largest
        K0, of which the smaller pools are the beginning; the first of them is told all the seconds. Memory as `run`.
    """
    return run_configs(
        pool, configure(pool, selections, sizes, seeds, **settings), out=out, force=force, on_pool=on_pool
    )


def configure(
    pool: Pool,
    selections: Iterable[str] = SELECTIONS,
    sizes: Iterable[int] = SIZES,
    seeds: int | Iterable[int] = 5,
    **settings: Unpack[Settings],
) -> list[Config]:
    """A Config for each selection and size, by selection and then size. Raises ConfigError."""
    for name in settings:
        if name not in _SHARED:
            raise ConfigError(unknown("setting of initial pools", name, _SHARED))
    settings["cycles"] = 0
    base = configs.configure(pool, "random", seeds, batch_size=1, initial_size=1, **settings)
    n = min(len(pool.X), base.pool_size or len(pool.X))
    each = [replace(base, ips=ips) for ips in _distinct("selections", selections)]
    steps = [replace(step, initial_size=size) for step in each for size in _distinct("sizes", sizes)]
    if not steps:
        raise ConfigError("nothing to run: give at least one initial pool selection and one size")
    sizes = sorted({min(step.initial_size, n) for step in steps})
    return [replace(step, initial_size=size) for step in each for size in sizes]


def _distinct(name: str, values: Iterable) -> list:
    try:
        return list(dict.fromkeys([values] if isinstance(values, str) else values))
    except TypeError:
        raise ConfigError(f"{name} is {configs.shown(values)}: it must be a list") from None


def default_folder(pool: Pool, steps: Sequence[Config]) -> Path:
    """runs/<dataset>-<model>-ips-<hash>: the same for the same settings, whatever the selections, sizes and seeds."""
    base = steps[0]
    # The hash is that of a run with these settings and all defaults.
    as_run = configs.configure(pool, ips="each", variant=base.variant, C=base.C, normalize=base.normalize,
                               pool_size=base.pool_size)  # fmt: skip
    return configs.default_folder(pool, as_run, "ips-")


def run_configs(
    pool: Pool,
    steps: Sequence[Config],
    *,
    out: str | Path | None = None,
    force: bool = False,
    on_pool: OnProgress = silent,
) -> Result:
    """`initial_pools` for configurations that `configure` made."""
    for step in steps:
        configs.check(pool, step)
    base = replace(steps[0], ips="each", initial_size=0)  # what all steps share
    with session(pool, base, out, force) as work:
        problem = loop.problem(work.pool, base.C, base.warm_start, max(step.initial_size for step in steps))
        prepared = cache(lambda name: loop.prepare(make(name, base.variant), work.pool))

        todo = []
        for step in steps:
            columns = work.columns(step, "none")
            todo.append((step, columns, tuple(work.missing(columns["run_id"], step.seeds))))

        @cache
        def selection(name: str, seeds: tuple[int, ...]) -> Strategy:
            """The selection for all sizes that lack these seeds."""
            ips = make(name, base.variant)
            sizes = [step.initial_size for step, _, missing in todo if (step.ips, missing) == (name, seeds)]
            return _beginning(ips, max(sizes)) if ips.nested else ips

        for step, columns, seeds in todo:
            accuracy = None
            if seeds:
                ips, aux = selection(step.ips, seeds), prepared(step.ips)
                position = loop.start(problem, ips, aux, seeds, step.initial_size, step.ips)
                accuracy = float(position.history.accuracy[0].mean())
                work.keep(columns, step, seeds, position)
            on_pool(Progress(f"{step.ips} {step.initial_size}", 1, 1, accuracy))
        run_ids = [columns["run_id"] for _, columns, _ in todo]
        return Result(work.tables(run_ids, base.seeds), work.folder, work.watch.compile_seconds, memory.peak())


def _beginning(ips: Strategy, largest: int) -> Strategy:
    """A nested selection of any size up to `largest`, which is chosen once; for the same seeds each time."""
    chosen = []

    def select(keys, aux, carry, state):
        if not chosen:
            whole = replace(state, batch_size=largest)
            rows, scores, _ = loop.compiled(ips)(keys, aux, ips.init(aux, whole), whole)
            chosen.extend((np.asarray(rows), np.asarray(scores)))
        return *(part[:, : state.batch_size] for part in chosen), carry

    return ips._replace(init=lambda aux, state: (), select=select, host=True)
