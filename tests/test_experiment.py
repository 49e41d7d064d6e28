"""Whole runs: repetition, caps, precision, strategies of one's own, and an independent loop as oracle."""

from functools import partial

import jax
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from small import QUICK, arrays, pool, same, same_tables, seeds_of
from threadpoolctl import threadpool_limits

import jaxal
from jaxal.data.pool import Pool
from jaxal.errors import StrategyError
from jaxal.experiments import loop, results
from jaxal.numerics import logreg
from jaxal.strategies import STRATEGIES, make, register

NAMES = ["random", "margin", "entropy"]


@pytest.fixture(scope="module")
def quick():
    """The quick run of every strategy, in memory."""
    return jaxal.run(pool(), NAMES, **QUICK)


def test_a_run_repeats_bit_for_bit(quick, tmp_path):
    again = jaxal.run(pool(), NAMES, **QUICK, out=tmp_path)
    same_tables(quick.tables, again.tables)
    assert quick.path is None
    assert again.path == tmp_path


def test_seeds_as_a_count_a_list_and_a_range(quick):
    for seeds in ([0, 1, 2, 3, 4], (0, 1, 1, 2, 3, 4, 0), range(5), np.arange(5), np.int64(5)):
        same_tables(quick.tables, jaxal.run(pool(), NAMES, seeds=seeds, cycles=3).tables)
    other = jaxal.run(pool(), "random", seeds=[7, 5, 2**32 - 1, 8, 9], cycles=1)
    assert (
        other.to_pandas()["seed"].unique().tolist() == [7, 5, 2**32 - 1, 8, 9] == other.picks["seed"].unique().tolist()
    )


def test_a_seed_alone_is_the_seed_among_five():
    among = jaxal.run(pool(), NAMES, seeds=5, cycles=6).tables
    for seed in (0, 3):
        alone = jaxal.run(pool(), NAMES, seeds=[seed], cycles=6).tables
        same(alone.picks, seeds_of(among.picks, seed), "score")
        same(alone.results, seeds_of(among.results, seed), "seeds_in_block")


def test_a_budget_that_takes_the_whole_pool_is_legal():
    run = jaxal.run(pool(), ["random", "margin"], seeds=5, cycles=3, batch_size=39)
    assert run.picks.groupby(["run_id", "seed"])["row"].apply(lambda r: set(r) == set(range(120))).all()
    # with everything labeled all strategies are one
    assert run.to_pandas().query("cycle == 3").groupby("seed")["accuracy"].nunique().eq(1).all()


def test_cap_is_one_subset_a_dataset_and_size(tmp_path):
    """Same rows for every model; picks and scores refer to the original pool."""
    X, y, X_test, y_test = arrays()
    one = Pool(X, y, X_test, y_test, dataset="d", model="a")
    two = Pool(X[:, ::-1] + 1, y, X_test, y_test, dataset="d", model="b")
    capped = one.cap(80)
    np.testing.assert_array_equal(capped.rows, two.cap(80).rows)
    np.testing.assert_array_equal(capped.X, X[capped.rows])
    np.testing.assert_array_equal(capped.y, y[capped.rows])
    assert len(set(capped.rows)) == 80
    assert len(capped.X_test) == len(X_test)
    assert not np.array_equal(capped.rows, Pool(X, y, dataset="e").cap(80).rows), "another dataset, another subset"
    np.testing.assert_array_equal(capped.cap(30).X, X[capped.cap(30).rows])
    assert one.cap(None) is one
    assert one.cap(120) is one
    assert one.cap(10**6) is one

    run = jaxal.run(one, ["margin"], seeds=5, cycles=3, pool_size=80, out=tmp_path)
    rows = capped.rows
    assert rows is not None
    assert set(run.picks["row"]) <= set(rows.tolist())
    assert run.picks["row"].max() >= 80, "picks are numbered within the cap"
    assert run.to_pandas()["pool_size"].eq(80).all()
    by_hand = jaxal.run(Pool(X[capped.rows], y[capped.rows], X_test, y_test), ["margin"], seeds=5, cycles=3,
                        batch_size=2, initial_size=2)  # fmt: skip
    np.testing.assert_array_equal(run.picks["row"], rows[by_hand.picks["row"]])
    np.testing.assert_array_equal(run.to_pandas()["accuracy"], by_hand.to_pandas()["accuracy"])


def test_the_cap_never_changes():
    """Rows of a cap are part of every published result: this very list, on every machine and version."""
    rows = Pool(np.zeros((50, 2)), dataset="mnli").cap(8).rows
    assert rows.tolist() == [0, 2, 11, 35, 38, 39, 40, 41]


