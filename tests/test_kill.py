"""`kill -9` at any moment, and the same command again: the results are those of a run that was left alone."""

import os
import random
import re
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

from jaxal.experiments import results

SCRIPT = Path(__file__).parents[1] / "scripts" / "stress"

SEED = int(os.environ.get("JAXAL_KILL_SEED") or random.randrange(2**32))  # of the moments: others each time

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


@pytest.fixture(autouse=True)
def replay():
    """pytest shows this line when a test fails."""
    print(f"the same moments again: JAXAL_KILL_SEED={SEED}")


@pytest.fixture(scope="module")
def stress():
    """scripts/stress as a module; nothing is written beside it."""
    loader = SourceFileLoader("stress", str(SCRIPT))
    module = module_from_spec(spec_from_loader("stress", loader))
    write, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = write
    return module


@pytest.fixture(scope="module")
def whole(stress, tmp_path_factory):
    """A run that nobody killed, of two strategies."""
    work = tmp_path_factory.mktemp("kill")
    stress.make_pool(work / "pool.npz")
    run = stress.Run(work, "whole", ["margin", "random"])
    run.finish()
    assert len(results.read(run.out).results) == 2 * 2 * 61
    return run


def test_five_kills(stress, whole):
    """Each waits until the journal has advanced, and a random moment more; a run that got to its end begins anew."""
    rng = random.Random(SEED)
    kills = runs = 0
    while kills < 5:
        run = stress.Run(whole.work, f"killed-{runs}", ["margin", "random"])
        before = run.progress()
        while kills < 5 and run.kill_while_it_works(rng):
            assert run.progress() != before, "it was killed before it did anything"
            kills, before = kills + 1, run.progress()
        run.finish()
        run.compare(whole)
        runs += 1
    assert runs < 5, "no run was ever killed twice"


def test_the_comparison_would_see_a_difference(stress, whole):
    """The judge is judged: one pick of one cycle is changed."""
    other = stress.Run(whole.work, "other", ["margin", "random"])
    tables = results.read(whole.out)
    changed = tables.picks.copy()
    changed["score"] = changed["score"].where(changed.index != 100, changed["score"] + 1e-9)
    other.out.mkdir()
    (whole.work / "other.log").write_text("")
    results.write(other.out / "results.parquet", tables.results)
    results.write(other.out / "picks.parquet", changed)
    with pytest.raises(SystemExit, match="score"):
        other.compare(whole)
    results.write(other.out / "picks.parquet", tables.picks)
    other.compare(whole)
    (other.out / ".results.parquet.1.tmp").write_text("")
    with pytest.raises(SystemExit, match="left over"):
        other.compare(whole)


def test_the_stress_script(whole, tmp_path):
    help_ = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "scripts/stress [--kills 100] [--seed 0]" in help_.stdout
    env = os.environ | {"TMPDIR": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": str(whole.work / "cache")}
    command = [sys.executable, SCRIPT, "--kills", "1", "--seed", str(SEED)]
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(
        "killed 1 (in_an_effect|while_it_works|at_the_start); the same results; 0 kills to go", result.stdout
    )
    assert re.search("^1 kills, [0-9]+ runs, nothing lost", result.stdout, re.MULTILINE)
    assert list(tmp_path.iterdir()) == [], "it leaves its folder behind"
