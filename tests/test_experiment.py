"""Whole runs: the result tables, repetition, extension, refusal, and an independent loop as oracle."""

import json
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from small import QUICK, arrays, left_over, pool, same, same_tables
from threadpoolctl import threadpool_limits

import jaxal
from jaxal.data.pool import Pool
from jaxal.errors import ConfigError, DataError, StoreError
from jaxal.experiments import loop, metrics, results
from jaxal.numerics import logreg
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


@pytest.fixture(scope="module")
def quick():
    """The quick run of every strategy, in memory."""
    return jaxal.run(pool(), NAMES, **QUICK)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with the quick run of one strategy; a refusal must not change it."""
    folder = tmp_path_factory.mktemp("begun")
    jaxal.run(pool(), ["random"], **QUICK, out=folder)
    return folder


def files_of(folder):
    """Content and time of the last change of every result in a folder."""
    return {
        p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir() if p.is_file() and p.name != ".lock"
    }


def seeds_of(table, *seeds):
    return table[table["seed"].isin(seeds)]


# ---- the contract of the tables


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
    assert curves.groupby("run_id")["strategy"].nunique().eq(1).all() and curves["run_id"].nunique() >= 3
    assert not curves.duplicated(["run_id", "seed", "cycle"]).any()
    assert curves.groupby(["run_id", "seed"])["cycle"].apply(list).map(lambda c: c == list(range(21))).all()
    assert curves.groupby("run_id")["seed"].unique().map(set).eq({0, 1, 2, 3, 4}).all()
    assert not full.picks.duplicated(["run_id", "seed", "cycle", "order"]).any()


def test_settings_are_recorded(full):
    row = full.to_pandas().iloc[0]
    assert row[["dataset", "model", "ips", "variant", "C", "pool_size", "batch_size", "initial_size"]].tolist() == [
        "arrays", "given", "random", "official", 1.0, 120, 3, 3,
    ]  # fmt: skip
    assert not row["normalize"] and row["warm_start"] and row["seeds_in_block"] == 5
    config = json.loads((full.path / "config.json").read_text())
    assert config["cycles"] == 20 and config["seeds"] == [0, 1, 2, 3, 4] and config["pool"] == pool().fingerprint
    assert set(config["settings"]) == set(full.to_pandas()["strategy"])
    assert {"jaxal", "jax", "numpy"} <= set(config["versions"]) and config["device"] and config["python"]


def test_measured_values_are_plausible(full):
    curves = full.to_pandas()
    assert curves["n_labeled"].eq(3 + 3 * curves["cycle"]).all()
    assert curves[["accuracy", "macro_f1", "balanced_accuracy"]].stack().between(0, 1).all()
    assert (curves[["fit_seconds", "select_seconds", "eval_seconds"]] >= 0).all(axis=None)
    assert curves["fit_seconds"].gt(0).any()
    assert curves["converged"].all() and curves["fit_iterations"].between(1, 100).all()
    # seconds are of the whole block
    assert (curves.groupby(["run_id", "cycle"])["fit_seconds"].nunique() == 1).all()
    last = curves[curves["cycle"] == 20]
    assert last["accuracy"].mean() > curves[curves["cycle"] == 0]["accuracy"].mean() + 0.1, "nothing was learned"


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
    assert falls.all() and late["score"].nunique() > 100


# ---- repetition


def test_a_run_repeats_bit_for_bit(quick, tmp_path):
    again = jaxal.run(pool(), NAMES, **QUICK, out=tmp_path)
    same_tables(quick.tables, again.tables)
    assert quick.path is None and again.path == tmp_path


def test_seeds_as_a_count_a_list_and_a_range(quick):
    for seeds in ([0, 1, 2, 3, 4], (0, 1, 1, 2, 3, 4, 0), range(5), np.arange(5), np.int64(5)):
        same_tables(quick.tables, jaxal.run(pool(), NAMES, seeds=seeds, cycles=3).tables)
    other = jaxal.run(pool(), "random", seeds=[7, 5, 2**32 - 1, 8, 9], cycles=1)
    assert (
        other.to_pandas()["seed"].unique().tolist() == [7, 5, 2**32 - 1, 8, 9] == other.picks["seed"].unique().tolist()
    )


def test_a_seed_alone_is_the_seed_among_five():
    among = jaxal.run(pool(), NAMES, seeds=5, cycles=6).tables
    for seed in (0, 3):
        alone = jaxal.run(pool(), NAMES, seeds=[seed], cycles=6).tables
        same(alone.picks, seeds_of(among.picks, seed), "score")
        same(alone.results, seeds_of(among.results, seed), "seeds_in_block")


def test_integers_and_floats_of_any_kind_are_the_same_settings(quick, tmp_path):
    """C=1 and C=1.0 are one run, and NumPy's numbers are numbers."""
    jaxal.run(pool(), NAMES, **QUICK, out=tmp_path)
    before = files_of(tmp_path)
    odd = {"C": 1, "batch_size": np.int64(3), "initial_size": np.int32(3), "normalize": np.False_, "warm_start": 1}
    again = jaxal.run(pool(), NAMES, seeds=5, cycles=np.int64(3), out=tmp_path, **odd)
    assert files_of(tmp_path) == before
    same_tables(quick.tables, again.tables)


