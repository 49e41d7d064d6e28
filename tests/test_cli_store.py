"""`jaxal store`: list, show, verify, remove, path."""

import json
import shutil

import commands
import pytest

from jaxal.data import store
from jaxal.data.files import locked

cache, world, refused, call = commands.cache, commands.world, commands.refused, commands.call


@pytest.fixture
def root(world, tmp_path, monkeypatch):
    """A copy of the store, since these commands change it."""
    shutil.copytree(world / "store", tmp_path / "store")
    monkeypatch.setenv("JAXAL_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


def said(*arguments) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list(root, tmp_path):
    lines = said("store", "list").splitlines()
    assert lines[0].split() == ["pool", "train", "test", "D", "classes", "size", "state"]
    assert [line.split()[0] for line in lines[1:]] == ["mnli/minilm", "raw/made", "toy/made"]
    about = store.manifest(root / "toy" / "made")
    assert lines[3].split()[1:5] == [str(about["N"]), str(about["M"]), str(about["D"]), "3"]
    assert lines[3].split()[-1] == "finished"
    (root / "toy" / "made" / "rows.parquet").unlink()
    assert "damaged: " in said("store", "list")
    assert said("store", "list", "--store", str(tmp_path / "none")).startswith("the store ")


@pytest.mark.parametrize("name", ["toy", "toy/made", "store/toy/made"])
def test_show_and_path(root, name):
    shown = said("store", "show", name)
    assert "dataset: toy" in shown
    assert "classes: 3: no, maybe, yes" in shown
    assert json.loads(said("store", "show", name, "--json")) == store.manifest(root / "toy" / "made")
    assert said("store", "path", name).strip().endswith("store/toy/made")
    assert said("store", "path").strip() == str(root)


def test_verify(root):
    assert said("store", "verify").count(": whole\n") == 3
    file = next((root / "toy" / "made").glob("train-*"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    result = call("store", "verify")
    assert result.exit_code == 2, result.output
    assert result.stdout.count(": whole\n") == 2
    assert file.name in result.stdout
    assert "1 of 3 pools are damaged" in result.stderr
    assert said("store", "verify", "raw", "mnli").count(": whole\n") == 2


def test_remove(root):
    assert call("store", "remove", "toy").exit_code != 0, "nobody has said yes"
    assert (root / "toy" / "made").is_dir()
    with locked(root / "toy" / "made", "busy"):
        assert "is being written by another process" in refused("store", "remove", "toy", "--yes")
    said("store", "remove", "toy", "--yes")
    assert not (root / "toy").exists()
    assert "did you mean" not in refused("store", "remove", "toy", "--yes")
    (root / "raw" / "made" / "manifest.json").write_text("{")
    said("store", "remove", "raw/made", "-y")
    assert [pool.dataset for pool in store.listing(root)] == ["mnli"]


def test_names_that_are_no_pool(root):
    assert "did you mean toy/made" in refused("store", "show", "toy/maid")
    shutil.copytree(root / "toy" / "made", root / "toy" / "other")
    assert "several models: give one of toy/made, toy/other" in refused("store", "path", "toy")
