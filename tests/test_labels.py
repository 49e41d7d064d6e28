"""Labels to class names and numbers, of own data and of tasks, and the warnings about texts and labels."""

import re
from pathlib import Path

import numpy as np
import pytest

from jaxal.data import store
from jaxal_extract import ExtractError
from jaxal_extract.texts.checks import in_both, of_labels, of_texts, other_order, unlike_endings, unlike_task
from jaxal_extract.texts.labels import name_classes, number_labels
from jaxal_extract.texts.splits import Cleaning, Columns, Split, read_split
from jaxal_extract.texts.tasks import TASKS


def split(labels, texts=None):
    n = len(labels or texts[0])
    return Split(Path("f.csv"), texts or [["x"] * n], labels, [str(i) for i in range(n)])


def test_labels_are_numbered_by_name_or_by_value():
    names, y, y_test = number_labels(split(["10", "9", "-1", "9"]), split(["9"]), False)
    assert names == ["-1", "9", "10"]
    assert y.tolist() == [2, 1, 0, 1]
    assert y_test.tolist() == [1]
    assert y.dtype == np.int32
    names, y, y_test = number_labels(split(["b", "10", "B"]), None, False)
    assert names == ["10", "B", "b"]
    assert y.tolist() == [2, 0, 1]
    assert y_test is None
    assert number_labels(split(None, [["x", "x"]]), None, False)[1].tolist() == [-1, -1]
    names, y, _ = number_labels(split(["b", "", "a"]), None, True)
    assert names == ["a", "b"]
    assert y.tolist() == [1, -1, 0]


def test_labels_that_are_missing_or_new():
    with pytest.raises(ExtractError, match=r"f.csv row 2 has no label; --unlabeled"):
        number_labels(split(["b", ""]), None, False)
    with pytest.raises(ExtractError, match="row 1 has the label 'c', which no row of --train has"):
        number_labels(split(["b"]), split(["c"]), False)
    with pytest.raises(ExtractError, match="row 2 has no label"):
        number_labels(split(["b"]), split(["b", ""]), True)


def test_labels_of_any_length():
    """5,000 digits are more than Python makes a number of; sorted as names they are labels like others."""
    huge = "9" * 5000
    names, y, _ = number_labels(split([huge, "10", "9"]), None, False)
    assert names == ["10", "9", huge]
    assert y.tolist() == [2, 0, 1]
    names, _, _ = number_labels(split(["1" + "0" * 100, "2" + "0" * 99]), None, False)
    assert names == ["2" + "0" * 99, "1" + "0" * 100]
    names, _, _ = number_labels(split(["x" * 1_000_000, "a"]), None, False)
    assert names == ["a", "x" * 1_000_000]
    for label in (huge, "x" * 1_000_000, "two\nlines"):
        with pytest.raises(ExtractError, match="which no row of --train has") as e:
            number_labels(split(["b"]), split([label]), False)
        assert len(str(e.value)) < 200
        assert "\n" not in str(e.value)


# ---- tasks


def numbered(task, train, test=None, unlabeled=False):
    splits, classes = name_classes(TASKS[task], [split(labels) for labels in (train, test) if labels])
    names, y, y_test = number_labels(splits[0], splits[1] if test else None, unlabeled, classes)
    return names, y.tolist(), None if y_test is None else y_test.tolist()


def test_labels_of_a_task_have_its_order_not_the_sorted_one():
    names, y, y_test = numbered("mnli", ["contradiction", "neutral"], ["entailment"])
    assert names == ["entailment", "neutral", "contradiction"]
    assert (y, y_test) == ([2, 1], [0])
    names, y, y_test = numbered("mnli", ["2", "1"], ["0"])
    assert names == ["entailment", "neutral", "contradiction"]
    assert (y, y_test) == ([2, 1], [0])
    assert numbered("banking77", ["Refund_not_showing_up", "age_limit"])[1] == [51, 1]
    assert numbered("trec6", ["DESC", "ENTY"])[1] == [2, 1]


def test_minus_one_is_no_label_in_a_task():
    assert numbered("sst2", ["1", "-1"], unlabeled=True)[1] == [1, -1]
    with pytest.raises(ExtractError, match="row 2 has no label; --unlabeled allows this"):
        numbered("sst2", ["1", "-1"])
    with pytest.raises(ExtractError, match="row 1 has no label"):
        numbered("sst2", ["1"], ["-1"], unlabeled=True)


@pytest.mark.parametrize("unlabeled", [False, True])
def test_a_label_that_is_no_class_of_a_task(unlabeled):
    message = re.escape(
        "f.csv row 2 has the label 'neutrl' (did you mean neutral?), which is no class of the task "
        "(entailment, neutral, contradiction)"
    )
    for train, test in ((["neutral", "neutrl"], None), (["neutral"], ["neutral", "neutrl"])):
        with pytest.raises(ExtractError, match=message):
            numbered("mnli", train, test, unlabeled)
    with pytest.raises(ExtractError, match=r"row 1 has the label '0', which is no class"):
        numbered("mnli", ["0"], ["neutral"])  # numbers here and names there
    with pytest.raises(ExtractError, match=r"passcode_forgotten|and 57 more") as caught:
        numbered("banking77", ["age_limit", "x" * 1_000])
    assert len(str(caught.value)) < 1_000