# ---- a results folder


def test_more_seeds_and_strategies_extend_a_folder(tmp_path, quick):
    jaxal.run(pool(), ["margin"], **QUICK, out=tmp_path)
    first = results.read(tmp_path)
    seeds = jaxal.run(pool(), ["margin"], seeds=[1, 9], cycles=3, out=tmp_path)
    assert set(seeds.to_pandas()["seed"]) == {1, 9}, "the result holds what was asked for"
    all_of_it = jaxal.run(pool(), NAMES, **QUICK, out=tmp_path)
    same_tables(quick.tables, all_of_it.tables)
    stored = results.read(tmp_path)
    for before, after in zip(first, stored, strict=True):
        old = before.set_index(["run_id", "seed", "cycle"]).index.unique()
        kept = after[after.set_index(["run_id", "seed", "cycle"]).index.isin(old)]
        pd.testing.assert_frame_equal(before, kept.reset_index(drop=True), check_exact=True)  # seconds too
    cells = stored.results[["strategy", "seed"]].drop_duplicates()
    assert set(cells.itertuples(index=False, name=None)) == {
        *(("margin", seed) for seed in (0, 1, 2, 3, 4, 9)),
        *((name, seed) for name in ("random", "entropy") for seed in range(5)),
    }
    assert not stored.results.duplicated(["run_id", "seed", "cycle"]).any()
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["seeds"] == [0, 1, 2, 3, 4, 9] and set(config["settings"]) == set(NAMES)
    assert left_over(tmp_path) == []


def test_a_finished_run_is_not_run_again(tmp_path, monkeypatch):
    first = jaxal.run(pool(), NAMES, **QUICK, out=tmp_path)
    before = files_of(tmp_path)
    told = []
    with monkeypatch.context() as patch:
        patch.setattr(loop, "cycle", lambda *_: pytest.fail("a finished run was run again"))
        again = jaxal.run(pool(), NAMES, **QUICK, out=tmp_path, on_cycle=told.append)
        fewer = jaxal.run(pool(), ["entropy"], seeds=[1], cycles=3, out=tmp_path)
    assert files_of(tmp_path) == before and left_over(tmp_path) == []
    for a, b in zip(first.tables, again.tables, strict=True):
        pd.testing.assert_frame_equal(a, b)
    assert [(p.strategy, p.cycle, p.accuracy) for p in told] == [(name, 3, None) for name in NAMES]
    assert set(fewer.to_pandas()["strategy"]) == {"entropy"} and set(fewer.picks["seed"]) == {1}


