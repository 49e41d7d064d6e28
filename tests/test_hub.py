"""Tasks from the hub: out of a cache laid out as the hub's, and from a small hub on the loopback address."""

import multiprocessing
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import hub_texts
import numpy as np
import pytest
from hub_texts import CLASSES, ROWS

from jaxal.data import store
from jaxal_extract import ExtractError
from jaxal_extract.hub import split_files
from jaxal_extract.splits import Cleaning, Columns
from jaxal_extract.tasks import TASKS


@contextmanager
def process(**variables):
    """Call functions in a process that begins with these environment variables: huggingface_hub reads them once."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            pool.submit(os.getpid).result()
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
            yield lambda function, *arguments, **options: pool.submit(function, *arguments, **options).result()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An HF_HOME whose cache has all ten tasks."""
    home = tmp_path_factory.mktemp("home")
    for name in TASKS:
        hub_texts.cache(home, name)
    return home


@pytest.fixture(scope="module")
def offline(home):
    """A process with that cache and no network."""
    with process(HF_HOME=str(home), HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1") as call:
        yield call


def names_of(name, labels):
    """Our names for a task's labels as they are on the hub."""
    return [label if isinstance(label, str) else TASKS[name].classes[label] for label in labels]


@pytest.mark.parametrize("name", TASKS)
def test_every_task_out_of_the_cache(offline, name):
    texts = offline(hub_texts.read, name)
    for split, rows in zip((texts.train, texts.test), ROWS[name], strict=True):
        *columns, labels = map(list, zip(*rows, strict=True))
        assert split.texts == columns
        assert split.labels == names_of(name, labels)
        assert split.ids == [str(row) for row in range(len(rows))]
    assert texts.classes == list(TASKS[name].classes)
    revision = hub_texts.COMMIT if name == "wikitalk" else TASKS[name].revision
    assert texts.about == {"hub": TASKS[name].repository, "revision": revision, "left_out": {"train": {}, "test": {}}}
    assert not offline(hub_texts.loaded, "torch", "datasets")


def test_the_split_that_is_joined_is_wikitalks(offline):
    texts = offline(hub_texts.read, "wikitalk")
    assert len(texts.train.ids) == 3
    assert len(hub_texts.splits("wikitalk")["train"]) == 2
    assert texts.train.source.endswith("train+validation")


@pytest.mark.parametrize("name", TASKS)
def test_datasets_reads_the_same(offline, home, name):
    pytest.importorskip("datasets")
    texts = offline(hub_texts.read, name)
    for split, parts in ((texts.train, TASKS[name].train), (texts.test, [TASKS[name].test])):
        commit = texts.about["revision"]
        snapshot = home / "hub" / f"datasets--{TASKS[name].repository.replace('/', '--')}" / "snapshots" / commit
        theirs = [offline(hub_texts.by_datasets, snapshot, name, part) for part in parts]
        assert split.texts == [sum((cells[i] for cells, _ in theirs), []) for i in range(len(split.texts))]
        ours = dict(zip(CLASSES[name] or TASKS[name].classes, TASKS[name].classes, strict=True))
        assert split.labels == [ours[label] for _, labels in theirs for label in labels]
