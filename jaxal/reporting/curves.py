"""Learning curves as a figure, and the summary as a table of text."""

import io
from pathlib import Path

import pandas as pd

from jaxal.data.files import atomic_write
from jaxal.errors import DataError
from jaxal.experiments.summary import summary

# Okabe and Ito's colours, told apart by colour-blind readers too.
_COLORS = ["#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B2A800"]


def table(results: pd.DataFrame) -> str:
    """The summary, a line a strategy: AULC mean and std over seeds, final accuracy, seconds.

    Of initial pools, a line a size: mean accuracy and its standard deviation over seeds by selection.
    """
    if _initial_pools(results):
        by_size = results.groupby(["initial_size", "ips"], sort=False)["accuracy"].agg(["mean", "std"]).fillna(0)
        names = list(dict.fromkeys(results["ips"]))
        lines = [f"{'K0':>6}" + "".join(f"{name:>18}" for name in names)]
        for size in sorted(results["initial_size"].unique()):
            cells = [by_size.loc[(size, name)] for name in names]
            lines.append(f"{size:>6}" + "".join(f"{c['mean']:>10.4f} ({c['std']:.3f})" for c in cells))
        return "\n".join(lines)
    lines = [f"{'strategy':<28}{'seeds':>6}{'AULC mean':>11}{'std':>8}{'final acc.':>12}{'seconds':>9}"]
    for row in summary(results).itertuples():
        std = "-" if row.seeds == 1 else f"{row.aulc_std:.4f}"
        lines.append(
            f"{row.strategy:<28}{row.seeds:>6}{row.aulc_mean:>11.4f}{std:>8}{row.final_accuracy:>12.4f}{row.seconds:>9.1f}"
        )
    return "\n".join(lines)


def _initial_pools(results: pd.DataFrame) -> bool:
    """Whether these are of the experiment on initial pools, not learning curves."""
    return bool((results["strategy"] == "none").all())


def draw(results: pd.DataFrame, path: Path) -> Path:
    """Draw accuracy against labeled rows, mean and standard deviation over seeds, a line a strategy.

    Of initial pools, a line a selection, sizes on a logarithmic axis.

    The file's ending decides its format. Raises DataError for an ending that is none, StoreError when it cannot be
    written.
    """
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    kind = path.suffix[1:].lower()
    formats = figure.canvas.get_supported_filetypes()
    if kind not in formats:
        raise DataError(f"cannot draw {path}: its name must end in one of {', '.join(sorted(formats))}")
    axes = figure.subplots()
    pools = _initial_pools(results)
    for i, (names, run) in enumerate(results.groupby(["ips"] if pools else ["run_id", "strategy"], sort=False)):
        by_size = run.groupby("n_labeled")["accuracy"]
        mean, std = by_size.mean(), by_size.std().fillna(0)
        color = _COLORS[i % len(_COLORS)]
        axes.plot(mean.index, mean, color=color, marker="o", markersize=3, linewidth=1.5, label=names[-1])
        axes.fill_between(mean.index, mean - std, mean + std, color=color, alpha=0.15, linewidth=0)
    first = results.iloc[0]
    n_seeds = results["seed"].nunique()
    seeds = f"{n_seeds} seed{'s' * (n_seeds != 1)}"
    title = f"{first.dataset}, {first.model}: {seeds}, pool of {first.pool_size:,} rows"
    if pools:
        axes.set(xlabel="rows of the initial pool", ylabel="test accuracy", title=title, xscale="log")
        sizes = sorted(results["initial_size"].unique())
        axes.set_xticks(sizes, [str(size) for size in sizes], rotation=45, fontsize=8)
        axes.minorticks_off()
    else:
        axes.set(xlabel="labeled rows", ylabel="test accuracy", title=f"{title}, initial pool {first.ips}")
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format=kind, dpi=150)
    atomic_write(path, image.getvalue())
    return path
