"""Pools: what may be given, what it becomes, and the sentence for what cannot be used."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from small import arrays, pool, write_npz

import jaxal
from jaxal.data import store
from jaxal.data.pool import Pool, digits, load
from jaxal.errors import DataError, JaxalError, StoreError

ABOUT = {"class_names": ["a", "b", "c"], "dataset": "toy", "model": "made", "settings": {}}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A store with the pools toy/made and mnli/minilm; the working directory is empty."""
    X, y, X_test, y_test = arrays()
    store.write_arrays(tmp_path / "store" / "toy" / "made", X, y, X_test, y_test, **ABOUT)
    about = ABOUT | {"dataset": "mnli", "model": "minilm"}
    store.write_arrays(tmp_path / "store" / "mnli" / "minilm", X, y, X_test, y_test, **about)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "store"


# ---- embeddings


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8, bool, ">f4"])
def test_all_but_float64_and_float16_becomes_float32(dtype):
    X = np.eye(3).astype(dtype)
    made = Pool(X, X_test=X.astype(np.float64))
    assert made.X.dtype == made.X_test.dtype == np.float32
    np.testing.assert_array_equal(made.X, np.eye(3))


def test_float64_stays(monkeypatch):
    made = Pool(np.eye(3), X_test=np.eye(3, dtype=np.float16))
    assert made.X.dtype == made.X_test.dtype == np.float64
    assert Pool([[1, 2], [3, 4]]).X.dtype == np.float32, "lists are fine"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["X", "X_test"])
def test_rows_that_are_not_finite_are_named(value, name, monkeypatch):
    monkeypatch.setattr("jaxal.data.pool._BLOCK", 5)  # it is not in the first one
    content = dict(zip(("X", "y", "X_test", "y_test"), arrays(), strict=True))
    content[name][17, 2] = content[name][40, 0] = value
    with pytest.raises(DataError, match=rf"^{name} row 17 has a NaN or infinite value"):
        Pool(**content)


def test_a_float64_test_split_too_large_for_float32_is_named():
    with pytest.raises(DataError, match=r"X_test row 1 has a NaN or infinite value"):
        Pool(np.eye(2, dtype=np.float32), X_test=np.array([[1.0, 2.0], [1e300, 0.0]]))


@pytest.mark.parametrize(
    "X",
    [np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(3), np.zeros((2, 2, 2)), 5, [], [["a", "b"]],
     np.zeros((2, 2), complex), np.zeros((2, 2), object), None, [[1, 2], [3]]],
    ids=["empty", "no columns", "vector", "cube", "number", "nothing", "text", "complex", "objects", "None", "ragged"],
)  # fmt: skip
def test_embeddings_must_be_a_matrix(X):
    with pytest.raises(DataError, match="X must be a non-empty matrix of numbers") as e:
        Pool(X)
    assert "\n" not in str(e.value)


def test_splits_must_agree():
    X, y, X_test, y_test = arrays()
    for bad, message in (
        ((X, y[:-1], X_test, y_test), "y has 119 labels for 120 rows"),
        ((X, y, X_test, y_test[:-1]), "y_test has 59 labels for 60 rows"),
        ((X, y, None, y_test), "y_test is given without X_test"),
        ((X, y, X_test[:, 1:], y_test), "X has 5 columns but X_test has 4"),
    ):
        with pytest.raises(DataError, match=message):
            Pool(*bad)


def test_a_pool_is_frozen():
    with pytest.raises(AttributeError):
        pool().X = 3  # pyright: ignore[reportAttributeAccessIssue]


# ---- labels


def test_strings_become_numbers_by_sorted_name():
    names = np.array(["pear", "fig", "apple"])
    X, y, X_test, y_test = arrays()
    made = Pool(X, names[y], X_test, names[y_test])
    assert made.class_names == ("apple", "fig", "pear")
    assert made.n_classes == 3
    np.testing.assert_array_equal(made.y, 2 - y)
    np.testing.assert_array_equal(made.y_test, 2 - y_test)
    assert made.y.dtype == made.y_test.dtype == np.int32


@pytest.mark.parametrize(
    "convert",
    [list, pd.Series, lambda a: pd.Series(a, dtype=object), lambda a: a.astype(object), lambda a: pd.Series(a).array],
    ids=["list", "series", "object series", "objects", "pandas array"],
)
def test_labels_of_pandas_and_lists_are_labels(convert):
    names = np.array(["pear", "fig", "apple"])
    X, y, X_test, y_test = arrays()
    made = Pool(X, convert(names[y]), X_test, convert(names[y_test]))
    np.testing.assert_array_equal(made.y, 2 - y)
    np.testing.assert_array_equal(made.y_test, 2 - y_test)
    np.testing.assert_array_equal(Pool(X, convert(y)).y, y)