def test_force_runs_again_and_replaces(tmp_path):
    first = jaxal.run(pool(), ["margin"], **QUICK, out=tmp_path)
    told = []
    again = jaxal.run(pool(), ["margin"], **QUICK, out=tmp_path, force=True, on_cycle=told.append)
    assert [p.cycle for p in told] == [0, 1, 2, 3]
    same_tables(first.tables, again.tables)
    same_tables(results.read(tmp_path), again.tables)
    seconds = [r.to_pandas()["fit_seconds"].to_numpy() for r in (first, again)]
    assert not np.array_equal(*seconds), "force did not measure again"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"C": 2.0}, ["C (1.0 there, 2.0 now)"]),
        ({"batch_size": 2}, ["batch_size (3 there, 2 now)"]),
        ({"initial_size": 4}, ["initial_size (3 there, 4 now)"]),
        ({"cycles": 4}, ["cycles (3 there, 4 now)"]),
        ({"normalize": True}, ["normalize (False there, True now)"]),
        ({"warm_start": False}, ["warm_start"]),
        ({"variant": "skactiveml"}, ["variant ('official' there, 'skactiveml' now)"]),
        ({"pool_size": 100}, ["pool_size (None there, 100 now)", "pool ("]),
        ({"C": 2.0, "cycles": 2}, ["C (", "cycles ("]),
    ],
    ids=lambda v: "-".join(v),
)
def test_another_config_in_the_same_folder_is_refused_by_name(begun, change, named):
    before = files_of(begun)
    with pytest.raises(ConfigError, match="holds results of another config") as e:
        jaxal.run(pool(), ["margin"], **QUICK | change, out=begun)
    assert all(name in str(e.value) for name in [str(begun), "another --out", *named]) and "\n" not in str(e.value)
    if len(change) == 1 and "pool_size" not in change:
        assert str(e.value).count(" there, ") == 1, "something that did not change is named too"
    assert files_of(begun) == before


@pytest.mark.parametrize("what", ["X", "y", "X_test", "y_test"])
def test_another_pool_in_the_same_folder_is_refused(tmp_path, what):
    jaxal.run(pool(), ["random"], seeds=5, cycles=0, out=tmp_path)
    content = dict(zip(("X", "y", "X_test", "y_test"), (a.copy() for a in arrays()), strict=True))
    content[what][0] = 1 + content[what][0] if "X" in what else (content[what][0] + 1) % 3
    with pytest.raises(ConfigError, match=r"another config: pool \("):
        jaxal.run(Pool(**content), ["random"], seeds=5, cycles=0, out=tmp_path)


def test_settings_of_a_strategy_that_is_there_are_refused(tmp_path):
    jaxal.run(pool(), ["random"], seeds=5, cycles=0, out=tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["settings"]["random"] = {"n_masks": 5}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"settings of random \({'n_masks': 5} there, {} now\)"):
        jaxal.run(pool(), ["random"], seeds=5, cycles=0, out=tmp_path)
    jaxal.run(pool(), ["margin"], seeds=5, cycles=0, out=tmp_path)  # it does not concern margin


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '{"dataset": "arrays"}', b"\xff\xfe"])
def test_a_damaged_config_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StoreError, match=r"config\.json is damaged"):
        jaxal.run(pool(), ["random"], seeds=5, cycles=0, out=tmp_path)


@pytest.mark.parametrize("name", ["results", "picks"])
def test_a_damaged_table_is_named_and_kept(tmp_path, name):
    jaxal.run(pool(), ["random"], seeds=5, cycles=0, out=tmp_path)
    path = tmp_path / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    damaged = path.read_bytes()
    with pytest.raises(DataError, match=rf"{name}\.parquet cannot be read") as e:
        jaxal.run(pool(), ["random", "margin"], seeds=5, cycles=0, out=tmp_path)
    assert "\n" not in str(e.value) and path.read_bytes() == damaged


