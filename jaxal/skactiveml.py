"""jaxal's strategies with scikit-activeml's face, for its loops: `Strategy`."""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from typing import Any, cast

import numpy as np

from jaxal import strategies
from jaxal.data.pool import Pool
from jaxal.labeling import query as labeling

try:
    from skactiveml.base import SingleAnnotatorPoolQueryStrategy, SkactivemlClassifier
    from skactiveml.utils import MISSING_LABEL, check_equal_missing_label, check_type, is_labeled
    from sklearn.base import clone
except ImportError as e:
    raise ImportError(f'jaxal.skactiveml needs scikit-activeml: pip install "jaxal[skactiveml]" ({e})') from e


class Strategy(SingleAnnotatorPoolQueryStrategy):
    """A jaxal strategy as a scikit-activeml query strategy: `Strategy("badge").query(X, y, clf, batch_size=10)`.

    Parameters:
        strategy: a name, as in `jaxal.strategies()`, or `module:function`. variant: "official" or "skactiveml".
        settings: a dict of the strategy's own, such as {"k": 10}; None: its defaults.
        C: inverse penalty strength of jaxal's classifier, which is fitted when `query` gets no `clf`.
        missing_label, random_state: as in scikit-activeml.
    """

    def __init__(
        self, strategy="badge", variant="official", settings=None, C=1.0, missing_label=MISSING_LABEL, random_state=None
    ):
        super().__init__(missing_label=missing_label, random_state=random_state)
        self.strategy = strategy
        self.variant = variant
        self.settings = settings
        self.C = C

    def query(self, X, y, clf=None, fit_clf=True, candidates=None, batch_size=1, return_utilities=False):
        """Choose rows to label next.

        Args:
            X: (N, D) numbers. float64 is computed in float64, all else in float32.
            y: (N,) labels, numbers or strings; `missing_label` where there is none.
            clf: a SkactivemlClassifier; None: jaxal's own. Badge, margin and entropy use its probabilities, dropquery
                its predictions with features dropped; the other strategies use no classifier.
            fit_clf: fit a copy of `clf` on X and y; False: it is fitted already.
            candidates: (n_candidates,) row numbers; None: all rows without a label. Rows that are neither labeled nor
                candidates are not looked at. The label of a candidate is not used, but by `clf`.
            return_utilities: also return what every candidate was worth before each pick.
        Returns: row numbers (batch_size,) int64 in pick order, distinct. Fewer, with a warning, where fewer candidates
            are left. And with `return_utilities` utilities (batch_size, N) in float64: row i is NaN for what is no
            candidate or was picked before. The pick is largest in its row, except for badge, and that up to rounding.
            - random: 0. margin: log(1 - p1 + p2). entropy: the logarithm of the entropy.
            - badge: squared distance to the picks before, which a row's probability to be drawn is proportional to;
              before the first pick the squared norm of the gradient, and the largest is taken.
            - coreset: distance to the nearest labeled row or pick, inf while there is none.
            - typiclust: typicality in what is left of the cluster whose turn it is, -inf in others.
            - probcover: how many rows its ball would newly cover.
            - dropquery: minus the distance to the centroid whose turn it is, -inf where not in question. A centroid
              with no row of its own takes a random one: 0 for those it is drawn from.
        Raises: TypeError and ValueError as scikit-activeml does; jaxal's ConfigError for an unknown strategy, variant
            or setting, for a strategy of your own without utilities, and DataError for an X that cannot be used.
        Cost: one fit, one selection, and a copy of the labeled rows and the candidates. Utilities are computed one pick
            after another: badge and coreset O(N D) each, probcover N / 32 words each, or O(N^2 D) above 65,000 rows;
            typiclust and dropquery cluster once more. Memory O(batch_size N).
        """
        X, y, candidates, batch_size, return_utilities = self._validate_data(
            X, y, candidates, batch_size, return_utilities, reset=True
        )
        check_type(fit_clf, "fit_clf", bool)
        if clf is not None:
            check_type(clf, "clf", SkactivemlClassifier)
            check_equal_missing_label(clf.missing_label, self.missing_label_)
        _, mapping = self._transform_candidates(candidates, X, y, enforce_mapping=True)
        free = np.asarray(mapping)
        utilities = np.full((batch_size, len(X)), np.nan)
        if batch_size == 0:
            return (free, utilities) if return_utilities else free

        labeled = np.setdiff1d(np.flatnonzero(is_labeled(y, self.missing_label_)), free)
        rows = np.union1d(labeled, free)
        pool = Pool(X[rows])
        asked: dict[str, Any] = {}
        if clf is not None and self.strategy not in strategies.IPS:
            clf = cast(SkactivemlClassifier, clone(clf)).fit(X, y) if fit_clf else clf
            if self.strategy == "dropquery":
                clf = clf if fit_clf else deepcopy(clf)  # to predict may use up random numbers of its own
                asked = {"predict": _remembered(clf.predict) if return_utilities else clf.predict}
            else:
                asked = {"probabilities": clf.predict_proba(pool.X)}
        classes, codes = np.unique(y[labeled], return_inverse=True)
        chosen, _, *worth = labeling.choose(
            pool,
            labeled_rows=np.searchsorted(rows, labeled),
            codes=codes,
            n_classes=max(1, len(classes)),
            strategy=self.strategy,
            batch_size=batch_size,
            seed=int(self.random_state_.randint(2**31)),
            C=self.C,
            variant=self.variant,
            options=self.settings,
            return_utilities=return_utilities,
            **asked,
        )
        if not return_utilities:
            return rows[chosen]
        utilities[:, rows] = worth[0]
        return rows[chosen], utilities


def _remembered(predict: Callable) -> Callable:
    """`predict`, called once for equal X: classifiers that break ties at random answer differently the next time."""
    known = {}

    def remembered(X):
        key = hashlib.sha256(np.ascontiguousarray(X).data).digest()
        if key not in known:
            known[key] = predict(X)
        return known[key]

    return remembered
