"""Both ways between jaxal and scikit-activeml: `Strategy` for their loops, and their strategies for `jaxal run`."""

import inspect

import jax
import numpy as np
from scipy.special import softmax
from skactiveml import pool as theirs
from skactiveml.base import SingleAnnotatorPoolQueryStrategy, SkactivemlClassifier
from skactiveml.utils import MISSING_LABEL, is_labeled
from sklearn.base import clone

from jaxal import labeling, strategies
from jaxal.errors import ConfigError, unknown
from jaxal.pool import Pool


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
        made = strategies.make(self.strategy, self.variant, **(self.settings or {}))
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
            np.searchsorted(rows, labeled),
            codes,
            max(1, len(classes)),
            self.strategy,
            len(free) if return_utilities else batch_size,
            int(self.random_state_.randint(2**31)),
            None if probabilities is None else probabilities[rows],
            C=self.C,
            variant=self.variant,
            **(self.settings or {}),
        )
        chosen = rows[chosen]
        if not return_utilities:
            return chosen
        utilities = np.full((batch_size, len(X)), np.nan)
        for i in range(batch_size):
            utilities[i, chosen[i:]] = scores[i:]
        return chosen[:batch_size], utilities


def factory(name: str):
    """The factory of the scikit-activeml strategy called `name` (`CoreSet`), run on the host, one seed after another.

    Its settings are those of the class. It is made anew for each query, with a random state from the seed's key.
    """
    known = [n for n in dir(theirs) if inspect.isclass(getattr(theirs, n))]
    known = [n for n in known if issubclass(getattr(theirs, n), SingleAnnotatorPoolQueryStrategy)]
    if name not in known:
        raise ConfigError(unknown("scikit-activeml strategy", name, known))
    cls = getattr(theirs, name)
    takes = inspect.signature(cls.query).parameters
    needs = [
        p.name
        for p in takes.values()
        if p.default is p.empty and p.name not in ("self", "X", "y", "clf", "discriminator")
    ]
    if needs or "discriminator" in takes:
        what = ", ".join(needs or ["discriminator"])
        raise ConfigError(
            f"skactiveml:{name} also needs {what}, which a run does not have: use it in a loop of your own"
        )

    def make(variant, **settings) -> strategies.Strategy:
        def select(keys, aux, carry, state):
            X, labels = np.asarray(state.X), np.asarray(state.labels)
            seeds = np.asarray(jax.vmap(lambda key: jax.random.bits(key, (), "uint32"))(keys) >> 1)
            rows = [
                one(X, labels[s], _Fitted.of(state, s), int(seeds[s]), state.batch_size) for s in range(len(labels))
            ]
            rows = np.array(rows, np.int32)
            return rows, np.zeros(rows.shape, X.dtype), carry

        def one(X, labels, clf, seed, batch_size):
            query = cls(random_state=seed, **settings)
            given = {"clf": clf, "fit_clf": False} if "clf" in takes else {}
            return query.query(X, np.where(labels < 0, np.nan, labels), batch_size=batch_size, **given)

        return strategies.Strategy(lambda pool, key: (), lambda aux, state: (), select, host=True)

    settings = [
        p for p in inspect.signature(cls).parameters.values() if p.name not in ("missing_label", "random_state")
    ]
    keywords = [p.replace(kind=p.KEYWORD_ONLY) for p in settings]
    variant = inspect.Parameter("variant", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    make.__signature__ = inspect.Signature([variant, *keywords])
    return make


class _Fitted(SkactivemlClassifier):
    """jaxal's classifier as it is fitted for one seed; their `fit` leaves it so."""

    def __init__(self, W=None, b=None, classes=None, missing_label=MISSING_LABEL):
        super().__init__(classes=classes, missing_label=missing_label)
        self.W = W
        self.b = b

    @classmethod
    def of(cls, state, seed: int) -> "_Fitted":
        W, b = (np.asarray(a[seed]) for a in state.params)
        fitted = cls(W, b, classes=list(range(len(b))))
        fitted.classes_ = np.arange(len(b))
        return fitted

    def fit(self, X, y, sample_weight=None):
        """Fitted already."""
        return self

    def predict_proba(self, X):
        """(N, C), 0 for classes never seen."""
        return softmax(X @ self.W.T + self.b, axis=1)

    def predict(self, X):
        """The most probable class, a number."""
        return self.predict_proba(X).argmax(axis=1)
