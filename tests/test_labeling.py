"""One query: which rows to label next, from arrays and from files."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pyarrow.csv as pa_csv
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from small import arrays, pool
from threadpoolctl import threadpool_limits

import jaxal
from jaxal.data import store
from jaxal.data.pool import Pool, load
from jaxal.errors import ConfigError, DataError, JaxalError
from jaxal.labeling import batch
from jaxal.labeling import labels as labels_
from jaxal.labeling import query as labeling
from jaxal.numerics import logreg
from jaxal.strategies import STRATEGIES

X, Y, _, _ = arrays()
ROWS = np.arange(0, 40, 3)  # 14 labeled rows of three classes
NAMES = np.array(["no", "maybe", "yes"])
ALL = list(STRATEGIES)


# ---- the rows


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize(("labeled", "batch_size"), [(0, 7), (14, 7), (14, 200), (119, 5), (120, 5)])
def test_exactly_min_of_batch_and_unlabeled_rows(strategy, labeled, batch_size):
    rows = np.random.default_rng(0).permutation(120)[:labeled]
    chosen = jaxal.query(X, rows, Y[rows], strategy=strategy, batch_size=batch_size)
    assert chosen.dtype == np.int64
    assert chosen.shape == (min(batch_size, 120 - labeled),)
    assert len(set(chosen)) == len(chosen)
    assert not set(chosen) & set(rows)
    assert set(chosen) <= set(range(120))


@pytest.mark.parametrize("strategy", ALL)
def test_the_same_seed_gives_the_same_rows(strategy):
    query = lambda **kwargs: jaxal.query(X, ROWS, Y[ROWS], strategy=strategy, batch_size=20, **kwargs).tolist()  # noqa: E731
    assert query() == query(seed=0) == query(seed=np.int64(0))
    cold = [jaxal.query(X, strategy=strategy, batch_size=20, seed=seed).tolist() for seed in (0, 0, 1)]
    assert cold[0] == cold[1] != cold[2]


def test_the_order_of_the_labeled_rows_does_not_matter():
    order = np.random.default_rng(1).permutation(len(ROWS))
    query = lambda rows: jaxal.query(X, rows, Y[rows], batch_size=20).tolist()  # noqa: E731
    assert query(ROWS) == query(ROWS[order]) == query(ROWS.tolist()) == query(ROWS.astype(np.uint8))


def test_rows_come_in_pick_order_by_the_margin_of_scikit_learn(monkeypatch):
    """float64 and fits to the optimum, so that no rounding decides."""
    monkeypatch.setattr(logreg, "fit_rows", partial(logreg.fit_rows, tol=1e-9))
    double = X.astype(np.float64)
    for C in (1.0, 1e-3):
        with threadpool_limits(1):  # tiny products: threads only wait for each other
            fitted = LogisticRegression(C=C, tol=1e-10, max_iter=9999).fit(double[ROWS], Y[ROWS])
        p = np.sort(fitted.predict_proba(double), axis=1)
        gap = p[:, -1] - p[:, -2]
        gap[ROWS] = np.inf
        np.testing.assert_array_equal(jaxal.query(double, ROWS, Y[ROWS], "margin", 106, C=C), np.argsort(gap)[:106])


@pytest.mark.parametrize("strategy", ["badge", "margin"])
def test_labels_are_only_names(strategy):
    """Strings, integers that are not consecutive, pandas: the same rows."""
    query = lambda X, rows, labels, **kwargs: jaxal.query(X, rows, labels, strategy, 20, **kwargs).tolist()  # noqa: E731
    expected = query(X, ROWS, Y[ROWS])
    for labels in (Y[ROWS] * 10 + 5, NAMES[Y[ROWS]], list(NAMES[Y[ROWS]]), pd.Series(NAMES[Y[ROWS]])):
        assert query(X, ROWS, labels) == expected
    assert query(pool(), ROWS, Y[ROWS]) == expected
    assert query(X, ROWS, Y[ROWS], n_classes=9) == expected, "unseen classes change it"
    if strategy == "margin":  # a list is float64, where badge draws other numbers
        assert query(X.tolist(), ROWS, Y[ROWS]) == expected


def test_query_goes_on_where_a_run_stands():
    """A query with the labels of a run's cycle chooses what the run chose next."""
    run = jaxal.run(pool(), ["margin"], seeds=5, cycles=3)
    picks = run.picks[run.picks["seed"] == 2]
    begun = picks["row"][picks["cycle"] < 3].to_numpy()
    chosen = jaxal.query(X, begun, Y[begun], strategy="margin", batch_size=3)
    assert set(chosen) == set(picks["row"][picks["cycle"] == 3])


def test_one_class_and_one_row_are_enough():
    for rows in ([5], [5, 6, 7]):
        chosen = jaxal.query(X, rows, ["same"] * len(rows), batch_size=4)
        assert len(set(chosen) - set(rows)) == 4


