"""The layers that pyproject.toml declares hold; and each contract notices an import that it forbids."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

VIOLATIONS = {  # the contract -> a file and an import that breaks it
    "Layers, each": [
        ("jaxal/errors.py", "from jaxal.data import files"),
        ("jaxal/data/pool.py", "from jaxal.experiments import results"),
        ("jaxal/numerics/blocks.py", "from jaxal.strategies import interface"),
        ("jaxal/labeling/query.py", "from jaxal.reporting import curves"),
        ("jaxal/testing.py", "from jaxal.cli import main"),
        ("jaxal/strange.py", "import json"),  # a module in no layer
    ],
    "No circle": [("jaxal/strategies/interface.py", "from jaxal.strategies import registry")],
    "Data without JAX": [("jaxal/data/format.py", "import jax.numpy as jnp")],
    "The core without PyTorch": [("jaxal/cli/run.py", "import torch")],
    "Of jaxal, extraction": [("jaxal_extract/models/encode.py", "from jaxal.numerics import blocks")],
    "Layers of extraction": [
        ("jaxal_extract/texts/hub.py", "from jaxal_extract.models import table"),
        ("jaxal_extract/models/table.py", "from jaxal_extract import extraction"),
    ],
}
BREAKS = [pytest.param(name, *one, id=f"{name}: {one[0]}") for name, many in VIOLATIONS.items() for one in many]


def verdicts(folder):
    """What import-linter says of the packages in `folder`: contract -> "KEPT" or "BROKEN"."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"]
    env = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    done = subprocess.run(
        [*command, "--config", "pyproject.toml"], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    found = dict(re.findall(r"^(\S.*) (KEPT|BROKEN)(?: \(.*\))?$", done.stdout, re.MULTILINE))
    assert found, done.stdout + done.stderr
    assert done.returncode == ("BROKEN" in found.values())
    return found


@pytest.fixture
def tree(tmp_path):
    """A copy of both packages, side by side."""
    for package in (ROOT / "jaxal", ROOT / "extract" / "jaxal_extract"):
        shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_layers_hold(tree):
    found = verdicts(tree)
    assert set(found.values()) == {"KEPT"}, found
    assert all(any(name.startswith(begin) for name in found) for begin in VIOLATIONS)


@pytest.mark.parametrize(("contract", "file", "statement"), BREAKS)
def test_a_forbidden_import_is_noticed(tree, contract, file, statement):
    path = tree / file
    path.write_text((path.read_text() if path.exists() else "") + f"\n\n{statement}\n")
    broken = [name for name, verdict in verdicts(tree).items() if verdict == "BROKEN"]
    assert any(name.startswith(contract) for name in broken), f"{statement} in {file} went unnoticed"


def test_wheels_say_that_they_are_typed():
    assert (ROOT / "jaxal" / "py.typed").exists()
    assert (ROOT / "extract" / "jaxal_extract" / "py.typed").exists()
