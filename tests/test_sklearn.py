"""The estimator: scikit-learn's own checks, its shapes and numbers, and its place in scikit-activeml."""

import pickle
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxal.sklearn import LogisticRegression


@parametrize_with_checks([LogisticRegression()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def data(n_classes, dtype, n=120, dim=9):
    rng = np.random.default_rng(n_classes)
    y = np.arange(n) % n_classes
    X = rng.normal(size=(n, dim)) + 0.8 * rng.normal(size=(n_classes, dim))[y]
    return X.astype(dtype), np.array([f"class {c}" for c in range(n_classes)])[y]


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_classes", [2, 3, 6])
def test_numbers_and_shapes_are_those_of_scikit_learn(n_classes, fit_intercept):
    X, y = data(n_classes, np.float64)
    weight = np.random.default_rng(1).uniform(0, 3, len(y))
    options = {"C": 0.7, "fit_intercept": fit_intercept}
    ours = LogisticRegression(tol=1e-9, **options).fit(X, y, weight)
    theirs = Theirs(tol=1e-12, solver="newton-cholesky", **options).fit(X, y, weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    for method in ("decision_function", "predict_proba", "predict_log_proba"):
        np.testing.assert_allclose(getattr(ours, method)(X), getattr(theirs, method)(X), atol=1e-5)
    assert ours.score(X, y) == theirs.score(X, y)
    assert ours.n_iter_.shape == theirs.n_iter_.shape
    assert vars(ours)["n_features_in_"] == 9


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_precision_follows_X(n_classes, dtype):
    X, y = data(n_classes, dtype)
    ours, theirs = LogisticRegression().fit(X, y), Theirs().fit(X, y)
    assert ours.coef_.dtype == ours.predict_proba(X).dtype == dtype
    if not sklearn.__version__.startswith("1.6."):  # which keeps coefficients in float64
        assert theirs.coef_.dtype == dtype
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=2e-3)


def test_one_class_is_certain():
    X, _ = data(2, np.float64)
    one = LogisticRegression().fit(X, np.full(len(X), "only"))
    assert (one.predict(X) == "only").all()
    assert (one.predict_proba(X) == 1).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_warm_start_goes_on_from_the_last_fit(n_classes):
    X, y = data(n_classes, np.float64)
    model = LogisticRegression(warm_start=True, tol=1e-8).fit(X[:-5], y[:-5])
    copy: Any = clone(model)
    cold = copy.fit(X, y)
    assert model.fit(X, y).n_iter_ < cold.n_iter_
    np.testing.assert_allclose(model.coef_, cold.coef_, atol=1e-5)
    assert model.fit(X, y).n_iter_ == 0
    model.fit(X[:, :4], y)  # other features: from zero
    assert model.coef_.shape[1] == 4


def test_a_fit_cut_short_warns():
    from sklearn.exceptions import ConvergenceWarning

    X, y = data(3, np.float64)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        LogisticRegression(max_iter=2).fit(X, y)


@pytest.mark.parametrize("name", ["C", "tol", "max_iter", "fit_intercept", "warm_start"])
def test_parameters_that_mean_nothing_are_refused(name):
    """A negative C used to give coefficients without a word."""
    X, y = data(3, np.float64)
    bad = {"C": [0, -1, np.nan, "1"], "tol": [-1e-4, np.nan, None], "max_iter": [-3, 2.7]}
    for value in bad.get(name, ["no", 2, None]):
        with pytest.raises((TypeError, ValueError), match=name):
            LogisticRegression(**{name: value}).fit(X, y)


def test_pickle_and_clone():
    X, y = data(3, np.float32)
    model = LogisticRegression(C=2.0).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    copy: Any = clone(model)
    assert copy.C == 2.0


def test_inside_scikit_activeml():
    classifier = pytest.importorskip("skactiveml.classifier", reason="scikit-activeml is in the extra `skactiveml`")
    from skactiveml.pool import UncertaintySampling

    X, names = data(3, np.float64)
    truth = np.unique(names, return_inverse=True)[1].astype(float)
    y = np.where(np.arange(len(X)) < 30, truth, np.nan)
    results = []
    for estimator in (LogisticRegression(tol=1e-8), Theirs(tol=1e-10, max_iter=1000)):
        wrapped = classifier.SklearnClassifier(estimator, classes=range(4), random_state=0)
        wrapped.fit(X, y)
        query = UncertaintySampling(method="margin_sampling", random_state=0)
        results.append((wrapped.predict_proba(X), query.query(X, y, clf=wrapped, fit_clf=False, batch_size=5)))
    np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-5)
    np.testing.assert_array_equal(results[0][1], results[1][1])
