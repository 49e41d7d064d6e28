"""Tasks from the hub, out of a cache laid out as the hub's."""

import multiprocessing
import os
import re
import shutil
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import hub_texts
import numpy as np
import pytest
from hub_texts import CLASSES, ROWS

from jaxal.data import store
from jaxal_extract import ExtractError
from jaxal_extract.texts.hub import split_files
from jaxal_extract.texts.splits import Cleaning, Columns
from jaxal_extract.texts.tasks import TASKS


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
        assert split.texts == [[text for cells, _ in theirs for text in cells[i]] for i in range(len(split.texts))]
        ours = dict(zip(CLASSES[name] or TASKS[name].classes, TASKS[name].classes, strict=True))
        assert split.labels == [ours[label] for _, labels in theirs for label in labels]


# ---- what is checked


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A folder, and a process without a network whose HF_HOME it is."""
    home = tmp_path_factory.mktemp("empty")
    with process(HF_HOME=str(home), HF_HUB_OFFLINE="1") as call:
        yield home, call


@pytest.fixture
def altered(empty):
    """A way to put a task's repository with other rows or classes into an empty cache, and the process that has it."""
    home, call = empty
    shutil.rmtree(home / "hub", ignore_errors=True)
    return lambda name, **changes: hub_texts.cache(home, name, **changes), call


@pytest.mark.parametrize(("split", "sizes"), [("train", {"n_train": 7}), ("test", {"n_test": 1_000})])
def test_other_sizes_are_refused(offline, split, sizes):
    said = {"train": "trec6 has 7", "test": "trec6 has 1,000"}[split]
    with pytest.raises(
        ExtractError, match=rf"^CogComp/trec@65752bf53a {split} has \d rows where {said}: .*--train FILE --test FILE"
    ):
        offline(hub_texts.read, "trec6", **sizes)


def test_classes_are_taken_by_name_whatever_their_order(altered):
    put, call = altered
    put("mnli", classes=["contradiction", "entailment", "neutral"])
    texts = call(hub_texts.read, "mnli")
    assert texts.classes == ["entailment", "neutral", "contradiction"]
    assert texts.train.labels == ["neutral", "contradiction", "entailment"]  # the numbers 2, 0, 1 of that order


@pytest.mark.parametrize(
    ("name", "classes", "message"),
    [
        (
            "mnli",
            ["entailment", "maybe", "contradiction"],
            "has 3 classes (among them maybe) where mnli has 3 (among them neutral)",
        ),
        ("mnli", ["entailment", "neutral", "contradiction", "x"], "has 4 classes (among them x) where mnli has 3"),
        ("trec6", ["DESC", "ENTY", "ABBR", "HUM", "NUM"], "has 5 classes where trec6 has 6 (among them LOC)"),
        ("wikitalk", ["non", "tox", "very"], "has 3 classes (among them non, tox, very) where wikitalk has 2"),
    ],
)
def test_other_classes_are_refused(altered, name, classes, message):
    put, call = altered
    put(name, classes=classes, rows=None if name != "trec6" else {"train": [("a ?", 0)] * 4, "test": [("b ?", 1)] * 2})
    with pytest.raises(ExtractError, match=re.escape(message)):
        call(hub_texts.read, name)


def plain(name, train, test):
    """Rows whose file does not name their classes."""
    return {"classes": [], "rows": {"train": train, TASKS[name].test: test}}


def test_numbers_without_names_are_the_hubs(altered):
    put, call = altered
    put("sst2", **plain("sst2", [("good", 1), ("bad", 0)], [("fine", 1), ("dull", 0)]))
    texts = call(hub_texts.read, "sst2")
    assert (texts.train.labels, texts.classes) == (["positive", "negative"], ["negative", "positive"])


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([("good", 1), ("bad", 2)], "the label '2' in row 2 where sst2 has negative, positive, or the numbers 0 to 1"),
        ([("good", "positive"), ("bad", "negativ")], "the label 'negativ' in row 2"),
        ([("good", "positive"), ("bad", "0")], "the label '0' in row 2"),
    ],
)
def test_labels_out_of_range_are_refused(altered, train, message):
    put, call = altered
    put("sst2", **plain("sst2", train, [(text, "positive" if isinstance(train[0][1], str) else 1) for text in "ab"]))
    with pytest.raises(ExtractError, match=re.escape(f"nyu-mll/glue@bcdcba79d0 train has {message}")):
        call(hub_texts.read, "sst2")


