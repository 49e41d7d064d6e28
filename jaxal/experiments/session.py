"""What every experiment has around its runs: the pool as configured, a results folder, the tables of finished runs."""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxal.data.pool import Pool
from jaxal.errors import ConfigError
from jaxal.experiments import memory, results
from jaxal.experiments.config import Config, columns, shown
from jaxal.experiments.folder import note_peak, opened, settle
from jaxal.experiments.loop import Position
from jaxal.experiments.timing import Stopwatch, stopwatch


@dataclass
class Session:
    """An experiment at work."""

    pool: Pool  # capped and normalized
    identity: dict[str, str]  # of the pool: what a results folder knows it by
    folder: Path | None
    force: bool  # run again what the folder has
    watch: Stopwatch
    _in_memory: list[results.Tables] = field(default_factory=list)  # without a folder

    def columns(self, config: Config, strategy: str) -> dict[str, Any]:
        """The columns `results.RUN` of one run."""
        return columns(self.pool, config, self.identity, strategy)

    def missing(self, run_id: str, seeds: Sequence[int]) -> tuple[int, ...]:
        """The seeds of a run that are still to run."""
        if self.folder is None or self.force:
            return tuple(seeds)
        tables = results.read(self.folder)
        have = set.intersection(*(set(table.loc[table["run_id"] == run_id, "seed"]) for table in tables))
        return tuple(seed for seed in seeds if seed not in have)

    def keep(self, columns: dict[str, Any], config: Config, seeds: Sequence[int], position: Position) -> None:
        """Add a finished run to the tables; its rows are numbered as in the original pool."""
        rows = position.rows if self.pool.rows is None else self.pool.rows[position.rows]
        history = position.history._asdict()
        tables = results.of_run(columns, seeds, config.schedule, history, rows, position.scores)
        if self.folder is None:
            self._in_memory.append(tables)
        else:
            results.append(self.folder, tables)
            note_peak(self.folder, memory.peak())

    def tables(self, run_ids: Collection[str], seeds: Collection[int]) -> results.Tables:
        """The tables of these runs and seeds, which are finished."""
        if self.folder is not None:
            return results.select(results.read(self.folder), run_ids, seeds)
        return results.Tables(*(pd.concat(parts, ignore_index=True) for parts in zip(*self._in_memory, strict=True)))


@contextmanager
def session(pool: Pool, config: Config, out: str | Path | None, force: bool) -> Iterator[Session]:
    """Open an experiment: the results folder is locked, made or settled, and float64 pools are computed in float64.

    Raises: ConfigError when the folder is of other settings, StoreError when it is busy or cannot be written.
    """
    folder = None if out is None else _path(out)
    pool = pool.cap(config.pool_size)
    identity = {"dataset": pool.dataset, "model": pool.model, "pool": pool.fingerprint}
    pool = pool.normalized() if config.normalize else pool
    with (
        stopwatch() as watch,
        jax.enable_x64(pool.X.dtype == np.float64),
        nullcontext() if folder is None else opened(folder),
    ):
        if folder is not None:
            settle(folder, config, identity)
        yield Session(pool, identity, folder, force, watch)


def _path(out: str | Path) -> Path:
    try:
        possible = b"\0" not in os.fsencode(out)
    except UnicodeEncodeError:
        possible = False
    except TypeError:
        raise ConfigError(f"out is {shown(out)}: it must be the path of a results folder") from None
    if not possible:
        raise ConfigError(f"out is {shown(out)}: no file system has such a name")
    return Path(out)
