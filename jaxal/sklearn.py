"""jaxal's classifier with scikit-learn's face: `LogisticRegression`, for pipelines and other libraries."""

import warnings
from numbers import Integral, Real
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils import check_scalar
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jaxal.numerics import logreg
from jaxal.numerics.arrays import bucket


def load_classifier(path):
    """What `jaxal fit` wrote into the folder `path`, as a fitted LogisticRegression whose classes are names, sorted.

    Behind a `Normalizer`, as a pipeline, where it was fitted on rows of length 1. Classes that had no label are not
    among its classes. Raises DataError where `path` is no classifier.
    """
    from jaxal.labeling.classifier import load_classifier as load

    loaded = load(path)
    seen = np.flatnonzero(np.isfinite(loaded.b))
    classes, order = np.unique(np.array(loaded.class_names)[seen], return_index=True)
    W, b = loaded.W[seen[order]], loaded.b[seen[order]]
    model = LogisticRegression(C=loaded.fitted["C"])
    model.classes_, model.n_iter_ = classes, np.zeros(1, np.int32)
    setattr(model, "n_features_in_", W.shape[1])  # noqa: B010  (scikit-learn's own attribute, which no stub declares)
    model.coef_, model.intercept_ = (W, b) if len(classes) != 2 else (W[1:] - W[:1], b[1:] - b[:1])
    return make_pipeline(Normalizer(), model) if loaded.normalize else model


class LogisticRegression(ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression with an L2 penalty: the optimum of `sklearn.linear_model.LogisticRegression`.

    Parameters:
        C: inverse penalty strength, above 0.
        tol: iterations end when no element of the mean objective's gradient is larger.
        max_iter: at most so many iterations. fit_intercept: whether to fit one; it is not penalized.
        warm_start: begin with the last fit's coefficients, if it was of the same classes and number of features.
    Attributes, after `fit`: `coef_` (n_classes, D) and `intercept_` (n_classes,), for two classes (1, D) and (1,), in
        X's dtype; `classes_` (n_classes,), sorted; `n_iter_` (1,); `n_features_in_`.

    float32 is computed in float32, all else in float64. One class is legal and gets probability 1.
    The other methods are scikit-learn's and take X (L, D). All raise what scikit-learn's raise: NotFittedError before
    `fit`, ValueError for an X of another width. Cost: O(L n_classes D).
    """

    def __init__(self, C=1.0, tol=1e-4, max_iter=1000, fit_intercept=True, warm_start=False):
        self.C = C
        self.tol = tol
        self.max_iter = max_iter
        self.fit_intercept = fit_intercept
        self.warm_start = warm_start

    def fit(self, X, y, sample_weight=None):
        """Fit on labeled rows.

        The objective is the weighted mean of the log losses plus |coef_|^2 / (2 C sum(sample_weight)).

        Args: X: (L, D). y: (L,) labels, numbers or strings. sample_weight: (L,), not negative; None: 1 each.
        Raises: TypeError and ValueError for parameters and data that cannot be used, as scikit-learn does.
        Warns: ConvergenceWarning after `max_iter` iterations without convergence.
        Cost: two products of X with the coefficients an iteration, and a copy of X.
        """
        self._check_parameters()
        X, y = cast(tuple[np.ndarray, np.ndarray], validate_data(self, X, y, dtype=[np.float64, np.float32]))
        check_classification_targets(y)
        weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        classes, codes = np.unique(y, return_inverse=True)
        before = self._start(classes, X) if self.warm_start else None
        rows = np.arange(len(X), dtype=np.int32)[None]
        options = {"tol": float(self.tol), "max_iter": int(self.max_iter), "intercept": bool(self.fit_intercept)}
        with jax.enable_x64(X.dtype == np.float64):
            init = before or logreg.zeros(1, len(classes), X.shape[1], X.dtype)
            codes = codes.astype(np.int32)[None]
            X = np.pad(X, ((0, bucket(len(X)) - len(X)), (0, 0)))  # or every L would be compiled anew
            fitted = logreg.fit_rows(jnp.asarray(X), rows, codes, init=init, C=self.C, weight=weight[None], **options)
            (W, b), n_iter, converged = jax.tree.map(
                lambda a: np.asarray(a[0]), (fitted.params, fitted.iterations, fitted.converged)
            )
        if not converged:
            warnings.warn(
                f"jaxal's LogisticRegression did not converge in {n_iter} iterations (max_iter={self.max_iter}): "
                "raise max_iter or tol, or scale X",
                ConvergenceWarning,
                stacklevel=2,
            )
        b = np.where(np.isfinite(b), b, 0)
        self.classes_, self.n_iter_ = classes, n_iter.reshape(1)
        self.coef_, self.intercept_ = (W, b) if len(classes) != 2 else (W[1:] - W[:1], b[1:] - b[:1])
        return self

    def _check_parameters(self) -> None:
        check_scalar(self.C, "C", Real, min_val=0, include_boundaries="neither")
        check_scalar(self.tol, "tol", Real, min_val=0)
        check_scalar(self.max_iter, "max_iter", Integral, min_val=0)
        for name in ("C", "tol"):
            if np.isnan(getattr(self, name)):  # check_scalar lets it pass
                raise ValueError(f"{name} == nan: it must be a number")
        for name in ("fit_intercept", "warm_start"):
            check_scalar(getattr(self, name), name, (bool, np.bool_))

    def _start(self, classes, X) -> logreg.Params | None:
        """The last fit as (1, C, D) parameters, if it was of the same classes and features."""
        if not hasattr(self, "coef_") or not np.array_equal(self.classes_, classes):
            return None
        W, b = self.coef_.astype(X.dtype), self.intercept_.astype(X.dtype)
        if W.shape[1] != X.shape[1]:
            return None
        W, b = ((a if len(classes) != 2 else np.concatenate([-a, a]) / 2)[None] for a in (W, b))
        return logreg.Params(cast(jax.Array, W), cast(jax.Array, b))

    def decision_function(self, X):
        """Logits (L, n_classes); for two classes the second one's lead over the first, (L,). In X's dtype."""
        check_is_fitted(self)
        X = cast(np.ndarray, validate_data(self, X, dtype=[np.float64, np.float32], reset=False))
        Z = X @ self.coef_.T.astype(X.dtype) + self.intercept_.astype(X.dtype)
        return Z[:, 0] if len(self.classes_) == 2 else Z

    def predict_log_proba(self, X):
        """Log probabilities (L, n_classes), in the order of `classes_` and X's dtype; they never underflow."""
        Z = self.decision_function(X)
        if len(self.classes_) == 2:
            Z = np.stack([np.zeros_like(Z), Z], axis=1)
        Z = Z - Z.max(axis=1, keepdims=True)
        return Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))

    def predict_proba(self, X):
        """Probabilities (L, n_classes), in the order of `classes_` and X's dtype."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X):
        """The most probable class of each row, (L,); of equals the first in `classes_`. In the dtype of y."""
        Z = self.decision_function(X)
        return self.classes_[(Z > 0).astype(int) if len(self.classes_) == 2 else Z.argmax(axis=1)]
