"""An audit: a sample of the pool that is labeled once, and the accuracy from it, where there is no test split.

Rows are drawn one after the other without replacement, row i with a chance in proportion to

    q_i = 1/2 1/N + 1/2 sqrt(e_i) / sum_j sqrt(e_j),      e_i = 1 - max p_i, of the model at the time             (1)

so that rows it may get wrong come more often. Weights put that right (LURE): with q_m the chance of the m-th row among
those then left and v_m = 1 + (N - M) / (N - m) (1 / ((N - m + 1) q_m) - 1), the mean of v_m loss_m is an unbiased
estimate of the error over all N, for the model that the rows were drawn by as for every other.

Half of (1) is even, so that no weight is much above 2 and a model that is wrong about itself does little harm. The
rows drawn so far, in their order, are a sample too: an audit may be labeled in part.

    audit/draw.json     the rows in the order drawn, the chance of each, and what the pool was
    audit/labels.csv    row, id, label

Reference: Kossen et al., Active Testing, ICML 2021, equation 4; the estimator is of Farquhar et al., ICLR 2021.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxal.data.files import atomic_write, make_folders
from jaxal.errors import DataError, unknown
from jaxal.labeling.batch import as_csv, describe
from jaxal.labeling.labels import read_labels
from jaxal.labeling.project import Project
from jaxal.stopping import Estimate, wilson

FORMAT = 1
LEAST_ROWS = 20  # that an accuracy is told from
_LEAST_EFFECT = 0.25  # a design effect that is smaller comes of luck


class Draw(NamedTuple):
    """Rows to label. rows, chance (M,): q_m of each when it was drawn. population: N. left_out: the rows of the pool
    that were not to be drawn, since they had a label or waited for one.
    """

    rows: np.ndarray
    chance: np.ndarray
    population: int
    left_out: np.ndarray


def draw(error: np.ndarray, left_out: np.ndarray, size: int, seed: int) -> Draw:
    """Draw `size` rows by (1). error: (N_pool,) e_i of every row of the pool. Cost: one sort of the pool."""
    rows = np.setdiff1d(np.arange(len(error)), left_out)
    doubt = np.sqrt(error[rows])
    q = (1 / len(rows) + doubt / doubt.sum()) / 2 if doubt.sum() else np.full(len(rows), 1 / len(rows))
    # The order in which clocks with rates q ring is that of draws without replacement.
    first = np.argsort(np.random.default_rng(seed).exponential(size=len(rows)) / q)[:size]
    left = 1 - np.concatenate([[0], np.cumsum(q[first])[:-1]])
    return Draw(rows[first], np.minimum(q[first] / left, 1), len(rows), left_out)


def accuracy(drawn: Draw, wrong: np.ndarray, labeled: np.ndarray | None = None, *, level: float = 0.95) -> Estimate:
    """Accuracy over the rows of the population without a label, and an interval.

    wrong: (m,) whether a model got each of the first m rows wrong. labeled: rows that it was trained on; those of the
    population among them do not count, drawn or not.

    The interval is Wilson's for as many evenly drawn rows as would say the same: m (N - 1) / ((N - m) D), with the
    design effect D = (sum v^2 loss / sum v loss - error) / (1 - error).
    """
    trained = np.zeros(0, int) if labeled is None else np.setdiff1d(labeled, drawn.left_out)
    counts = np.asarray(wrong, bool) & ~np.isin(drawn.rows[: len(wrong)], trained)
    v = weights(drawn.chance[: len(wrong)], drawn.population)
    total, squares = float(np.sum(v[counts])), float(np.sum(v[counts] ** 2))
    error = total / len(v)
    effect = (squares / total - error) / (1 - error) if 0 < error < 1 else 1.0
    n = len(v) / max(effect, _LEAST_EFFECT)
    n *= (drawn.population - 1) / max(1, drawn.population - len(v))
    share = wilson(min(error, 1.0) * n, n, level)
    scale = drawn.population / (drawn.population - len(trained))
    value, low, high = (float(np.clip(1 - scale * part, 0, 1)) for part in (error, share.high, share.low))
    return Estimate(value, low, high)


def weights(chance: np.ndarray, population: int) -> np.ndarray:
    """v_m of LURE (M,). Their expectation is 1 each."""
    left = population - np.arange(1, len(chance) + 1)
    if not left[-1]:
        return np.ones(len(chance))  # everything was drawn
    return 1 + (population - len(chance)) / left * (1 / ((left + 1) * chance) - 1)


# ---- of a project


def begin(project: Project, error: np.ndarray, size: int) -> Draw:
    """Draw the audit of a project, which is locked, and write it. error: as for `draw`. Raises DataError."""
    rows, _ = project.labeled()
    left_out = np.unique(np.concatenate([rows, project.waiting(), project.skipped()]).astype(np.int64))
    most = len(error) - len(left_out)
    if not LEAST_ROWS <= size <= most:
        raise DataError(
            f"-m {size}: an audit has {LEAST_ROWS} rows or more, and here {most:,} at most, those unlabeled"
        )
    drawn = draw(error, left_out, size, project.settings.seed)
    record = {"format": FORMAT, "pool": project.settings.fingerprint, "population": drawn.population}
    record |= {name: getattr(drawn, name).tolist() for name in ("rows", "chance", "left_out")}
    make_folders(_folder(project))
    atomic_write(_folder(project) / "draw.json", (json.dumps(record) + "\n").encode())
    return drawn


def read(project: Project) -> Draw | None:
    """The audit of a project, if one was begun. Raises DataError for a file that is not as jaxal wrote it."""
    path = _folder(project) / "draw.json"
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_bytes())
        if record["format"] > FORMAT:
            raise DataError(f"{path} was written by a newer jaxal: update jaxal")
        if record["pool"] != project.settings.fingerprint:
            raise ValueError("it is of another pool")
        rows, left_out = (np.array(record[name], np.int64) for name in ("rows", "left_out"))
        return Draw(rows, np.array(record["chance"], float), int(record["population"]), left_out)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is not as jaxal wrote it ({error}): put it back, or delete {path.parent}") from None


def to_label(project: Project, drawn: Draw) -> str:
    """The rows in the order drawn, as CSV: order, row, id, and text where there is one."""
    records = describe(project.pool(), drawn.rows, drawn.chance)
    return as_csv([{name: cell for name, cell in record.items() if name != "score"} for record in records])


def add_labels(project: Project, drawn: Draw, file: Path) -> None:
    """Take labels out of a CSV with label and row or id, beside those that are there; the project is locked.

    Raises DataError for a row that was not drawn, and for a label that is no class, unless the project takes new ones.
    """
    rows, labels = read_labels(file, project.pool())
    labels = [str(label).strip() for label in labels]
    for row, label in zip(rows.tolist(), labels, strict=True):
        if row not in drawn.rows:
            raise DataError(f"{file}: row {row} is not among the {len(drawn.rows)} rows of the audit")
        if label not in project.settings.classes and not project.settings.new_classes:
            raise DataError(f"{file}: row {row}: {unknown('label', label, project.settings.classes)}")
    every = _labels(project) | dict(zip(rows.tolist(), labels, strict=True))
    records = [{"row": row, "label": every[row]} for row in drawn.rows.tolist() if row in every]
    atomic_write(_folder(project) / "labels.csv", as_csv(records).encode())


def labels(project: Project, drawn: Draw) -> list[str]:
    """The labels of the first rows in the order drawn, up to one that has none."""
    every, found = _labels(project), []
    for row in drawn.rows.tolist():
        if row not in every:
            break
        found.append(every[row])
    return found


def _labels(project: Project) -> dict[int, str]:
    path = _folder(project) / "labels.csv"
    if not path.exists():
        return {}
    rows, labels = read_labels(path, project.pool())
    return dict(zip(rows.tolist(), map(str, labels), strict=True))


def _folder(project: Project) -> Path:
    return project.folder / "audit"
