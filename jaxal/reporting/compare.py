"""Two strategies against each other in five lines, paired by seed."""

import numpy as np

from jaxal.errors import ConfigError, DataError, unknown
from jaxal.reporting import gains, stats
from jaxal.reporting.contests import ROPE
from jaxal.reporting.drawing import n_seeds
from jaxal.reporting.study import Sample, Study


def compare(study: Study, a: str, b: str) -> str:
    """What `a` gains over `b`, over all (dataset, model) that have both. Raises ConfigError, DataError."""
    for name in (a, b):
        if study.runs.empty or name not in study.strategies:
            raise ConfigError(unknown("strategy in these results", name, study.strategies))
    if a == b:
        raise ConfigError(f"--a and --b are both {a}: give two strategies")
    sample = study.main(baseline=b)
    differences = list(sample.differences(a, b))
    if not differences:
        raise DataError(f"{study.folder} has no dataset and model with seeds of both {a} and {b}")
    aulc = [difference.mean(axis=1) for _, difference in differences]
    means = np.array([group.mean() for group in aulc])
    both = [curves.mean(axis=1) for unit, _ in differences if (curves := sample.curves(unit, a, b)) is not None]
    wins = stats.bootstrap(both, stats.improvement)
    method = ", ".join(f"{name} {value}" for name, value in study.method.items())
    ahead, behind = int((means > ROPE).sum()), int((means < -ROPE).sum())
    ties = len(means) - ahead - behind
    overall = stats.mean(aulc)
    last = stats.mean([difference[:, -1] for _, difference in differences])
    p, effect = stats.wilcoxon(means), stats.rank_biserial(means)
    return "\n".join(
        [
            f"{a} minus {b}: {len(aulc)} settings (dataset x model), {n_seeds(sample)}, {method}",
            f"AULC      {_shown(overall)} points; {a} wins {ahead}, ties {ties} (within {ROPE}), loses {behind}",
            f"final     {_shown(last)} points of accuracy; a run of {a} ends up ahead in AULC with probability "
            f"{wins.value:.2f}{_ends(wins)}",
            f"labels    {b} needs {_factor(sample, a)}",
            f"how sure  Wilcoxon's p {p:.3g} over {len(means)} settings, effect size {effect:+.2f}{_seeds(aulc)}",
        ]
    )


def _shown(interval: stats.Interval) -> str:
    return f"{interval.value:+.2f}{_ends(interval, '+')}"


def _ends(interval: stats.Interval, sign: str = "") -> str:
    return "" if np.isnan(interval.low) else f" [{interval.low:{sign}.2f}, {interval.high:{sign}.2f}]"


def _factor(sample: Sample, a: str) -> str:
    """The speed-up in words: the geometric mean over settings, and how many accuracies were reached."""
    table = gains.speed_up(sample)
    if table.empty:
        return "more than one cycle for an answer"
    table = table[table["strategy"] == a]
    factor, reached = np.exp(np.log(table["factor"]).mean()), f"{table['reached'].sum()} of {table['of'].sum()}"
    return f"{factor:.2f} times the labels of {a} for the same accuracies, of which {a} reaches {reached}"


def _seeds(groups: list[np.ndarray]) -> str:
    """How few seeds would mislead, for the most seeds of `SUBSETS` that there are more than."""
    for size in reversed(gains.SUBSETS):
        shares = [share for group in groups if not np.isnan(share := stats.opposite(group, size))]
        if shares:
            return f"; {size} seeds alone would say the opposite in {100 * np.mean(shares):.0f} % of cases"
    return ""
