"""The two tables of a results folder, `results.parquet` and `picks.parquet`: one schema for every program."""

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxal.data.files import atomic_write
from jaxal.errors import DataError

RUN = {  # the columns of a run: all that can change its rows but the seed
    "run_id": "string", "dataset": "string", "model": "string", "ips": "string", "strategy": "string",
    "variant": "string", "C": "float64", "normalize": "bool", "pool_size": "int64", "batch_size": "int64",
    "initial_size": "int64", "warm_start": "bool",
}  # fmt: skip
MEASURED = {
    "n_labeled": "int64", "accuracy": "float64", "macro_f1": "float64", "balanced_accuracy": "float64",
    "fit_seconds": "float64", "select_seconds": "float64", "eval_seconds": "float64", "seeds_in_block": "int64",
    "fit_iterations": "int64", "converged": "bool",
}  # fmt: skip
RESULTS = RUN | {"seed": "int64", "cycle": "int64"} | MEASURED
PICKS = {"run_id": "string", "seed": "int64", "cycle": "int64", "order": "int64", "row": "int64", "score": "float64"}


class Tables(NamedTuple):
    """Learning curves and picks. Seconds are of the whole seed block, compiling not counted."""

    results: pd.DataFrame  # columns RESULTS, one row a (run_id, seed, cycle)
    picks: pd.DataFrame  # columns PICKS, one row a labeled row, in pick order


def of_run(
    columns: Mapping[str, Any],
    seeds: Sequence[int],
    schedule: np.ndarray,
    history: Mapping[str, np.ndarray],
    rows: np.ndarray,
    scores: np.ndarray,
) -> Tables:
    """The table rows of one finished run of S seeds.

    Args:
        columns: a value for each of RUN.
        schedule: (cycles + 1,) rows labeled after each cycle, [K0, K0 + B, ...].
        history: name -> (cycles + 1, S), for the measured columns that differ by cycle.
        rows, scores: (S, L) what was picked, numbered as in the original pool, and the strategy's scores.
    """
    n_seeds, n_cycles = len(seeds), len(schedule)
    cells = pd.MultiIndex.from_product([seeds, range(n_cycles)], names=["seed", "cycle"])
    results = cells.to_frame(index=False).assign(
        **columns,
        **{name: values.T.ravel() for name, values in history.items()},
        n_labeled=np.tile(schedule, n_seeds),
        seeds_in_block=n_seeds,
    )
    typed = {name: dtype for name, dtype in RESULTS.items() if name not in RUN and dtype != "float64"}
    results = results.astype(typed)[list(RESULTS)]

    begins = np.concatenate([[0], schedule[:-1]])
    sizes = np.diff(np.concatenate([begins, schedule[-1:]]))
    picks = pd.DataFrame(
        {
            "run_id": columns["run_id"],
            "seed": np.repeat(np.asarray(seeds, np.int64), rows.shape[1]),
            "cycle": np.tile(np.repeat(np.arange(n_cycles), sizes), n_seeds),
            "order": np.tile(np.concatenate([np.arange(size) for size in sizes]), n_seeds),
            "row": rows.ravel().astype(np.int64),
            "score": scores.ravel().astype(np.float64),
        }
    )
    return Tables(results, picks)


def read(folder: Path) -> Tables:
    """The tables of a results folder; empty ones where nothing is finished yet. Raises DataError."""
    return Tables(_read(folder / "results.parquet", RESULTS), _read(folder / "picks.parquet", PICKS))


def _read(path: Path, dtypes: Mapping[str, str]) -> pd.DataFrame:
    try:
        if not path.exists():
            return pd.DataFrame(columns=list(dtypes))
        table = pd.read_parquet(path)
    except (OSError, ValueError, TypeError, LookupError, NotImplementedError, MemoryError) as e:
        why = " ".join(str(e).split())
        raise DataError(f"{path} cannot be read ({why}): move it away and run again") from e
    found = {name: "string" if pd.api.types.is_string_dtype(a) else str(a.dtype) for name, a in table.items()}
    if list(found) != list(dtypes) or (len(table) and found != dtypes):
        wrong = [f" (its {name} is {found[name]})" for name in dtypes if name in found and found[name] != dtypes[name]]
        raise DataError(
            f"{path} is no table of jaxal's, or of another version{''.join(wrong[:1])}: move it away, or choose "
            "another --out"
        )
    return table


def append(folder: Path, new: Tables) -> None:
    """Add rows to a results folder; rows of the same (run_id, seed) are replaced.

    Picks go first: a run counts as finished when `results.parquet` has it.
    """
    old = read(folder)
    for name in ("picks", "results"):
        before, after = getattr(old, name), getattr(new, name)
        kept = without(before, after)
        both = pd.concat([kept, after], ignore_index=True) if len(kept) else after  # pandas 2 warns of empty ones
        write(folder / f"{name}.parquet", both)


def without(table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of `table` whose (run_id, seed) is not in `other`."""
    keys = ["run_id", "seed"]
    return table[~pd.MultiIndex.from_frame(table[keys]).isin(pd.MultiIndex.from_frame(other[keys]))]


def select(tables: Tables, run_ids: Collection[str], seeds: Collection[int]) -> Tables:
    """The rows of some runs and seeds."""
    keep = [table[table["run_id"].isin(run_ids) & table["seed"].isin(seeds)] for table in tables]
    return Tables(*(table.reset_index(drop=True) for table in keep))


def write(path: Path, table: pd.DataFrame) -> None:
    """Replace the file of one table, whole or not at all. Raises StoreError."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    atomic_write(path, buffer.getvalue())