def test_a_foreign_results_file_is_refused_not_mixed(tmp_path):
    pd.DataFrame({"run_id": ["x"], "anything": [1]}).to_parquet(tmp_path / "results.parquet")
    before = (tmp_path / "results.parquet").read_bytes()
    with pytest.raises(DataError, match=r"results\.parquet is no table of jaxal's"):
        jaxal.run(pool(), ["random"], seeds=5, cycles=0, out=tmp_path)
    assert (tmp_path / "results.parquet").read_bytes() == before


def test_folder_names_are_only_names(tmp_path):
    """A folder called like a hive partition, with spaces, in folders that do not exist yet."""
    out = tmp_path / "run_id=3" / "C=1 ü"
    first = jaxal.run(pool(), ["random"], seeds=5, cycles=0, out=out)
    again = jaxal.run(pool(), ["random"], seeds=6, cycles=0, out=str(out))
    same(first.to_pandas(), seeds_of(again.to_pandas(), 0, 1, 2, 3, 4))
    assert len(again.to_pandas()) == 6


# ---- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"initial_size": 0}, "initial_size is 0: it must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0: it must be at least 1"),
        ({"cycles": -1}, "cycles is -1"),
        ({"pool_size": 0}, "pool_size is 0"),
        ({"pool_size": -3}, "pool_size is -3"),
        ({"C": 0}, "C is 0"),
        ({"C": "much"}, "C is 'much': it must be a number"),
        ({"cycles": 2.5}, "cycles is 2.5: it must be a whole number"),
        ({"batch_size": "3"}, "batch_size is '3': it must be a whole number"),
        ({"seeds": [0.5]}, "seeds must be a count or whole numbers"),
        ({"seeds": "0,1"}, "seeds must be a count or whole numbers"),
        ({"seeds": None}, "seeds must be a count or whole numbers"),
        ({"C": -1.0}, "C is -1.0"),
        ({"C": float("nan")}, "C is nan"),
        ({"seeds": 0}, "at least one strategy and one seed"),
        ({"seeds": []}, "at least one strategy and one seed"),
        ({"seeds": -2}, "at least one strategy and one seed"),
        ({"seeds": [-1]}, "seeds must be between 0 and 2^32 - 1"),
        ({"seeds": [2**32]}, "seeds must be between 0 and 2^32 - 1"),
        ({"seeds": 10**12}, "seeds"),
        ({"strategies": []}, "at least one strategy and one seed"),
        ({"strategies": "margn"}, "unknown strategy 'margn': did you mean margin?"),
        ({"variant": "oficial"}, "unknown variant 'oficial': did you mean official?"),
        ({"ips": "rndom"}, "unknown initial pool selection 'rndom': did you mean random?"),
        ({"cycle": 3}, "unknown setting 'cycle': did you mean cycles?"),
        ({"settings": {"random": {"n_masks": 3}}}, "random has no settings (got 'n_masks')"),
        ({"settings": {"margin": {}}}, "a setting for margin, which is not among the strategies random"),
        ({"batch_size": 6, "initial_size": 4}, "the budget of 4 + 20 x 6 = 124 rows is larger than the pool of 120"),
        ({"batch_size": 5, "pool_size": 90}, "the budget of 2 + 20 x 5 = 102 rows is larger than the pool of 90"),
    ],
    ids=lambda v: "-".join(f"{k}={x}" for k, x in v.items()) if isinstance(v, dict) else "",
)
def test_settings_are_checked_before_anything_is_computed(tmp_path, monkeypatch, settings, message):
    monkeypatch.setattr(loop, "start", lambda *_: pytest.fail("something was computed"))
    with pytest.raises(ConfigError) as e:
        jaxal.run(pool(), **{"strategies": ["random"], "out": tmp_path / "out"} | settings)
    assert message in str(e.value) and "\n" not in str(e.value)
    assert not (tmp_path / "out").exists()


def test_a_budget_that_takes_the_whole_pool_is_legal():
    run = jaxal.run(pool(), ["random", "margin"], seeds=5, cycles=3, batch_size=39)
    assert run.picks.groupby(["run_id", "seed"])["row"].apply(lambda r: set(r) == set(range(120))).all()
    # with everything labeled all strategies are one
    assert run.to_pandas().query("cycle == 3").groupby("seed")["accuracy"].nunique().eq(1).all()


