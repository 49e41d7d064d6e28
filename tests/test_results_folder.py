"""A results folder: extended, not run twice, refused to other settings, and what is damaged in it named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import QUICK, arrays, files_of, left_over, pool, same, same_tables, seeds_of

import jaxal
from jaxal.data.pool import Pool
from jaxal.errors import ConfigError, DataError, StoreError
from jaxal.experiments import loop, results

NAMES = ["random", "margin", "entropy"]


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
    assert config["seeds"] == [0, 1, 2, 3, 4, 9]
    assert set(config["settings"]) == set(NAMES)
    assert left_over(tmp_path) == []


def test_a_finished_run_is_not_run_again(tmp_path, monkeypatch):
    first = jaxal.run(pool(), NAMES, **QUICK, out=tmp_path)
    before = files_of(tmp_path)
    told = []
    with monkeypatch.context() as patch:
        patch.setattr(loop, "cycle", lambda *_: pytest.fail("a finished run was run again"))
        again = jaxal.run(pool(), NAMES, **QUICK, out=tmp_path, on_cycle=told.append)
        fewer = jaxal.run(pool(), ["entropy"], seeds=[1], cycles=3, out=tmp_path)
    assert files_of(tmp_path) == before
    assert left_over(tmp_path) == []
    for a, b in zip(first.tables, again.tables, strict=True):
        pd.testing.assert_frame_equal(a, b)
    assert [(p.strategy, p.cycle, p.accuracy) for p in told] == [(name, 3, None) for name in NAMES]
    assert set(fewer.to_pandas()["strategy"]) == {"entropy"}
    assert set(fewer.picks["seed"]) == {1}


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
    assert all(name in str(e.value) for name in [str(begun), "another --out", *named])
    assert "\n" not in str(e.value)
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


def damaged(**changes):
    """Turns a good config.json into a damaged one."""
    return lambda good: json.dumps(json.loads(good) | changes)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", "null", "5", '"seeds"', '{"dataset": "arrays"}', "[" * 100_000, b"\xff\xfe", "folder",
     damaged(seeds=5), damaged(seeds="012"), damaged(seeds=[1.5]), damaged(seeds=[[1]]), damaged(seeds=[None, 1]),
     damaged(seeds=[True]), damaged(seeds={"0": 1}), damaged(settings=[]), damaged(settings=["random"]),
     damaged(settings="random"), damaged(settings=None), damaged(settings={"random": 5}), damaged(settings={"x": []})],
)  # fmt: skip
def test_a_damaged_config_is_named(begun, tmp_path, content):
    path = tmp_path / "config.json"
    if content == "folder":
        path.mkdir()
    else:
        content = content((begun / "config.json").read_text()) if callable(content) else content
        path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
    with pytest.raises(StoreError, match=r"config\.json is damaged \(.*\): move the folder away") as e:
        jaxal.run(pool(), ["random"], **QUICK, out=tmp_path)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "results.parquet").exists()


@pytest.mark.parametrize("out", ["x" * 300, "a/" + "x" * 300])
def test_names_that_no_file_system_takes(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="cannot write") as e:
        jaxal.run(pool(), ["random"], seeds=1, cycles=0, out=out)
    assert "\n" not in str(e.value)
    with pytest.raises(DataError, match="cannot be read"):
        results.read(Path(out))


@pytest.mark.parametrize("name", ["results", "picks"])
def test_a_damaged_table_is_named_and_kept(tmp_path, name):
    jaxal.run(pool(), ["random"], seeds=5, cycles=0, out=tmp_path)
    path = tmp_path / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    damaged = path.read_bytes()
    with pytest.raises(DataError, match=rf"{name}\.parquet cannot be read") as e:
        jaxal.run(pool(), ["random", "margin"], seeds=5, cycles=0, out=tmp_path)
    assert "\n" not in str(e.value)
    assert path.read_bytes() == damaged


def test_a_foreign_results_file_is_refused_not_mixed(tmp_path):
    pd.DataFrame({"run_id": ["x"], "anything": [1]}).to_parquet(tmp_path / "results.parquet")
    before = (tmp_path / "results.parquet").read_bytes()
    with pytest.raises(DataError, match=r"results\.parquet is no table of jaxal's"):
        jaxal.run(pool(), ["random"], seeds=5, cycles=0, out=tmp_path)
    assert (tmp_path / "results.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "column", "dtype"),
    [("results", "seed", "float64"), ("results", "seed", str), ("results", "accuracy", str),
     ("results", "accuracy", "float32"), ("results", "converged", "int64"), ("results", "model", "bool"),
     ("results", "C", "int64"), ("picks", "row", "int32"), ("picks", "run_id", "object"), ("picks", "score", "int64")],
)  # fmt: skip
def test_a_table_of_other_types_is_refused_not_mixed(begun, tmp_path, name, column, dtype):
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    path = tmp_path / f"{name}.parquet"
    table = pd.read_parquet(path)
    table[column] = [b"bytes"] * len(table) if dtype == "object" else table[column].astype(dtype)
    table.to_parquet(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=rf"{name}\.parquet is no table of jaxal's.*\(its {column} is "):
        jaxal.run(pool(), ["random", "margin"], **QUICK, out=tmp_path)
    assert path.read_bytes() == before


def test_folder_names_are_only_names(tmp_path):
    """A folder called like a hive partition, with spaces, in folders that do not exist yet."""
    out = tmp_path / "run_id=3" / "C=1 ü"
    first = jaxal.run(pool(), ["random"], seeds=5, cycles=0, out=out)
    again = jaxal.run(pool(), ["random"], seeds=6, cycles=0, out=str(out))
    same(first.to_pandas(), seeds_of(again.to_pandas(), 0, 1, 2, 3, 4))
    assert len(again.to_pandas()) == 6