def test_probabilities_of_ones_own_replace_the_classifier(monkeypatch):
    monkeypatch.setattr(logreg, "fit_rows", lambda *_: pytest.fail("a classifier was fitted"))
    p = softmax(np.random.default_rng(0).normal(size=(120, 4)) * 3, axis=1)
    top = np.sort(p, axis=1)
    gap = top[:, -1] - top[:, -2]
    gap[ROWS] = np.inf
    for given in (p, p.astype(np.float32), p.tolist(), p * 7):  # their scale does not matter
        np.testing.assert_array_equal(
            jaxal.query(X, ROWS, Y[ROWS], "margin", 30, probabilities=given), np.argsort(gap)[:30]
        )
    p[:, 2] = 0  # a class that is impossible
    spread = -(p / p.sum(1, keepdims=True) * np.log(np.maximum(p / p.sum(1, keepdims=True), 1e-300))).sum(axis=1)
    chosen = jaxal.query(X, strategy="entropy", batch_size=30, probabilities=p)
    np.testing.assert_array_equal(chosen, np.argsort(-spread)[:30])


def test_a_strategy_of_ones_own():
    jaxal.register("labeling-last-column", lambda key, state: state.X[:, -1])
    chosen = jaxal.query(X, [3], ["a"], strategy="labeling-last-column", batch_size=5)
    np.testing.assert_array_equal(chosen, [row for row in np.argsort(-X[:, -1]) if row != 3][:5])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"labeled_rows": [1, 2], "labels": [0]}, DataError, "2 labeled rows but 1 labels"),
        ({"labeled_rows": [1, 120], "labels": [0, 1]}, DataError, "row 120 is not in the pool: it has rows 0 to 119"),
        ({"labeled_rows": [-1], "labels": [0]}, DataError, "labeled row -1 is not in the pool"),
        ({"labeled_rows": [4, 9, 4], "labels": [0, 1, 0]}, DataError, "row 4 is labeled twice"),
        ({"labeled_rows": [1.5], "labels": [0]}, DataError, "labeled_rows must be row numbers"),
        ({"labeled_rows": [True, False], "labels": [0, 1]}, DataError, "labeled_rows must be row numbers"),
        ({"labeled_rows": ["a"], "labels": [0]}, DataError, "labeled_rows must be row numbers"),
        ({"labeled_rows": [1, 2], "labels": [0, -1]}, DataError, "labels has -1, which is no label"),
        ({"labeled_rows": [1, 2], "labels": [0.0, np.nan]}, DataError, "labels has nan, which is no label"),
        ({"labeled_rows": [1, 2], "labels": ["a", ""]}, DataError, "labels has '', which is no label"),
        ({"labeled_rows": [1, 2], "labels": ["a", None]}, DataError, "labels has None, which is no label"),
        ({"batch_size": 0}, ConfigError, "batch_size is 0: it must be at least 1"),
        ({"strategy": "marign"}, ConfigError, "unknown strategy 'marign': did you mean margin?"),
        ({"C": 0.0}, ConfigError, "C is 0.0: it must be positive"),
        ({"seed": -1}, ConfigError, "seed is -1"),
        ({"seed": 2**32}, ConfigError, "seed is 4294967296"),
        ({"variant": "oficial"}, ConfigError, "unknown variant 'oficial': did you mean official?"),
        ({"n_masks": 3}, ConfigError, "margin has no settings (got 'n_masks')"),
        ({"X": np.full((3, 2), np.nan)}, DataError, "X row 0 has a NaN"),
        ({"probabilities": np.ones((3, 2))}, DataError, "probabilities must be (120, n_classes)"),
        ({"probabilities": np.ones(120)}, DataError, "probabilities must be (120, n_classes)"),
        ({"probabilities": np.full((120, 2), np.nan)}, DataError, "probabilities must be finite"),
        ({"probabilities": np.full((120, 2), -0.1)}, DataError, "not negative"),
        ({"probabilities": np.zeros((120, 2))}, DataError, "not all 0 in a row"),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else "",
)  # fmt: skip
def test_what_cannot_be_used_is_named(arguments, error, message):
    with pytest.raises(error) as e:
        jaxal.query(**{"X": X, "strategy": "margin"} | arguments)
    assert message in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(({"labels": labels}, "labels must be a vector of integers or strings, not ") for labels in
          (None, 3, "abc", [[0, 1]], {"a": 1}, {1, 2}, [1, [2]], [{}, {}], iter([1]), np.zeros((2, 2)))),
        *(({"labeled_rows": rows, "labels": ["a", "b", "c"]}, "labeled_rows must be row numbers, integers") for rows in
          ("abc", None, [1.5, 2, 3], ["1", "2", "3"], [[1], [2, 3]], [True] * 3, [None] * 3)),
        ({"labeled_rows": [2**70], "labels": ["a"]}, "labeled_rows must be row numbers"),
        ({"labeled_rows": [2**63], "labels": ["a"]}, "labeled row 9223372036854775808 is not in the pool"),
        *(({"batch_size": size}, "it must be a whole number") for size in (2.5, 2.0, "3", None, True, [3])),
        ({"batch_size": -(10**30)}, "it must be at least 1"),
        *(({"n_classes": n}, "n_classes is ") for n in (-3, 0, 2.5, "3", True, 10**30)),
        *(({"seed": seed}, "seed is ") for seed in (1.5, 1.0, "0", None, True, -1, 2**32, 10**30)),
        *(({"C": C}, f"C is {C}: it must be positive, and finite") for C in
          ("1", None, 0, -1, float("inf"), float("nan"), [1.0], 1j, np.float32(-1))),
        *(({"X": wrong}, "X must be a non-empty matrix of numbers") for wrong in
          (None, 3, "digits", [], [1.0, 2.0], [["a"]], np.zeros((0, 3)), np.zeros((3, 0)), [[1], [2, 3]], {})),
        *(({"probabilities": p}, "probabilities must be ") for p in
          ("abc", 3, [], [[0.5], [0.5, 0.5]], [["a"]] * 120, [[None]] * 120, np.ones((120, 0)), np.ones((119, 2)))),
        ({"strategy": None}, "a strategy is given by its name"),
        ({"variant": None}, "unknown variant 'None'"),
        ({"strategy": "typiclust", "k": {}}, "typiclust.k is {}: it must be a whole number"),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else "",
)  # fmt: skip
def test_calls_that_mean_nothing_are_one_sentence(arguments, message):
    with pytest.raises(JaxalError) as e:
        jaxal.query(**{"X": X, "strategy": "margin"} | arguments)
    assert message in str(e.value)
    assert "\n" not in str(e.value)


