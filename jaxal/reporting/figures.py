"""The figures of the report, each from one of its tables or samples."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from jaxal.reporting import contests, gains, stats
from jaxal.reporting.drawing import FAINT, INK, MARKS, Figure, Panel, band, by_unit, colors, cycles, n_seeds
from jaxal.reporting.study import Sample

_RATES = LinearSegmentedColormap.from_list("rates", ["#D55E00", "#f3f3f3", "#0072B2"])


def curves(sample: Sample, name: str, title: str) -> Figure:
    """Accuracy against labels, a panel a setting."""

    def draw(axes: Axes, unit: gains.Unit) -> None:
        for strategy, color in palette.items():
            runs = sample.curves(unit, strategy)
            if runs is not None:
                band(axes, sample.labels(unit), stats.mean([100 * runs[..., 0]]), color)
        axes.set(xlabel="labels", ylabel="accuracy, %")

    palette = colors(sample.strategies, sample.baseline)
    caption = f"Mean over {n_seeds(sample)}; the band is the 95 % interval of the mean, not the spread of runs."
    return Figure(name, title, caption, [by_unit(unit, draw) for unit in sample.units], palette)


def differences(sample: Sample, name: str) -> Figure:
    """Accuracy minus the baseline's against labels, a panel a setting."""

    def draw(axes: Axes, unit: gains.Unit) -> None:
        axes.axhline(0, color=INK, linewidth=0.8)
        for strategy in gains.rivals(sample):
            both = sample.curves(unit, strategy, sample.baseline)
            if both is not None:
                interval = stats.mean([100 * (both[..., 0] - both[..., 1])])
                band(axes, sample.labels(unit), interval, palette[strategy])
        axes.set(xlabel="labels", ylabel=f"points above {sample.baseline}")

    palette = colors(sample.strategies, sample.baseline)
    caption = (
        f"Accuracy minus that of {sample.baseline} with the same seed; mean over {n_seeds(sample)}, and its 95 % "
        "interval."
    )
    title = f"Paired difference to {sample.baseline}"
    return Figure(name, title, caption, [by_unit(unit, draw) for unit in sample.units], palette)


def gain_bars(table: pd.DataFrame, sample: Sample) -> Figure:
    """Gains over all settings: the mean and the interquartile mean of AULC, and the probability of improvement."""

    def draw(axes: Axes, column: str, zero: float, label: str) -> None:
        axes.axvline(zero, color=INK, linewidth=0.8)
        for y, row in enumerate(table.iloc[::-1].to_dict("records")):
            color = palette[row["strategy"]]
            axes.plot([row[f"{column}_low"], row[f"{column}_high"]], [y, y], color=color, linewidth=3, alpha=0.5)
            axes.plot([row[column]], [y], "o", color=color, markersize=5)
        axes.set_yticks(range(len(table)), list(table["strategy"].iloc[::-1]))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set(xlabel=label)

    palette = colors(sample.strategies, sample.baseline)
    what = [
        ("gain", 0.0, "points of AULC", "Mean gain"),
        ("iqm", 0.0, "points of AULC", "Interquartile mean of the gain"),
        ("improvement", 0.5, "probability", "Probability of improvement"),
    ]
    panels = [Panel(title, lambda axes, w=(c, z, x): draw(axes, *w)) for c, z, x, title in what]
    caption = (
        f"Against {sample.baseline}, over {len(sample.units)} settings (dataset x model), seeds resampled within each "
        f"({n_seeds(sample)}); bars are 95 % intervals."
    )
    return Figure("gains", f"Gain over {sample.baseline}, all settings", caption, panels)


def win_rates(samples: Mapping[str, Sample]) -> Figure:
    """Pairwise win rates, a matrix for each initial pool selection."""

    def draw(axes: Axes, sample: Sample) -> None:
        rates = contests.win_rates(sample)
        _matrix(axes, rates.to_numpy(), list(rates.index), list(rates.columns))

    panels = [Panel(f"{ips} initial pools", lambda axes, s=s: draw(axes, s)) for ips, s in samples.items()]
    n = len(next(iter(samples.values())).means)
    caption = (
        f"Share of (dataset, model, cycle) cells, n = {n}, where the row's mean accuracy over seeds is above the "
        "column's; ties left out."
    )
    return Figure("win-rates", "Pairwise win rates", caption, panels, size=(3.6, 3.4))