def test_defaults_are_of_the_pool_and_of_the_ten_tasks():
    from jaxal.experiments.config import configure

    X, y, _, _ = arrays(n=1000)
    for n, expected in ((1000, 25), (800, 20), (39, 1), (1, 1)):
        config = configure(Pool(X[:n], y[:n]))
        assert (config.batch_size, config.initial_size, config.cycles, config.C) == (expected, expected, 20, 1.0)
        assert config.seeds == (0, 1, 2, 3, 4) and config.variant == "official" and config.ips == "random"
    assert configure(Pool(np.zeros((5000, 2)), np.zeros(5000, int))).batch_size == 50
    assert configure(Pool(X, y), pool_size=400).batch_size == 10
    budgets = {"agnews": 1000, "banking77": 5000, "dbpedia": 500, "fnc1": 3500, "mnli": 4000, "qnli": 4500,
               "sst2": 500, "trec6": 1000, "wikitalk": 3000, "yelp5": 2500}  # fmt: skip
    for name, budget in budgets.items():
        config = configure(Pool(X, y, dataset=name))
        assert config.batch_size == config.initial_size == budget // 20, name
    assert configure(Pool(X, y, dataset="mnli"), batch_size=7).initial_size == 200


def test_cap_is_one_subset_a_dataset_and_size(tmp_path):
    """Same rows for every model; picks and scores refer to the original pool."""
    X, y, X_test, y_test = arrays()
    one = Pool(X, y, X_test, y_test, dataset="d", model="a")
    two = Pool(X[:, ::-1] + 1, y, X_test, y_test, dataset="d", model="b")
    capped = one.cap(80)
    np.testing.assert_array_equal(capped.rows, two.cap(80).rows)
    np.testing.assert_array_equal(capped.X, X[capped.rows])
    np.testing.assert_array_equal(capped.y, y[capped.rows])
    assert len(set(capped.rows)) == 80 and len(capped.X_test) == len(X_test)
    assert not np.array_equal(capped.rows, Pool(X, y, dataset="e").cap(80).rows), "another dataset, another subset"
    np.testing.assert_array_equal(capped.cap(30).X, X[capped.cap(30).rows])
    assert one.cap(None) is one and one.cap(120) is one and one.cap(10**6) is one

    run = jaxal.run(one, ["margin"], seeds=5, cycles=3, pool_size=80, out=tmp_path)
    assert set(run.picks["row"]) <= set(capped.rows.tolist())
    assert run.picks["row"].max() >= 80, "picks are numbered within the cap"
    assert run.to_pandas()["pool_size"].eq(80).all()
    by_hand = jaxal.run(Pool(X[capped.rows], y[capped.rows], X_test, y_test), ["margin"], seeds=5, cycles=3,
                        batch_size=2, initial_size=2)  # fmt: skip
    np.testing.assert_array_equal(run.picks["row"], capped.rows[by_hand.picks["row"]])
    np.testing.assert_array_equal(run.to_pandas()["accuracy"], by_hand.to_pandas()["accuracy"])


def test_the_cap_never_changes():
    """Rows of a cap are part of every published result: this very list, on every machine and version."""
    rows = Pool(np.zeros((50, 2)), dataset="mnli").cap(8).rows
    assert rows.tolist() == [0, 2, 11, 35, 38, 39, 40, 41]


def test_dtype_follows_the_embeddings(monkeypatch):
    """float64 in, float64 computed: what float32 cannot tell apart, float64 does."""
    X, y, X_test, y_test = arrays(dtype=np.float64)
    seen = []
    fit = partial(logreg.fit_rows, tol=1e-9)
    monkeypatch.setattr(logreg, "fit_rows", lambda X, *rest, **kw: seen.append(X.dtype) or fit(X, *rest, **kw))
    double = jaxal.run(Pool(X, y, X_test, y_test), ["margin"], **QUICK)
    fit = fit.func
    single = jaxal.run(Pool(X.astype(np.float32), y, X_test, y_test), ["margin"], **QUICK)
    assert set(seen[:4]) == {np.dtype(np.float64)} and set(seen[4:]) == {np.dtype(np.float32)}
    scores = double.picks["score"].to_numpy()
    assert (scores != scores.astype(np.float32)).any()
    np.testing.assert_array_equal(single.picks["score"], single.picks["score"].astype(np.float32))


