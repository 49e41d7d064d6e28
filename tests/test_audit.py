"""The audit: its weights and estimate by hand, unbiased and covering over many audits, and the command."""

import csv
import io
from pathlib import Path

import commands
import numpy as np
import pytest
from commands import NAMES, call, refused
from small import arrays, write_npz
from test_classifier import make_project

import jaxal
from jaxal.labeling import audit, progress
from jaxal.labeling.project import Project

cache = commands.cache  # a fixture


def test_weights_by_hand():
    # N = 4, M = 2, chances 1/2 and 1/3: v_1 = 1 + 2/3 (1/(4/2) - 1), v_2 = 1 + 2/2 (1/(3/3) - 1)
    np.testing.assert_allclose(audit.weights(np.array([1 / 2, 1 / 3]), 4), [1 - 1 / 3, 1])
    np.testing.assert_allclose(
        audit.weights(np.full(3, 1 / 9), 9), 1 + 6 / np.array([8, 7, 6]) * (9 / np.array([9, 8, 7]) - 1)
    )
    np.testing.assert_array_equal(audit.weights(np.array([0.7, 0.9, 1.0]), 3), 1)


def test_the_estimate_is_exact_over_all_draws():
    """LURE is unbiased: over every ordered pair of 4 rows, weighted by how likely it is, its mean is the error."""
    q, wrong = np.array([0.4, 0.3, 0.2, 0.1]), np.array([1, 0, 0, 1])
    mean = everything = 0
    for i in range(4):
        for j in set(range(4)) - {i}:
            chance = np.array([q[i], q[j] / (1 - q[i])])
            mean += chance.prod() * np.mean(audit.weights(chance, 4) * wrong[[i, j]])
            everything += chance.prod()
    assert everything == pytest.approx(1)
    assert mean == pytest.approx(0.5)


def test_a_draw_is_distinct_and_leaves_out_what_it_must():
    error = np.linspace(0.1, 0.9, 100)
    drawn = audit.draw(error, np.arange(30), 50, seed=0)
    assert len(set(drawn.rows.tolist())) == 50
    assert drawn.rows.min() >= 30
    assert drawn.population == 70
    rows = np.arange(30, 100)
    q = 0.5 / 70 + 0.5 * np.sqrt(error[rows]) / np.sqrt(error[rows]).sum()
    left = np.ones(70, bool)
    for row, chance in zip(drawn.rows, drawn.chance, strict=True):
        assert chance == pytest.approx(q[row - 30] / q[left].sum())
        left[row - 30] = False
    assert (audit.draw(error, np.arange(30), 50, seed=0).rows == drawn.rows).all()
    assert (audit.draw(error, np.arange(30), 50, seed=1).rows != drawn.rows).any()
    whole = audit.draw(np.zeros(40), np.zeros(0, int), 40, seed=0)
    assert sorted(whole.rows) == list(range(40))


def test_rows_of_doubt_are_drawn_more_often():
    error = np.where(np.arange(200) < 100, 0.01, 0.81)  # square roots .1 and .9: .25 + .25 +- .2
    share = np.mean([np.mean(audit.draw(error, np.zeros(0, int), 5, seed).rows >= 100) for seed in range(400)])
    assert share == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("rate", [0.03, 0.2])
@pytest.mark.parametrize("knows", [True, False], ids=["a model that knows where it errs", "one that does not"])
def test_500_audits_are_unbiased_and_cover_as_often_as_they_say(rate, knows):
    rng = np.random.default_rng(5)
    probability = rng.beta(0.5, 0.5 * (1 / rate - 1), 2000)
    wrong = rng.random(2000) < probability
    error = probability if knows else rng.permutation(probability)
    truth, none = 1 - wrong.mean(), np.zeros(0, int)
    found = []
    for seed in range(500):
        drawn = audit.draw(error, none, 200, seed)
        found.append(audit.accuracy(drawn, wrong[drawn.rows]))
    values, low, high = np.array(found).T
    assert abs(values.mean() - truth) < 3 * values.std() / np.sqrt(500)
    assert 0.92 <= np.mean((low <= truth) & (truth <= high)) <= 0.98
    if knows:  # it pays
        assert values.std() < 0.9 * np.sqrt(truth * (1 - truth) / 200)


