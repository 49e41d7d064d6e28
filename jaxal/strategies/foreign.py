"""scikit-activeml's strategies in jaxal's loop, as `skactiveml:Name`: on the host, one seed after another."""

import inspect

import jax
import numpy as np
from skactiveml import pool
from skactiveml.base import SingleAnnotatorPoolQueryStrategy, SkactivemlClassifier
from skactiveml.utils import MISSING_LABEL
from sklearn.utils.extmath import softmax

from jaxal.errors import ConfigError, unknown
from jaxal.strategies.interface import Strategy

_GIVEN = ("self", "X", "y", "clf")  # what a run has for `query`


def factory(name: str):
    """The factory of the scikit-activeml strategy called `name` (`CoreSet`): `make(variant, **settings) -> Strategy`.

    Its settings are those of the class; the variant changes nothing. The class is instantiated anew for each query and
    seed, with a random state from the seed's key, and gets jaxal's fitted classifier. Scores are 0.
    Raises: ConfigError for a name that scikit-activeml has not, and for a strategy that needs more than X, y and clf.
    Cost: that of the class, and a copy of the embeddings on the host.
    """
    classes = inspect.getmembers(pool, inspect.isclass)
    known = {name: cls for name, cls in classes if issubclass(cls, SingleAnnotatorPoolQueryStrategy)}
    if name not in known:
        raise ConfigError(unknown("scikit-activeml strategy", name, known))
    cls = known[name]
    takes = inspect.signature(cls.query).parameters
    needs = [p.name for p in takes.values() if p.default is p.empty and p.name not in _GIVEN]
    if needs:
        raise ConfigError(
            f"skactiveml:{name} also needs {', '.join(needs)}, which a run does not have: use it in a loop of your own"
        )

    def make(variant, **settings) -> Strategy:
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
            classifier = {"clf": clf, "fit_clf": False} if "clf" in takes else {}
            return query.query(X, np.where(labels < 0, np.nan, labels), batch_size=batch_size, **classifier)

        return Strategy(lambda pool, key: (), lambda aux, state: (), select, host=True)

    # `strategies.make` reads the names of the settings off the signature
    parameters = inspect.signature(cls).parameters.values()
    settings = [p for p in parameters if p.name not in ("missing_label", "random_state")]
    variant = inspect.Parameter("variant", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    make.__signature__ = inspect.Signature([variant, *(p.replace(kind=p.KEYWORD_ONLY) for p in settings)])
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
        assert self.W is not None  # `of` has given it
        return softmax(X @ self.W.T + self.b, copy=False)

    def predict(self, X):
        """The most probable class, a number."""
        return self.predict_proba(X).argmax(axis=1)