def _matrix(axes: Axes, values: np.ndarray, rows: Sequence[str], across: Sequence[str]) -> None:
    axes.pcolormesh(values, cmap=_RATES, vmin=0, vmax=1, edgecolor="face", linewidth=0.2)
    axes.grid(visible=False)
    axes.invert_yaxis()
    axes.set_xticks(np.arange(len(across)) + 0.5, across, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    for y, x in np.argwhere(~np.isnan(values)):
        dark = abs(values[y, x] - 0.5) > 0.3
        text = f"{values[y, x]:.2f}".removeprefix("0")
        axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=7, color="#ffffff" if dark else "#111111")


def top_by_cycle(samples: Mapping[str, Sample]) -> Figure:
    """The share of settings where each strategy is alone at the top, by cycle."""

    def draw(axes: Axes, sample: Sample) -> None:
        table = contests.top(sample, ["cycle"])
        for i, strategy in enumerate(sample.strategies):
            line = {"marker": MARKS[i % len(MARKS)], "markersize": 3}
            axes.plot(table["cycle"], table[strategy], color=palette[strategy], **line)
        axes.set(ylabel="settings at the top, %", ylim=(-3, 103))
        cycles(axes)

    first = next(iter(samples.values()))
    palette = colors(first.strategies, first.baseline)
    panels = [Panel(f"{ips} initial pools", lambda axes, s=s: draw(axes, s)) for ips, s in samples.items()]
    caption = (
        f"Of {len(first.units)} settings (dataset x model) those whose highest mean accuracy over seeds is this "
        "strategy's alone, by cycle; ties at the top left out."
    )
    return Figure("top-by-cycle", "Share of settings at the top, by cycle", caption, panels, palette)


def top_by(sample: Sample) -> Figure:
    """The share of cells at the top, by dataset and by model, as stacked bars."""

    def draw(axes: Axes, by: str) -> None:
        table = contests.top(sample, [by]).iloc[::-1]
        left = np.zeros(len(table))
        for strategy in sample.strategies:
            axes.barh(range(len(table)), table[strategy], left=left, color=palette[strategy], height=0.7)
            left = left + table[strategy].to_numpy()
        axes.set_yticks(
            range(len(table)), [f"{level} ({n})" for level, n in zip(table[by], table["cells"], strict=True)]
        )
        axes.set(xlabel="cells at the top, %", xlim=(0, 100))
        axes.grid(visible=False)

    palette = colors(sample.strategies, sample.baseline)
    caption = (
        "Of (dataset, model, cycle) cells after the initial pool those whose highest mean accuracy over seeds is "
        "this strategy's alone; n in brackets, ties left out."
    )
    panels = [Panel(f"by {by}", lambda axes, by=by: draw(axes, by)) for by in ("dataset", "model")]
    return Figure("top-by-task", "Share of cells at the top, by dataset and model", caption, panels, palette)


def profile(sample: Sample) -> Figure:
    """Performance profile of the gains in AULC."""
    gained = [d.mean(axis=1) for name in gains.rivals(sample) for _, d in sample.differences(name, sample.baseline)]
    least, most = np.quantile(np.concatenate(gained), [0.01, 0.99])
    table = contests.profile(sample, np.linspace(least - 0.5, most + 0.5, 121))
    palette = colors(sample.strategies, sample.baseline)

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=INK, linewidth=0.8)
        for strategy in table:
            axes.plot(table.index, 100 * table[strategy], color=palette[str(strategy)])
        axes.set(xlabel=f"points of AULC above {sample.baseline}", ylabel="runs that gain more, %", ylim=(-3, 103))

    caption = (
        f"Share of runs, {n_seeds(sample)} in each of {len(sample.units)} settings alike, whose gain over "
        f"{sample.baseline} exceeds the x-axis. Higher is better."
    )
    legend = {name: color for name, color in palette.items() if name != sample.baseline}
    return Figure("profile", "Performance profile", caption, [Panel("", draw)], legend)


