"""jaxal's strategies with scikit-activeml's face, for its loops: `Strategy`."""

import numpy as np
from skactiveml.base import SingleAnnotatorPoolQueryStrategy
from skactiveml.utils import MISSING_LABEL, is_labeled
from sklearn.base import clone

from jaxal import strategies
from jaxal.data.pool import Pool
from jaxal.errors import ConfigError
from jaxal.labeling import query as labeling


class Strategy(SingleAnnotatorPoolQueryStrategy):
    """A jaxal strategy as a scikit-activeml query strategy: `Strategy("badge").query(X, y, clf, batch_size=10)`.

    Parameters: strategy, a name or `module:function`; variant; settings, a dict of the strategy's own; C of jaxal's
    classifier, which is fitted when no `clf` is given; missing_label and random_state as in scikit-activeml.
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
            X: (N, D). y: (N,) labels, `missing_label` where there is none.
            clf: a SkactivemlClassifier whose probabilities are used, fitted here if `fit_clf`; None: jaxal's own.
            candidates: None, all rows without a label; or their numbers (n_candidates,). Rows that are neither labeled
                nor candidates are not looked at.
            return_utilities: also the score of every candidate, (batch_size, N), NaN elsewhere and where it was chosen
                before. Only of strategies that score rows one by one.
        Returns: row numbers (batch_size,), distinct. Fewer, with a warning, where fewer candidates are left.
        Raises: ConfigError, for utilities that a strategy has not, and for what it cannot do.
        """
        X, y, candidates, batch_size, return_utilities = self._validate_data(
            X, y, candidates, batch_size, return_utilities, reset=True
        )
        _, free = self._transform_candidates(candidates, X, y, enforce_mapping=True)
        made = strategies.make(self.strategy, self.variant, self.settings)
        if return_utilities and not made.pointwise:
            raise ConfigError(
                f"{self.strategy} has no utilities: what a row is worth to it depends on the others picked"
            )
        probabilities = None
        if clf is not None and self.strategy not in strategies.IPS:
            clf = clone(clf).fit(X, y) if fit_clf else clf
            probabilities = clf.predict_proba(X)
        labeled = np.setdiff1d(np.flatnonzero(is_labeled(y, self.missing_label_)), free)
        rows = np.union1d(labeled, free)
        classes, codes = np.unique(y[labeled], return_inverse=True)
        chosen, scores = labeling.choose(
            Pool(X[rows]),
            labeled_rows=np.searchsorted(rows, labeled),
            codes=codes,
            n_classes=max(1, len(classes)),
            strategy=self.strategy,
            batch_size=len(free) if return_utilities else batch_size,
            seed=int(self.random_state_.randint(2**31)),
            probabilities=None if probabilities is None else probabilities[rows],
            C=self.C,
            variant=self.variant,
            options=self.settings,
        )
        chosen = rows[chosen]
        if not return_utilities:
            return chosen
        utilities = np.full((batch_size, len(X)), np.nan)
        for i in range(batch_size):
            utilities[i, chosen[i:]] = scores[i:]
        return chosen[:batch_size], utilities