def test_integers_need_not_be_consecutive():
    made = Pool(np.zeros((5, 2)), [30, 10, 20, 10, -1])
    assert made.class_names == ("10", "20", "30")
    assert made.y.tolist() == [2, 0, 1, 0, -1]
    assert Pool(np.zeros((2, 2)), np.array([True, False])).class_names == ("False", "True")


def test_class_names_say_what_the_numbers_mean():
    made = Pool(np.zeros((3, 2)), [2, 0, -1], class_names=["no", "maybe", "yes"])
    assert made.class_names == ("no", "maybe", "yes")
    assert made.n_classes == 3
    assert made.y.tolist() == [2, 0, -1]
    made = Pool(np.zeros((3, 2)), ["yes", "", "no"], class_names=["no", "maybe", "yes"])
    assert made.y.tolist() == [2, -1, 0]
    assert Pool(np.zeros((3, 2)), class_names=["a", "b"]).n_classes == 2
    assert Pool(np.zeros((3, 2))).n_classes == 0


def test_unlabeled_rows_are_no_class():
    assert Pool(np.zeros((3, 2)), [-1, 4, 4]).class_names == ("4",)
    made = Pool(np.zeros((3, 2)), ["", "b", "a"])
    assert made.class_names == ("a", "b")
    assert made.y.tolist() == [-1, 1, 0]
    assert Pool(np.zeros((2, 2)), [-1, -1]).n_classes == 0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 1.0], "y must be a vector of integers or strings; it is float64"),
        ([0.0, np.nan], "y must be a vector of integers or strings"),
        ([[0], [1]], "y must be a vector of integers or strings"),
        (np.array([b"a", b"b"]), "y must be a vector of integers or strings"),
        (np.array([0, None]), "y must be a vector of integers or strings"),
        (np.array(["a", 3], dtype=object), "y must be a vector of integers or strings"),
        (3, "y must be a vector of integers or strings"),
    ],
    ids=["floats", "NaN", "column", "bytes", "None", "mixed", "number"],
)
def test_labels_must_be_integers_or_strings(labels, message):
    with pytest.raises(DataError, match=message):
        Pool(np.zeros((2, 2)), labels)


def test_labels_that_mean_nothing_are_named():
    X = np.zeros((3, 2))
    with pytest.raises(DataError, match="y_test row 2 has the label 'c', which no row of train has"):
        Pool(X, ["a", "b", "a"], X, ["a", "b", "c"])
    with pytest.raises(DataError, match="y_test row 1 has the label '7', which no row of train has"):
        Pool(X, [0, 1, 2], X, [1, 7, 1])
    with pytest.raises(DataError, match="y row 2 has the label '2', which is not among the 2 classes"):
        Pool(X, [0, 1, 2], class_names=["a", "b"])
    with pytest.raises(DataError, match="y row 1 has the label 'x', which is not among the 2 classes"):
        Pool(X, ["a", "x", "a"], class_names=["a", "b"])
    with pytest.raises(DataError, match="y_test row 1 has no label"):
        Pool(X, [0, 1, 2], X, [0, -1, 2])
    with pytest.raises(DataError, match="class_names has 'a' twice"):
        Pool(X, ["a", "b", "a"], class_names=["a", "b", "a"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([["a"], ["b"]], "it has ['a']"),
        (np.array([["a", "b"]]), "it has array(['a', 'b']"),
        ([0.5, 1.5], "it has 0.5"),
        (["a", None], "it has None"),
        ([b"a", b"b"], "it has b'a'"),
        (np.array([{}, 3], dtype=object), "it has {}"),
        ("ab", "it is 'ab'"),
        (np.array("ab"), "it is array('ab'"),
        (5, "it is 5"),
        (["a", "b", "a"], "class_names has 'a' twice"),
        ([1, "1"], "class_names has '1' twice"),
        ([], "which is not among the 0 classes"),
    ],
)
def test_odd_class_names(names, message):
    with pytest.raises(DataError) as e:
        Pool(np.zeros((2, 2)), [0, 1], class_names=names)
    assert message in str(e.value)
    assert "\n" not in str(e.value)


def test_class_names_that_are_numbers():
    for names in ([10, 20], np.array([10, 20]), pd.Index([10, 20]), np.array(["10", "20"], ">U2"), ("10", 20)):
        made = Pool(np.zeros((3, 2)), [1, 0, -1], class_names=names)
        assert made.class_names == ("10", "20")
        assert made.y.tolist() == [1, 0, -1]
        assert Pool(np.zeros((2, 2)), ["20", "10"], class_names=names).y.tolist() == [1, 0]