def critical_differences(names: Sequence[str], ranking: stats.Ranking) -> Figure:
    """Mean ranks on a line; bars join strategies that Nemenyi's test does not tell apart."""
    order = np.argsort(ranking.ranks)
    half = (len(names) + 1) // 2

    def draw(axes: Axes) -> None:
        beside = 0.55 * len(names)  # a quarter of the width for names, left and right
        axes.set(xlim=(0.7 - beside, len(names) + 0.3 + beside), ylim=(-half - 0.6, 2))
        axes.set_axis_off()
        axes.plot([1, len(names)], [0, 0], color=INK, linewidth=0.8)
        for rank in range(1, len(names) + 1):
            axes.plot([rank, rank], [0, 0.15], color=INK, linewidth=0.8)
            axes.text(rank, 0.25, str(rank), ha="center", va="bottom")
        for i, best in enumerate(order):
            left, rank = i < half, float(ranking.ranks[best])
            y = -1.0 - (i if left else len(names) - 1 - i)
            end, gap = (0.7, -0.1) if left else (len(names) + 0.3, 0.1)
            axes.plot([rank, rank, end], [0, y, y], color=FAINT, linewidth=0.8)
            axes.text(end + gap, y, f"{names[best]} {rank:.2f}", ha="right" if left else "left", va="center")
        for i, (low, high) in enumerate(stats.cliques(ranking.ranks, ranking.critical)):
            y = -0.18 - 0.2 * i
            axes.plot([low - 0.03, high + 0.03], [y, y], color=INK, linewidth=2.5)
        axes.plot([1, min(len(names), 1 + ranking.critical)], [1.25, 1.25], color=INK, linewidth=1.5)
        axes.text(1, 1.32, f"critical difference {ranking.critical:.2f}", va="bottom")

    p = "" if np.isnan(ranking.p) else f" Friedman's p = {ranking.p:.2g}."
    caption = (
        f"Mean ranks by AULC over n = {ranking.n} settings, 1 is best; bars join strategies that Nemenyi's test at "
        f".05 does not tell apart.{p} A figure, not a proof: settings that share a dataset are not independent."
    )
    return Figure("critical-difference", "Critical-difference diagram", caption, [Panel("", draw)])


def seeds_needed(table: pd.DataFrame, sample: Sample) -> Figure:
    """How often few seeds report the opposite sign."""
    palette = colors(sample.strategies, sample.baseline)

    def draw(axes: Axes) -> None:
        for i, (strategy, rows) in enumerate(table.groupby("strategy", sort=False)):
            line = {"marker": MARKS[i % len(MARKS)], "markersize": 4}
            axes.plot(rows["subset"], rows["opposite"], color=palette[str(strategy)], **line)
        axes.set(
            xlabel="seeds in the subset", ylabel="opposite verdict, %", ylim=(0, max(1, 1.1 * table["opposite"].max()))
        )
        axes.set_xticks(sorted(table["subset"].unique()))

    caption = (
        f"Share of subsets of {n_seeds(sample)} whose mean gain in AULC has the other sign than that of all seeds; "
        "mean over settings with more seeds than that."
    )
    legend = {name: palette[name] for name in dict.fromkeys(table["strategy"])}
    title = "How the verdict changes with the number of seeds"
    return Figure("seeds", title, caption, [Panel("", draw)], legend)


def sensitivity(table: pd.DataFrame, sample: Sample) -> Figure:
    """The mean gain of each strategy by the value of each setting that was varied, a panel a setting."""
    palette = colors(sample.strategies, sample.baseline)

    def draw(axes: Axes, rows: pd.DataFrame) -> None:
        values = list(dict.fromkeys(rows["value"]))
        names = list(dict.fromkeys(rows["strategy"]))
        axes.axhline(0, color=INK, linewidth=0.8)
        for i, name in enumerate(names):
            here = rows[rows["strategy"] == name].set_index("value").reindex(values)
            x = np.arange(len(values)) + (i - (len(names) - 1) / 2) * 0.7 / len(names)
            for at, low, high in zip(x, here["gain_low"], here["gain_high"], strict=True):
                axes.plot([at, at], [low, high], color=palette[name], linewidth=2.5, alpha=0.5)
            axes.plot(x, here["gain"], "o", color=palette[name], markersize=4)
        axes.set_xticks(range(len(values)), [str(value) for value in values])
        axes.set(ylabel="points of AULC", xlim=(-0.5, len(values) - 0.5))

    panels = [Panel(str(s), lambda axes, r=rows: draw(axes, r)) for s, rows in table.groupby("setting", sort=False)]
    caption = (
        f"Mean gain in AULC over {sample.baseline}, and its 95 % interval, over the settings (dataset x model) that "
        "have every value; all else as in the main settings."
    )
    legend = {name: palette[name] for name in dict.fromkeys(table["strategy"])}
    return Figure("sensitivity", "Sensitivity to what was varied", caption, panels, legend)
