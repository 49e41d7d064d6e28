"""The models of a run once more, as the stopping rules see them: from the rows in pick order and their labels.

Neither a results folder nor a labeling project holds predictions. They are cheap to have again: the rows are known, so
that a cycle is a fit and no query.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd

from jaxal import stopping
from jaxal.data.pool import Pool
from jaxal.errors import DataError
from jaxal.experiments import results
from jaxal.numerics import logreg
from jaxal.numerics.blocks import to_device

# A row for each (run_id, seed, cycle). Each number is known as soon as the labels of that cycle are.
COLUMNS = ("run_id", "strategy", "seed", "cycle", "n_labeled", "accuracy",
           "agreement", "batch_accuracy", "temperature", "expected_error", "uncalibrated_error")  # fmt: skip

_BATCHES = 3  # of which the temperature is fitted: one of 50 rows alone moves the expected error by points (TREC-6)


class Seen(NamedTuple):
    """The model after a cycle, and what it was like before; leading axis S, seeds. NaN where there was none before."""

    params: logreg.Params
    predicted: np.ndarray  # (S, n) classes of the stop set
    batch_accuracy: np.ndarray  # (S,) of the model before, on the batch of this cycle
    temperature: (
        np.ndarray
    )  # (S,) for the logits of the last three batches, each of the model before it; 1 at the start
    expected_error: np.ndarray  # (S,) on the rows of the stop set that are unlabeled
    uncalibrated_error: np.ndarray  # (S,) the same at temperature 1


def follow(
    X: np.ndarray,
    rows: np.ndarray,
    y: np.ndarray,
    sizes: np.ndarray,
    stop_set: np.ndarray,
    *,
    n_classes: int,
    C: float = 1.0,
    warm_start: bool = True,
) -> Iterator[Seen]:
    """Fit again after every cycle.

    Args: X: (N, D). rows, y: (S, L) in pick order, and their classes. sizes: (T,) labels after each cycle, ascending to
        L. stop_set: (n,) rows. The others as in `experiments.config.Config`.
    Cost: T fits, and predictions for the stop set and the batches.
    """
    on_device = to_device(X)
    start = logreg.zeros(len(rows), n_classes, X.shape[1], on_device.dtype)
    params, held_out = start, []
    for cycle, (begin, end) in enumerate(zip([0, *sizes], sizes, strict=False)):
        batch, labels = rows[:, begin:end], y[:, begin:end]
        accuracy, temperature = np.full(len(rows), np.nan), np.ones(len(rows))
        if cycle:
            before = np.stack([logits(params, seed, X[chosen]) for seed, chosen in enumerate(batch)])
            accuracy = np.mean(np.argmax(before, axis=2) == labels, axis=1)
            held_out = [*held_out, (before, labels)][-_BATCHES:]
            pairs = zip(*(np.concatenate(parts, axis=1) for parts in zip(*held_out, strict=True)), strict=True)
            temperature = np.array([stopping.temperature(*pair) for pair in pairs])
        init, most = params if warm_start else start, int(sizes[-1])
        params = logreg.fit_rows(on_device, rows[:, :end], y[:, :end], init=init, C=C, most=most).params
        on_stop_set = [logits(params, seed, X[stop_set]) for seed in range(len(rows))]
        unlabeled = [z[~np.isin(stop_set, known)] for z, known in zip(on_stop_set, rows[:, :end], strict=True)]
        errors = [
            [stopping.expected_error(z, t) for z, t in zip(unlabeled, scale, strict=True)]
            for scale in (temperature, np.ones(len(rows)))
        ]
        yield Seen(params, np.argmax(on_stop_set, axis=2), accuracy, temperature, *map(np.array, errors))


def logits(params: logreg.Params, seed: int, X: np.ndarray) -> np.ndarray:
    """Logits (n, C) of one seed's model for rows X (n, D); by NumPy: no program for every n."""
    return X @ np.asarray(params.W[seed]).T + np.asarray(params.b[seed])


def replay(folder: Path, pool: Pool, *, on_run: Callable[[str], object] | None = None) -> pd.DataFrame:
    """What the rules saw in every finished run of a results folder: a table with the columns `COLUMNS`.

    pool: that of the folder, not capped. on_run: told each strategy when its run is done.
    Raises: DataError for a folder without finished runs, or of another pool.
    Cost: as `follow`, for each run and all its seeds.
    """
    tables = results.read(folder)
    if tables.results.empty:
        raise DataError(f"{folder} has no finished runs: `jaxal run --out {folder}` makes one")
    parts = []
    with jax.enable_x64(pool.X.dtype == np.float64):
        for run_id, run in tables.results.groupby("run_id", sort=False):
            parts.append(_run(run, tables.picks[tables.picks["run_id"] == run_id], pool, folder))
            if on_run is not None:
                on_run(parts[-1]["strategy"].iloc[0])
    return pd.concat(parts, ignore_index=True)


def _run(run: pd.DataFrame, picks: pd.DataFrame, pool: Pool, folder: Path) -> pd.DataFrame:
    about, seeds = run.iloc[0], run["seed"].unique()
    capped = pool.cap(int(about["pool_size"]))
    labels = np.full(len(pool.X), -1) if pool.y is None else pool.y
    known = labels[picks["row"][picks["row"] < len(labels)]]
    if len(capped.X) != about["pool_size"] or len(known) < len(picks) or (known < 0).any():
        raise DataError(
            f"{folder} is not of this pool: its runs had {about['pool_size']:,} labeled rows to choose from"
        )
    stop_set = stopping.stop_set(len(capped.X))
    stop_set = stop_set if capped.rows is None else capped.rows[stop_set]
    ordered = picks.sort_values(["cycle", "order"], kind="stable")
    rows = np.stack([ordered["row"][ordered["seed"] == seed] for seed in seeds])
    run = run.set_index(["seed", "cycle"]).sort_index()
    seen = list(
        follow(
            (pool.normalized() if about["normalize"] else pool).X,
            rows,
            labels[rows],
            run.loc[seeds[0], "n_labeled"].to_numpy(),
            stop_set,
            n_classes=pool.n_classes,
            C=float(about["C"]),
            warm_start=bool(about["warm_start"]),
        )
    )
    predicted = np.stack([each.predicted for each in seen], axis=1)  # (S, T, n)
    measured = {name: np.array([getattr(each, name) for each in seen]).T for name in COLUMNS[-4:]}
    measured["agreement"] = np.stack([stopping.stable(each)[0] for each in predicted])
    cells = pd.MultiIndex.from_product([seeds, range(len(seen))], names=["seed", "cycle"])
    table = pd.DataFrame({name: values.ravel() for name, values in measured.items()}, index=cells)
    return run.join(table).reset_index()[list(COLUMNS)]