def test_dtype_follows_the_embeddings(monkeypatch):
    """float64 in, float64 computed: what float32 cannot tell apart, float64 does."""
    X, y, X_test, y_test = arrays(dtype=np.float64)
    seen = []
    fit = partial(logreg.fit_rows, tol=1e-9)
    monkeypatch.setattr(logreg, "fit_rows", lambda X, *rest, **kw: seen.append(X.dtype) or fit(X, *rest, **kw))
    double = jaxal.run(Pool(X, y, X_test, y_test), ["margin"], **QUICK)
    fit = fit.func
    single = jaxal.run(Pool(X.astype(np.float32), y, X_test, y_test), ["margin"], **QUICK)
    assert set(seen[:4]) == {np.dtype(np.float64)}
    assert set(seen[4:]) == {np.dtype(np.float32)}
    scores = double.picks["score"].to_numpy()
    assert (scores != scores.astype(np.float32)).any()
    np.testing.assert_array_equal(single.picks["score"], single.picks["score"].astype(np.float32))


def test_normalize_is_the_run_on_unit_vectors():
    X, y, X_test, y_test = arrays()
    X, X_test = (a * np.random.default_rng(0).uniform(0.1, 9, (len(a), 1)).astype(np.float32) for a in (X, X_test))
    X[5] = 0
    plain = Pool(X, y, X_test, y_test)
    unit = plain.normalized()
    np.testing.assert_allclose(np.linalg.norm(np.delete(unit.X, 5, 0), axis=1), 1, rtol=1e-6)
    assert (unit.X[5] == 0).all()
    assert unit.X.dtype == np.float32
    run = jaxal.run(plain, ["margin"], **QUICK, normalize=True)
    by_hand = jaxal.run(unit, ["margin"], **QUICK)
    assert run.to_pandas()["normalize"].all()
    assert not by_hand.to_pandas()["normalize"].any()
    same(run.picks, by_hand.picks, "run_id")
    same(run.to_pandas(), by_hand.to_pandas(), "run_id", "normalize")
    raw = jaxal.run(plain, ["margin"], **QUICK)
    assert not np.array_equal(raw.picks["row"], run.picks["row"])


def test_a_strategy_of_your_own_runs_beside_the_others(tmp_path):
    """A score function of one seed, by name and as module:function; entry points are the strategies' tests."""
    jaxal.register("first-column", first_column)
    run = jaxal.run(pool(), ["first-column", "test_experiment:first_column"], **QUICK, out=tmp_path)
    X = arrays()[0]
    for _, picks in run.picks.groupby(["run_id", "seed"]):
        left = X[:, 0].copy()
        left[picks["row"][picks["cycle"] == 0]] = -np.inf
        np.testing.assert_array_equal(picks["row"][picks["cycle"] > 0], np.argsort(-left)[:9])
    assert set(run.to_pandas()["strategy"]) == {"first-column", "test_experiment:first_column"}


def first_column(key, state):
    return state.X[:, 0]


def test_one_and_two_classes_are_legal():
    X, y, X_test, y_test = arrays()
    zeros = np.zeros(120, int), X_test, np.zeros(60, int)
    for names, cycles in ((["the only one"], 1), (["a", "b", "c"], 3)):  # one class there is, and one of three
        one = jaxal.run(Pool(X, *zeros, class_names=names), ["margin"], seeds=5, cycles=cycles)
        assert one.to_pandas()["accuracy"].eq(1).all()
    y, y_test = np.minimum(y, 1), np.minimum(y_test, 1)
    two = jaxal.run(Pool(X, y, X_test, y_test, class_names=["a", "b", "c"]), ["margin", "entropy"], **QUICK)
    a, b = (two.picks[two.picks["run_id"] == run_id] for run_id in two.to_pandas()["run_id"].unique())
    np.testing.assert_array_equal(a["row"], b["row"])  # with two classes margin and entropy are one


def test_the_loop_is_the_plain_loop_in_scikit_learn(monkeypatch):
    """Margin in float64, every fit to the optimum: an independent NumPy loop picks the same rows, cycle by cycle."""
    monkeypatch.setattr(logreg, "fit_rows", partial(logreg.fit_rows, tol=1e-9))
    X, y, X_test, y_test = arrays(dtype=np.float64)
    run = jaxal.run(Pool(X, y, X_test, y_test), ["margin"], seeds=5, cycles=12)
    for seed in range(5):
        picks = seeds_of(run.picks, seed)
        labeled = picks["row"][picks["cycle"] == 0].tolist()
        accuracy = []
        for _ in range(13):
            classes, p, predicted = plain_fit(X, y, X_test, labeled)
            accuracy.append(np.mean(predicted == y_test))
            if len(classes) == 1:  # everything ties, and ties are ours to break
                batch = picks["row"].tolist()[len(labeled) : len(labeled) + 3]
            else:
                top = np.sort(np.asarray(p), axis=1)
                gap = top[:, -1] - top[:, -2]
                gap[labeled] = np.inf
                batch = np.argsort(gap)[:3].tolist()
            labeled += batch
        assert labeled[: len(picks)] == picks["row"].tolist(), f"seed {seed}"
        np.testing.assert_allclose(seeds_of(run.to_pandas(), seed)["accuracy"], accuracy, atol=1e-12)


