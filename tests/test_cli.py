"""`jaxal run`, `list` and `report`: what they print and write, and one clear line for every mistake."""

import errno
import json
import os
import shutil
from pathlib import Path

import click
import commands
import numpy as np
import pytest
from commands import SHORT, call, refused
from small import arrays, left_over, same_tables, write_npz

import jaxal
from jaxal.cli.group import group
from jaxal.cli.progress import Bar
from jaxal.data import files
from jaxal.data.tasks import TASKS
from jaxal.experiments import experiment, results
from jaxal.strategies import STRATEGIES

cache, here, world = commands.cache, commands.here, commands.world  # fixtures

# ---- run


def test_run_is_the_library_run(here, world):
    result = call("run", "--dataset", world / "p.npz", *SHORT, "--out", "out")
    assert result.exit_code == 0, result.output
    pool = jaxal.load(str(world / "p.npz"))
    same_tables(jaxal.run(pool, ["random", "margin"], cycles=2).tables, results.read(Path("out")))
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["strategy", "seeds", "AULC"]
    assert lines[1].split()[0] == "random"
    for name in ("results.parquet", "picks.parquet", "curves.png"):
        assert f"out/{name}" in result.stdout
        assert Path("out", name).stat().st_size > 1000
    assert result.stderr == "p (npz): 120 rows x 5, 3 classes; 5 seeds, 3 + 2 x 3 labels\n", "it is no terminal"
    assert left_over(Path("out")) == []
    again = call("run", "--dataset", world / "p.npz", *SHORT, "--out", "out")
    assert again.exit_code == 0
    assert again.stdout.splitlines()[:3] == lines[:3]


def test_options_arrive(here, world, monkeypatch):
    seen = {}
    monkeypatch.setattr(experiment, "run_config", lambda pool, config, **kw: seen.update(vars(config), **kw) or stop())
    stop = lambda: (_ for _ in ()).throw(jaxal.JaxalError("enough"))  # noqa: E731
    common = ["run", "-d", "toy"]
    expected = {"batch_size": 4, "initial_size": 6, "cycles": 3, "pool_size": 90, "variant": "skactiveml", "C": 0.5,
                "normalize": True, "warm_start": False, "ips": "random", "force": True, "settings": {}}  # fmt: skip
    options = (
        "-b 4 -k 6 --cycles 3 --pool-size 90 --variant skactiveml --C 0.5 --normalize --no-warm-start --force -o x"
    )
    refused(*common, *options.split(), "--seeds", "5:9", "-s", "margin , random", begun=True)
    assert {k: seen[k] for k in expected} == expected
    assert seen["out"] == Path("x")
    assert tuple(seen["seeds"]) == (5, 6, 7, 8)
    for text, seeds in (("3", (0, 1, 2)), ("0,3,7", (0, 3, 7)), ("7,", (7,)), ("2:4", (2, 3))):
        refused(*common, "--seeds", text, "--cycles", 3, begun=True)
        assert tuple(seen["seeds"]) == seeds
    assert seen["C"] == 1.0
    assert seen["variant"] == "official"
    assert not seen["force"]
    assert seen["pool_size"] is None


def test_the_default_folder_names_dataset_model_and_config(here):
    assert call("run", "-d", "toy", *SHORT).exit_code == 0
    (first,) = Path("runs").iterdir()
    assert first.name.startswith("toy-made-")
    assert (first / "results.parquet").exists()
    assert call("run", "-d", "toy", "-s", "margin", "--cycles", 2, "--seeds", 1).exit_code == 0
    assert [*Path("runs").iterdir()] == [first], "strategies and seeds extend the folder"
    assert call("run", "-d", "toy", "-s", "random", "--cycles", 1).exit_code == 0
    assert len([*Path("runs").iterdir()]) == 2, "another config has a folder of its own"


