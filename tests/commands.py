"""What all tests of the command line share: a store to work on, the command in this process, and what it refuses."""

import csv
import io
import sys
import warnings

import jax
import pytest
from click.testing import CliRunner
from small import arrays, write_npz

from jaxal.cli.group import group
from jaxal.data import store

NAMES = ["no", "maybe", "yes"]
SHORT = ["--strategies", "random,margin", "--cycles", "2"]  # and 5 seeds, B = K0 = 3


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A compilation cache for this module's processes; JAX's settings and warnings are put back at the end."""
    folder = tmp_path_factory.mktemp("cache")
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs",
             "jax_persistent_cache_min_entry_size_bytes")  # fmt: skip
    before = {name: getattr(jax.config, name) for name in names}
    path, show = list(sys.path), warnings.showwarning
    jax.config.update("jax_compilation_cache_dir", str(folder))
    yield folder
    sys.path[:], warnings.showwarning = path, show
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with p.npz, and a store with toy/made (ids, texts), raw/made (no labels, no test) and mnli/minilm."""
    root = tmp_path_factory.mktemp("world")
    X, y, X_test, y_test = arrays()
    about = {"class_names": NAMES, "settings": {}}
    texts = [f'text {i}, "quoted"\nand more\r!' for i in range(len(X))]
    ids = [f"id-{i}" for i in range(len(X))]
    for dataset, model, arrays_, more in (
        ("toy", "made", (X, y, X_test, y_test), {"ids": ids, "texts": texts}),
        ("raw", "made", (X, None), {"class_names": []}),
        ("mnli", "minilm", (X, y, X_test, y_test), {}),
    ):
        store.write_arrays(root / "store" / dataset / model, *arrays_, dataset=dataset, model=model, **about | more)
    write_npz(root / "p.npz")
    return root


@pytest.fixture
def here(world, tmp_path, monkeypatch):
    """An empty working directory, with the store of `world` in the environment."""
    monkeypatch.setenv("JAXAL_STORE", str(world / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments):
    """The command in this process; anything but a clean exit raises."""
    result = CliRunner().invoke(group, [str(a) for a in arguments], catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


def refused(*arguments, begun=False):
    """The one line of a command that must fail with exit code 2; a run that had begun says first what it runs."""
    result = call(*arguments)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert " rows x " in lines[0] if begun else len(lines) == 1, result.stderr
    assert result.exit_code == 2, result.output
    assert len(lines) == 1 + begun, result.output
    assert lines[-1].startswith("Error: "), result.output
    assert result.stdout == ""
    return lines[-1].removeprefix("Error: ")


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))
