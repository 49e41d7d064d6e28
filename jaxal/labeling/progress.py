"""How good a project's classifier is, and what more labels will bring: for `jaxal label status` and `jaxal audit`."""

from typing import NamedTuple

import jax
import numpy as np

from jaxal import stopping
from jaxal.errors import DataError
from jaxal.experiments.replay import Seen, follow, logits
from jaxal.labeling import audit as audits
from jaxal.labeling.project import Project
from jaxal.numerics import logreg

_BLOCK = 8192  # rows
_WIDTH = 2 * 1.96  # of a 95 % interval, in standard errors


class Progress(NamedTuple):
    """A project's T rounds that have labels."""

    sizes: np.ndarray  # (T,) labels after each
    seen: list[Seen]  # of each
    last_batch: int  # labels of the last round


def progress(project: Project) -> Progress:
    """Fit again after each round. Raises DataError where no row has a label. Cost: T fits."""
    rows, codes = project.labeled()
    if not len(rows):
        raise DataError(f"{project.folder} has no labels yet: add some with `jaxal label add`")
    rounds, X = project.labels()["round"].to_numpy(), project.pool().X
    sizes = np.append(np.flatnonzero(np.diff(rounds)) + 1, len(rounds))
    with jax.enable_x64(X.dtype == np.float64):
        settings = project.settings
        seen = list(
            follow(
                X,
                rows[None],
                codes[None],
                sizes,
                stopping.stop_set(len(X)),
                n_classes=len(settings.classes),
                C=settings.C,
                warm_start=False,  # as the project's own fits
            )
        )
    return Progress(sizes, seen, int(sizes[-1] - (sizes[-2] if len(sizes) > 1 else 0)))


def doubt(project: Project, params: logreg.Params) -> np.ndarray:
    """1 - max p (N,) of every row of the pool by a model, as it says without temperature. Cost: O(N D C)."""
    X = project.pool().X
    blocks = [logits(params, 0, X[start : start + _BLOCK]) for start in range(0, len(X), _BLOCK)]
    return np.concatenate([1 - 1 / np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1) for z in blocks])


def lines(project: Project) -> list[str]:
    """What there is to say after the rounds so far, a line each; nothing before the first label."""
    if not len(project.labeled()[0]):
        return []
    rounds = progress(project)
    return [*without_truth(project, rounds), *accuracy(project, rounds)]


def without_truth(project: Project, rounds: Progress) -> list[str]:
    """The rules that need no label but those of the batches."""
    last, told = rounds.seen[-1], []
    if len(rounds.seen) > 1:
        right = round(float(last.batch_accuracy[0]) * rounds.last_batch)
        found = stopping.wilson(right, rounds.last_batch)
        batches = project.batches()
        who = f", rows that {batches[-1].strategy} chose" if batches else ""
        told.append(f"last batch       {_share(found)} right before it was learned{who}")
        told.append(
            f"expected error   {last.expected_error[0]:.1%} of unlabeled rows, by its own probabilities "
            f"(temperature {last.temperature[0]:.2f}); enough at {stopping.EXPECTED_ERROR:.0%}"
        )
    means, stop = stopping.stable(np.concatenate([seen.predicted for seen in rounds.seen]))
    if np.isfinite(means[-1]):
        end = "predictions have settled" if stop[-1] else f"settled at {stopping.STABLE}"
        told.append(f"stable           kappa {means[-1]:.3f} of the last three pairs of models; {end}")
    return told


def accuracy(project: Project, rounds: Progress, *, audit: bool = False) -> list[str]:
    """Accuracy on the test split, else by the audit, and what the curve of it says of further labels.

    audit: by the audit in any case.
    """
    found = (None if audit else _on_test(project, rounds)) or _by_audit(project, rounds)
    if found is None:
        return [f"accuracy         unknown: there is no test split; `jaxal audit {project.folder}` measures it"]
    estimates, where = found
    told = [f"accuracy         {_share(estimates[-1])} {where}"]
    curve = np.array([estimate.value for estimate in estimates])
    n, batch = rounds.sizes, project.settings.batch_size
    if len(n) < stopping.LEAST_POINTS:
        return [*told, f"forecast         from {stopping.LEAST_POINTS} rounds on; there are {len(n)}"]
    more, error = n[-1] + batch, (estimates[-1].high - estimates[-1].low) / _WIDTH
    points = 100 * stopping.gain(n, curve, more)
    told.append(
        f"next {batch:<11,} {points:+.1f} points, to {_share(stopping.forecast(n, curve, more, standard_error=error))}"
    )
    most = len(project.pool().X)
    answers = [(stopping.target(n, curve, goal, standard_error=error, most=most), goal) for goal in goals(curve.max())]
    return told + [_goal(*answer) for answer in answers]


def goals(best: float) -> list[float]:
    """The accuracies to say something of: the next whole percent a point above, and the next multiple of five."""
    whole = int(np.floor(100 * best + 1e-9))
    goals = {whole + 2, 5 * (whole // 5 + 1)} - {whole + 1}
    return [goal / 100 for goal in sorted(goals) if goal < 100]


def _goal(answer: stopping.Answer, goal: float) -> str:
    if answer.reason is not None:
        return f"{goal:<17.0%}{answer.reason}"
    high = f"{answer.high:,.0f}" if np.isfinite(answer.high) else "far more"
    return f"{goal:<17.0%}needs {answer.labels:,.0f} labels in all ({answer.low:,.0f} to {high})"


def _share(found: stopping.Estimate) -> str:
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"


def _on_test(project: Project, rounds: Progress) -> tuple[list[stopping.Estimate], str] | None:
    pool = project.pool()
    if pool.X_test is None or pool.y_test is None or pool.class_names is None:
        return None
    numbers = {name: code for code, name in enumerate(project.settings.classes)}
    truth = np.array([numbers.get(name, -1) for name in pool.class_names])[pool.y_test]
    right = [int(np.sum(_classes(seen.params, pool.X_test) == truth)) for seen in rounds.seen]
    return [stopping.wilson(n, len(truth)) for n in right], f"on the {len(truth):,} rows of the test split"


def _by_audit(project: Project, rounds: Progress) -> tuple[list[stopping.Estimate], str] | None:
    drawn = audits.read(project)
    known = [] if drawn is None else audits.labels(project, drawn)
    if drawn is None or len(known) < audits.LEAST_ROWS:
        return None
    numbers = {name: code for code, name in enumerate(project.settings.classes)}
    truth = np.array([numbers.get(name, -1) for name in known])
    X, rows = project.pool().X[drawn.rows[: len(known)]], project.labeled()[0]
    estimates = [
        audits.accuracy(drawn, _classes(seen.params, X) != truth, rows[:size])
        for seen, size in zip(rounds.seen, rounds.sizes, strict=True)
    ]
    return estimates, f"on the rows without a label, by the audit of {len(known)}"


def _classes(params: logreg.Params, X: np.ndarray) -> np.ndarray:
    return np.argmax(logits(params, 0, X), axis=1)