def test_numbers_of_numpy_are_numbers():
    plain = jaxal.query(X, ROWS, Y[ROWS], "typiclust", 7, 3, 4, C=2.0, k=6)
    numpy = jaxal.query(
        X, ROWS, Y[ROWS], "typiclust", np.int16(7), np.uint8(3), np.int64(4), C=np.float32(2), k=np.int8(6)
    )
    np.testing.assert_array_equal(plain, numpy)


# ---- files


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A stored pool of 120 rows with ids and texts, some of them nasty."""
    texts = [f'text {i}, "quoted"\nand more\r' for i in range(120)]
    path = tmp_path_factory.mktemp("labeling") / "toy" / "made"
    ids = [f"id-{i}" for i in range(120)]
    store.write_arrays(
        path, X, Y, class_names=list(NAMES), dataset="toy", model="made", settings={}, ids=ids, texts=texts
    )
    return load(str(path))


def csv(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_labels_are_read_by_row_and_by_id(stored, tmp_path):
    for text in (
        "row,label\n5,no\n7,yes\n",
        "label,text,row\nno,hello,5\nyes,,7\n",
        "\ufeffrow,label\r\n5,no\r\n\r\n7,yes",
        "id,label\nid-5,no\nid-7,yes\n",
        "id,row,label\nid-5,5,no\nid-7,7,yes\n",
    ):
        rows, labels = labels_.read_labels(csv(tmp_path, text), stored)
        assert rows.tolist() == [5, 7], text
        assert list(labels) == ["no", "yes"], text
    rows, labels = labels_.read_labels(csv(tmp_path, "row,label\n"), stored)
    assert len(rows) == len(labels) == 0
    rows, labels = labels_.read_labels(csv(tmp_path, "row,label\n005,NA\n6,null\n"), stored)
    assert rows.tolist() == [5, 6]
    assert list(labels) == ["NA", "null"], "NA is a name like any other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as CSV"),
        ("row,label\n1,no\n2,yes,more,and more\n", "cannot be read as CSV"),
        (b"row,label\n1,\xff\xfe\n", "cannot be read as CSV"),
        ('row,label\n1,"no\n', "cannot be read as CSV"),
        ("row,class\n1,no\n", "needs the columns label and row (or id); it has row, class"),
        ("text,label\nhello,no\n", "needs the columns label and row (or id); it has text, label"),
        ("row;label\n1;no\n", "it has row;label"),
        ("row,label\n1,no\nx,yes\n", "line 3: 'x' is no row number"),
        ("row,label\n-1,no\n", "line 2: '-1' is no row number"),
        ("row,label\n1.0,no\n", "line 2: '1.0' is no row number"),
        ("row,label\n,no\n", "line 2: '' is no row number"),
        ("row,label\n99999999999999999999999,no\n", "line 2: '99999999999999999999999' is no row number"),
        ("row,label\n1,no\n2,\n", "line 3 has no label"),
        ("row,label\n1,no\n2,  \n", "line 3 has no label"),
        ("row,label\n1,no\n2\n", "line 3 has no label"),
        ("id,label\nid-1,no\nid-999,no\n", "line 3: the pool has no id 'id-999'"),
        ("id,row,label\nid-1,1,no\nid-3,2,no\n", "line 3: row 2 of the pool has the id 'id-2', not 'id-3'"),
        ("row,label\n1,no\n120,no\n", "labeled row 120 is not in the pool: it has rows 0 to 119"),
        ("row,label\n1,no\n1,no\n", "row 1 is labeled twice"),
        ("row,label\n1,no\n2,ye\n", "unknown label 'ye': did you mean yes?"),
    ],
)
def test_labels_that_cannot_be_used_are_named(stored, tmp_path, text, message):
    path = csv(tmp_path, text)

    def choose():
        rows, labels = labels_.read_labels(path, stored)
        codes, n_classes = labels_.encode(labels, stored.class_names, path)
        labeling.choose(stored, labeled_rows=rows, codes=codes, n_classes=n_classes, strategy="margin", batch_size=3)

    with pytest.raises(JaxalError) as e:
        choose()
    assert message in str(e.value)
    assert "\n" not in str(e.value).strip()


def test_ids_need_a_pool_that_has_them(stored, tmp_path):
    with pytest.raises(DataError, match="this pool has no ids: use the column row"):
        labels_.read_labels(csv(tmp_path, "id,label\n1,no\n"), pool())
    with pytest.raises(DataError, match="does not exist"):
        labels_.read_labels(tmp_path / "nothing.csv", stored)
    twice = ["same"] * 2 + [str(i) for i in range(118)]
    path = store.write_arrays(
        tmp_path / "twice", X, Y, class_names=list(NAMES), dataset="t", model="m", settings={}, ids=twice
    )
    with pytest.raises(DataError, match="same"):
        labels_.read_labels(csv(tmp_path, "id,label\nsame,no\n"), load(str(path)))


def test_class_names_of_the_pool_number_the_labels():
    codes, n_classes = labels_.encode(["yes", "no"], ("no", "maybe", "yes"), "file")
    assert codes.tolist() == [2, 0]
    assert n_classes == 3
    codes, n_classes = labels_.encode(["7", "5", "7"], None, "file")
    assert codes.tolist() == [1, 0, 1]
    assert n_classes == 2
    assert labels_.encode([], None, None)[1] == 1
    assert labels_.encode([], ("a", "b"), None)[1] == 2
    codes, _ = labels_.encode(["1", "0"], Pool(X, Y).class_names, "file")
    assert codes.tolist() == [1, 0]


def test_a_batch_is_described_by_id_and_text(stored):
    records = batch.describe(stored, np.array([7, 3]), np.array([0.5, 0.25]))
    assert records == [
        {"order": 0, "row": 7, "id": "id-7", "score": 0.5, "text": 'text 7, "quoted"\nand more\r'},
        {"order": 1, "row": 3, "id": "id-3", "score": 0.25, "text": 'text 3, "quoted"\nand more\r'},
    ]
    assert batch.describe(pool(), np.array([7]), np.array([0.5])) == [{"order": 0, "row": 7, "id": "7", "score": 0.5}]
    assert batch.describe(stored, np.array([], int), np.array([])) == []


TEXTS = [
    "plain",
    "a\rb",
    "\r",
    "a\r\nb",
    "a\nb",
    'say "so"',
    '"',
    "a,b",
    "",
    " ",
    "a;b",
    "ä\u2028\x85b",
    "tab\tbed",
    "'",
]


def test_every_text_is_one_record_for_every_reader():
    """Also with a bare CR, which ends a record where it is not quoted."""
    import csv as csv_
    import io

    records = [{"order": i, "row": i, "id": str(i), "score": 0.5, "text": text} for i, text in enumerate(TEXTS)]
    written = batch.as_csv(records)
    assert written.startswith("order,row,id,score,text\n0,0,0,0.5,plain\n"), "quoted only where it must be"
    assert [r["text"] for r in csv_.DictReader(io.StringIO(written, newline=""))] == TEXTS
    assert pd.read_csv(io.BytesIO(written.encode()), na_filter=False)["text"].tolist() == TEXTS
    assert (
        pa_csv.read_csv(io.BytesIO(written.encode()), parse_options=pa_csv.ParseOptions(newlines_in_values=True))[
            "text"
        ].to_pylist()
        == TEXTS
    )
    assert [json.loads(line)["text"] for line in batch.as_jsonl(records).split("\n")[:-1]] == TEXTS
    assert batch.as_csv([]) == "order,row,id,score\n"
    assert batch.as_jsonl([]) == ""
