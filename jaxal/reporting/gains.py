"""What strategies gain over the baseline (random), in points of accuracy, paired by seed.

Each function makes a table. A column `x` with an interval has its ends in `x_low` and `x_high`, NaN where there are no
two seeds. AULC is the mean accuracy over all cycles.
"""

from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Any

import numpy as np
import pandas as pd

from jaxal.reporting import stats
from jaxal.reporting.study import UNIT, Sample

SUBSETS = (3, 5, 10, 20)  # numbers of seeds that studies report
THIRDS = ("early", "middle", "late")
TARGETS = (0.25, 0.5, 0.75, 1.0)  # of the budget: the accuracies that the baseline has there are to be reached
Unit = tuple[str, str]
_NOTHING = stats.Interval(np.array(0.0), np.array(0.0), np.array(0.0))
_UNKNOWN = stats.Interval(np.array(np.nan), np.array(np.nan), np.array(np.nan))


def columns(name: str, interval: stats.Interval) -> dict[str, float]:
    """An interval as three columns of a table."""
    return {name: float(interval.value), f"{name}_low": float(interval.low), f"{name}_high": float(interval.high)}


def rivals(sample: Sample) -> list[str]:
    """The strategies that are compared with the baseline."""
    return [name for name in sample.strategies if name != sample.baseline]


def best(sample: Sample) -> pd.DataFrame:
    """A row a (dataset, model): the strategy of the highest AULC, its gain, and which are not told apart from it.

    `lead` is how far the next one is behind. `as_good` has the strategies whose interval of the difference to the best
    holds 0; where it is empty the best is sure.
    """
    rows = []
    for unit in sample.units:
        curves = {name: sample.curves(unit, name) for name in sample.strategies}
        scores = {name: 100 * float(c.mean()) for name, c in curves.items() if c is not None}
        first, *others = sorted(scores, key=lambda name: -scores[name])
        behind = {name: _aulc(sample, unit, first, name) for name in others}
        gain = _NOTHING if first == sample.baseline else behind.get(sample.baseline, _UNKNOWN)
        rows.append(
            dict(zip(UNIT, unit, strict=True))
            | {"seeds": len(_there(curves[first])), "best": first, "aulc": scores[first]}
            | columns("gain", gain)
            | {"next": others[0] if others else ""}
            | columns("lead", behind[others[0]] if others else _UNKNOWN)
            | {"as_good": ", ".join(name for name in others if not behind[name].low > 0)}
        )
    return pd.DataFrame(rows)


def _there(curves: np.ndarray | None) -> np.ndarray:
    assert curves is not None
    return curves


def _aulc(sample: Sample, unit: Unit, a: str, b: str) -> stats.Interval:
    """AULC of `a` minus that of `b`, in points."""
    both = sample.curves(unit, a, b)
    return _UNKNOWN if both is None else stats.mean([100 * (both[..., 0] - both[..., 1]).mean(axis=1)])


def by_setting(sample: Sample) -> pd.DataFrame:
    """A row a (dataset, model, strategy): AULC and final accuracy, other metrics, gains, and thirds of the budget.

    `first_better` and `first_worse` are the labels at the first cycle whose interval of the difference to the baseline
    excludes 0; infinity where that never happens.
    """
    rows = []
    for unit in sample.units:
        for name in sample.strategies:
            curves = {metric: sample.curves(unit, name, metric=metric) for metric in ("accuracy", *_OTHERS)}
            if curves["accuracy"] is None:
                continue
            percent = {metric: 100 * _there(c)[..., 0] for metric, c in curves.items()}
            accuracy = percent["accuracy"]
            row: dict[str, Any] = dict(zip([*UNIT, "strategy"], [*unit, name], strict=True)) | {"seeds": len(accuracy)}
            row |= columns("aulc", stats.mean([accuracy.mean(axis=1)])) | columns(
                "final", stats.mean([accuracy[:, -1]])
            )
            row |= {f"final_{metric}": float(percent[metric][:, -1].mean()) for metric in _OTHERS}
            rows.append(row | (_against(sample, unit, name) if name != sample.baseline else {}))
    return pd.DataFrame(rows)