def test_normalize_is_the_run_on_unit_vectors():
    X, y, X_test, y_test = arrays()
    X, X_test = (a * np.random.default_rng(0).uniform(0.1, 9, (len(a), 1)).astype(np.float32) for a in (X, X_test))
    X[5] = 0
    plain = Pool(X, y, X_test, y_test)
    unit = plain.normalized()
    np.testing.assert_allclose(np.linalg.norm(np.delete(unit.X, 5, 0), axis=1), 1, rtol=1e-6)
    assert (unit.X[5] == 0).all() and unit.X.dtype == np.float32
    run = jaxal.run(plain, ["margin"], **QUICK, normalize=True)
    by_hand = jaxal.run(unit, ["margin"], **QUICK)
    assert run.to_pandas()["normalize"].all() and not by_hand.to_pandas()["normalize"].any()
    same(run.picks, by_hand.picks, "run_id")
    same(run.to_pandas(), by_hand.to_pandas(), "run_id", "normalize")
    raw = jaxal.run(plain, ["margin"], **QUICK)
    assert not np.array_equal(raw.picks["row"], run.picks["row"])


def test_warm_start_is_recorded_and_saves_iterations(full):
    cold = jaxal.run(pool(), ["margin"], warm_start=False).to_pandas()
    assert not cold["warm_start"].any() and cold["run_id"].iloc[0] not in set(full.to_pandas()["run_id"])
    warm = full.to_pandas().query("strategy == 'margin'")
    assert warm["fit_iterations"].sum() < 0.9 * cold["fit_iterations"].sum()
    assert abs(warm["accuracy"].mean() - cold["accuracy"].mean()) < 0.02


@pytest.mark.parametrize("change", ["C", "batch_size", "initial_size", "ips", "variant", "normalize", "warm_start",
                                    "cycles", "pool_size", "pool", "strategy", "dataset", "model", "seed"])  # fmt: skip
def test_run_id_is_of_all_settings_but_the_seed(change):
    from jaxal.experiments.config import columns, configure

    new = {"C": 2.0, "batch_size": 2, "initial_size": 2, "ips": "margin", "variant": "skactiveml", "normalize": True,
           "warm_start": False, "cycles": 7, "pool_size": 50}  # fmt: skip
    identity = {"dataset": "d", "model": "m", "pool": "p"}

    def run_id(seeds=5, strategy="margin", identity=identity, **settings):
        return columns(pool(), configure(pool(), ["margin"], seeds, **settings), identity, strategy)["run_id"]

    if change in identity:
        assert run_id(identity=identity | {change: "other"}) != run_id()
    elif change == "strategy":
        assert run_id(strategy="entropy") != run_id()
    elif change == "seed":
        assert run_id(seeds=[9]) == run_id()
    else:
        assert run_id(**{change: new[change]}) != run_id()


def test_a_strategy_of_your_own_runs_beside_the_others(tmp_path):
    """A score function of one seed, by name and as module:function; entry points are the strategies' tests."""
    jaxal.register("first-column", first_column)
    run = jaxal.run(pool(), ["first-column", "test_experiment:first_column"], **QUICK, out=tmp_path)
    X = arrays()[0]
    for _, picks in run.picks.groupby(["run_id", "seed"]):
        left = X[:, 0].copy()
        left[picks["row"][picks["cycle"] == 0]] = -np.inf
        np.testing.assert_array_equal(picks["row"][picks["cycle"] > 0], np.argsort(-left)[:9])
    assert set(run.to_pandas()["strategy"]) == {"first-column", "test_experiment:first_column"}