def test_rows_that_were_labeled_since_do_not_count():
    """Accuracy of the rows still unlabeled, in the mean over many audits, and where the audit is the whole pool."""
    rng = np.random.default_rng(2)
    wrong = rng.random(300) < 0.3
    labeled = np.arange(100)
    truth = 1 - wrong[100:].mean()
    whole = audit.draw(np.full(300, 0.3), np.zeros(0, int), 300, 0)
    assert audit.accuracy(whole, wrong[whole.rows], labeled).value == pytest.approx(truth)
    values = []
    for seed in range(300):
        drawn = audit.draw(np.full(300, 0.3), np.zeros(0, int), 60, seed)
        values.append(audit.accuracy(drawn, wrong[drawn.rows], labeled).value)
    assert np.mean(values) == pytest.approx(truth, abs=3 * np.std(values) / np.sqrt(300))


def test_an_interval_without_errors_is_not_empty():
    drawn = audit.draw(np.full(1000, 0.1), np.zeros(0, int), 50, 0)
    found = audit.accuracy(drawn, np.zeros(50, bool))
    assert found.value == 1
    assert 0.9 < found.low < 0.96
    assert audit.accuracy(drawn, np.ones(50, bool)).high < 0.15


@pytest.fixture
def project(tmp_path, monkeypatch):
    """120 rows without a test split, 30 of them labeled."""
    monkeypatch.chdir(tmp_path)
    source = write_npz(tmp_path / "p.npz", y=None, X_test=None, y_test=None)
    y = arrays()[1]
    make_project(Path("project"), jaxal.load(source), range(30), [NAMES[c] for c in y[:30]], source="p.npz")
    return "project"


def label(text, n=None):
    """The CSV that the command wrote, with true labels, of its first n rows."""
    y = arrays()[1]
    rows = [int(record["row"]) for record in csv.DictReader(io.StringIO(text))]
    with open("labels.csv", "w", newline="") as f:
        csv.writer(f).writerows([("row", "label"), *((row, NAMES[y[row]]) for row in rows[:n])])
    return rows


def test_an_audit_of_a_project(project):
    assert "unknown: there is no test split" in progress.lines(Project.open(project))[-1]
    result = call("audit", project, "-m", 60)
    assert "then: jaxal audit project --labels FILE" in result.stderr
    rows = label(result.stdout, 40)
    assert len(set(rows)) == 60
    assert min(rows) >= 30
    assert call("audit", project).stdout == result.stdout, "the audit that was begun goes on"
    result = call("audit", project, "--labels", "labels.csv")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("accuracy ")
    assert lines[0].endswith("on the rows without a label, by the audit of 40")
    assert lines[-1] == "40 of 60 rows count, those before the first one without a label"
    X, y, *_ = arrays()
    model = jaxal.sklearn.LogisticRegression().fit(X[:30], y[:30])
    drawn = audit.read(Project.open(project))
    expected = audit.accuracy(drawn, (model.predict(X[rows]) != y[rows])[:40])
    assert f"{expected.value:.1%} ({expected.low:.1%} to {expected.high:.1%})" in lines[0]
    assert lines[0] in progress.lines(Project.open(project))
    label(call("audit", project, "--out", "again.csv").stdout or Path("again.csv").read_text())
    assert "by the audit of 60" in call("audit", project, "--labels", "labels.csv").stdout
    assert "by the audit of 60" in call("audit", project).stdout, "all are labeled: nothing is left to write"


def test_what_an_audit_refuses(project):
    Path("labels.csv").write_text("row,label\n40,yes\n")
    assert "no rows were drawn yet" in refused("audit", project, "--labels", "labels.csv")
    assert "and here 90 at most" in refused("audit", project, "-m", 91)
    assert "20 rows or more" in refused("audit", project, "-m", 5)
    assert "no labeling project" in refused("audit", "nothing")
    rows = label(call("audit", project, "-m", 30).stdout, 10)
    assert "has an audit of 30 rows; delete project/audit" in refused("audit", project, "-m", 40)
    result = call("audit", project, "--labels", "labels.csv")
    assert result.stdout == "10 of 30 rows have a label, from the first on: 20 are needed\n"
    other = min(set(range(120)) - set(rows))
    Path("bad.csv").write_text(f"row,label\n{other},yes\n")
    assert f"row {other} is not among the 30 rows" in refused("audit", project, "--labels", "bad.csv")
    Path("bad.csv").write_text(f"row,label\n{rows[0]},yess\n")
    assert "did you mean yes" in refused("audit", project, "--labels", "bad.csv")
    Path("project/audit/draw.json").write_text("{")
    assert "draw.json is not as jaxal wrote it" in refused("audit", project)
    Path("project/audit/draw.json").write_text('{"format": 2}')
    assert "newer jaxal" in refused("audit", project)


def test_goals_are_the_next_ones():
    assert progress.goals(0.866) == [0.88, 0.9]
    assert progress.goals(0.892) == [0.91]
    assert progress.goals(0.9) == [0.92, 0.95]
    assert progress.goals(0.985) == []
