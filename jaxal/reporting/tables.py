"""Tables of the report: numbers in full for CSV, the same as short texts for the page and for LaTeX."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isinf, isnan
from typing import Any, NamedTuple

import pandas as pd

HEADERS = {
    "aulc": "AULC, %", "gain": "gain, points", "lead": "ahead by", "as_good": "not told apart from it",
    "final": "final accuracy, %", "final_macro_f1": "final macro-F1, %", "gain_final": "final gain",
    "final_balanced_accuracy": "final balanced accuracy, %", "gain_early": "gain, early third",
    "gain_middle": "middle third", "gain_late": "late third", "iqm": "IQM of gains", "improvement": "P(improvement)",
    "p_holm": "p (Holm)", "effect": "effect size r", "first_better": "better from, labels",
    "first_worse": "worse from, labels", "budget": "part of budget", "target": "accuracy, %",
    "baseline_labels": "labels of random", "labels": "labels needed", "saved": "labels saved", "factor": "speed-up",
    "subset": "seeds of a subset", "opposite": "opposite verdict, %", "worst": "in the worst setting, %",
    "select_seconds": "selecting, s", "fit_seconds": "fitting, s", "eval_seconds": "evaluating, s", "seconds": "all, s",
    "initial_size": "K0", "ips": "initial pool", "accuracy": "accuracy, %", "mean": "mean difference",
    "next": "next best", "balance": "balance of labels", "pool_balance": "of the pool",
    "rarest": "rarest class, % of labels", "pool_rarest": "% of the pool",
    "every_class": "every class, labels",
}  # fmt: skip
_P = ("p", "p_holm")


class Cell(NamedTuple):
    """What is shown, and what the page sorts by: a number, or the text."""

    text: str
    key: float | str


@dataclass(frozen=True)
class Table:
    """A table of the report. A column `x` with `x_low` and `x_high` is shown as one, a number and its interval."""

    name: str  # of its files
    title: str
    caption: str
    frame: pd.DataFrame
    digits: Mapping[str, int] = field(default_factory=dict)  # after the point; 2 where it says nothing
    hidden: tuple[str, ...] = ()  # columns that stand in the CSV only

    @property
    def shown(self) -> list[str]:
        """The columns that are shown."""
        ends = {f"{name}_{end}" for name in self.frame.columns for end in ("low", "high")}
        return [str(name) for name in self.frame.columns if name not in ends and name not in self.hidden]

    @property
    def headers(self) -> list[str]:
        """What stands above them."""
        return [HEADERS.get(name, name.replace("_", " ")) for name in self.shown]

    @property
    def rows(self) -> list[list[Cell]]:
        """What is shown, row by row."""
        return [[self._cell(row, name) for name in self.shown] for row in self.frame.to_dict("records")]

    def _cell(self, row: Mapping[Any, Any], name: str) -> Cell:
        value, digits = row[name], self.digits.get(name, 2)
        if not isinstance(value, float):
            number = isinstance(value, int) and not isinstance(value, bool)
            return Cell(f"{value:,}" if number else str(value), float(value) if number else str(value))
        text = _probability(value) if name in _P else _number(value, digits)
        if f"{name}_low" in row and not isnan(low := row[f"{name}_low"]):
            text += f" [{_end(low, digits)}, {_end(row[f'{name}_high'], digits)}]"
        return Cell(text, -inf if isnan(value) else value)

    def csv(self) -> str:
        """Every column in full precision."""
        return self.frame.to_csv(index=False)

    def latex(self) -> str:
        """A booktabs table of what is shown."""
        texts = pd.DataFrame([[cell.text for cell in row] for row in self.rows], columns=pd.Index(self.headers))
        body = texts.to_latex(index=False, escape=True, caption=_escaped(self.caption), label=f"tab:{self.name}")
        return body.replace("∞", r"$\infty$").replace("−", "$-$").replace("–", "--")


def _escaped(text: str) -> str:
    return text.replace("%", r"\%").replace("_", r"\_").replace("&", r"\&")


def _number(value: float, digits: int) -> str:
    if isnan(value):
        return "–"
    return "never" if isinf(value) else f"{value:,.{digits}f}".replace("-", "−")


def _end(value: float, digits: int) -> str:
    return ("−∞" if value < 0 else "∞") if isinf(value) else _number(value, digits)


def _probability(p: float) -> str:
    if isnan(p):
        return "–"
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
