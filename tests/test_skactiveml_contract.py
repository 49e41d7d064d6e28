"""What scikit-activeml asks of a pool query strategy, of `jaxal.skactiveml.Strategy`: every strategy and variant.

One shape for nearly everything, 24 rows and batches of 5, so that little is compiled.
"""

import pickle
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.errors import ConfigError
from jaxal.strategies import IPS, STRATEGIES, register
from jaxal.strategies import Strategy as Plain

pytest.importorskip("skactiveml", reason="scikit-activeml is in the extra `skactiveml`")
from skactiveml.classifier import ParzenWindowClassifier
from skactiveml.exceptions import MappingError
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from jaxal.skactiveml import Strategy

VARIANTS = ("official", "skactiveml")
EVERY = [pytest.param(name, variant, id=f"{name}-{variant}") for name in STRATEGIES for variant in VARIANTS]
every = pytest.mark.parametrize(("name", "variant"), EVERY)
pytestmark = pytest.mark.filterwarnings("ignore:probcover")

N, B = 24, 5
LABELED = np.array([0, 3, 7, 8, 15, 21])
FREE = np.setdiff1d(np.arange(N), LABELED)


def problem():
    """X (24, 3) with duplicates, and y (24,): two classes, six labels."""
    X = 0.3 * np.random.default_rng(5).normal(size=(N, 3))
    X[10:13] = X[9]
    y = np.full(N, np.nan)
    y[LABELED] = [0, 1, 0, 1, 1, 0]
    return X, y


def parzen(**kwargs):
    return ParzenWindowClassifier(**({"classes": [0, 1], "random_state": 0} | kwargs))


def check_utilities(name, picks, utilities, candidates):
    """NaN exactly where a row could not be picked; the pick is the best of its row, or one that could be drawn."""
    assert utilities.shape[0] == len(picks) == len(set(picks.tolist()))
    assert utilities.dtype == np.float64
    for i, pick in enumerate(picks):
        left = np.setdiff1d(candidates, picks[:i])
        np.testing.assert_array_equal(np.flatnonzero(~np.isnan(utilities[i])), left)
        best = utilities[i, left].max()
        if name == "badge" and i > 0:
            assert utilities[i, pick] > 0 or best == 0
        else:
            np.testing.assert_allclose(utilities[i, pick], best, rtol=1e-9)


@pytest.mark.parametrize("given", [False, True], ids=["own classifier", "given classifier"])
@every
def test_utilities_are_what_the_picks_were_chosen_by(name, variant, given):
    X, y = problem()
    clf = parzen() if given else None
    query = Strategy(name, variant, random_state=np.random.RandomState(1))
    picks, utilities = query.query(X, y, clf, batch_size=B, return_utilities=True)
    assert picks.dtype == np.int64
    assert utilities.shape == (B, N)
    check_utilities(name, picks, utilities, FREE)
    assert name == "random" or len(np.unique(utilities[0, FREE])) > 1  # a constant would pass all else
    np.testing.assert_array_equal(picks, query.query(X, y, clf, batch_size=B))
    again = query.query(X, y, clf, candidates=FREE[::-1], batch_size=B, return_utilities=True)
    np.testing.assert_array_equal(picks, again[0])
    np.testing.assert_array_equal(utilities, again[1])


@every
def test_rows_that_are_neither_labeled_nor_candidates_are_not_looked_at(name, variant):
    """The picks among some rows of a pool are those in a pool of these rows; a candidate's label does not count."""
    X, y = problem()
    clf = parzen().fit(X, y)
    rows = np.delete(np.arange(N + 9), np.arange(1, 18, 2))
    large, labels = np.full((N + 9, 3), 1e3), np.full(N + 9, np.nan)
    large[rows], labels[rows] = X, y
    labels[rows[FREE[:9]]] = 1  # as many rows without a label as in the small pool: their random state depends on that
    for classifier in (None, clf):
        query = Strategy(name, variant, random_state=1)
        small = query.query(X, y, classifier, False, batch_size=B, return_utilities=True)
        picks, utilities = query.query(large, labels, classifier, False, rows[FREE], B, return_utilities=True)
        check_utilities(name, picks, utilities, rows[FREE])
        np.testing.assert_array_equal(picks, rows[small[0]])
        np.testing.assert_array_equal(utilities[:, rows], small[1])
    with pytest.raises(MappingError):
        query.query(X, y, candidates=X[FREE])


