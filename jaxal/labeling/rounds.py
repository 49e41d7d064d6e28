"""The next batch of a labeling project: by its strategy, from the labels so far."""

import math
import time
from dataclasses import replace
from datetime import UTC, datetime

import jax
import numpy as np

from jaxal import strategies
from jaxal.data import store
from jaxal.data.pool import Pool
from jaxal.errors import DataError
from jaxal.experiments import loop
from jaxal.labeling.project import PER_ROW, Batch, Project
from jaxal.labeling.query import choose
from jaxal.numerics import logreg
from jaxal.numerics.blocks import to_device


def now() -> str:
    """UTC, ISO 8601, in whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def next_batch(project: Project, size: int | None = None) -> Batch:
    """Choose the next rows and add them to the project, which is locked. Rows that wait for a label are not chosen.

    The random numbers are those of `jaxal.run` with the same seed, round 1 being its initial pool: it chooses the same.
    Raises DataError where no row is left; ConfigError or StrategyError of the strategy.
    Cost: one fit, one selection.
    """
    settings, pool = project.settings, project.pool()
    began = time.perf_counter()
    rows, codes = project.labeled()
    taken = [*project.waiting(), *project.skipped()]
    if len(rows) + len(taken) >= len(pool.X):
        raise DataError(f"{project.folder}: every row of the pool has a label, was skipped, or waits for one")
    strategy, why = _strategy(project, len(rows))
    params = _fit(project, rows, codes) if len(rows) else None
    past = len(project.batches())
    chosen, scores = choose(
        replace(pool, y=None, y_test=None, class_names=settings.classes or ("any",)),
        labeled_rows=rows,
        codes=codes,
        n_classes=max(1, len(settings.classes)),
        strategy=strategy,
        batch_size=settings.batch_size if size is None else size,
        C=settings.C,
        variant=settings.variant,
        options=settings.options if strategy == settings.strategy else None,
        params=params,
        keys=loop.keys([settings.seed], past, loop.SELECT if past else loop.IPS),
        taken=taken,
    )
    suggestions, confidences = _suggest(project, params, chosen)
    batch = Batch(
        round=past + 1,
        rows=chosen,
        ids=ids_of(pool, chosen),
        scores=[score if math.isfinite(score) else None for score in scores.tolist()],
        suggestions=suggestions,
        confidences=confidences,
        strategy=strategy,
        why=why,
        seed=settings.seed,
        n_labeled=len(rows),
        seconds=round(time.perf_counter() - began, 3),
        time=now(),
    )
    project.add_batch(batch)
    return batch


def _strategy(project: Project, n_labeled: int) -> tuple[str, str]:
    """Who chooses, and the sentence that says why."""
    settings = project.settings
    if n_labeled or settings.strategy in strategies.IPS:
        return settings.strategy, f"{settings.strategy}, from {n_labeled} labels"
    cold = settings.cold_start
    return cold, f"{cold}, which needs no labels: {settings.strategy} needs some, and there are none yet"


def _fit(project: Project, rows: np.ndarray, codes: np.ndarray) -> logreg.Params:
    """The classifier of all labels, from scratch: (1, C, D) and (1, C)."""
    pool = project.pool()
    with jax.enable_x64(pool.X.dtype == np.float64):
        X = to_device(pool.X)
        init = logreg.zeros(1, len(project.settings.classes), X.shape[1], X.dtype)
        return logreg.fit_rows(X, rows[None], codes[None], init=init, C=project.settings.C).params


def _suggest(project: Project, params: logreg.Params | None, rows: np.ndarray) -> tuple[list, list]:
    """The most probable class of each row and its probability; None without a classifier."""
    if params is None:
        return [None] * len(rows), [None] * len(rows)
    W, b = (np.asarray(a[0], np.float64) for a in params)
    Z = project.pool().X[rows] @ W.T + b
    P = np.exp(Z - Z.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    names = project.settings.classes
    return [names[code] for code in P.argmax(axis=1)], [round(float(p), 6) for p in P.max(axis=1)]


def ids_of(pool: Pool, rows: np.ndarray) -> list[str]:
    """The ids of rows: those of a stored pool, else the row numbers."""
    return store.ids(pool.path, rows) if pool.path else [str(row) for row in rows.tolist()]


def waiting_batch(project: Project) -> Batch | None:
    """The last batch cut down to the rows of all rounds that wait for a label; None where none waits."""
    waiting = project.waiting()
    return part(project, waiting) if waiting else None


def part(project: Project, rows: list[int]) -> Batch:
    """The last batch with other rows, which are of any round: as they were chosen, in this order."""
    at = {row: (batch, i) for batch in project.batches() for i, row in enumerate(batch.rows.tolist())}
    of = {name: [getattr(at[row][0], name)[at[row][1]] for row in rows] for name in PER_ROW}
    return project.batches()[-1]._replace(rows=np.array(rows, np.int64), **of)