def test_labels_that_are_neither_names_nor_numbers_stay_as_they_were():
    for task, labels in (
        ("agnews", ["1", "4", "2"]),
        ("mnli", ["no", "yes"]),
        ("yelp5", ["5", "1"]),
        ("mnli", ["0.0", "1.0"]),
    ):
        plain, y, _ = number_labels(split(labels), None, False)
        names, found, _ = numbered(task, labels)
        assert (names, found) == (plain, y.tolist())
        warning = unlike_task(task, TASKS[task], split(labels))
        about = f"f.csv has labels like {', '.join(sorted(labels))}, which are neither the classes of {task} ("
        assert about in str(warning)
        assert f"nor their numbers, 0 to {len(TASKS[task].classes) - 1}" in str(warning)
    assert numbered("mnli", ["", ""], unlabeled=True) == ([], [-1, -1], None)
    assert unlike_task("mnli", TASKS["mnli"], split(["", ""])) is None
    assert unlike_task("mnli", TASKS["mnli"], split(None, [["x"]])) is None


# ---- warnings


def test_unlike_endings():
    cut, whole = ["It is lost "] * 4, ["It is lost. "] * 3 + ["Is it?"]
    assert "0% of the train texts and 75% of the test texts" in str(
        unlike_endings(split(None, [cut]), split(None, [whole]))
    )
    assert unlike_endings(split(None, [whole, cut]), split(None, [whole, whole]))
    assert unlike_endings(split(None, [whole]), split(None, [whole])) is None


def test_texts_in_train_and_test():
    train = split(None, [["My card is lost!", "another one", "?!"]])
    assert in_both(train, split(None, [["a text", "my  CARD is lost", "!?"]])) == (
        "1 of the 3 test texts (33.3%) are in train too, but for case, blanks and signs (the first is row 2 of test): "
        "accuracy on them is too high"
    )
    assert in_both(train, split(None, [["mycard", "one another"]])) is None
    pairs = split(None, [["a", "b"], ["c", "d"]])
    assert in_both(pairs, split(None, [["a", "b"], ["d", "c"]])) is None
    assert "1 of the 2" in str(in_both(pairs, split(None, [["a", "B."], ["d", "d "]])))
    assert list(of_texts(train, None)) == []
    assert len(list(of_texts(split(None, [["a", "b"]]), split(None, [["a.", "c."]])))) == 2


def test_classes_with_few_rows_or_none():
    y = np.repeat([0, 1, 2], [21, 1, 5]).astype(np.int32)
    names = ["many", "few", "some"]
    assert list(of_labels(names, y, None)) == [
        "the classes are very uneven: many has 21 rows of train, few has 1; accuracy hides the small ones, look at "
        "macro-F1 and balanced accuracy too"
    ]
    assert list(of_labels(names, y[1:], np.array([0, 1, 2]))) == []  # 20 times as many are not yet very uneven
    assert list(of_labels([*names, "no", "none"], y[1:], np.array([1, 2, 4]))) == [
        "2 of 5 classes have no row in train: no, none",
        "2 of 5 classes have no row in test: many, no",
    ]
    assert [warning[:20] for warning in of_labels([*names, "no"], y, None)] == [
        "1 of 4 classes have ",
        "the classes are very",
    ]
    letters = list("abcdefg")
    assert list(of_labels(letters, np.array([0]), None)) == ["6 of 7 classes have no row in train: b, c, d, e, f, ..."]
    assert list(of_labels(names, np.full(9, -1), None)) == ["3 of 3 classes have no row in train: many, few, some"]
    assert list(of_labels([], np.full(9, -1), None)) == []


def test_another_order_than_that_of_a_stored_pool(tmp_path):
    here = tmp_path / "mnli" / "new"
    assert other_order(["a"], here) is None  # there is no such folder
    about = {"dataset": "mnli", "settings": {}, "class_names": ["contradiction", "entailment", "neutral"]}
    X = np.ones((3, 2), np.float32)
    store.write_arrays(tmp_path / "mnli" / "old", X, np.arange(3), model="old", **about)
    (tmp_path / "mnli" / "a file").touch()
    names = ["entailment", "neutral", "contradiction"]
    assert other_order(names, here) == (
        f"{tmp_path / 'mnli' / 'old'} has these classes in another order (contradiction where entailment is here): "
        "class numbers of the two pools do not mean the same"
    )
    assert "has other classes (neutral where no class is here)" in str(
        other_order(["contradiction", "entailment"], here)
    )
    assert other_order(about["class_names"], here) is None
    assert other_order([], here) is None
    assert other_order(names, tmp_path / "mnli" / "old") is None  # the store itself refuses to mix the two
    (tmp_path / "mnli" / "old" / "manifest.json").write_text("{")
    assert other_order(names, here) is None


@pytest.mark.parametrize(
    ("name", "extension", "label", "twice"), [("trec6", "tsv", "label", 11), ("banking77", "csv", "category", 29)]
)
def test_real_texts_that_are_in_both_splits(shared, name, extension, label, twice):
    files = [shared / "data" / name / f"{part}.{extension}" for part in ("train", "test")]
    splits, classes = name_classes(
        TASKS[name], [read_split(file, Columns(["text"], label, None), Cleaning()) for file in files]
    )
    assert in_both(*splits).startswith(f"{twice} of the {TASKS[name].facts.n_test:,} test texts")
    assert set(splits[0].labels) == set(classes) == set(TASKS[name].classes)
