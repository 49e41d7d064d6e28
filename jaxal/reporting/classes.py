"""What a study's pools tell beyond its results: the classes of the rows that were picked, and test texts in the pool.

Results folders hold row numbers; labels and texts stand in the store. A pool is used where its fingerprint is the one
that the results name.
"""

from collections.abc import Iterator
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

Pools = dict[str, Pool]  # by fingerprint


class Known(NamedTuple):
    """The pools of a study that are at hand, and a sentence on each that is not."""

    pools: Pools
    missing: list[str]


def known(study: Study, root: str | PathLike | None) -> Known:
    """The pools of a study's main setting, from the store at `root`. Reads each pool and hashes it: seconds."""
    rows = study.main().rows if len(study.runs) else study.pools
    found, missing = Known({}, []), []
    for (dataset, model), here in rows.groupby(UNIT):
        wanted, sizes = set(here["pool"]), sorted(set(here["pool_size"]))
        try:
            pool = load(str(dataset), str(model), root)
        except (DataError, StoreError):
            missing.append(f"{dataset}, {model}")
            continue
        capped = {of.fingerprint: of for of in map(pool.cap, sizes)}
        found.pools.update({mark: of for mark, of in capped.items() if mark in wanted})
        if not wanted <= set(capped):
            missing.append(f"{dataset}, {model}")
    return found._replace(missing=missing)


def duplicates(pool: Pool) -> int:
    """How many texts of the test split stand in the pool too, but for case, blanks and signs; 0 without texts."""
    if pool.path is None or pool.X_test is None:
        return 0
    train, test = store.texts(pool.path, pool.rows) or [], store.texts(pool.path, split="test") or []
    there = set(map(folded, train))
    return sum(folded(text) in there for text in test)


def balance(counts: np.ndarray) -> np.ndarray:
    """Entropy of the class shares of counts (..., C), divided by log C: 1 where all classes are as frequent.

    Classes of 0 count add nothing to the entropy, but are among the C.
    """
    shares = counts / counts.sum(axis=-1, keepdims=True)
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=-1) / np.log(max(counts.shape[-1], 2))


def of_labels(study: Study, sample: Sample, pools: Pools) -> pd.DataFrame:
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
    study: Study, sample: Sample, pools: Pools
) -> Iterator[tuple[tuple[str, str], str, np.ndarray, np.ndarray]]:
    """(dataset, model), strategy, class counts (C,) of its pool, and classes (S, L) in the order of labeling."""
    runs = sample.rows[[*UNIT, "strategy", "pool", "run_id", "seed"]].drop_duplicates()
    runs = runs[runs["pool"].isin(set(pools))]
    folders = [folder for folder, config in study.configs.items() if config.get("pool") in pools]
    if not folders:
        return
    picks = pd.concat([results.read(folder).picks for folder in folders])
    picks = picks.drop_duplicates(["run_id", "seed", "cycle", "order"]).sort_values(["seed", "cycle", "order"])
    for unit in sample.units:
        for strategy in sample.strategies:
            here = matching(runs, dict(zip([*UNIT, "strategy"], [*unit, strategy], strict=True)))
            if here.empty:
                continue
            pool = pools[here["pool"].iloc[0]]
            assert pool.y is not None  # no run without labels
            rows = np.stack([of["row"].to_numpy() for _, of in here.merge(picks).groupby("seed")])
            known = pool.y if pool.rows is None else _spread(pool.y, pool.rows)
            yield unit, strategy, np.bincount(pool.y[pool.y >= 0], minlength=pool.n_classes), known[rows]


def _spread(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Labels of a capped pool by the row of the original pool; -1 for those that it left out."""
    known = np.full(rows.max() + 1, -1, y.dtype)
    known[rows] = y
    return known


def _complete(labels: np.ndarray, classes: np.ndarray) -> float:
    """How many labels (L,) it takes until each class has one."""
    seen, first = np.unique(labels, return_index=True)
    return float(first.max() + 1) if len(np.intersect1d(seen, classes)) == len(classes) else np.inf