def first_column(key, state):
    return state.X[:, 0]


def test_pools_that_cannot_make_curves_are_refused():
    X, y, X_test, y_test = arrays()
    for bad, message in (
        (Pool(X, None, X_test, None), "label for every row"),
        (Pool(X, np.where(np.arange(120) == 3, -1, y), X_test, y_test), "label for every row"),
        (Pool(X, y), "test split"),
        (Pool(X, y, X_test), "test split"),
    ):
        with pytest.raises(ConfigError, match=message):
            jaxal.run(bad)


def test_one_and_two_classes_are_legal():
    X, y, X_test, y_test = arrays()
    zeros = np.zeros(120, int), X_test, np.zeros(60, int)
    for names, cycles in ((["the only one"], 1), (["a", "b", "c"], 3)):  # one class there is, and one of three
        one = jaxal.run(Pool(X, *zeros, class_names=names), ["margin"], seeds=5, cycles=cycles)
        assert one.to_pandas()["accuracy"].eq(1).all()
    y, y_test = np.minimum(y, 1), np.minimum(y_test, 1)
    two = jaxal.run(Pool(X, y, X_test, y_test, class_names=["a", "b", "c"]), ["margin", "entropy"], **QUICK)
    a, b = (two.picks[two.picks["run_id"] == run_id] for run_id in two.to_pandas()["run_id"].unique())
    np.testing.assert_array_equal(a["row"], b["row"])  # with two classes margin and entropy are one


# ---- numbers against others


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
    by_seed = results.aulc(curves).groupby(level="seed").size()
    assert by_seed.eq(len(STRATEGIES)).all()
    text = figures.table(curves).splitlines()
    assert len(text) == 1 + len(summary)
    for line, (name, row) in zip(text[1:], summary.iterrows(), strict=True):
        words = line.split()
        assert words[0] == name and words[2] == f"{row['aulc_mean']:.4f}" and words[4] == f"{row['final_accuracy']:.4f}"


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


def test_the_loop_is_the_plain_loop_in_scikit_learn(monkeypatch):
    """Margin in float64, every fit to the optimum: an independent NumPy loop picks the same rows, cycle by cycle."""
    monkeypatch.setattr(logreg, "fit_rows", partial(logreg.fit_rows, tol=1e-9))
    X, y, X_test, y_test = arrays(dtype=np.float64)
    run = jaxal.run(Pool(X, y, X_test, y_test), ["margin"], seeds=5, cycles=12)
    for seed in range(5):
        picks = seeds_of(run.picks, seed)
        labeled = picks["row"][picks["cycle"] == 0].tolist()
        accuracy = []
        for _ in range(13):
            classes, p, predicted = plain_fit(X, y, X_test, labeled)
            accuracy.append(np.mean(predicted == y_test))
            if len(classes) == 1:  # everything ties, and ties are ours to break
                batch = picks["row"].tolist()[len(labeled) : len(labeled) + 3]
            else:
                top = np.sort(p, axis=1)
                gap = top[:, -1] - top[:, -2]
                gap[labeled] = np.inf
                batch = np.argsort(gap)[:3].tolist()
            labeled += batch
        assert labeled[: len(picks)] == picks["row"].tolist(), f"seed {seed}"
        np.testing.assert_allclose(seeds_of(run.to_pandas(), seed)["accuracy"], accuracy, atol=1e-12)


def plain_fit(X, y, X_test, labeled):
    """Classes seen, probabilities of the pool, predictions of the test split."""
    classes = np.unique(y[labeled])
    if len(classes) == 1:
        return classes, None, np.full(len(X_test), classes[0])
    with threadpool_limits(1):  # tiny products: threads only wait for each other
        fitted = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(X[labeled], y[labeled])
    scores = fitted.decision_function(X)
    p = softmax(np.column_stack([0 * scores, scores]) if scores.ndim == 1 else scores, axis=1)
    return classes, p, fitted.predict(X_test)
