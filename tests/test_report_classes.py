# pyright: reportCallIssue=false, reportIndexIssue=false, reportGeneralTypeIssues=false
# pandas' stubs do not know what a key of an index with several levels gives.
"""What the report tells of classes and texts, from real runs on a stored pool, against the tables and pandas alone."""

import numpy as np
import pandas as pd
import pytest
from commands import call
from small import arrays

import jaxal
from jaxal.data import store
from jaxal.reporting import classes
from jaxal.reporting.provenance import warnings
from jaxal.reporting.study import Study

NAMES = ["often", "seldom", "rare", "absent"]
CAP = 100


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A store whose class 2 is rare and class 3 has no row; 22 test texts stand in the pool, some of them twice."""
    root = tmp_path_factory.mktemp("classes")
    X, y, X_test, y_test = arrays()
    y = np.where(y == 2, np.where(np.arange(len(y)) % 8, 0, 2), y)
    test = [f"new {i}" for i in range(len(X_test))]
    test[3:25] = ["Text 0!", "text0", *(f"text {i}" for i in range(100, 120))]
    store.write_arrays(
        root / "store" / "skewed" / "made", X, y, X_test, np.minimum(y_test, 1), dataset="skewed", model="made",
        class_names=NAMES, settings={}, texts=[f"text {i}" for i in range(len(X))], texts_test=test,
    )  # fmt: skip
    pool = jaxal.load("skewed", "made", root / "store")
    options = {"seeds": 4, "cycles": 3, "batch_size": 5, "initial_size": 5, "pool_size": CAP}
    jaxal.run(pool, ["random", "margin"], out=root / "runs", **options)
    jaxal.run(pool, ["random"], out=root / "other", **options | {"C": 2.0, "seeds": 2})
    return root


@pytest.fixture(scope="module")
def study(root):
    return Study(root)


@pytest.fixture(scope="module")
def known(study, root):
    return classes.known(study, root / "store")


def test_classes_of_the_labels(study, known, root):
    assert known.missing == []
    table = classes.of_labels(study, study.main(), known.pools).set_index("strategy")
    picks = pd.read_parquet(root / "runs" / "picks.parquet")
    runs = pd.read_parquet(root / "runs" / "results.parquet")[["run_id", "strategy"]].drop_duplicates()
    y = jaxal.load("skewed", "made", root / "store").y
    assert y is not None
    picks = picks.merge(runs, on="run_id").assign(y=lambda t: y[t["row"]]).sort_values(["seed", "cycle", "order"])
    pool = pd.Series(jaxal.load("skewed", "made", root / "store").cap(CAP).y).value_counts(normalize=True)
    assert pool.idxmin() == 2
    assert list(table.index) == ["random", "margin"]
    assert (table["seeds"] == 4).all()
    for strategy, group in picks.groupby("strategy"):
        shares = group.groupby("seed")["y"].value_counts(normalize=True).unstack(fill_value=0)
        entropy = -(shares * np.log(shares.where(shares > 0, 1))).sum(axis=1) / np.log(4)
        told = table.loc[strategy]
        assert told["balance"] == pytest.approx(entropy.mean())
        assert told["balance_low"] < told["balance"] < told["balance_high"]
        assert told["pool_balance"] == pytest.approx(-(pool * np.log(pool)).sum() / np.log(4))
        assert told["rarest"] == pytest.approx(100 * shares[2].mean())
        assert told["pool_rarest"] == pytest.approx(100 * pool[2])
        needed = [
            max(list(of["y"]).index(c) for c in range(3)) + 1 if set(of["y"]) == {0, 1, 2} else np.inf
            for _, of in group.groupby("seed")
        ]
        assert told["every_class"] == np.median(needed)


def test_balance():
    counts = np.array([[5, 5, 5], [15, 0, 0], [8, 8, 0]])
    np.testing.assert_allclose(classes.balance(counts), [1, 0, np.log(2) / np.log(3)])


def test_texts_that_are_in_both_splits(study, known, root):
    whole = jaxal.load("skewed", "made", root / "store")
    assert classes.duplicates(whole) == 22
    capped = whole.cap(CAP)
    assert capped.rows is not None
    expected = 2 * (0 in capped.rows) + np.isin(range(100, 120), capped.rows).sum()
    assert classes.duplicates(capped) == expected
    assert 0 < expected < 22, "the cap leaves some out"
    assert classes.duplicates(jaxal.Pool(*arrays())) == 0
    assert (
        f"skewed, made: {expected} texts of the test split are in the pool too, but for case, blanks and signs"
        in warnings(study, known.pools)
    )


def test_texts_of_one_split_only(tmp_path):
    X, y, *test = arrays()
    names = {"dataset": "half", "model": "made", "class_names": list(map(str, range(y.max() + 1))), "settings": {}}
    texts = [f"text {i}" for i in range(len(X))]
    store.write_arrays(tmp_path / "half" / "made", X, y, *test, texts=texts, **names)
    assert classes.duplicates(jaxal.load("half", "made", tmp_path)) == 0


def test_the_page(root, tmp_path):
    assert call("report", root, "--store", root / "store", "--to", tmp_path).exit_code == 0
    page = (tmp_path / "report.html").read_text()
    assert "Which classes were labeled" in page
    assert "Not told" not in page
    assert len(pd.read_csv(tmp_path / "tables" / "classes.csv")) == 2


def test_a_pool_that_is_not_at_hand(root, tmp_path):
    """None in the store, or one of other vectors: the page says so, and tells nothing of it."""
    assert call("report", root, "--store", tmp_path / "empty", "--to", tmp_path / "a").exit_code == 0
    X, y, X_test, y_test = arrays()
    store.write_arrays(
        tmp_path / "store" / "skewed" / "made", X + 1, y, X_test, y_test, dataset="skewed", model="made",
        class_names=NAMES, settings={},
    )  # fmt: skip
    assert call("report", root, "--store", tmp_path / "store", "--to", tmp_path / "b").exit_code == 0
    for name in "ab":
        page = (tmp_path / name / "report.html").read_text()
        assert "Not told of skewed, made: the store has no such pool, or another one" in page
        assert not (tmp_path / name / "tables" / "classes.csv").exists()