@every
def test_a_batch_beyond_the_candidates_is_cut_with_a_warning(name, variant):
    X, y = problem()
    few = FREE[:B]
    y[FREE[B:]] = 1
    query = Strategy(name, variant, random_state=0)
    with pytest.warns(UserWarning, match="batch_size=5"):
        picks, utilities = query.query(X, y, batch_size=B + 2, return_utilities=True)
    assert sorted(picks.tolist()) == few.tolist()
    check_utilities(name, picks, utilities, few)
    y[few] = 0
    with pytest.warns(UserWarning, match="batch_size=0"):
        picks, utilities = query.query(X, y, return_utilities=True)
    assert picks.shape == (0,)
    assert utilities.shape == (0, N)


@every
def test_nothing_that_is_given_changes(name, variant):
    X, y = problem()
    candidates, clf = FREE.copy(), parzen().fit(X, y)
    query = Strategy(name, variant, settings={}, random_state=np.random.RandomState(4))
    before = pickle.dumps((X, y, candidates, clf, query.get_params()))
    for fit_clf in (True, False):
        query.query(X, y, clf, fit_clf, candidates, B, return_utilities=True)
    assert pickle.dumps((X, y, candidates, clf, query.get_params())) == before


@every
def test_every_kind_of_label_is_understood(name, variant):
    X, y = problem()
    expected = Strategy(name, variant, random_state=0).query(X, y, batch_size=B)
    given = Strategy(name, variant, random_state=0).query(X, y, parzen(), batch_size=B)
    kinds = [(0, [1, 2], int), (None, [1, 2], object), (None, ["A", "B"], object), ("", ["A", "B"], "<U1")]
    for missing, classes, dtype in kinds:
        labels = np.full(N, missing, dtype)
        labels[LABELED] = np.array(classes, dtype)[y[LABELED].astype(int)]
        query = Strategy(name, variant, missing_label=missing, random_state=0)
        np.testing.assert_array_equal(query.query(X, labels, batch_size=B), expected)
        clf = parzen(classes=classes, missing_label=missing)
        np.testing.assert_array_equal(query.query(X, labels, clf, batch_size=B), given)


@every
def test_a_loop_can_begin_without_labels(name, variant):
    X, truth = problem()[0], np.arange(N) % 2
    for clf in (None, parzen()):
        y, query = np.full(N, np.nan), Strategy(name, variant, random_state=0)
        for _ in range(2):
            free = np.flatnonzero(np.isnan(y))
            picks, utilities = query.query(X, y, clf, batch_size=B, return_utilities=True)
            check_utilities(name, picks, utilities, free)
            y[picks] = truth[picks]
        y[:] = np.where(np.arange(N) == 4, 1, np.nan)
        assert 4 not in query.query(X, y, clf, batch_size=B)


@every
def test_what_no_strategy_takes_is_refused(name, variant):
    X, y = problem()
    good = {"X": X, "y": y, "clf": parzen(), "batch_size": B}
    bad = [
        *((TypeError, {"clf": value}) for value in (np.nan, "state", object(), LogisticRegression())),
        *((TypeError, {"fit_clf": value}) for value in (np.nan, "state", None)),
        *((TypeError, {"return_utilities": value}) for value in ("yes", None)),
        (TypeError, {"batch_size": 1.2}),
        (ValueError, {"batch_size": 0}),
        (ValueError, {"X": "text"}),
        (ValueError, {"X": np.vstack([X, X])}),
        (ValueError, {"y": np.vstack([y, y])}),
        (TypeError, {"y": np.nan}),
        (ValueError, {"candidates": np.nan}),
        (ValueError, {"candidates": [N]}),
        (TypeError, {"clf": parzen(missing_label="")}),
    ]
    for error, change in bad:
        with pytest.raises(error):
            Strategy(name, variant).query(**(good | change))
    for error, change in [(ValueError, {"random_state": "state"}), (TypeError, {"missing_label": object})]:
        with pytest.raises(error):
            Strategy(name, variant, **change).query(**good)
    for change in ({"settings": {"nonesuch": 1}}, {"variant": "nonesuch"}, {"C": 0}):
        with pytest.raises(ConfigError, match=r"nonesuch|C is 0"):
            Strategy(**({"strategy": name, "variant": variant} | change)).query(**good)


