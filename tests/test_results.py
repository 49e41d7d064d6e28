"""The two tables of an experiment: schema, keys, plausible numbers, metrics, and what they come to."""

import json
import warnings

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from small import pool

import jaxal
from jaxal.experiments import metrics, results
from jaxal.experiments.summary import aulc
from jaxal.reporting import curves as figures
from jaxal.strategies import STRATEGIES

NAMES = ["random", "margin", "entropy"]
SCHEMA = {
    "run_id": "large_string", "dataset": "large_string", "model": "large_string", "ips": "large_string",
    "strategy": "large_string", "variant": "large_string", "C": "double", "normalize": "bool", "pool_size": "int64",
    "batch_size": "int64", "initial_size": "int64", "warm_start": "bool", "seed": "int64", "cycle": "int64",
    "n_labeled": "int64", "accuracy": "double", "macro_f1": "double", "balanced_accuracy": "double",
    "fit_seconds": "double", "select_seconds": "double", "eval_seconds": "double", "seeds_in_block": "int64",
    "fit_iterations": "int64", "converged": "bool",
}  # fmt: skip
PICKS_SCHEMA = {
    "run_id": "large_string", "seed": "int64", "cycle": "int64", "order": "int64", "row": "int64", "score": "double",
}  # fmt: skip


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A run with every default, in a folder: all strategies, 5 seeds, 20 cycles."""
    return jaxal.run(pool(), out=tmp_path_factory.mktemp("full") / "out")


def test_tables_have_the_schema_of_the_contract(full):
    for name, schema in (("results", SCHEMA), ("picks", PICKS_SCHEMA)):
        stored = pq.read_schema(full.path / f"{name}.parquet")
        strings = {c: str(t).replace("large_", "") for c, t in zip(stored.names, stored.types, strict=True)}
        assert strings == {c: t.replace("large_", "") for c, t in schema.items()}
        assert list(strings) == list(schema)
    for table, stored in zip(full.tables, results.read(full.path), strict=True):
        pd.testing.assert_frame_equal(table, stored)


def test_no_values_are_missing(full):
    assert not full.to_pandas().isna().any(axis=None)
    assert not full.picks.isna().any(axis=None)


def test_keys_are_unique_and_complete(full):
    curves = full.to_pandas()
    assert set(curves["strategy"]) == set(STRATEGIES) >= set(NAMES)
    assert curves.groupby("run_id")["strategy"].nunique().eq(1).all()
    assert curves["run_id"].nunique() >= 3
    assert not curves.duplicated(["run_id", "seed", "cycle"]).any()
    assert curves.groupby(["run_id", "seed"])["cycle"].apply(list).map(lambda c: c == list(range(21))).all()
    assert curves.groupby("run_id")["seed"].unique().map(set).eq({0, 1, 2, 3, 4}).all()
    assert not full.picks.duplicated(["run_id", "seed", "cycle", "order"]).any()


def test_settings_are_recorded(full):
    row = full.to_pandas().iloc[0]
    assert row[["dataset", "model", "ips", "variant", "C", "pool_size", "batch_size", "initial_size"]].tolist() == [
        "arrays", "given", "random", "official", 1.0, 120, 3, 3,
    ]  # fmt: skip
    assert not row["normalize"]
    assert row["warm_start"]
    assert row["seeds_in_block"] == 5
    config = json.loads((full.path / "config.json").read_text())
    assert config["cycles"] == 20
    assert config["seeds"] == [0, 1, 2, 3, 4]
    assert config["pool"] == pool().fingerprint
    assert set(config["settings"]) == set(full.to_pandas()["strategy"])
    assert {"jaxal", "jax", "numpy"} <= set(config["versions"])
    assert config["device"]
    assert config["python"]


def test_measured_values_are_plausible(full):
    curves = full.to_pandas()
    assert curves["n_labeled"].eq(3 + 3 * curves["cycle"]).all()
    assert curves[["accuracy", "macro_f1", "balanced_accuracy"]].stack().between(0, 1).all()
    assert (curves[["fit_seconds", "select_seconds", "eval_seconds"]] >= 0).all(axis=None)
    assert curves["fit_seconds"].gt(0).any()
    assert curves["converged"].all()
    assert curves["fit_iterations"].between(1, 100).all()
    # seconds are of the whole block
    assert (curves.groupby(["run_id", "cycle"])["fit_seconds"].nunique() == 1).all()
    accuracy = curves.pivot_table(index="strategy", columns="cycle", values="accuracy")  # means over seeds
    assert (accuracy[20] > accuracy[0] + 0.05).all(), "nothing was learned"


def test_picks_are_distinct_rows_in_batches(full):
    picks = full.picks
    assert picks["row"].between(0, 119).all()
    assert not picks.duplicated(["run_id", "seed", "row"]).any(), "a row was labeled twice"
    by_cycle = picks.groupby(["run_id", "seed", "cycle"])
    assert by_cycle["order"].apply(list).map(lambda o: o == [0, 1, 2]).all()
    labeled = by_cycle.size().groupby(level=["run_id", "seed"]).cumsum().rename("n_labeled").reset_index()
    expected = full.to_pandas()[labeled.columns]
    pd.testing.assert_frame_equal(labeled, expected.sort_values(list(labeled.columns), ignore_index=True))


def test_seeds_and_strategies_are_paired(full):
    """Seed i begins with the same rows and the same numbers for every strategy; other seeds begin with others."""
    first = full.picks[full.picks["cycle"] == 0]
    rows = first.groupby(["seed", "run_id"])["row"].apply(tuple)
    assert rows.groupby(level="seed").nunique().eq(1).all()
    assert rows.groupby(level="seed").first().nunique() == 5
    begin = full.to_pandas().query("cycle == 0")
    for name in ("accuracy", "macro_f1", "balanced_accuracy", "fit_iterations"):
        assert begin.groupby("seed")[name].nunique().eq(1).all(), name
    later = full.picks[full.picks["cycle"] == 5].groupby(["seed", "run_id"])["row"].apply(tuple)
    assert later.groupby(level="seed").nunique().gt(1).all()


def test_scores_order_the_picks_of_uncertainty_strategies(full):
    names = full.to_pandas().drop_duplicates("run_id").set_index("run_id")["strategy"]
    late = full.picks[(full.picks["cycle"] > 5) & full.picks["run_id"].map(names).isin(["margin", "entropy"])]
    falls = late.groupby(["run_id", "seed", "cycle"])["score"].apply(lambda s: s.is_monotonic_decreasing)
    assert falls.all()
    assert late["score"].nunique() > 100


def test_warm_start_is_recorded_and_saves_iterations(full):
    cold = jaxal.run(pool(), ["margin"], warm_start=False).to_pandas()
    assert not cold["warm_start"].any()
    assert cold["run_id"].iloc[0] not in set(full.to_pandas()["run_id"])
    warm = full.to_pandas().query("strategy == 'margin'")
    assert warm["fit_iterations"].sum() < 0.9 * cold["fit_iterations"].sum()
    assert abs(warm["accuracy"].mean() - cold["accuracy"].mean()) < 0.02


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_metrics_are_those_of_scikit_learn(data):
    """Also with classes that are never predicted, never true, or neither."""
    n_classes = data.draw(st.integers(1, 5))
    size = data.draw(st.integers(1, 12))
    labels = st.lists(st.integers(0, n_classes - 1), min_size=size, max_size=size)
    truth, predicted = np.array(data.draw(labels)), np.array([data.draw(labels) for _ in range(3)])
    got = metrics.evaluate(predicted, truth, n_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's about the classes that are not in the truth
        expected = [
            (accuracy_score(truth, p), f1_score(truth, p, average="macro"), balanced_accuracy_score(truth, p))
            for p in predicted
        ]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_aulc_and_summary_are_plain_means(full, tmp_path):
    curves = full.to_pandas()
    summary = full.summary().set_index("strategy")
    for name, run in curves.groupby("strategy"):
        matrix = run.sort_values(["seed", "cycle"])["accuracy"].to_numpy().reshape(5, 21)
        row = summary.loc[name]
        assert row["seeds"] == 5
        assert row["aulc_mean"] == pytest.approx(matrix.mean(axis=1).mean(), rel=1e-12)
        assert row["aulc_std"] == pytest.approx(matrix.mean(axis=1).std(ddof=1), rel=1e-9)
        assert row["final_accuracy"] == pytest.approx(matrix[:, -1].mean(), rel=1e-12)
        block = run[run["seed"] == 0][["fit_seconds", "select_seconds", "eval_seconds"]]
        assert row["seconds"] == pytest.approx(block.to_numpy().sum(), rel=1e-9)
    by_seed = aulc(curves).groupby(level="seed").size()
    assert by_seed.eq(len(STRATEGIES)).all()
    text = figures.table(curves).splitlines()
    assert len(text) == 1 + len(summary)
    for line, (name, row) in zip(text[1:], summary.iterrows(), strict=True):
        words = line.split()
        assert words[0] == name
        assert words[2] == f"{row['aulc_mean']:.4f}"
        assert words[4] == f"{row['final_accuracy']:.4f}"


def test_summary_of_seeds_that_ran_in_several_blocks(tmp_path):
    jaxal.run(pool(), ["margin"], seeds=1, cycles=3, out=tmp_path)
    run = jaxal.run(pool(), ["margin"], seeds=6, cycles=3, out=tmp_path)
    curves = run.to_pandas()
    seconds = curves[["fit_seconds", "select_seconds", "eval_seconds"]].sum(axis=1)
    expected = seconds[curves["seed"].isin([0, 1])].sum()  # one row a block
    assert curves.groupby("seed")["seeds_in_block"].first().tolist() == [1, 5, 5, 5, 5, 5]
    assert run.summary()["seconds"].item() == pytest.approx(expected)
    single = jaxal.run(pool(), ["margin"], seeds=1, cycles=3).summary()
    assert np.isnan(single["aulc_std"].item())
    assert figures.table(jaxal.run(pool(), ["margin"], seeds=1, cycles=3).to_pandas()).splitlines()[1].split()[3] == "-"
