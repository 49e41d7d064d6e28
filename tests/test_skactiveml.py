"""jaxal's strategies in scikit-activeml's loops, and theirs in ours."""

import sys
from importlib import import_module

import numpy as np
import pytest
import small

import jaxal
from jaxal.errors import ConfigError
from jaxal.strategies import make

pytest.importorskip("skactiveml", reason="scikit-activeml is in the extra `skactiveml`")
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import UncertaintySampling
from sklearn.linear_model import LogisticRegression

from jaxal.skactiveml import Strategy


def problem(n_labeled=12):
    X, y, *_ = small.arrays(dtype=np.float64)
    known = np.full(len(X), np.nan)
    known[:n_labeled] = y[:n_labeled]
    return X, known, SklearnClassifier(LogisticRegression(), classes=[0, 1, 2])


def test_margin_is_theirs_and_has_utilities():
    X, y, clf = problem()
    rows, utilities = Strategy("margin").query(X, y, clf, batch_size=5, return_utilities=True)
    theirs, their_utilities = UncertaintySampling(method="margin_sampling", random_state=0).query(
        X, y, clf, batch_size=5, return_utilities=True
    )
    np.testing.assert_array_equal(rows, theirs)
    np.testing.assert_array_equal(np.isnan(utilities), np.isnan(their_utilities))
    seen = ~np.isnan(utilities)
    np.testing.assert_allclose(np.exp(utilities[seen]), np.asarray(their_utilities)[seen], rtol=1e-6)


def test_what_cannot_be_done_is_said():
    with pytest.raises(ConfigError, match="did you mean CoreSet"):
        make("skactiveml:Coreset")
    for name, needs in [("QueryByCommittee", "ensemble"), ("DiscriminativeAL", "discriminator")]:
        with pytest.raises(ConfigError, match=f"also needs {needs}"):
            make(f"skactiveml:{name}")


def test_without_scikit_activeml_the_extra_is_named(monkeypatch):
    for module in ("jaxal.skactiveml", "jaxal.strategies.foreign"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delattr(jaxal.strategies, "foreign", raising=False)
    for module in [name for name in sys.modules if name.partition(".")[0] == "skactiveml"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'pip install "jaxal\[skactiveml\]"'):
        import_module("jaxal.skactiveml")
    with pytest.raises(ConfigError, match=r'pip install "jaxal\[skactiveml\]"'):
        make("skactiveml:TypiClust")


def test_an_active_learning_loop_of_theirs():
    X, truth, *_ = small.arrays()
    y = np.full(len(X), np.nan)
    query = Strategy("coreset", random_state=0)
    for _ in range(4):
        rows = query.query(X, y, batch_size=5)
        y[rows] = truth[rows]
    assert (~np.isnan(y)).sum() == 20


def test_their_strategies_run_in_ours():
    """CoreSet agrees with ours from the same initial rows; Falcun uses the classifier; both resume by key."""
    pool = small.pool(dtype=np.float64)
    names = ["coreset", "skactiveml:CoreSet", "skactiveml:Falcun"]
    result = jaxal.run(pool, names, seeds=2, cycles=2, batch_size=4, initial_size=5)
    picks = result.picks.merge(result.to_pandas()[["run_id", "strategy"]].drop_duplicates())
    by = {
        name: part.sort_values(["seed", "cycle", "order"])["row"].to_list() for name, part in picks.groupby("strategy")
    }
    assert by["coreset"] == by["skactiveml:CoreSet"] != by["skactiveml:Falcun"]
    again = jaxal.run(
        pool, names[2], seeds=2, cycles=2, batch_size=4, initial_size=5, settings={names[2]: {"gamma": 10}}
    )
    assert again.picks["row"].to_list() == by["skactiveml:Falcun"]
    with pytest.raises(ConfigError, match="setting of skactiveml:Falcun"):
        make("skactiveml:Falcun", options={"gama": 3})
