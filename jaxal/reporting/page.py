"""The report of a study: one HTML file that needs nothing else, with its figures and tables as files beside it."""

from collections.abc import Callable
from importlib.resources import files
from os import PathLike
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from jaxal import __version__
from jaxal.data.files import atomic_write, make_folders
from jaxal.reporting.drawing import INK, Figure
from jaxal.reporting.sections import sections
from jaxal.reporting.study import UNIT, Study


def write(
    study: Study,
    out: Path,
    root: str | PathLike | None = None,
    on_section: Callable[[str, int], object] = lambda title, total: None,
) -> Path:
    """Write `report.html`, `figures/` (PNG and SVG) and `tables/` (CSV and LaTeX) into a folder.

    Args:
        root: of the store that has the study's pools, for what results do not tell: classes, and texts that are twice.
        on_section: called with the title of each section that is done, and how many there are.
    Returns: the path of the page. Raises StoreError when something cannot be written.
    Cost: seconds to minutes: 5,000 resamples of every curve, and three drawings of every panel.
    """
    for folder in (out / "figures", out / "tables"):
        make_folders(folder)
    done, svgs = [], {}
    parts = sections(study, root)
    for make in parts:
        section = make()
        for item in section.items:
            if isinstance(item, Figure):
                svgs[item.name] = item.svgs()
                for kind, image in item.files().items():
                    atomic_write(out / "figures" / f"{item.name}.{kind}", image)
            else:
                atomic_write(out / "tables" / f"{item.name}.csv", item.csv().encode())
                atomic_write(out / "tables" / f"{item.name}.tex", item.latex().encode())
        done += [section] * bool(section.text or section.items)
        on_section(section.title, len(parts))
    source = files("jaxal.reporting").joinpath("report.html").read_text()
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(source)
    path = out / "report.html"
    title = f"Active learning: {study.folder.resolve().name}"
    page = template.render(title=title, about=_about(study), sections=done, svgs=svgs, ink=INK)
    atomic_write(path, page.encode())
    return path


def _about(study: Study) -> str:
    """What was run, in a line."""
    parts = []
    for rows, what in ((study.runs, study.strategies), (study.pools, sorted(set(study.pools["ips"])))):
        if not rows.empty:
            units = rows[UNIT].drop_duplicates()
            counts = rows.groupby("run_id")["seed"].nunique()
            seeds = f"{counts.min()} to {counts.max()}" if counts.nunique() > 1 else f"{counts.min()}"
            kind = "strategies" if rows is study.runs else "initial pool selections"
            parts.append(
                f"datasets: {units['dataset'].nunique()}, models: {units['model'].nunique()}, pairs of them: "
                f"{len(units)}, "
                f"{kind}: {len(what)}, seeds: {seeds}"
            )
    return f"{'; '.join(parts)}. {len(study.configs)} results folders, read by jaxal {__version__}."