def test_a_pool_of_other_sizes_than_the_study_says_so(here):
    result = call("run", "-d", "mnli", "-b", 3, "-k", 3, *SHORT, "--out", "out")
    assert result.exit_code == 0
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: mnli has 392,702 train rows, 9,815 test rows and 3 classes in the study; this pool has 120, 60 and 3"
    ]


def test_fits_that_do_not_converge_are_told(here, monkeypatch):
    run = experiment.run_config

    def unconverged(*arguments, **settings):
        result = run(*arguments, **settings)
        result.tables.results["converged"] = result.tables.results["cycle"] > 0
        return result

    monkeypatch.setattr(experiment, "run_config", unconverged)
    result = call("run", "-d", "toy", *SHORT, "--out", "out")
    assert "warning: 10 of 30 fits did not converge" in result.stderr


def test_an_interrupt_is_told_and_the_run_goes_on(here, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Bar, "show", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        result = call("run", "-d", "toy", *SHORT, "--out", "out")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "Interrupted: the same command goes on where it stopped."
    assert call("run", "-d", "toy", *SHORT, "--out", "out").exit_code == 0


BAD_NPZ = {
    "nan": (lambda X, y, X_test, y_test: {"X": np.where(np.arange(120)[:, None] == 17, np.nan, X)}, "X row 17 has a N"),
    "inf": (lambda X, y, X_test, y_test: {"X_test": X_test + np.eye(60, 5) * np.inf}, "X_test row 0 has a NaN or inf"),
    "unseen": (lambda X, y, X_test, y_test: {"y_test": np.where(np.arange(60) == 3, 9, y_test)},
               "y_test row 3 has the label '9', which no row of train has"),
    "short": (lambda X, y, X_test, y_test: {"y": y[:-1]}, "y has 119 labels for 120 rows"),
    "wide": (lambda X, y, X_test, y_test: {"X_test": X_test[:, :4]}, "X has 5 columns but X_test has 4"),
    "no test": (lambda X, y, X_test, y_test: {"X_test": None, "y_test": None}, "needs a test split"),
    "no labels": (lambda X, y, X_test, y_test: {"y": None, "y_test": None}, "needs a label for every row"),
    "a hole": (lambda X, y, X_test, y_test: {"y": np.where(np.arange(120) == 5, -1, y)}, "needs a label for every row"),
    "empty": (lambda X, y, X_test, y_test: {"X": X[:0], "y": y[:0]}, "X must be a non-empty matrix"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of the test's own arithmetic
@pytest.mark.parametrize("kind", BAD_NPZ)
def test_bad_arrays_are_one_line(here, kind):
    change, message = BAD_NPZ[kind]
    path = write_npz(here / "bad.npz", **change(*arrays()))
    assert message in refused("run", "-d", path, "--out", "out")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-d", "tooy"], "unknown dataset 'tooy': did you mean toy?"),
        (["-d", "digitz"], "unknown dataset 'digitz': did you mean digits?"),
        (["-d", "qnli"], "qnli is not in the store"),
        (["-d", "nothing.npz"], "nothing.npz does not exist"),
        (["-d", "no/where"], "no/where is no stored pool"),
        (["-d", "toy", "-m", "mad"], "unknown model 'mad': did you mean made?"),
        (["-d", "digits", "-m", "minilm"], "unknown model 'minilm'"),
        (["-d", "toy", "-s", "margn"], "unknown strategy 'margn': did you mean margin?"),
        (["-d", "toy", "-s", "margin,zzz"], "unknown strategy 'zzz': known: random"),
        (["-d", "toy", "-s", "nomodule:f"], "cannot load the strategy 'nomodule:f': No module named 'nomodule'"),
        (["-d", "toy", "-s", "json:nothing"], "cannot load the strategy 'json:nothing'"),
        (["-d", "toy", "-s", ""], "give at least one strategy and one seed"),
        (["-d", "toy", "--ips", "coresett"], "unknown initial pool selection 'coresett'"),
        (["-d", "toy", "--variant", "skactivml"], "unknown variant 'skactivml': did you mean skactiveml?"),
        (["-d", "toy", "--initial", "0"], "initial_size is 0: it must be at least 1"),
        (["-d", "toy", "-b", "-4"], "batch_size is -4: it must be at least 1"),
        (["-d", "toy", "--cycles", "-1"], "cycles is -1: it must be at least 0"),
        (["-d", "toy", "--pool-size", "0"], "pool_size is 0: it must be at least 1"),
        (["-d", "toy", "--C", "0"], "C is 0.0: it must be positive"),
        (["-d", "toy", "--C", "nan"], "C is nan: it must be positive"),
        (["-d", "toy", "-b", "10"], "the budget of 3 + 20 x 10 = 203 rows is larger than the pool of 120"),
        (
            ["-d", "toy", "--pool-size", "30", "-b", "3"],
            "the budget of 1 + 20 x 3 = 61 rows is larger than the pool of 30",
        ),
        (["-d", "mnli"], "the budget of 200 + 20 x 200 = 4,200 rows is larger than the pool of 120"),
        (["-d", "raw"], "a run needs a label for every row of the pool; to choose rows to label, use `query`"),
        (["-d", "toy", "--seeds", "0"], "give at least one strategy and one seed"),
        (["-d", "toy", "--seeds", ","], "give at least one strategy and one seed"),
        (["-d", "toy", "--seeds", "99999999999"], "99,999,999,999 are too many"),
        (["-d", "toy", "--seeds", "1,4294967296"], "seeds must be between 0 and 2^32 - 1"),
        (["-d", "toy", "--set", "n_masks=3"], "--set n_masks: write it as strategy.name=value"),
        (["-d", "toy", "--set", "random.n_masks=3"], "random has no settings (got 'n_masks')"),
        (
            ["-d", "toy", "-s", "random", "--set", "margin.x=3"],
            "a setting for margin, which is not among the strategies",
        ),
    ],
    ids=lambda v: " ".join(v[2:]) or v[-1] if isinstance(v, list) else "",
)
def test_bad_options_are_one_line_before_anything_is_computed(here, monkeypatch, arguments, message):
    monkeypatch.setattr("jaxal.experiments.loop.start", lambda *_: pytest.fail("something was computed"))
    assert message in refused("run", *arguments, "--out", "out")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "arguments", ["run", "run -d toy --cycles x", "run -d toy --sedes 3", "rn", "query", "report", "run toy"]
)
def test_usage_errors_have_exit_code_2(here, arguments):
    result = call(*arguments.split())
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_damaged_stored_pools_are_one_line(here, world):
    for kind in ("shard", "N", "D", "manifest"):
        path = here / kind / "toy" / "made"
        shutil.copytree(world / "store" / "toy" / "made", path)
        about = json.loads((path / "manifest.json").read_text())
        if kind == "shard":
            shard = next(path.glob("train-*"))
            shard.write_bytes(shard.read_bytes()[:-9])
        elif kind == "manifest":
            (path / "manifest.json").write_text("{")
        else:
            (path / "manifest.json").write_text(json.dumps(about | {kind: about[kind] - 1}))
        for dataset in (["toy", "--store", here / kind], [path]):
            assert str(path) in refused("run", "-d", *dataset, "--out", "out")
            assert str(path) in refused("query", "-d", *dataset)
    assert not Path("out").exists()