def test_labels_of_the_test_split_alone():
    X = np.zeros((2, 2))
    with pytest.raises(DataError, match="y_test is given without y"):
        Pool(X, X_test=X, y_test=[0, 1])
    made = Pool(X, X_test=X, y_test=[0, 1], class_names=["a", "b"])
    assert made.y is None
    assert made.y_test.tolist() == [0, 1]
    made = Pool(X, [0, 1], X_test=X)
    assert made.y_test is None
    assert made.n_classes == 2


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_byte_order_is_the_same_pool(order):
    X, y, X_test, y_test = arrays(dtype=np.float64)
    for kind in ("f8", "f4", "f2", "i8", "u2"):
        expected = Pool(X.astype(kind), y, X_test.astype(kind), y_test)
        made = Pool(X.astype(order + kind), y.astype(order + "i8"), X_test.astype(order + kind),
                    y_test.astype(order + "i2"))  # fmt: skip
        assert made.fingerprint == expected.fingerprint
        assert made.X.dtype == expected.X.dtype
        assert made.X.dtype == {"f8": np.float64, "f2": np.float16}.get(kind, np.float32)
    names = np.array(["pear", "fig", "apple"])
    made = Pool(X, names[y].astype(order + "U5"), class_names=names.astype(order + "U5"))
    np.testing.assert_array_equal(made.y, y)


def test_labels_beyond_32_bits_are_refused_or_numbered_but_never_wrapped():
    X = np.zeros((3, 2))
    assert Pool(X, [2**40, 0, 2**40 + 1]).y.tolist() == [1, 0, 2]
    near = [2**53, 2**53 + 1, 2**53]  # one float64
    both = Pool(X, np.array(near, np.uint64), X, np.array(near[::-1]))
    assert (both.y.tolist(), both.y_test.tolist()) == ([0, 1, 0], [0, 1, 0])
    with pytest.raises(DataError, match=f"y row 1 has the label '{2**40}', which is not among the 2 classes"):
        Pool(X, [0, 2**40, 1], class_names=["a", "b"])
    with pytest.raises(DataError, match=f"y row 0 has the label '{2**64 - 1}'"):
        Pool(X, np.array([2**64 - 1, 0, 1], np.uint64), class_names=["a", "b"])


def test_fingerprint_is_of_everything_that_decides_a_result():
    given = arrays()
    prints = {Pool(*given).fingerprint, Pool(*given, dataset="other", model="other").fingerprint}
    assert len(prints) == 1
    for i in range(4):
        changed = [a.copy() for a in given]
        changed[i][0] = changed[i][1] if i % 2 == 0 else (changed[i][0] + 1) % 3
        prints.add(Pool(*changed).fingerprint)
    prints.add(Pool(*given[:2]).fingerprint)
    prints.add(Pool(given[0].astype(np.float64), *given[1:]).fingerprint)
    assert len(prints) == 7


# ---- by name


def test_by_name_and_by_path(root):
    X, y, _, y_test = arrays()
    for made in (load("toy", root=root), load("toy", "made", root), load(str(root / "toy" / "made"))):
        np.testing.assert_allclose(made.X, X, rtol=2e-3)
        np.testing.assert_array_equal(made.y, y)
        np.testing.assert_array_equal(made.y_test, y_test)
        assert (made.dataset, made.model, made.class_names) == ("toy", "made", ("a", "b", "c"))
        assert made.path == root / "toy" / "made"
        assert made.X.dtype == np.float16  # as stored


def test_the_store_of_the_environment(root, monkeypatch):
    monkeypatch.setenv("JAXAL_STORE", str(root))
    assert load("toy").dataset == jaxal.load("toy").dataset == "toy"


def test_digits():
    made = load("digits")
    assert made.X.shape == (1437, 64)
    assert made.X_test.shape == (360, 64)
    assert made.n_classes == 10
    assert (made.dataset, made.model) == ("digits", "pixels")
    assert made.fingerprint == digits().fingerprint
    share = np.bincount(made.y) / len(made.y) - np.bincount(made.y_test) / len(made.y_test)
    assert np.abs(share).max() < 0.005, "the split is not stratified"


