"""`jaxal run --dataset TASK` with no such pool: what is asked, what is run, and what is said instead."""

import csv
import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import commands
import hub_texts
import pytest

from jaxal.cli import once
from jaxal.data import store
from jaxal_extract.texts.tasks import TASKS

cache, world, here, refused, call = commands.cache, commands.world, commands.here, commands.refused, commands.call


@pytest.fixture
def extractions(monkeypatch):
    """The commands that would be run; each ends with the exit code 7."""
    run = []

    def note(command, check):
        assert not check
        run.append(command)
        return SimpleNamespace(returncode=7)

    monkeypatch.setattr(subprocess, "run", note)
    return run


def on_a_terminal(monkeypatch, answer: bool):
    asked = []
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(once.click, "confirm", lambda text, **_: asked.append(text) or answer)
    return asked


def test_without_a_terminal_the_command_is_told(here, extractions):
    told = refused("run", "-d", "sst2")
    assert told == (
        "sst2 is not in the store: make it with `jaxal extract --name sst2 --model minilm`, or give --yes to do "
        "that now"
    )
    assert not extractions
    assert "--name sst2 --model bert --store 'my store'" in refused(
        "run", "-d", "sst2", "-m", "bert", "--store", "my store"
    )


def test_without_torch_the_extra_is_told(here, extractions, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told = refused("run", "-d", "sst2", "--yes")
    assert 'pip install "jaxal[extract]", then make it with `jaxal extract --name sst2 --model minilm`' in told
    assert not extractions


@pytest.mark.parametrize("verb", ["run", "ips", "query"])
def test_yes_runs_the_extraction_and_keeps_its_exit_code(here, extractions, verb):
    result = call(verb, "-d", "sst2", "-m", "bert", "--store", "here", "--yes")
    assert result.exit_code == 7
    expected = [sys.executable, "-m", "jaxal_extract", "--name", "sst2", "--model", "bert", "--store", "here"]
    assert extractions == [expected]


def test_on_a_terminal_it_asks(here, extractions, monkeypatch):
    asked = on_a_terminal(monkeypatch, False)
    with pytest.raises(once.DataError, match="or give --yes"):
        once.make_if_missing("sst2", None, None, False)
    assert not extractions
    assert "embed its 68,221 texts now, once (about 0.052 GB" in asked[0]
    on_a_terminal(monkeypatch, True)
    with pytest.raises(once.click.exceptions.Exit):
        once.make_if_missing("sst2", None, None, False)
    assert len(extractions) == 1


def test_an_extraction_that_was_killed(here, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=-9))
    with pytest.raises(once.click.exceptions.Exit) as caught:
        once.make_if_missing("sst2", None, None, True)
    assert caught.value.exit_code == 137


def test_what_is_there_or_unknown_is_left_alone(here, extractions):
    for dataset, model in (("mnli", None), ("mnli", "minilm"), ("mnli", "minilmm"), ("digits", None), ("toy", "bert")):
        once.make_if_missing(dataset, model, None, True)
    assert not extractions
    assert "did you mean minilm" in refused("run", "-d", "mnli", "-m", "minilmm", "--yes")


def test_from_the_hubs_cache_to_learning_curves(shared, tmp_path):
    """What the README promises, with real texts: the first command embeds the task, the second finds it stored."""
    if importlib.util.find_spec("wordllama") is None:
        pytest.skip("wordllama is in the extra `static-models`")
    rows = {}
    for split in ("train", "test"):
        with open(shared / "data" / "trec6" / f"{split}.tsv", encoding="utf-8", newline="") as file:
            lines = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            rows[split] = [(line["text"], TASKS["trec6"].classes.index(line["label"])) for line in lines]
    hub_texts.cache(tmp_path / "home", "trec6", rows=rows)
    command = ["run", "-d", "trec6", "-m", "wordllama", "--yes", "-s", "random", "--cycles", "1", "--seeds", "1"]
    folders = {"HF_HOME": str(tmp_path / "home"), "JAXAL_STORE": str(tmp_path / "store"), "HF_HUB_OFFLINE": "1"}
    for shown in ("trec6/wordllama: N=5452 M=500 D=256 C=6", ""):
        done = subprocess.run(
            [sys.executable, "-c", "from jaxal.cli import main; main()", *command],
            cwd=tmp_path, env=os.environ | folders, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "AULC" in done.stdout
        assert shown in done.stdout
        assert ("N=5452" in done.stdout) == bool(shown)
    assert store.manifest(tmp_path / "store" / "trec6" / "wordllama")["made"]["texts"]["hub"] == "CogComp/trec"