def test_a_folder_of_another_config_is_one_line(here):
    assert call("run", "-d", "toy", *SHORT, "--out", "out").exit_code == 0
    before = {p.name: p.read_bytes() for p in Path("out").glob("*.*")}
    message = refused("run", "-d", "toy", *SHORT, "--C", 3, "--normalize", "--out", "out", begun=True)
    assert "out holds results of another config" in message
    assert "C (1.0 there, 3.0 now)" in message
    assert "normalize (False there, True now)" in message
    assert before == {p.name: p.read_bytes() for p in Path("out").glob("*.*")}
    (Path("out") / "config.json").write_text("{")
    assert "config.json is damaged" in refused("run", "-d", "toy", *SHORT, "--out", "out", begun=True)


def test_two_runs_at_once_in_one_folder(here):
    from jaxal.experiments.folder import opened

    assert call("run", "-d", "toy", *SHORT, "--out", "out").exit_code == 0
    with opened(Path("out")):
        assert "another run is writing to out" in refused("run", "-d", "toy", *SHORT, "--out", "out", begun=True)
    assert call("run", "-d", "toy", *SHORT, "--out", "out").exit_code == 0, "the lock was not given back"


@pytest.mark.parametrize(("code", "advice"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "choose a folder")])
def test_a_full_or_read_only_disk_is_one_line(here, monkeypatch, code, advice):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write", fail)
        assert advice in refused("run", "-d", "toy", *SHORT, "--out", "out", begun=True)
        assert advice in refused("query", "-d", "toy", "--out", "batch.csv")
    assert not Path("batch.csv").exists()
    assert call("run", "-d", "toy", *SHORT, "--out", "out").exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(files, "_write", fail)
        assert advice in refused("report", "out")
        assert "curves.png" in refused("run", "-d", "toy", *SHORT, "--out", "out", begun=True)
    Path("file").write_text("")
    assert "file" in refused("run", "-d", "toy", *SHORT, "--out", "file/out", begun=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(here):
    here.joinpath("out").mkdir(mode=0o555)
    assert "--out" in refused("run", "-d", "toy", *SHORT, "--out", "out", begun=True)
    assert refused("run", "-d", "toy", *SHORT, "--out", "out/below", begun=True)


# ---- list and report


def test_list(here):
    result = call("list")
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    for name, task in TASKS.items():
        assert task.title in lines[name]
        assert f"{task.n_train:,}" in lines[name]
        assert f"{task.budget:,}" in lines[name]
    assert "minilm" in lines["mnli"]
    assert "made" in lines["toy"]
    assert "120" in lines["toy"]
    assert "1,437" in lines["digits"]
    assert "all-MiniLM-L6-v2" in lines["minilm"]
    assert "256" in lines["wordllama"]
    assert "package.module:callable" in lines["and"]
    assert all(name in lines["strategies:"] for name in STRATEGIES)
    assert os.environ["JAXAL_STORE"] in lines["store:"]
    empty = call("list", "--store", here / "none")
    assert empty.exit_code == 0
    assert "mnli" in empty.stdout
    assert "made" not in empty.stdout


def test_report(here):
    run = call("run", "-d", "toy", *SHORT, "--out", "out")
    Path("out/curves.png").unlink()
    result = call("report", "out")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == run.stdout.splitlines()[:3]
    assert Path("out/curves.png").read_bytes().startswith(b"\x89PNG")
    assert call("report", "out", "--out", "figure.svg").exit_code == 0
    assert "<svg" in Path("figure.svg").read_text()
    assert "no results.parquet" in refused("report", "nowhere")
    assert "must end in one of" in refused("report", "out", "-o", "figure.xyz")
    assert "no/where.png" in refused("report", "out", "-o", "no/where.png")
    Path("out/results.parquet").write_bytes(b"PAR1")
    assert "results.parquet cannot be read" in refused("report", "out")


# ---- help


def test_every_command_and_option_has_help():
    labeling = {"query", "label", "audit", "fit", "predict"}
    assert set(group.commands) == {"run", "ips", "sweep", "report", "compare", "extract", "list", "store"} | labeling
    for name, command in group.commands.items():
        assert command.help
        assert name == "extract" or call(name, "-h").stdout == call(name, "--help").stdout
        for option in (p for p in command.params if isinstance(p, click.Option)):
            assert option.help or option.show_default, f"{name} {option.opts[0]} has no help"
    for flag in ("-h", "--help"):
        text = call(flag).stdout
        assert all(f"\n  {name} " in text for name in group.commands)
    assert call("--version").stdout.split()[-1] == jaxal.__version__
