"""The experiment on initial pools: what it measures, extends, refuses and draws."""

import os
import subprocess
from importlib import import_module

import numpy as np
import pytest
import small

import jaxal
from jaxal.errors import ConfigError
from jaxal.strategies import make

SIZES = (5, 9, 1000)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ips")
    return folder, jaxal.initial_pools(small.pool(), ["random", "coreset"], SIZES, seeds=3, out=folder)


def test_each_selection_and_size_is_measured_once_a_seed(measured):
    _, result = measured
    table = result.to_pandas()
    assert len(table) == 2 * 3 * 3
    assert not table.duplicated(["ips", "initial_size", "seed"]).any()
    assert set(table["initial_size"]) == {5, 9, 120}  # clipped to the pool
    assert (table["n_labeled"] == table["initial_size"]).all()
    assert (table["cycle"] == 0).all()
    sizes = result.picks.groupby(["run_id", "seed"])["row"].agg(["size", "nunique"])
    assert (sizes["size"] == sizes["nunique"]).all()


def test_an_initial_pool_is_that_of_a_run(measured):
    """The same rows and accuracy as cycle 0 of a run with this selection and size."""
    run = jaxal.run(small.pool(), "margin", 3, ips="coreset", initial_size=9, batch_size=1, cycles=0)
    mine = measured[1].to_pandas().query("ips == 'coreset' and initial_size == 9")
    np.testing.assert_array_equal(mine["accuracy"], run.to_pandas()["accuracy"])
    picks = measured[1].picks[measured[1].picks["run_id"].isin(mine["run_id"])]
    np.testing.assert_array_equal(picks["row"], run.picks["row"])


def test_more_seeds_and_sizes_extend_a_folder(measured, monkeypatch):
    folder, result = measured
    calls = []
    from jaxal.experiments import loop

    start = loop.start
    monkeypatch.setattr(loop, "start", lambda *a: calls.append((len(a[3]), a[4])) or start(*a))
    more = jaxal.initial_pools(small.pool(), ["random", "coreset"], [5, 9, 12], seeds=4, out=folder)
    assert sorted(calls) == [(1, 5), (1, 5), (1, 9), (1, 9), (4, 12), (4, 12)]
    both = more.to_pandas().merge(result.to_pandas(), on=["run_id", "seed"])
    np.testing.assert_array_equal(both["accuracy_x"], both["accuracy_y"])


@pytest.mark.parametrize("variant", ["official", "skactiveml"])
def test_sizes_share_programs(variant, count_traces, monkeypatch):
    from jaxal.experiments import initial_pools

    traces = count_traces(import_module("jaxal.strategies._typiclust"), "_select", ("max_clusters", "batch", "rule"))
    made = make("coreset", variant)

    def select(*given):
        traces.append("coreset")
        return made.select(*given)

    mine = {"coreset": made._replace(select=select), "typiclust": make("typiclust", variant)}
    monkeypatch.setattr(initial_pools, "make", lambda name, variant: mine[name])
    jaxal.initial_pools(small.pool(), list(mine), [4, 9, 30], seeds=2, variant=variant)
    assert traces == ["coreset", "_select"]


def test_a_folder_of_another_experiment_is_refused(measured, tmp_path):
    with pytest.raises(ConfigError, match="ips"):
        jaxal.run(small.pool(), "random", 2, cycles=1, out=measured[0])
    with pytest.raises(ConfigError, match="C "):
        jaxal.initial_pools(small.pool(), ["random"], [5], seeds=2, C=2.0, out=measured[0])
    with pytest.raises(ConfigError, match="nothing to run"):
        jaxal.initial_pools(small.pool(), ["random"], [], seeds=2)
    with pytest.raises(ConfigError, match="did you mean coreset"):
        jaxal.initial_pools(small.pool(), ["corset"], [5], seeds=2)


def test_the_command(tmp_path):
    path = small.write_npz(tmp_path / "pool.npz")
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}

    def jaxal_(*arguments):
        command = small.jaxal_command(*arguments)
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)

    command = ["ips", "--dataset", path, "--selections", "random,typiclust", "--sizes", "4,8", "--seeds", "2"]
    done = jaxal_(*command)
    assert done.returncode == 0, done.stderr
    assert "K0" in done.stdout
    assert "typiclust" in done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert "-ips-" in folder.name
    assert (folder / "curves.png").stat().st_size > 10_000
    assert jaxal_("report", folder).stdout.splitlines()[:3] == done.stdout.splitlines()[:3]
    bad = jaxal_(*command[:-2], "--sizes", "4,x")
    assert bad.returncode == 2
    assert "give numbers of rows" in bad.stderr
    assert "Traceback" not in bad.stderr
