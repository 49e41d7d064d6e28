"""The two tables of a results folder, `results.parquet` and `picks.parquet`: one schema for every program."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxal.data.files import atomic_write
from jaxal.errors import DataError

# fmt: off
SETTINGS = [  # of a run: all that can change its rows but the seed
    "run_id", "dataset", "model", "ips", "strategy", "variant", "C", "normalize", "pool_size", "batch_size",
    "initial_size", "warm_start",
]
MEASURED = [
    "n_labeled", "accuracy", "macro_f1", "balanced_accuracy", "fit_seconds", "select_seconds", "eval_seconds",
    "seeds_in_block", "fit_iterations", "converged",
]
# fmt: on
RESULTS = [*SETTINGS, "seed", "cycle", *MEASURED]
PICKS = ["run_id", "seed", "cycle", "order", "row", "score"]
_INTEGERS = ["seed", "cycle", "n_labeled", "seeds_in_block", "fit_iterations"]


class Tables(NamedTuple):
    """Learning curves and picks. Seconds are of the whole seed block, compiling not counted."""

    results: pd.DataFrame  # columns RESULTS, one row a (run_id, seed, cycle)
    picks: pd.DataFrame  # columns PICKS, one row a labeled row, in pick order


def of_run(settings: dict, seeds, schedule, history: dict, rows, scores) -> Tables:
    """The table rows of one finished run of S seeds.

    Args:
        settings: a value for each of SETTINGS.
        schedule: rows labeled after each cycle, [K0, K0 + B, ...].
        history: name -> (cycles, S), for the measured columns that differ by cycle.
        rows, scores: (S, L) what was picked, numbered as in the original pool, and the strategy's scores.
    """
    n_seeds, n_cycles = len(seeds), len(schedule)
    cells = pd.MultiIndex.from_product([seeds, range(n_cycles)], names=["seed", "cycle"])
    results = cells.to_frame(index=False).assign(
        **settings,
        **{name: values.T.ravel() for name, values in history.items()},
        n_labeled=np.tile(schedule, n_seeds),
        seeds_in_block=n_seeds,
    )
    results["converged"] = results["converged"].astype(bool)
    results = results.astype({name: "int64" for name in _INTEGERS})[RESULTS]

    begins = np.concatenate([[0], schedule[:-1]])
    sizes = np.diff(np.concatenate([begins, schedule[-1:]]))
    picks = pd.DataFrame(
        {
            "run_id": settings["run_id"],
            "seed": np.repeat(np.asarray(seeds, np.int64), rows.shape[1]),
            "cycle": np.tile(np.repeat(np.arange(n_cycles), sizes), n_seeds),
            "order": np.tile(np.concatenate([np.arange(size) for size in sizes]), n_seeds),
            "row": rows.ravel().astype(np.int64),
            "score": scores.ravel().astype(np.float64),
        }
    )
    return Tables(results, picks)


def read(folder: Path) -> Tables:
    """The tables of a results folder; empty ones where nothing is finished yet."""
    return Tables(_read(folder / "results.parquet", RESULTS), _read(folder / "picks.parquet", PICKS))


def _read(path: Path, columns) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=columns)
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as e:
        raise DataError(f"{path} cannot be read ({e}): move it away and run again") from e
    if list(table) != columns:
        raise DataError(f"{path} is no table of jaxal's, or of another version: move it away, or choose another --out")
    return table


def append(folder: Path, new: Tables) -> None:
    """Add rows to a results folder; rows of the same (run_id, seed) are replaced.

    Picks go first: a run counts as finished when `results.parquet` has it.
    """
    old = read(folder)
    for name in ("picks", "results"):
        before, after = getattr(old, name), getattr(new, name)
        write(folder / f"{name}.parquet", pd.concat([without(before, after), after], ignore_index=True))


def without(table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of `table` whose (run_id, seed) is not in `other`."""
    keys = ["run_id", "seed"]
    return table[~pd.MultiIndex.from_frame(table[keys]).isin(pd.MultiIndex.from_frame(other[keys]))]


def select(tables: Tables, run_ids, seeds) -> Tables:
    """The rows of some runs and seeds."""
    keep = [table[table["run_id"].isin(run_ids) & table["seed"].isin(seeds)] for table in tables]
    return Tables(*(table.reset_index(drop=True) for table in keep))


def write(path: Path, table: pd.DataFrame) -> None:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    atomic_write(path, buffer.getvalue())


def aulc(results: pd.DataFrame) -> pd.Series:
    """Area under the learning curve, by (run_id, strategy, seed): the plain mean of the accuracies of all cycles."""
    return results.groupby(["run_id", "strategy", "seed"], sort=False)["accuracy"].mean().rename("aulc")


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """One row a strategy: seeds, AULC mean and std over seeds, accuracy after the last cycle, seconds of its blocks."""
    curves = aulc(results).groupby(level=["run_id", "strategy"], sort=False)
    by_run = results.groupby(["run_id", "strategy"], sort=False)
    final = results[results["cycle"] == by_run["cycle"].transform("max")]
    # Seconds are of a whole block of seeds and stand in the row of each: count a block once.
    share = results[["fit_seconds", "select_seconds", "eval_seconds"]].sum(axis=1) / results["seeds_in_block"]
    table = pd.DataFrame(
        {
            "seeds": curves.size(),
            "aulc_mean": curves.mean(),
            "aulc_std": curves.std(),
            "final_accuracy": final.groupby(["run_id", "strategy"], sort=False)["accuracy"].mean(),
            "seconds": share.groupby([results["run_id"], results["strategy"]], sort=False).sum(),
        }
    )
    return table.reset_index().drop(columns="run_id")
