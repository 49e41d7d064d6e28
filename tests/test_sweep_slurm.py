"""`jaxal sweep --slurm` on a real SLURM of one node: elements are killed, requeued, cancelled, or lose their node."""

import os
import shutil
import subprocess
from pathlib import Path

import commands
import pytest
from commands import call, refused
from conftest import ROOT
from small import left_over, same_tables, write_npz
from test_sweep import OWN, until

from jaxal.experiments import results
from jaxal.experiments.sweep import plan, study
from jaxal.experiments.sweep.group import run_group
from jaxal.experiments.sweep.lease import LEASE, holder
from jaxal.experiments.sweep.status import state

cache = commands.cache  # a fixture

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
pytestmark = [
    pytest.mark.skipif(not all(map(shutil.which, PROGRAMS)), reason="needs SLURM (Debian: slurm-wlm munge)"),
    pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="SLURM's daemons are started as root"),
]

STUDY = 'datasets = ["p.npz", "q.npz"]\nstrategies = ["own:slow", "margin"]\ncycles = 30\nbudgets = 60\nseeds = 1\n'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster that is up; its environment variable is what sbatch and the others need."""
    folder = tmp_path_factory.mktemp("slurm") / "state"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        try:
            subprocess.run([ROOT / "scripts" / "slurm", "up", folder], check=True)
            yield folder
        finally:
            subprocess.run([ROOT / "scripts" / "slurm", "down", folder], check=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with two pools, a slow strategy, a study of them, and its results from a run without SLURM."""
    folder = tmp_path_factory.mktemp("work")
    write_npz(folder / "p.npz")
    write_npz(folder / "q.npz")
    (folder / "own.py").write_text(OWN)
    (folder / "s.toml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        made = plan.make(study.read(folder / "s.toml"))
        for group in made.groups:
            run_group(made, group, folder / "local")
    return folder


@pytest.fixture
def here(cluster, work, cache, monkeypatch):
    """The folder of `work`, and the environment that elements inherit."""
    monkeypatch.chdir(work)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(cache))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "extract")]))
    return work


def submit(out: Path, options: str = "") -> str:
    """Submit the sweep into `out`; returns the id of the array."""
    said = call("sweep", "s.toml", "--out", out, "--slurm", f"--mem=1 {options}").stdout
    assert said.startswith("submitted array ")
    return said.split()[2]


def states(job: str) -> dict[str, str]:
    """The state of each element."""
    command = ["squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%i %T"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split() for line in lines)


def restarts(element: str) -> int:
    shown = subprocess.run(["scontrol", "show", "job", element], capture_output=True, text=True, check=True).stdout
    return int(shown.split("Restarts=")[1].split()[0])


def at_work(out: Path) -> list[Path]:
    """Run folders that have kept a cycle."""
    return [path.parents[1] for path in out.glob("*/*/journal/*.safetensors")]


def scontrol(*arguments: str) -> None:
    subprocess.run(["scontrol", *arguments], check=True)


def same_as_local(out: Path) -> None:
    ours = sorted(path.parent for path in out.glob("*/*/results.parquet"))
    assert len(ours) == 2
    for folder in ours:
        same_tables(results.read(folder), results.read(out.parent / "local" / folder.relative_to(out)))
    assert left_over(out) == []
    assert not list(out.rglob(LEASE))


def test_two_elements_of_which_one_is_killed(here):
    out = here / "killed"
    job = submit(out)
    until(lambda: len(at_work(out)) == 2 and set(states(job).values()) == {"RUNNING"})
    victim = at_work(out)[0]
    os.kill(holder(victim)["pid"], 9)
    until(lambda: set(states(job).values()) == {"COMPLETED", "FAILED"})
    made = plan.read(out)
    left = [group.folder for group in made.groups if state(made, group, out).todo]
    assert left == [victim.parent.name]
    again = submit(out)
    assert len(states(again)) == 1
    until(lambda: set(states(again).values()) == {"COMPLETED"})
    same_as_local(out)
    assert call("sweep", "s.toml", "--out", out, "--slurm", "").stdout == f"everything is finished in {out}\n"


def test_an_element_is_requeued_and_then_the_node_is_down(here):
    out = here / "requeued"
    job = submit(out)
    until(lambda: len(at_work(out)) == 2)
    scontrol("requeue", f"{job}_0")
    until(lambda: restarts(f"{job}_0") == 1 and states(job)[f"{job}_0"] == "RUNNING")
    host = os.uname().nodename.partition(".")[0]
    scontrol("update", f"nodename={host}", "state=down", "reason=test")
    until(lambda: set(states(job).values()) <= {"PENDING", "COMPLETED"})
    scontrol("update", f"nodename={host}", "state=resume")
    until(lambda: set(states(job).values()) == {"COMPLETED"}, 120)
    assert restarts(f"{job}_0") == 2
    same_as_local(out)


def test_term_requeues_the_element_and_scancel_does_not(here):
    """Two tasks: JAX must not take them for a run of two hosts, and wait for the other."""
    out = here / "term"
    job = submit(out, "--ntasks=2")
    running = until(lambda: [name for name, state in states(job).items() if state == "RUNNING"])[0]
    until(lambda: at_work(out))
    subprocess.run(["scancel", "--batch", "--signal=TERM", running], check=True)  # as of --signal=B:TERM@120
    until(lambda: restarts(running) == 1)
    log = out / "slurm" / f"{running}.log"
    until(lambda: f"stopped by TERM; {running} is requeued" in log.read_text())
    other = f"{job}_{1 - int(running[-1])}"
    until(lambda: states(job)[other] == "RUNNING" and len(at_work(out)) == 2)
    subprocess.run(["scancel", other], check=True)
    until(lambda: states(job)[other] == "CANCELLED")
    until(lambda: states(job)[running] == "COMPLETED")
    assert states(job)[other] == "CANCELLED"
    assert restarts(other) == 0
    again = submit(out)
    until(lambda: set(states(again).values()) == {"COMPLETED"})
    same_as_local(out)


def test_options_that_sbatch_refuses(here):
    assert "sbatch refused the array: sbatch: error:" in refused(
        "sweep", "s.toml", "--out", "no", "--slurm", "--partition=no"
    )
    assert "--slurm '\"'" in refused("sweep", "s.toml", "--out", "no", "--slurm", '"')