def test_a_class_number_beyond_the_names_is_refused_with_its_file_and_row(altered):
    put, call = altered
    put("sst2", rows={"train": [("good", 1), ("bad", 2)], "validation": ROWS["sst2"][1]})
    with pytest.raises(ExtractError, match=r"sst2/train-00000-of-00001.parquet row 2 has 2 in 'label'"):
        call(hub_texts.read, "sst2")


def test_rows_without_label_or_text_are_left_out_and_counted(altered):
    put, call = altered
    train = [("a", "b", 0), ("hidden", "x", -1), ("", " ", 1), ("", "one is enough", 2), ("gone", "x", -1)]
    put("mnli", rows={"train": train, "validation_matched": [("hidden", "too", -1), ("c", "d", 1)]})
    texts = call(hub_texts.read, "mnli", 5, 2)
    assert texts.train.texts == [["a", ""], ["b", "one is enough"]]
    assert texts.train.ids == ["0", "3"]  # their rows on the hub
    assert texts.test.labels == ["neutral"]
    assert texts.about["left_out"] == {
        "train": {"without a label (-1)": 2, "without a text": 1},
        "test": {"without a label (-1)": 1},
    }
    said = call(hub_texts.said, "mnli", 5, 2)
    assert "train: 2 rows without a label (-1) are left out" in said
    assert "train: 1 rows without a text are left out" in said


def test_a_cache_without_a_split_is_no_cache_of_the_task(altered):
    put, call = altered
    snapshot = put("sst2")
    for link in snapshot.rglob("validation-*"):
        link.unlink()
    with pytest.raises(ExtractError, match=r"sst2 is nyu-mll/glue at .*, which .* does not have \(HF_HUB_OFFLINE or"):
        call(hub_texts.read, "sst2")


def test_cleaning(offline):
    assert offline(hub_texts.read, "dbpedia").train.texts[0][0] == " Elmwood Mills is a maker of paper."
    cleaned = offline(hub_texts.read, "dbpedia", cleaning=Cleaning(strip_start=True))
    assert cleaned.train.texts[0][0] == "Elmwood Mills is a maker of paper."
    cleaned = offline(hub_texts.read, "yelp5", cleaning=Cleaning(unescape=True))
    assert cleaned.train.texts[0][0] == 'Cold soup.\n\nNever "again".'
    assert cleaned.test.texts[0][0] == "A bit loud.\nGood food."


def test_other_columns_of_the_hubs_files(altered):
    put, call = altered
    columns = ["text", "fine", "coarse_label"]
    rows = {"train": [("a ?", "A:x", 0), ("b ?", "N:y", 5)], "test": [("c ?", "A:x", 0)]}
    put("trec6", rows=rows, columns=columns)
    texts = call(hub_texts.read, "trec6", 2, 1, columns=Columns(["text"], "fine", None))
    assert texts.train.labels == ["A:x", "N:y"]
    assert texts.classes is None
    with pytest.raises(
        ExtractError, match=r"0000.parquet has no column 'fin' \(did you mean fine\?\); its columns are: text, fine"
    ):
        call(hub_texts.read, "trec6", 2, 1, columns=Columns(["text"], "fin", None))


ONE, TWO = "-00000-of-00001.parquet", ["a/train-00000-of-00002-0af3.parquet", "a/train-00001-of-00002-77bc.parquet"]