@pytest.mark.parametrize(
    ("dataset", "model", "message"),
    [
        ("mnly", None, "unknown dataset 'mnly': did you mean mnli?"),
        ("digit", None, "unknown dataset 'digit': did you mean digits?"),
        ("tooy", None, "unknown dataset 'tooy': did you mean toy?"),
        ("qnli", None, "qnli is not in the store"),
        ("toy", "mad", "unknown model 'mad': did you mean made?"),
        ("digits", "minilm", "unknown model 'minilm'"),
        ("some/where", None, "some/where is no stored pool"),
        ("", None, "'' is no dataset: give a name in the store, a path, or digits"),
        ("x" * 300, None, "unknown dataset 'xxx"),
        ("x" * 300 + ".npz", None, ".npz does not exist"),
        ("x" * 300 + "/made", None, "is no stored pool"),
        ("~nosuchuser", None, "unknown dataset '~nosuchuser'"),
        ("~nosuchuser/x", None, "is no stored pool"),
        (".foo:bar", None, "unknown dataset '.foo:bar'"),
        ("..", None, ".. is no stored pool"),
        ("/", None, "/ is no stored pool"),
        ("a\0b", None, "unknown dataset 'a\0b'"),
        ("a\0b.npz", None, ".npz does not exist"),
        ("a\ud800", None, "unknown dataset"),
        (None, None, "None is no dataset"),
        (3, None, "3 is no dataset"),
        ("toy", "x" * 300, "unknown model 'xxx"),
        ("toy", "../made", "unknown model '../made'"),
        ("train.csv", None, "unknown dataset 'train.csv'"),
    ],
)
def test_unknown_names_get_the_closest(root, dataset, model, message):
    with pytest.raises(JaxalError) as e:
        load(dataset, model, root)
    assert message in str(e.value)
    assert "\n" not in str(e.value)
    if dataset == "qnli":
        assert "jaxal extract --name qnli" in str(e.value)
        assert str(root) in str(e.value)


@pytest.mark.parametrize(
    ("store_", "message"),
    [("~nosuchuser/store", "home of an unknown user"), ("x" * 300, "unknown dataset"), ("a\0b", "unknown dataset"),
     (".foo:bar", "unknown dataset"), ("/dev/null", "unknown dataset")],
)  # fmt: skip
def test_stores_that_are_none(root, store_, message):
    with pytest.raises(JaxalError, match=message):
        load("toy", root=store_)


def test_a_stored_pool_whose_dataset_is_a_path_is_refused(root):
    file = root / "toy" / "made" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dataset": "../../x"}))
    with pytest.raises(StoreError, match="which is no name"):
        load(str(file.parent))


def test_a_model_that_a_path_or_file_does_not_have_is_refused(root, tmp_path):
    assert load(str(root / "toy" / "made"), "made").model == "made"
    for dataset in (root / "toy" / "made", write_npz(tmp_path / "p.npz")):
        with pytest.raises(DataError, match="unknown model 'minilm'"):
            load(str(dataset), "minilm")


def test_a_folder_here_with_the_name_of_a_stored_dataset_does_not_hide_it(root):
    (root.parent / "work" / "toy").mkdir()
    assert load("toy", root=root).path == root / "toy" / "made"


def test_a_damaged_pool_does_not_hide_the_others(root):
    (root / "mnli" / "minilm" / "manifest.json").write_text("{")
    assert load("toy", root=root).dataset == "toy"
    with pytest.raises(StoreError, match=r"mnli.*manifest\.json"):
        load("mnli", root=root)


def test_unlabeled_and_testless_stored_pools(root):
    X, y, _, _ = arrays()
    path = store.write_arrays(root / "raw" / "made", X, None, **ABOUT | {"class_names": []})
    made = load(str(path))
    assert made.y is None
    assert made.X_test is None
    assert made.n_classes == 0
    path = store.write_arrays(root / "half" / "made", X, np.where(y == 1, -1, y), **ABOUT)
    made = load(str(path))
    assert (made.y == -1).sum() == (y == 1).sum()
    assert made.n_classes == 3


@pytest.mark.parametrize("kind", ["truncated", "missing", "N", "D", "bits", "nan", "label", "unfinished"])
def test_damage_of_a_stored_pool_is_named(root, kind):
    path = root / "toy" / "made"
    shard = next(path.glob("train-*"))
    about = json.loads((path / "manifest.json").read_text())
    if kind == "truncated":
        shard.write_bytes(shard.read_bytes()[:-5])
    elif kind == "missing":
        shard.unlink()
    elif kind in ("N", "D"):
        (path / "manifest.json").write_text(json.dumps(about | {kind: about[kind] + 1}))
    elif kind == "label":
        (path / "manifest.json").write_text(json.dumps(about | {"class_names": ["a"]}))
    elif kind == "unfinished":
        (path / "manifest.json").rename(path / "unfinished.json")
    elif kind in ("bits", "nan"):
        content = bytearray(shard.read_bytes())
        content[-2:] = b"\x00\x7e"  # NaN in float16
        shard.write_bytes(content)
        if kind == "nan":
            about["files"][shard.name]["sha256"] = hashlib.sha256(content).hexdigest()
            (path / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(StoreError) as e:
        load("toy", root=root)
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)
    assert ("row 119" in str(e.value)) == (kind == "nan")