_OTHERS = ("macro_f1", "balanced_accuracy")


def _against(sample: Sample, unit: Unit, name: str) -> dict[str, float]:
    """The gains of one strategy over the baseline."""
    both = sample.curves(unit, name, sample.baseline)
    if both is None:
        return {}
    difference, labels = 100 * (both[..., 0] - both[..., 1]), sample.labels(unit)
    row = columns("gain", stats.mean([difference.mean(axis=1)])) | columns(
        "gain_final", stats.mean([difference[:, -1]])
    )
    for third, part in zip(THIRDS, thirds(difference), strict=True):
        row |= columns(f"gain_{third}", stats.mean([part.mean(axis=1)]) if part.shape[1] else _UNKNOWN)
    by_cycle = stats.mean([difference])
    for what, excluded in (("better", by_cycle.low > 0), ("worse", by_cycle.high < 0)):
        row[f"first_{what}"] = float(labels[excluded.argmax()]) if excluded.any() else inf
    return row


def thirds(curves: np.ndarray) -> list[np.ndarray]:
    """Curves (S, T) cut into the first, second and last third of the cycles after the initial pool."""
    return np.array_split(curves[:, 1:], 3, axis=1)


def over_settings(sample: Sample) -> pd.DataFrame:
    """A row a strategy: its gains over all (dataset, model), with Wilcoxon's test, Holm's correction and effect sizes.

    `gain` is the mean of AULC, `iqm` its interquartile mean over seeds and settings, `improvement` the probability that
    a run beats one of the baseline. `better` and `worse` count the settings whose interval excludes 0.
    """
    rows = []
    for name in rivals(sample):
        groups = [d.mean(axis=1) for _, d in sample.differences(name, sample.baseline)]
        if not groups:
            continue
        scores = [_there(sample.curves(unit, name, sample.baseline)).mean(axis=1) for unit in _both(sample, name)]
        each, means = [stats.mean([group]) for group in groups], np.array([group.mean() for group in groups])
        rows.append(
            {"strategy": name, "settings": len(groups)}
            | columns("gain", stats.mean(groups))
            | columns("iqm", stats.bootstrap(groups, stats.interquartile_mean))
            | columns("improvement", stats.bootstrap(scores, stats.improvement))
            | {"better": sum(bool(i.low > 0) for i in each), "worse": sum(bool(i.high < 0) for i in each)}
            | {"p": stats.wilcoxon(means), "effect": stats.rank_biserial(means)}
        )
    table = pd.DataFrame(rows)
    if len(table):
        table["p_holm"] = stats.holm(table["p"].to_numpy())
        table = table.sort_values("gain", ascending=False, ignore_index=True)
    return table


def _both(sample: Sample, name: str) -> list[Unit]:
    return [unit for unit, _ in sample.differences(name, sample.baseline)]


def labels_saved(sample: Sample) -> pd.DataFrame:
    """A row a (dataset, model, strategy, part of the budget): labels the baseline needs for an accuracy, minus its own.

    The accuracy is what the baseline's mean curve has reached at that part of the budget. Infinity: the strategy never
    reaches it with the labels of the run, and then minus infinity are saved. An end of an interval may be infinite too.
    """
    rows = []
    for unit in sample.units:
        labels = sample.labels(unit)
        for name in rivals(sample):
            both = sample.curves(unit, name, sample.baseline)
            if both is None:
                continue
            means, target_of = both.mean(axis=0), np.maximum.accumulate(both[..., 1].mean(axis=0))
            for part in TARGETS:
                at = round(part * (len(labels) - 1))
                target = target_of[at]
                saved = stats.of_mean(both, partial(_saved, labels=labels, target=target))
                row = dict(zip([*UNIT, "strategy"], [*unit, name], strict=True)) | {"budget": part}
                needs = [float(stats.labels_for(means[:, i], labels, target)) for i in (1, 0)]
                row |= {"target": 100 * float(target), "baseline_labels": needs[0], "labels": needs[1]}
                rows.append(row | columns("saved", saved))
    return pd.DataFrame(rows)


