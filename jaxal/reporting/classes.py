"""What a study's pools tell beyond its results: the classes of the rows that were picked, and test texts in the pool.

Results folders hold row numbers; labels and texts stand in the store. A pool is used where its fingerprint is the one
that the results name.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from os import PathLike
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxal.data import store
from jaxal.data.pool import Pool, load
from jaxal.data.texts import folded
from jaxal.errors import DataError, StoreError
from jaxal.experiments import results
from jaxal.reporting import stats
from jaxal.reporting.study import UNIT, Sample, Study, matching


class Facts(NamedTuple):
    """What the report tells of a pool; its embeddings are not kept, since a study may have many pools."""

    dataset: str
    model: str
    y: np.ndarray  # (N,) labels, -1 where unlabeled
    rows: np.ndarray  # (N,) row numbers in the original pool
    n_classes: int
    duplicates: int  # texts of the test split that stand in the pool too


class Known(NamedTuple):
    """The pools of a study that are at hand, by fingerprint, and the names of those that are not."""

    pools: dict[str, Facts]
    missing: list[str]


def known(study: Study, root: str | PathLike | None) -> Known:
    """The pools of a study's main setting, from the store at `root`. Reads each pool and hashes it: seconds."""
    rows = study.main().rows if len(study.runs) else study.pools
    found = Known({}, [])
    for (dataset, model), here in rows.groupby(UNIT):
        wanted = set(here["pool"])
        with suppress(DataError, StoreError):  # not there, or damaged: then it is missing
            pool = load(str(dataset), str(model), root)
            for size in sorted(set(here["pool_size"])):
                capped = pool.cap(size)
                if capped.y is not None and capped.fingerprint in wanted:
                    found.pools[capped.fingerprint] = _facts(capped, capped.y)
        if not wanted <= set(found.pools):
            found.missing.append(f"{dataset}, {model}")
    return found


def _facts(pool: Pool, y: np.ndarray) -> Facts:
    rows = np.arange(len(y)) if pool.rows is None else pool.rows
    return Facts(pool.dataset, pool.model, y, rows, pool.n_classes, duplicates(pool))


def duplicates(pool: Pool) -> int:
    """How many texts of the test split stand in the pool too, but for case, blanks and signs; 0 without texts."""
    if pool.path is None or pool.X_test is None:
        return 0
    train, test = store.texts(pool.path, pool.rows) or [], store.texts(pool.path, split="test") or []
    there = {folded(text) for text in train if text is not None}
    return sum(text is not None and folded(text) in there for text in test)


def balance(counts: np.ndarray) -> np.ndarray:
    """Entropy of the class shares of counts (..., C), divided by log C: 1 where all classes are as frequent.

    Classes of 0 count add nothing to the entropy, but are among the C.
    """
    shares = counts / counts.sum(axis=-1, keepdims=True)
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=-1) / np.log(max(counts.shape[-1], 2))


def of_labels(study: Study, sample: Sample, pools: Mapping[str, Facts]) -> pd.DataFrame:
    """Which classes each strategy has labeled, a row a (dataset, model, strategy) whose pool is known.

    balance: of all labels at the end of the run, see `balance`; with its interval over seeds. rarest: the share of the
    pool's rarest class, %. every_class: labels when each class of the pool has one, median over seeds; infinite where
    that is never.
    """
    told = []
    for unit, strategy, of_pool, labels in _labels(study, sample, pools):
        n_classes = len(of_pool)
        rarest = np.where(of_pool > 0, of_pool, np.inf).argmin()
        counts = np.stack([np.bincount(of, minlength=n_classes) for of in labels])
        at_end = stats.mean([balance(counts)])
        told.append(
            {
                **dict(zip(UNIT, unit, strict=True)), "strategy": strategy, "seeds": len(labels),
                "balance": float(at_end.value), "balance_low": float(at_end.low), "balance_high": float(at_end.high),
                "pool_balance": float(balance(of_pool)),
                "rarest": float(100 * (counts[:, rarest] / counts.sum(axis=1)).mean()),
                "pool_rarest": float(100 * of_pool[rarest] / of_pool.sum()),
                "every_class": float(np.median([_complete(of, np.flatnonzero(of_pool)) for of in labels])),
            }
        )  # fmt: skip
    return pd.DataFrame(told)


def _labels(
    study: Study, sample: Sample, pools: Mapping[str, Facts]
) -> Iterator[tuple[tuple[str, str], str, np.ndarray, np.ndarray]]:
    """(dataset, model), strategy, class counts (C,) of its pool, and classes (S, L) in the order of labeling."""
    runs = sample.rows[[*UNIT, "strategy", "pool", "run_id", "seed"]].drop_duplicates()
    runs = runs[runs["pool"].isin(set(pools))]
    folders = [folder for folder, config in study.configs.items() if config.get("pool") in pools]
    if not folders:
        return
    wanted = set(runs["run_id"])
    picks = pd.concat([of[of["run_id"].isin(wanted)] for folder in folders if len(of := results.read(folder).picks)])
    picks = picks.drop_duplicates(["run_id", "seed", "cycle", "order"]).sort_values(["seed", "cycle", "order"])
    by_run = dict(tuple(picks.groupby("run_id")))
    for unit in sample.units:
        for strategy in sample.strategies:
            here = matching(runs, dict(zip([*UNIT, "strategy"], [*unit, strategy], strict=True)))
            if here.empty:
                continue
            pool = pools[here["pool"].iloc[0]]
            of_runs = here.merge(pd.concat([by_run[run] for run in here["run_id"].unique()]))
            rows = np.stack([of["row"].to_numpy() for _, of in of_runs.groupby("seed")])
            classes = pool.y[np.searchsorted(pool.rows, rows)]  # a cap keeps rows in order
            yield unit, strategy, np.bincount(pool.y[pool.y >= 0], minlength=pool.n_classes), classes


def _complete(labels: np.ndarray, classes: np.ndarray) -> float:
    """How many labels (L,) it takes until each class has one."""
    seen, first = np.unique(labels, return_index=True)
    return float(first.max() + 1) if len(np.intersect1d(seen, classes)) == len(classes) else np.inf
