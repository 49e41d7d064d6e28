"""What a project's rounds say of its classifier, against models fitted here."""

from pathlib import Path

import numpy as np
import pytest
from commands import NAMES
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from small import arrays, write_npz
from test_classifier import make_project

import jaxal
from jaxal import stopping
from jaxal.labeling import progress
from jaxal.labeling.log import Line
from jaxal.labeling.project import Batch

ROUNDS, SIZE = 8, 6


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Eight rounds of six rows in a row; the pool's classes are in another order than the project's."""
    folder = tmp_path_factory.mktemp("project")
    source = write_npz(folder / "p.npz", class_names=np.array(NAMES))
    pool = jaxal.load(source)
    made = make_project(folder / "project", pool, [], [], source=source, classes=tuple(NAMES[::-1]), batch_size=SIZE)
    y = arrays()[1]
    with made.locked():
        for number in range(1, ROUNDS + 1):
            rows = np.arange((number - 1) * SIZE, number * SIZE)
            names = ["1"] * SIZE
            given = dict.fromkeys(Batch._fields) | {"round": number, "rows": rows, "ids": names, "scores": [0.0] * SIZE}
            given |= {"strategy": "margin", "why": "", "seed": 0, "n_labeled": 0, "seconds": 0.0, "time": ""}
            given |= {name: names for name in ("suggestions", "confidences") if name in given}
            made.add_batch(Batch(**given))
            made.append([Line(int(r), str(r), NAMES[y[r]], None, None, None, number) for r in rows])
    return made


@pytest.fixture(scope="module")
def models():
    X, y, *_ = arrays()
    return [LogisticRegression(tol=1e-6).fit(X[:n], y[:n]) for n in range(SIZE, SIZE * ROUNDS + 1, SIZE)]


def test_lines(project, models):
    X, y, X_test, y_test = arrays()
    lines = {line[:17].strip(): line[17:] for line in progress.lines(project)}
    assert list(lines) == ["last batch", "expected error", "stable", "accuracy", "next 6", *list(lines)[5:]]
    last = slice(SIZE * (ROUNDS - 1), SIZE * ROUNDS)
    right = int(np.sum(models[-2].predict(X[last]) == y[last]))
    found = stopping.wilson(right, SIZE)
    assert lines["last batch"] == (
        f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%}) right before it was learned, rows that margin chose"
    )
    held_out = [
        (models[i - 1].decision_function(X[SIZE * i : SIZE * (i + 1)]), y[SIZE * i : SIZE * (i + 1)])
        for i in range(ROUNDS - 3, ROUNDS)
    ]
    t = stopping.temperature(*map(np.concatenate, zip(*held_out, strict=True)))
    expected = np.mean(1 - softmax(models[-1].decision_function(X[SIZE * ROUNDS :]) / t, 1).max(1))
    assert float(lines["expected error"].split("%")[0]) == pytest.approx(100 * expected, abs=0.3)
    kappas = [stopping.kappa(a.predict(X), b.predict(X)) for a, b in zip(models[-4:-1], models[-3:], strict=True)]
    assert float(lines["stable"].split()[1]) == pytest.approx(np.mean(kappas), abs=0.02)
    curve = np.array([np.mean(m.predict(X_test) == y_test) for m in models])
    assert lines["accuracy"].startswith(f"{curve[-1]:.1%} (")
    assert lines["accuracy"].endswith("on the 60 rows of the test split")
    n = SIZE * np.arange(1, ROUNDS + 1)
    assert lines["next 6"].startswith(f"{100 * stopping.gain(n, curve, n[-1] + SIZE):+.1f} points, to ")
    for goal in progress.goals(curve.max()):
        assert f"{goal:.0%}" in lines
        assert "labels" in lines[f"{goal:.0%}"]


def test_what_has_no_rounds_yet_says_little(tmp_path):
    source = write_npz(tmp_path / "p.npz")
    y = arrays()[1]
    empty = make_project(tmp_path / "empty", jaxal.load(source), [], [], source=source)
    assert progress.lines(empty) == []
    begun = make_project(tmp_path / "begun", jaxal.load(source), range(9), [NAMES[c] for c in y[:9]], source=source)
    accuracy, forecast = progress.lines(begun)
    assert accuracy.startswith("accuracy")
    assert forecast.split(maxsplit=1) == ["forecast", "from 6 rounds on; there are 1"]


def test_classes_that_the_project_does_not_know_are_errors(tmp_path):
    """A project of two classes, a test split of three: the third is never right."""
    _, y, _, y_test = arrays()
    source = write_npz(tmp_path / "p.npz", class_names=np.array(NAMES))
    rows = np.flatnonzero(y < 2)[:40]
    project = make_project(
        Path(tmp_path / "project"), jaxal.load(source), rows, [NAMES[c] for c in y[rows]], source=source,
        classes=tuple(NAMES[:2]),
    )  # fmt: skip
    share = float(progress.lines(project)[-2].split()[1].rstrip("%"))
    assert share <= 100 * np.mean(y_test < 2) + 0.05
