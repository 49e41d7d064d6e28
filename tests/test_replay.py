"""What the stopping rules see of stored runs, against scikit-learn's models; what they cost there, by hand."""

import commands
import numpy as np
import pandas as pd
import pytest
from commands import call
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from small import arrays, write_npz

import jaxal
from jaxal import stopping
from jaxal.errors import DataError
from jaxal.experiments.replay import COLUMNS, replay
from jaxal.reporting.stopping import kept, regrets

cache = commands.cache  # a fixture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    jaxal.run(jaxal.Pool(*arrays()), ["random", "margin"], 2, batch_size=6, initial_size=6, cycles=7, out=folder)
    return folder


@pytest.fixture(scope="module")
def seen(folder):
    done = []
    table = replay(folder, jaxal.Pool(*arrays()), on_run=done.append)
    assert done == ["random", "margin"]
    return table


def test_a_row_for_every_row_of_the_results(folder, seen):
    assert list(seen) == list(COLUMNS)
    results = pd.read_parquet(folder / "results.parquet")
    keys = ["run_id", "seed", "cycle", "n_labeled", "accuracy"]
    pd.testing.assert_frame_equal(
        *(t[keys].sort_values(keys, ignore_index=True) for t in (seen, results)), check_dtype=False
    )


def test_the_numbers_are_those_of_models_fitted_by_scikit_learn(folder, seen):
    X, y, *_ = arrays()
    picks = pd.read_parquet(folder / "picks.parquet").query("seed == 1")
    run = seen[(seen["strategy"] == "margin") & (seen["seed"] == 1)].set_index("cycle")
    picks = picks[picks["run_id"] == run["run_id"].iloc[0]]
    models, agreement = [], []
    for last in range(8):
        rows = picks["row"][picks["cycle"] <= last].to_numpy()
        models.append(LogisticRegression(tol=1e-6, max_iter=1000).fit(X[rows], y[rows]))
    assert all(len(m.classes_) == 3 for m in models), "the test needs all classes in the initial pool"
    held_out = []
    for cycle in range(1, 8):
        batch = picks.query("cycle == @cycle")["row"].to_numpy()
        logits = models[cycle - 1].decision_function(X[batch])
        assert run.loc[cycle, "batch_accuracy"] == np.mean(logits.argmax(1) == y[batch])
        held_out.append((logits, y[batch]))
        last = stopping.temperature(*map(np.concatenate, zip(*held_out[-3:], strict=True)))
        assert run.loc[cycle, "temperature"] == pytest.approx(last, rel=0.02)
        unlabeled = ~np.isin(np.arange(120), picks.query("cycle <= @cycle")["row"])
        logits = models[cycle].decision_function(X[unlabeled])
        for name, t in (("uncalibrated_error", 1), ("expected_error", run.loc[cycle, "temperature"])):
            assert run.loc[cycle, name] == pytest.approx(np.mean(1 - softmax(logits / t, 1).max(1)), abs=2e-3)
        agreement.append(stopping.kappa(models[cycle - 1].predict(X), models[cycle].predict(X)))
    assert np.isnan(run["batch_accuracy"][0])
    assert run["temperature"][0] == 1
    assert np.isnan(run["agreement"][:3]).all()
    for cycle in range(3, 8):
        assert run.loc[cycle, "agreement"] == pytest.approx(np.mean(agreement[cycle - 3 : cycle]), abs=0.03)


def test_another_pool_is_refused(folder, tmp_path):
    X, y, X_test, y_test = arrays()
    with pytest.raises(DataError, match="is not of this pool"):
        replay(folder, jaxal.Pool(X[:50], y[:50], X_test, y_test))
    with pytest.raises(DataError, match="is not of this pool"):
        replay(folder, jaxal.Pool(X))
    with pytest.raises(DataError, match="no finished runs"):
        replay(tmp_path, jaxal.Pool(X, y))


def curve(accuracy, **columns):
    """What `replay` gives of one run with these accuracies, 10 labels a cycle."""
    n = len(accuracy)
    base = {"run_id": "r", "strategy": "s", "seed": 0, "cycle": range(n), "n_labeled": 10 * np.arange(1, n + 1)}
    nothing = dict.fromkeys(COLUMNS[-5:], np.nan)
    return pd.DataFrame(base | nothing | {"accuracy": accuracy} | columns)


def test_regret_by_hand():
    # price 10 a point: costs 10 - 500, 20 - 600, 30 - 610, 40 - 615 = -490, -580, -580, -575: the best is the second
    seen = curve([0.5, 0.6, 0.61, 0.615], agreement=[np.nan, 0.9, 0.99, 1], expected_error=[0.5, 0.2, 0.1, 0.01])
    table = regrets(seen, prices=(10,)).set_index("rule").to_dict("index")
    assert [table["stable"][name] for name in ("fired", "regret", "labels")] == [True, pytest.approx(0), 10]
    assert table["stable"]["accuracy"] == pytest.approx(0.01)
    for rule, fired in (("label everything", True), ("expected_error", True), ("batch_accuracy", False)):
        assert table[rule]["fired"] == fired
        assert table[rule]["regret"] == pytest.approx(5)
        assert table[rule]["labels"] == 20
        assert table[rule]["accuracy"] == pytest.approx(0.015)


def test_the_curve_stops_where_a_batch_is_worth_less_than_its_labels():
    accuracy = 1 - 2 * (10 * np.arange(1, 13)) ** -0.5
    dear, cheap = (
        regrets(curve(accuracy), prices=(price,)).set_index("rule").to_dict("index")["curve"] for price in (10000, 1)
    )
    assert not dear["fired"]
    assert dear["regret"] == 0
    assert cheap["fired"]
    assert cheap["labels"] == 60 - 20, "batches of 18 points, 8, ...; a curve speaks from its sixth point"


def test_whether_target_kept_its_word_by_hand():
    accuracy = np.round(1 - 2 * (10 * np.arange(4, 24)) ** -0.5, 3)
    table = kept(curve(accuracy), points=(8,), gains=(0.02, 0.15))
    near, far = table.to_dict("records")
    best = accuracy[7]
    assert near["truth"] == 10 * (1 + np.flatnonzero(accuracy >= best + 0.02)[0])
    assert near["covered"] == (near["low"] <= near["truth"] and near["high"] > near["truth"] - 10)
    assert near["covered"]
    assert far["truth"] == np.inf
    assert far["refused"] or far["covered"] == (far["high"] > 200)


def test_report_says_what_rules_would_have_cost(folder, tmp_path):
    pool = write_npz(tmp_path / "p.npz")
    lines = call("report", folder, "--out", tmp_path / "c.png", "--rules", pool).stdout.splitlines()
    assert lines[-16].split() == ["labels", "a", "point", "rule", "fired", "regret", "labels", "points"]
    assert [line.split()[0] for line in lines[-15:]] == ["10"] * 5 + ["50"] * 5 + ["250"] * 5
    assert lines[-15].split()[1:4] == ["label", "everything", "100%"]
    X, y, *_ = arrays()
    other = write_npz(tmp_path / "other.npz", X=X[:60], y=y[:60])
    result = call("report", folder, "--out", tmp_path / "c.png", "--rules", other)
    assert result.exit_code == 2
    assert "is not of this pool" in result.stderr
