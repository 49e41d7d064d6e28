"""Strategies against each other, and initial pools against each other, by the means over seeds.

Ties are exact equality of two means, and are left out of both numerator and denominator, as in the study.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from jaxal.reporting import stats
from jaxal.reporting.gains import Unit, columns
from jaxal.reporting.study import UNIT, Sample

ROPE = 0.1  # points of AULC within which two strategies count as equal


def win_rates(sample: Sample) -> pd.DataFrame:
    """(K, K): the share of (dataset, model, cycle) where the row's mean accuracy is above the column's. NaN: none."""
    means = sample.means[sample.strategies].to_numpy()
    wins = (means[:, :, None] > means[:, None, :]).sum(axis=0)
    decided = wins + wins.T
    rates = np.where(decided > 0, wins / np.maximum(decided, 1), np.nan)
    return pd.DataFrame(rates, sample.strategies, sample.strategies)


def win_tie_loss(sample: Sample) -> pd.DataFrame:
    """A row a pair of strategies: settings where `a` wins, ties or loses by AULC, a tie being within .1 point.

    With Wilcoxon's test over settings, corrected for all pairs (Holm), and its effect size.
    """
    rows = []
    for a, b in combinations(sample.strategies, 2):
        means = np.array([difference.mean() for _, difference in sample.differences(a, b)])
        if len(means):
            rows.append(
                {"a": a, "b": b, "settings": len(means), "wins": int((means > ROPE).sum())}
                | {"ties": int((abs(means) <= ROPE).sum()), "losses": int((means < -ROPE).sum())}
                | {"mean": float(means.mean()), "p": stats.wilcoxon(means), "effect": stats.rank_biserial(means)}
            )
    table = pd.DataFrame(rows)
    if len(table):
        table["p_holm"] = stats.holm(table["p"].to_numpy())
    return table


def top(sample: Sample, by: list[str]) -> pd.DataFrame:
    """The share (%) of cells that each strategy is alone at the top of, by cycle, dataset or model.

    Cells are (dataset, model, cycle), and `cells` counts them; cycle 0, which all strategies share, is
    left out, and so are ties at the top.
    """
    means = sample.means.query("cycle > 0").reset_index()
    values = means[sample.strategies]
    best = values.max(axis=1)
    alone = (values.eq(best, axis=0).sum(axis=1) == 1) & (values.notna().sum(axis=1) > 1)
    winners = values[alone].idxmax(axis=1)
    counts = pd.crosstab([means.loc[alone, name] for name in by], winners)
    counts = counts.reindex(columns=sample.strategies, fill_value=0)
    cells = counts.sum(axis=1)
    return (100 * counts.div(cells, axis=0)).assign(cells=cells).rename_axis(columns=None).reset_index()


def ranks(sample: Sample) -> tuple[list[str], stats.Ranking] | None:
    """Mean ranks by AULC of the strategies, over the settings that have all of them; None where there are no two."""
    scores = sample.means.groupby(UNIT).mean()[sample.strategies].dropna()
    if len(scores) < 2 or len(sample.strategies) < 2:
        return None
    return sample.strategies, stats.ranking(scores.to_numpy())


def profile(sample: Sample, points: np.ndarray) -> pd.DataFrame:
    """Performance profile: a column a strategy, the share of runs (setting and seed, settings alike) that gain more.

    Args: points: (P,) gains in AULC over the baseline, which the table's index repeats.
    """
    shares = {}
    for name in sample.strategies:
        groups = [d.mean(axis=1) for _, d in sample.differences(name, sample.baseline)]
        if groups and name != sample.baseline:
            shares[name] = np.mean([(group[:, None] > points).mean(axis=0) for group in groups], axis=0)
    return pd.DataFrame(shares, index=pd.Index(points, name="gain"))


def initial_pools(pools: pd.DataFrame) -> pd.DataFrame:
    """A row a (dataset, model, K0, selection): accuracy after the first fit, mean over seeds with its interval."""
    rows = []
    for key, group in pools.groupby([*UNIT, "initial_size", "ips"]):
        accuracy = 100 * group.sort_values("seed")["accuracy"].to_numpy()
        row = dict(zip([*UNIT, "initial_size", "ips"], key, strict=True)) | {"seeds": len(accuracy)}
        rows.append(row | columns("accuracy", stats.mean([accuracy])))
    return pd.DataFrame(rows)


def pool_winners(pools: pd.DataFrame) -> pd.DataFrame:
    """A row a K0: the (dataset, model) that each selection alone is best in, and how many are tied."""
    means = pools.groupby([*UNIT, "initial_size", "ips"])["accuracy"].mean().unstack("ips")
    best = means.eq(means.max(axis=1), axis=0)
    alone = (best.sum(axis=1) == 1) & (means.notna().sum(axis=1) > 1)
    size = means.index.get_level_values("initial_size")
    counts = best[alone].groupby(size[alone]).sum().reindex(sorted(set(size)), fill_value=0)
    return counts.assign(tied=(~alone).groupby(size).sum()).rename_axis(columns=None).reset_index()


def ips_gains(sample: Sample, other: Sample) -> Iterator[tuple[str, Unit, np.ndarray]]:
    """Each (strategy, setting) with the accuracy of `other`'s initial pools minus `sample`'s in points, (S, T)."""
    for name in sample.strategies:
        for unit in sample.units:
            a, b = (s.runs(unit, name) if unit in s.units else None for s in (other, sample))
            if a is not None and b is not None and a.shape[1] == b.shape[1]:
                seeds = a.index.intersection(b.index)
                if len(seeds):
                    yield name, unit, 100 * (a.loc[seeds].to_numpy() - b.loc[seeds].to_numpy())


def seconds(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a (dataset, model, strategy): seconds a seed and run, without compiling: selection, fits, evaluation."""
    parts = ["select_seconds", "fit_seconds", "eval_seconds"]
    share = rows[parts].div(rows["seeds_in_block"], axis=0)  # they are of a whole block of seeds
    keys = [*UNIT, "strategy"]
    total = share.groupby([rows[name] for name in [*keys, "seed"]]).sum()
    table = total.groupby(keys).mean()
    return table.assign(seeds=total.groupby(keys).size(), seconds=table.sum(axis=1)).reset_index()
