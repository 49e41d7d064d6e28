"""Tasks over a network: from a small hub on the loopback address, whole, broken, silent or not there."""

import os
import re
import subprocess
import sys
import time

import hub_texts
import pytest
from hub_texts import ROWS
from small_hub import SmallHub
from test_hub import process

from jaxal_extract import ExtractError
from jaxal_extract.texts.hub import split_files
from jaxal_extract.texts.tasks import TASKS


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub with all ten tasks."""
    with SmallHub() as hub:
        for name, task in TASKS.items():
            folder = tmp_path_factory.mktemp(name)
            hub_texts.repository(name, folder)
            files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.*")}
            commit = task.revision if len(task.revision) == 40 else hub_texts.COMMIT
            more = hub.repositories[task.repository][2] if task.repository in hub.repositories else {}
            hub.repositories[task.repository] = commit, ["refs/convert/parquet"], more | files
        yield hub
        hub.shutdown()


@pytest.fixture
def online(hub, tmp_path):
    """A process with an empty cache that reaches `hub`; afterwards the hub is as it was."""
    kept = dict(hub.repositories)
    hub.asked.clear()
    with process(HF_HOME=str(tmp_path / "hf"), HF_ENDPOINT=hub.address, HF_HUB_DISABLE_TELEMETRY="1") as call:
        yield call
    hub.repositories, hub.status, hub.cut = kept, None, 0


def fetched(hub):
    return {path.split("/resolve/")[1].split("/", 1)[1] for path in hub.asked if "/resolve/" in path}


def test_every_task_is_fetched_once(hub, online):
    for name in TASKS:
        hub.asked.clear()
        texts = online(hub_texts.read, name)
        assert texts.train.texts == [list(column) for column in list(zip(*ROWS[name][0], strict=True))[:-1]]
        wanted = {
            file
            for part in hub_texts.splits(name)
            for file in split_files(sorted(fetched(hub)), TASKS[name].folder, part)
        }
        assert fetched(hub) == wanted, "more than the task's splits"
    hub.asked.clear()
    for name in TASKS:
        online(hub_texts.read, name)
    assert not fetched(hub)
    assert {path.split("/")[4] for path in hub.asked} <= {"wiki_toxic"}, "only a branch is asked for again"


def test_a_branch_that_moves_is_fetched_again_and_found_without_a_network(hub, online):
    assert online(hub_texts.read, "wikitalk").about["revision"] == hub_texts.COMMIT
    repository, moved = TASKS["wikitalk"].repository, "f" * 40
    _, branches, files = hub.repositories[repository]
    hub.repositories[repository] = moved, branches, files
    assert online(hub_texts.read, "wikitalk").about["revision"] == moved
    hub.status = 503
    assert online(hub_texts.read, "wikitalk").about["revision"] == moved


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda hub: hub.repositories.pop("CogComp/trec"), "the hub answers 404"),
        (lambda hub: hub.repositories.update({"CogComp/trec": ("f" * 40, ["main"], {})}), "the hub answers 404"),
        (lambda hub: setattr(hub, "status", 401), "the hub answers 401"),
        (lambda hub: setattr(hub, "status", 403), "the hub answers 403"),
        (
            lambda hub: hub.repositories.update(
                {"CogComp/trec": (TASKS["trec6"].revision, [], {"trec.py": b"", "train.csv": b""})}
            ),
            "CogComp/trec@65752bf53a lacks Parquet or CSV files of train, test (it has train.csv): give --train FILE",
        ),
    ],
    ids=["no repository", "no revision", "401", "403", "a script"],
)
def test_what_the_hub_does_not_have(hub, online, spoil, message):
    spoil(hub)
    with pytest.raises(ExtractError, match=re.escape(message)) as caught:
        online(hub_texts.read, "trec6")
    assert "--train FILE --test FILE" in str(caught.value)


def test_a_connection_that_breaks_in_the_middle(hub, online):
    """What is not whole is not taken for whole, and the same command goes on."""
    hub.cut = 1_000
    with pytest.raises(ExtractError, match=r"trec6: fetching CogComp/trec stopped \(.*the same command goes on"):
        online(hub_texts.read, "trec6")
    hub.cut = 0
    assert len(online(hub_texts.read, "trec6").train.ids) == 4


def test_only_one_split_is_there(hub, online, tmp_path):
    """A cache that lacks a file of a commit is completed."""
    online(hub_texts.read, "sst2")
    for link in (tmp_path / "hf" / "hub").rglob("sst2/validation-*"):
        link.unlink()
    hub.asked.clear()
    assert len(online(hub_texts.read, "sst2").test.ids) == 2
    assert fetched(hub) == {"sst2/validation-00000-of-00001.parquet"}


@pytest.mark.parametrize("why", ["offline", "datasets offline", "nobody listens", "no answer", "no such host"])
def test_without_a_network_it_fails_within_ten_seconds_with_one_line(bert, tmp_path, why):
    with SmallHub() as silent:
        silent.silent.set()
        env = {
            "offline": {"HF_HUB_OFFLINE": "1"},
            "datasets offline": {"HF_DATASETS_OFFLINE": "1"},
            "nobody listens": {"HF_ENDPOINT": "http://127.0.0.1:9"},
            "no answer": {"HF_ENDPOINT": silent.address},
            "no such host": {"HF_ENDPOINT": "http://hub.invalid"},
        }[why]
        env = os.environ | env | {"HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [
            sys.executable,
            "-m",
            "jaxal_extract",
            "--name",
            "mnli",
            "--model",
            str(bert),
            "--store",
            str(tmp_path),
        ]
        started = time.perf_counter()
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        silent.shutdown()
    assert done.returncode == 2, done.stderr
    assert seconds < 10
    assert done.stderr.count("\n") == 1
    assert "nyu-mll/glue at bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c" in done.stderr
    assert ("OFFLINE is set" if "offline" in why else "the hub cannot be reached: ") in done.stderr
    assert "--train FILE --test FILE, or set HF_HOME to a cache that has it" in done.stderr
    assert not (tmp_path / "mnli").exists()