def _saved(means: np.ndarray, labels: np.ndarray, target: float) -> np.ndarray:
    """Labels saved by mean curves (R, T, 2); nothing where neither of the two reaches the target."""
    own, baseline = (stats.labels_for(means[..., i], labels, target) for i in (0, 1))
    both = np.isinf(own) & np.isinf(baseline)
    return np.where(both, 0, baseline) - np.where(both, 0, own)


def speed_up(sample: Sample) -> pd.DataFrame:
    """A row a (dataset, model, strategy): how many times as many labels the baseline needs for the same accuracy.

    The geometric mean over the accuracies that the baseline's mean curve has at its cycles, 1 and later. `reached` of
    `of` are reached by the strategy's mean curve; for the others it is taken to need all labels of the run, so that the
    factor is rather too high than too low there.
    """
    rows = []
    for unit in sample.units:
        labels = sample.labels(unit)
        for name in rivals(sample):
            both = sample.curves(unit, name, sample.baseline)
            if both is None or len(labels) < 2:
                continue
            factor = stats.of_mean(both, partial(_factor, labels=labels))
            never = np.isinf(_needs(both.mean(axis=0)[None], labels)[0]).sum()
            row = dict(zip([*UNIT, "strategy"], [*unit, name], strict=True)) | columns("factor", factor)
            rows.append(row | {"reached": len(labels) - 1 - int(never), "of": len(labels) - 1})
    return pd.DataFrame(rows)


def _factor(means: np.ndarray, labels: np.ndarray) -> np.ndarray:
    own, baseline = (np.minimum(needs, labels[-1]) for needs in _needs(means, labels))
    return np.exp(np.log(baseline / own).mean(axis=1))


def _needs(means: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels that strategy and baseline need, (R, T - 1), for the accuracies of the baseline: means (R, T, 2)."""
    own, baseline = means[..., 0], np.maximum.accumulate(means[..., 1], axis=1)
    targets = baseline[:, 1:, None]
    of = (stats.labels_for(curve[:, None] - targets, labels, 0.0) for curve in (own, baseline))
    return next(of), next(of)


def stability(sample: Sample) -> pd.DataFrame:
    """A row a (strategy, number of seeds): how often so few seeds would report the opposite sign of the gain in AULC.

    `opposite` is the share of subsets of the seeds that are there, the mean over the settings that have more seeds;
    `worst` is the setting where it is largest.
    """
    rows = []
    for name in rivals(sample):
        groups = [difference.mean(axis=1) for _, difference in sample.differences(name, sample.baseline)]
        for size in SUBSETS:
            shares = [share for group in groups if not np.isnan(share := stats.opposite(group, size))]
            if shares:
                row = {"strategy": name, "subset": size, "settings": len(shares)}
                rows.append(row | {"opposite": 100 * float(np.mean(shares)), "worst": 100 * max(shares)})
    return pd.DataFrame(rows)


def sensitivity(samples: Mapping[Any, Sample], factor: str) -> pd.DataFrame:
    """A row a (value of a setting, strategy): the gain in AULC, over the (dataset, model) that have all values."""
    rows = []
    shared = set.intersection(*(set(sample.units) for sample in samples.values()))
    for level, sample in samples.items():
        for name in rivals(sample):
            groups = [d.mean(axis=1) for unit, d in sample.differences(name, sample.baseline) if unit in shared]
            if groups:
                row = {"setting": factor, "value": level, "strategy": name, "settings": len(groups)}
                rows.append(row | columns("gain", stats.mean(groups)))
    return pd.DataFrame(rows)
