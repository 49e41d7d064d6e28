"""`jaxal sweep --ray` on a Ray of this machine: the tables of a local run, though a worker of Ray's is killed."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import commands
import pytest
from commands import refused
from small import jaxal_command, left_over, same_tables
from test_sweep import OWN, made, run, until

from jaxal.experiments import results
from jaxal.experiments.sweep.lease import holder

cache, here, world = commands.cache, commands.here, commands.world  # fixtures

STUDY = 'datasets = ["toy", "mnli"]\nstrategies = ["own:slow", "random"]\ncycles = 20\nbudgets = 40\nseeds = 1\n'


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.skipif(find_spec("ray") is None, reason='needs Ray: pip install "jaxal[ray]"')
def test_a_worker_of_rays_is_killed(here, cache, monkeypatch):
    """Ray starts its task again, which waits until the group's process, which nobody killed, has done the run."""
    (here / "own.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(here))
    run(made(here, STUDY), "local")
    command = jaxal_command("sweep", "s.toml", "--out", "out", "--ray")
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=env, **pipes) as process:
        until(lambda: list(Path("out").glob("*/*/journal/*.safetensors")) or process.poll() is not None, 120)
        [folder, *_] = (path.parents[1] for path in Path("out").glob("*/*/journal/*.safetensors"))
        os.kill(parent_of(holder(folder)["pid"]), 9)
        said, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert said.endswith("4 of 4 jobs are done in out\n")  # after what Ray says of its worker
    for name in ("toy-made", "mnli-minilm"):
        folder = Path(name) / "random-budget40"
        same_tables(results.read("out" / folder), results.read("local" / folder))
    assert left_over(Path("out")) == []


def test_ray_that_is_not_there(here, monkeypatch):
    made(here)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert '--ray needs Ray: pip install "jaxal[ray]"' in refused("sweep", "s.toml", "--ray")