def plain_fit(X, y, X_test, labeled):
    """Classes seen, probabilities of the pool, predictions of the test split."""
    classes = np.unique(y[labeled])
    if len(classes) == 1:
        return classes, None, np.full(len(X_test), classes[0])
    with threadpool_limits(1):  # tiny products: threads only wait for each other
        fitted = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(X[labeled], y[labeled])
    scores = fitted.decision_function(X)
    p = softmax(np.column_stack([0 * scores, scores]) if scores.ndim == 1 else scores, axis=1)
    return classes, p, fitted.predict(X_test)


def picking(change):
    """random, whose rows (S, B) and scores (S, B) are changed from the first query on."""
    good = make("random")

    def select(keys, aux, carry, state):
        rows, scores, carry = good.select(keys, aux, carry, state)
        return *change(np.array(rows), np.array(scores), np.asarray(state.labels)), carry

    return good._replace(select=select, host=True)


def one_row(row):
    """The last pick of the last seed is replaced by `row(rows, labels)`."""

    def change(rows, scores, labels):
        rows[-1, -1] = row(rows, labels)
        return rows, scores

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_row(lambda rows, labels: -1), "chose row -1, but the pool has rows 0 to 119"),
        (one_row(lambda rows, labels: 120), "chose row 120, but the pool has rows 0 to 119"),
        (one_row(lambda rows, labels: np.argmax(labels[-1] >= 0)), "which is labeled already"),
        (one_row(lambda rows, labels: rows[-1, 0]), "twice in one query"),
        (lambda rows, scores, labels: (rows[:, 1:], scores[:, 1:]), r"with shape \(5, 2\)"),
        (lambda rows, scores, labels: (np.hstack([rows, rows]), np.hstack([scores, scores])), r"with shape \(5, 6\)"),
        (lambda rows, scores, labels: (rows.astype(float), scores), "rows of float64"),
        (lambda rows, scores, labels: (rows, scores[:, :1]), r"scores of float32 with shape \(5, 1\)"),
        (lambda rows, scores, labels: (rows,), "returned a tuple of 2"),
    ],
    ids=["negative", "outside", "labeled", "twice", "too few", "too many", "floats", "scores", "no scores"],
)
@pytest.mark.parametrize("folder", [False, True])
def test_picks_are_checked_before_a_label_is_revealed(monkeypatch, tmp_path, folder, change, message):
    register("careless", picking(change))
    revealed = []
    monkeypatch.setattr(loop, "_reveal", lambda labels, rows, y: revealed.append(rows) or reveal(labels, rows, y))
    out = tmp_path if folder else None
    with pytest.raises(StrategyError, match=f"^the strategy careless .*{message}") as e:
        jaxal.run(pool(), ["random", "careless"], **QUICK, out=out)
    assert "\n" not in str(e.value)
    assert len(revealed) == 1 + 3, "only the initial pool's and those of random"
    if folder:
        assert set(results.read(out).results["strategy"]) == {"random"}, "what was finished is kept"


reveal = loop._reveal


def test_initial_pools_are_checked_too(monkeypatch):
    bad = picking(one_row(lambda rows, labels: -1))
    monkeypatch.setitem(STRATEGIES, "coreset", lambda variant="official": bad)
    for run in (lambda: jaxal.run(pool(), "random", 1, cycles=1, ips="coreset"),
                lambda: jaxal.initial_pools(pool(), ["coreset"], [5], 1)):  # fmt: skip
        with pytest.raises(StrategyError, match="the strategy coreset chose row -1"):
            run()


def test_a_run_compiles_the_classifier_once_and_little_else(caplog):
    """However many cycles; and nothing at all when it is repeated."""
    jax.clear_caches()
    jax.config.update("jax_enable_compilation_cache", False)
    jax.config.update("jax_log_compiles", True)
    try:
        counted = []
        for _ in range(2):
            caplog.clear()
            jaxal.run(pool(), "margin", **(QUICK | {"cycles": 20}))
            messages = [record.getMessage() for record in caplog.records]
            counted.append([m.split()[1] for m in messages if m.startswith("Compiling ")])
    finally:
        jax.config.update("jax_log_compiles", False)
        jax.config.update("jax_enable_compilation_cache", True)
    assert counted[0].count("jit(fit)") == 1
    assert len(counted[0]) <= 12
    assert counted[1] == []