def test_parameters_are_kept_as_they_are():
    things = {p: object() for p in Strategy().get_params()}
    assert all(getattr(Strategy(**things), p) is thing for p, thing in things.items())
    params = {"strategy": "typiclust", "variant": "skactiveml", "settings": {"k": 3}, "C": 2.0}
    params |= {"missing_label": "", "random_state": 7}
    copy: Any = clone(Strategy(**params))
    assert copy.get_params() == params


class Spy(ParzenWindowClassifier):
    """Notes what it is asked."""

    asked: list = []  # noqa: RUF012  (one list for all copies that scikit-learn makes)

    def fit(self, X, y, sample_weight=None):
        self.asked.append("fit")
        return super().fit(X, y, sample_weight)

    def predict_proba(self, X):
        self.asked.append("predict_proba")
        return super().predict_proba(X)


@every
def test_a_given_classifier_takes_the_place_of_ours(name, variant, monkeypatch):
    X, y = problem()
    monkeypatch.setattr(Spy, "asked", asked := [])
    own = Strategy(name, variant, random_state=0).query(X, y, batch_size=B)
    monkeypatch.setattr("jaxal.numerics.logreg.fit_rows", None)  # to call it is an error

    def picks(clf, fit_clf=True):
        return list(Strategy(name, variant, random_state=0).query(X, y, clf, fit_clf, batch_size=B))

    fresh = picks(Spy(classes=[0, 1], random_state=0))
    if name in IPS:
        assert fresh == list(own)
        assert not asked
        return
    assert asked.count("fit") == 1
    assert len(asked) > 1
    fitted = Spy(classes=[0, 1], random_state=0).fit(X, y)
    asked.clear()
    assert picks(fitted, False) == fresh
    assert "fit" not in asked
    assert picks(parzen().fit(X[:, ::-1], y), False) != fresh


@pytest.mark.parametrize("variant", VARIANTS)
def test_dropquery_asks_once_for_each_mask(variant, monkeypatch):
    """Also where utilities are wanted, of a classifier that answers differently every time."""
    X, y = problem()
    rng, calls = np.random.default_rng(0), []

    def predict(self, X):
        calls.append(X)
        return rng.integers(0, 2, len(X))

    monkeypatch.setattr(ParzenWindowClassifier, "predict", predict)
    query = Strategy("dropquery", variant, {"n_masks": 4}, random_state=0)
    picks, utilities = query.query(X, y, parzen(), batch_size=B, return_utilities=True)
    check_utilities("dropquery", picks, utilities, FREE)
    assert len(calls) == 5
    np.testing.assert_array_equal(calls[0], X)
    for dropped in calls[1:]:
        kept = dropped != 0
        np.testing.assert_array_equal(dropped, np.where(kept, X * (4 if variant == "official" else 1), 0))
        assert 0.1 < kept.mean() < 0.4


def test_a_strategy_of_ones_own_needs_utilities_to_show_them():
    X, y = problem()

    def last(keys, aux, carry, state):
        rows = jnp.argsort(jnp.where(state.labeled, -1, jnp.arange(N)))[:, : -state.batch_size - 1 : -1]
        return rows.astype(jnp.int32), jnp.zeros(rows.shape), carry

    register("last", Plain(lambda pool, key: (), lambda aux, state: (), last))
    register("row number", lambda key, state: jnp.arange(float(N)))
    np.testing.assert_array_equal(Strategy("last").query(X, y, batch_size=B), FREE[: -B - 1 : -1])
    with pytest.raises(ConfigError, match="last has no utilities"):
        Strategy("last").query(X, y, batch_size=B, return_utilities=True)
    picks, utilities = Strategy("row number").query(X, y, batch_size=B, return_utilities=True)
    np.testing.assert_array_equal(picks, FREE[: -B - 1 : -1])
    check_utilities("row number", picks, utilities, FREE)
    np.testing.assert_array_equal(utilities[0, FREE], FREE)
