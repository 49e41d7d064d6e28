"""jaxal's classifier with scikit-learn's face: `LogisticRegression`, for pipelines and other libraries."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jaxal.numerics import logreg


class LogisticRegression(ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression with an L2 penalty: the optimum of `sklearn.linear_model.LogisticRegression`.

    Parameters: C, inverse penalty strength; tol, on the largest gradient element of the mean objective; max_iter;
    fit_intercept; warm_start, from the coefficients of the last fit when classes and features are the same.
    Attributes after `fit`, shaped as in scikit-learn: `coef_` (C, D), or (1, D) for two classes; `intercept_`;
    `classes_`; `n_iter_` (1,); `n_features_in_`.

    float32 is computed in float32, all else in float64. One class is legal and gets probability 1.
    """

    def __init__(self, C=1.0, tol=1e-4, max_iter=1000, fit_intercept=True, warm_start=False):
        self.C = C
        self.tol = tol
        self.max_iter = max_iter
        self.fit_intercept = fit_intercept
        self.warm_start = warm_start

    def fit(self, X, y, sample_weight=None):
        """Fit on X (L, D) and labels y (L,), numbers or strings. The penalty is 1 / (C sum of weights)."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        classes, codes = np.unique(y, return_inverse=True)
        before = self._start(classes, X) if self.warm_start else None
        rows = np.arange(len(X), dtype=np.int32)[None]
        options = {"tol": float(self.tol), "max_iter": int(self.max_iter), "intercept": bool(self.fit_intercept)}
        with jax.enable_x64(X.dtype == np.float64):
            init = before or logreg.zeros(1, len(classes), X.shape[1], X.dtype)
            codes = codes.astype(np.int32)[None]
            X = np.pad(X, ((0, logreg.bucket(len(X)) - len(X)), (0, 0)))  # rows are padded, and so must X be
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

    def _start(self, classes, X) -> logreg.Params | None:
        """The last fit as (1, C, D) parameters, if it was of the same classes and features."""
        if not hasattr(self, "coef_") or not np.array_equal(self.classes_, classes):
            return None
        W, b = self.coef_.astype(X.dtype), self.intercept_.astype(X.dtype)
        if W.shape[1] != X.shape[1]:
            return None
        return logreg.Params(*((a if len(classes) != 2 else np.concatenate([-a, a]) / 2)[None] for a in (W, b)))

    def decision_function(self, X):
        """Logits (L, C); for two classes those of the second one, (L,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        Z = X @ self.coef_.T.astype(X.dtype) + self.intercept_.astype(X.dtype)
        return Z[:, 0] if len(self.classes_) == 2 else Z

    def predict_log_proba(self, X):
        """Log probabilities (L, C), in the order of `classes_`."""
        Z = self.decision_function(X)
        if len(self.classes_) == 2:
            Z = np.stack([np.zeros_like(Z), Z], axis=1)
        Z = Z - Z.max(axis=1, keepdims=True)
        return Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))

    def predict_proba(self, X):
        """Probabilities (L, C), in the order of `classes_`."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X):
        """The most probable class of each row."""
        Z = self.decision_function(X)
        return self.classes_[(Z > 0).astype(int) if len(self.classes_) == 2 else Z.argmax(axis=1)]
