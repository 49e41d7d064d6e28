"""`jaxal sweep` runs what `jaxal run` runs, skips what is finished, and keeps what fails apart."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import commands
import pandas as pd
import pytest
from click.testing import CliRunner
from commands import call, refused
from small import files_of, in_process, jaxal_command, left_over, same_tables, write_npz

import jaxal
from jaxal.cli.group import group as verbs
from jaxal.experiments import results
from jaxal.experiments.sweep import failures, plan, study, workers
from jaxal.experiments.sweep.group import Stopped, run_group
from jaxal.experiments.sweep.lease import LEASE
from jaxal.experiments.sweep.status import state

cache, here, world = commands.cache, commands.here, commands.world  # fixtures

SMALL = 'datasets = "toy"\nstrategies = ["random", "margin"]\ncycles = 2\nseeds = 2\n'
OWN = """
import jax
def raises(key, state):
    raise RuntimeError("it is what it is")
def slow(key, state):
    jax.debug.callback(lambda: __import__("time").sleep(0.3))
    return state.X[:, 0]
"""


def made(here, text=SMALL) -> plan.Plan:
    (here / "s.toml").write_text(text)
    return plan.make(study.read(here / "s.toml"))


def run(this: plan.Plan, out, **options) -> None:
    for group in this.groups:
        run_group(this, group, Path(out), **options)


def test_a_sweep_is_many_runs(here):
    """The same tables, bit for bit, as `jaxal.run` with these settings, from one pool that is capped once."""
    this = made(here, SMALL + 'ips = ["random", "typiclust"]\npool_sizes = 100\nnormalize = [true, false]')
    run(this, "out")
    for run_ in this.groups[0].runs:
        folder = Path("out/toy-made") / run_.folder
        alone = jaxal.run(jaxal.load("toy"), ["random", "margin"], 2, **run_.settings)
        same_tables(results.read(folder), alone.tables)
    about = json.loads(next(Path("out").rglob("config.json")).read_text())
    assert about["pool_size"] == 100
    assert left_over(Path("out")) == []
    assert not list(Path("out").rglob(LEASE))
    tables = pd.concat(pd.read_parquet(path) for path in Path("out").rglob("results.parquet"))
    assert len(tables) == 4 * 2 * 2 * 3
    assert tables["run_id"].nunique() == 8


def test_what_is_finished_is_skipped_and_a_study_that_grows_is_extended(here, monkeypatch):
    folder = Path("out/toy-made/random-cycles2")
    this = made(here)
    run(this, "out")
    before = files_of(folder)
    with monkeypatch.context() as patch:
        patch.setattr("jaxal.experiments.sweep.group.load", None)  # not even the pool is loaded
        run(this, "out")
    assert files_of(folder) == before
    old = results.read(folder)
    larger = made(here, SMALL.replace("seeds = 2", "seeds = 4").replace('"margin"]', '"margin", "entropy"]'))
    assert state(larger, larger.groups[0], Path("out")).todo == {"random-cycles2": ["random", "margin", "entropy"]}
    run(larger, "out")
    found = results.read(folder)
    assert found.results.groupby(["strategy", "seed"]).ngroups == 12
    same_tables(results.select(found, set(old.results["run_id"]), {0, 1}), old)
    assert state(larger, larger.groups[0], Path("out")).done == 3


def test_failures_end_nothing_else(here, cache):
    """A broken pool, an impossible budget and a strategy that raises: the rest is done, exit code 1, three lines."""
    (here / "own.py").write_text(OWN)
    write_npz(here / "p.npz")
    write_npz(here / "broken.npz", X_test=[["a"]])
    axes = 'datasets = ["broken.npz", "p.npz"]\nstrategies = ["own:raises", "margin"]\nbudgets = [4, 400]'
    (here / "s.toml").write_text(f"{axes}\ncycles = 2\nseeds = 2")
    done = in_process(["sweep", "s.toml", "--out", "out"], cache)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert len(lines) == 3
    broken = [line for line in lines if line.startswith("failed: broken-")]
    assert len(broken) == 1
    assert "X_test" in broken[0]
    assert any(line.startswith("failed: p-npz/random-budget400-cycles2: the budget of 200 + 2 x 200") for line in lines)
    assert any("p-npz/random-budget4-cycles2/own:raises: the strategy own:raises" in line for line in lines)
    assert done.stdout == "1 of 8 jobs are done in out\n"
    table = results.read(Path("out/p-npz/random-budget4-cycles2")).results
    assert set(table["strategy"]) == {"margin"}
    assert "it is what it is" in Path("out/p-npz/random-budget4-cycles2/failures.json").read_text()

    shown = call("sweep", "--status", "out")
    assert shown.exit_code == 0
    assert [line for line in shown.stderr.splitlines() if line.startswith("failed")] == lines
    assert "1 of 8 jobs are done" in shown.stdout

    write_npz(here / "broken.npz")  # what was put right is tried again, and so is the rest
    (here / "own.py").write_text("def raises(key, state):\n    return state.X[:, 0]\n")
    done = in_process(["sweep", "s.toml", "--out", "out", "--workers", 2], cache)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert len(lines) == 2
    assert all("the budget of 200" in line for line in lines)
    assert done.stdout == "4 of 8 jobs are done in out\n"


def test_a_damaged_table_is_a_failure_of_its_run(here):
    this = made(here, SMALL + 'ips = ["random", "coreset"]')
    run(this, "out")
    (Path("out/toy-made/coreset-cycles2") / "results.parquet").write_bytes(b"PAR1")
    run(this, "out")
    found = state(this, this.groups[0], Path("out"))
    assert found.done == 2
    assert len(found.failed) == 1
    assert "results.parquet cannot be read" in found.failed["toy-made/coreset-cycles2"]
    plan.write(this, Path("out"))
    result = CliRunner().invoke(verbs, ["sweep", "--out", "out", "--group", "0"])
    assert result.exit_code == 1
    assert "results.parquet cannot be read" in result.stderr


def test_a_dry_run_writes_nothing(here):
    made(here, 'datasets = ["toy", "missing"]\nseeds = 2')
    shown = call("sweep", "s.toml", "--dry-run", "--out", "out")
    header, first, second, total = shown.stdout.splitlines()
    assert header.split() == ["group", "rows", "D", "classes", "jobs", "done", "time", "left", "memory", "state"]
    assert first.split()[:7] == ["0", "toy-made", "120", "5", "3", "8", "0"]
    assert first.split()[-1] == "waiting"
    assert second.split()[:3] == ["1", "missing-minilm", "?"]
    assert total.startswith("0 of 16 jobs are done; about ")
    assert not Path("out").exists()


def test_a_group_that_is_stopped_goes_on_where_it_was(here):
    this = made(here, SMALL.replace("cycles = 2", "cycles = 5"))
    run(this, "whole")
    seen = []

    def stop():
        return len(seen) == 9  # the margin run has done two queries

    with pytest.raises(Stopped):
        run(this, "out", on_cycle=seen.append, stop=stop)
    folder = Path("out/toy-made/random-cycles5")
    assert seen[-1].strategy == "random-cycles5 margin"
    assert len(list(folder.glob("journal/*.safetensors"))) == 1
    assert not (folder / LEASE).exists()
    run(this, "out")
    same_tables(results.read(folder), results.read(Path("whole/toy-made/random-cycles5")))


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_term_finishes_the_cycle_and_the_same_command_goes_on(here, cache):
    (here / "own.py").write_text(OWN)
    this = made(here, 'datasets = "toy"\nstrategies = ["own:slow", "random"]\ncycles = 8\nseeds = 1')
    folder = Path("out/toy-made/random-cycles8")
    command = jaxal_command("sweep", "s.toml", "--out", "out")
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: list(folder.glob("journal/*.safetensors")))
        assert state(this, this.groups[0], Path("out")).held_by
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "Interrupted: the same command goes on where it stopped."
    assert list(folder.glob("journal/*.safetensors"))
    assert not (folder / LEASE).exists(), "its group has not ended before it"
    assert "stopped by TERM" in Path("out/toy-made/log.txt").read_text()
    assert in_process(["sweep", "--out", "out", "--group", 0], cache).returncode == 0
    alone = jaxal.run(jaxal.load("toy"), ["own:slow", "random"], 1, cycles=8)
    same_tables(results.read(folder), alone.tables)


def until(condition, seconds=60):
    """What the condition comes to, once that is true."""
    end = time.time() + seconds
    while not (found := condition()):
        assert time.time() < end, f"it did not happen within {seconds} s"
        time.sleep(0.05)
    return found


def test_a_worker_that_is_killed_is_named(here, cache, monkeypatch):
    this = made(here)
    plan.write(this, here / "out")
    ended = []
    monkeypatch.setattr(workers, "command", lambda out, group: ["sh", "-c", "kill -9 $$"])
    workers.run_groups(["toy-made"], here / "out", 1, ended.append)
    assert ended == [("toy-made", -9)]
    result = CliRunner().invoke(verbs, ["sweep", "s.toml", "--out", "out"])
    assert result.exit_code == 1
    assert "failed: toy-made: its process ended with signal 9, see out/toy-made/log.txt" in result.stderr
    monkeypatch.setattr(workers, "command", lambda out, group: ["sh", "-c", "exit 1"])  # as after a fault of ours
    result = CliRunner().invoke(verbs, ["sweep", "s.toml", "--out", "out"])
    assert result.exit_code == 1
    assert "toy-made: its process ended with exit code 1, see" in result.stderr


def test_each_worker_sees_one_device(here, monkeypatch):
    monkeypatch.setattr(workers, "command", lambda out, group: ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 0.3"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    workers.run_groups(["a", "b"], here, 2, lambda ended: None)
    assert sorted((here / name / "log.txt").read_text() for name in "ab") == ["3\n", "5\n"]


def test_failures_are_kept_and_forgotten(tmp_path):
    failures.add(tmp_path, "margin", ValueError("one\ntwo"))
    failures.add(tmp_path, failures.ALL, jaxal.errors.ConfigError("three"))
    assert failures.of(tmp_path) == {"margin": "ValueError: one two", "*": "three"}
    failures.forget(tmp_path)
    assert failures.of(tmp_path) == {}


def test_slurm_that_is_not_there(here, monkeypatch):
    made(here)
    monkeypatch.setenv("PATH", str(here))
    assert "sbatch is not installed here" in refused("sweep", "s.toml", "--slurm", "")
