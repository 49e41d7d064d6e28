"""Figures as panels: each alone and in the reader's colours for the page, all in one grid for a paper.

A page of 390 pixels shows a panel as large as one of 1,280 does: the page puts more of them in a row. SVG for the page
has ink that follows the page (`currentColor`), for files black on white.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from jaxal.reporting.stats import Interval
from jaxal.reporting.study import Sample

# Okabe and Ito's colours, told apart by colour-blind readers, dark and light enough for both kinds of page.
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#C98A00", "#56B4E9", "#8C8C00", "#8B6BD9", "#A65E2E"]
MARKS = ["o", "s", "^", "D", "v", "P", "X", "<", ">"]
INK, FAINT = "#010203", "#a1a2a3"  # stand for the page's colours until the SVG is made
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: small, and legible in the reader's own font
    "svg.hashsalt": "jaxal",
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 8, "axes.titlesize": 8.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "lines.linewidth": 1.4,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5,
    "legend.frameon": False, "legend.fontsize": 8, "grid.linewidth": 0.4, "axes.grid": True,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "grid.color": FAINT, "axes.facecolor": "none",
}  # fmt: skip
_COLUMNS = 3  # of a grid in a file


@dataclass(frozen=True)
class Panel:
    """One drawing: a title and what fills its axes."""

    title: str
    draw: Callable[[Axes], Any]


@dataclass(frozen=True)
class Figure:
    """Panels that belong together. `caption` says what they aggregate and n; `legend` gives names their colours."""

    name: str  # of its files
    title: str
    caption: str
    panels: Sequence[Panel]
    legend: Mapping[str, str] = field(default_factory=dict)
    size: tuple[float, float] = (3.6, 2.6)  # of a panel, inches

    def svgs(self) -> list[str]:
        """Each panel as SVG for the page."""
        return [_for_page(self._one(panel), f"{self.name}-{i}", panel.title) for i, panel in enumerate(self.panels)]

    def _one(self, panel: Panel) -> bytes:
        with rc_context(_STYLE):
            canvas = Canvas(figsize=self.size, layout="constrained")
            axes = canvas.subplots()
            panel.draw(axes)
            axes.set_title(panel.title)
            return _saved(canvas, "svg", transparent=True)

    def files(self) -> dict[str, bytes]:
        """The figure in one grid, as PNG and SVG, by the endings of their names."""
        across = min(_COLUMNS, len(self.panels))
        down = -(-len(self.panels) // across)
        with rc_context(_STYLE | {"axes.facecolor": "white"}):
            width, height = self.size[0] * across, self.size[1] * down + 0.35 * bool(self.legend)
            canvas = Canvas(figsize=(width, height), layout="constrained", facecolor="white")
            every = canvas.subplots(down, across, squeeze=False).ravel()
            for axes, panel in zip(every, self.panels, strict=False):
                panel.draw(axes)
                axes.set_title(panel.title)
            for axes in every[len(self.panels) :]:
                axes.set_axis_off()
            if self.legend:
                lines = [Line2D([], [], color=color, label=name) for name, color in self.legend.items()]
                canvas.legend(handles=lines, loc="outside upper center", ncols=min(len(lines), 3 * across))
            png = _saved(canvas, "png")
            canvas.set_layout_engine("none")  # it is laid out, which takes longer than drawing it
            return {"png": png, "svg": _saved(canvas, "svg")}


def _saved(canvas: Canvas, kind: str, **options: Any) -> bytes:
    image = io.BytesIO()
    # no date: the same results make the same files
    canvas.savefig(image, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None, **options)
    return image.getvalue()


def _for_page(svg: bytes, name: str, title: str) -> str:
    """Inline SVG: no prologue, ids of its own, the page's colours, and its width left to the page."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1system-ui, sans-serif", text)
    text = text.replace(INK, "currentColor").replace(FAINT, "var(--faint)")
    label = re.sub(r'[<>&"]', " ", title or name)
    return re.sub(
        r'<svg [^>]*viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{label}">', text, count=1
    )


def cycles(axes: Axes) -> None:
    """Cycles along the x-axis."""
    axes.set_xlabel("cycle")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def colors(names: Sequence[str], baseline: str) -> dict[str, str]:
    """A colour a name, the same in every figure; the baseline has the colour of the text."""
    others = [name for name in names if name != baseline]
    chosen = {name: COLORS[i % len(COLORS)] for i, name in enumerate(others)}
    return {name: INK if name == baseline else chosen[name] for name in names}


def by_unit(unit: tuple[str, str], draw: Callable[[Axes, tuple[str, str]], Any]) -> Panel:
    """The panel of one setting."""
    return Panel(", ".join(unit), lambda axes: draw(axes, unit))


def n_seeds(sample: Sample) -> str:
    """How many seeds a caption speaks of."""
    least, most = sample.seeds.min(), sample.seeds.max()
    return f"n = {least} seeds" if least == most else f"n = {least} to {most} seeds"


def band(axes: Axes, x: Any, interval: Interval, color: str, **line: Any) -> None:
    """A line with its interval."""
    axes.plot(x, interval.value, color=color, **line)
    if not np.isnan(interval.low).all():
        axes.fill_between(x, interval.low, interval.high, color=color, alpha=0.15, linewidth=0)
