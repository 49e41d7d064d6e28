"""The figures of initial pools: by size, and what they are worth in the cycles after."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jaxal.reporting import contests, gains, stats
from jaxal.reporting.drawing import INK, MARKS, Figure, Panel, band, by_unit, colors, cycles, n_seeds
from jaxal.reporting.study import BASELINE, Sample


def by_cycle(sample: Sample, other: Sample, ips: str) -> tuple[Figure, Figure]:
    """Other initial pools minus random ones, by cycle: a panel a strategy over all settings, and a panel a setting."""
    found = list(contests.ips_gains(sample, other))
    palette = colors(sample.strategies, sample.baseline)

    def by_strategy(axes: Axes, strategy: str) -> None:
        groups = [d for name, _, d in found if name == strategy]
        length = min(group.shape[1] for group in groups)
        axes.axhline(0, color=INK, linewidth=0.8)
        band(axes, range(length), stats.mean([g[:, :length] for g in groups]), palette[strategy])
        axes.set(ylabel="points")
        cycles(axes)

    def by_setting(axes: Axes, unit: gains.Unit) -> None:
        axes.axhline(0, color=INK, linewidth=0.8)
        for name, place, d in found:
            if place == unit:
                axes.plot(range(d.shape[1]), d.mean(axis=0), color=palette[name])
        axes.set(ylabel="points")
        cycles(axes)

    names, units = list(dict.fromkeys(name for name, _, _ in found)), list(dict.fromkeys(u for _, u, _ in found))
    what, name = f"Accuracy with initial pools of {ips}, the same seed", f"ips-{ips.replace(' ', '-')}"
    mean, each = f"mean over {len(units)} settings and {n_seeds(sample)}", f"mean over {n_seeds(sample)}"
    first = [Panel(name, lambda axes, name=name: by_strategy(axes, name)) for name in names]
    second = [by_unit(unit, by_setting) for unit in units]
    return (
        Figure(f"{name}-by-cycle", f"Initial pools, {ips}, by cycle", f"{what}; {mean}, and its 95 % interval.", first),
        Figure(f"{name}-by-task", f"Initial pools, {ips}, by task", f"{what}; {each}.", second, palette),
    )


def pool_curves(table: pd.DataFrame) -> Figure:
    """Accuracy after the first fit against K0, a line a selection, a panel a setting."""
    palette = colors(list(dict.fromkeys(table["ips"])), BASELINE)

    def draw(axes: Axes, unit: gains.Unit) -> None:
        here = table[(table["dataset"] == unit[0]) & (table["model"] == unit[1])]
        for i, (ips, rows) in enumerate(here.groupby("ips", sort=False)):
            interval = stats.Interval(*(rows[f"accuracy{end}"].to_numpy() for end in ("", "_low", "_high")))
            band(axes, rows["initial_size"], interval, palette[str(ips)], marker=MARKS[i % len(MARKS)], markersize=3)
        axes.set(xlabel="rows of the initial pool (K0)", ylabel="accuracy, %", xscale="log")
        _plain_ticks(axes, sorted(here["initial_size"].unique()))

    units = list(table[["dataset", "model"]].drop_duplicates().itertuples(index=False, name=None))
    n = f"{table['seeds'].min()} to {table['seeds'].max()}" if table["seeds"].nunique() > 1 else table["seeds"].iloc[0]
    caption = f"Accuracy of the first classifier; mean over seeds, n = {n}, and its 95 % interval."
    return Figure("pool-curves", "Initial pools by size", caption, [by_unit(unit, draw) for unit in units], palette)


def _plain_ticks(axes: Axes, sizes: Sequence[int]) -> None:
    """Numbers on a logarithmic axis, at six of the sizes at most."""
    shown = sizes[:: -(-len(sizes) // 6)]
    axes.set_xticks(shown, [f"{size:,}" for size in shown])
    axes.minorticks_off()


def pool_winners(table: pd.DataFrame) -> Figure:
    """How many settings each selection alone is best in, by K0."""
    names = [name for name in table.columns if name not in ("initial_size", "tied")]
    palette = colors(names, BASELINE)

    def draw(axes: Axes) -> None:
        bottom = np.zeros(len(table))
        for name in names:
            axes.bar(range(len(table)), table[name], bottom=bottom, color=palette[name], width=0.7)
            bottom = bottom + table[name].to_numpy()
        axes.set_xticks(
            range(len(table)),
            [f"{size:,}" for size in table["initial_size"]],
            rotation=45,
            rotation_mode="anchor",
            ha="right",
        )
        axes.grid(visible=False)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="rows of the initial pool (K0)", ylabel="settings won")

    n = int(table[[*names, "tied"]].iloc[0].sum())
    caption = (
        f"Settings (dataset x model), n = {n} at the smallest K0, whose highest mean accuracy over seeds is this "
        "selection's alone; ties left out."
    )
    return Figure("pool-winners", "Winning initial pools by size", caption, [Panel("", draw)], palette)