@pytest.mark.parametrize(
    ("folder", "split", "found", "others"),
    [
        (None, "train", [f"data/train{ONE}"], [f"data/test{ONE}"]),
        (None, "train", ["train.csv"], ["README.md", "old_train.csv", "train.csv.bak", "train.json"]),
        (
            None,
            "train",
            ["default/train/0000.parquet", "default/train/0001.parquet"],
            ["default/partial-train/0000.parquet"],
        ),
        ("a", "train", TWO, ["b/train.csv"]),
        ("a", "train", [], TWO[1:]),  # one of the two is not there
        (None, "train", [], ["balanced_train.csv", "balanced_train/0000.parquet", f"x/train_v2{ONE}"]),
        ("mnli", "validation", [], [f"mnli/validation_matched{ONE}", f"mnli_matched/validation{ONE}"]),
        ("qnli", "train", [f"qnli/train{ONE}"], [f"mnli/train{ONE}"]),
        (None, "train", [], [f"mnli/train{ONE}", f"qnli/train{ONE}"]),  # which of them?
        (None, "train", [], ["a/train/0000.parquet", "b/train/0000.parquet"]),
        (None, "train", [], ["train.csv", "old/train.csv"]),
    ],
)
def test_which_files_hold_a_split(folder, split, found, others):
    assert split_files([*others, *reversed(found)], folder, split) == found


# ---- from the hub to a pool


def test_every_task_becomes_a_pool(offline, bert, tmp_path):
    for name in TASKS:
        code, out, err = offline(hub_texts.command, "--name", name, "--model", bert, "--store", tmp_path)
        assert code == 0, err
        about = store.manifest(tmp_path / name / "tiny")
        train, test = ROWS[name]
        assert (about["N"], about["M"]) == (len(train), len(test))
        assert about["class_names"] == list(TASKS[name].classes)
        stored = store.read(tmp_path / name / "tiny")
        assert [about["class_names"][y] for y in stored.y] == names_of(name, [row[-1] for row in train])
        assert [about["class_names"][y] for y in stored.y_test] == names_of(name, [row[-1] for row in test])
        assert about["made"]["texts"]["hub"] == TASKS[name].repository
        assert re.fullmatch("[0-9a-f]{40}", about["made"]["texts"]["revision"])
        assert about["settings"].get("unescape") == (False if name == "yelp5" else None)
        assert f"next: jaxal run --dataset {name}" in out
    assert store.texts(tmp_path / "dbpedia" / "tiny")[0] == "Elmwood Mills is a maker of paper."
    assert store.texts(tmp_path / "yelp5" / "tiny")[0] == ROWS["yelp5"][0][0][0]
    assert store.texts(tmp_path / "fnc1" / "tiny", split="test")[1] == "NA\nnan"

    again = ["--name", "yelp5", "--model", bert, "--store", tmp_path]
    assert "nothing to do" in offline(hub_texts.command, *again)[1]
    code, _, err = offline(hub_texts.command, *again, "--unescape")
    assert code == 2
    assert "unescape: false -> true" in err
    assert offline(hub_texts.command, *again, "--unescape", "--as", "unescaped")[0] == 0
    assert store.texts(tmp_path / "yelp5" / "unescaped")[0] == 'Cold soup.\n\nNever "again".'


def test_files_and_the_hub_make_the_same_pool(offline, bert, tmp_path):
    """Names or numbers of classes in files mean what they mean on the hub."""
    train, test = ROWS["trec6"]
    for folder, labels in (("names", lambda rows: names_of("trec6", rows)), ("numbers", lambda rows: rows)):
        (tmp_path / folder).mkdir()
        files = []
        for option, rows in (("--train", train), ("--test", test)):
            file = tmp_path / folder / f"{option[2:]}.csv"
            hub_texts.write_csv(file, ["text", "label"], [row[0] for row in rows], labels([row[1] for row in rows]))
            files += [option, file]
        code, _, err = offline(
            hub_texts.command, "--name", "trec6", *files, "--model", bert, "--store", tmp_path / folder
        )
        assert code == 0, err
    assert offline(hub_texts.command, "--name", "trec6", "--model", bert, "--store", tmp_path / "hub")[0] == 0
    pools = [store.read(tmp_path / root / "trec6" / "tiny") for root in ("names", "numbers", "hub")]
    for pool in pools:
        assert pool.class_names == list(TASKS["trec6"].classes)
        assert pool.manifest["rows_sha256"] == pools[0].manifest["rows_sha256"]
        np.testing.assert_array_equal(pool.X, pools[0].X)
