"""jaxal's strategies in scikit-activeml's loops, and theirs in ours."""

import numpy as np
import pytest
import small

import jaxal
from jaxal.errors import ConfigError
from jaxal.strategies import STRATEGIES, make

pytest.importorskip("skactiveml", reason="scikit-activeml is in the extra `bench`")
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import UncertaintySampling
from sklearn.linear_model import LogisticRegression

from jaxal.skactiveml import Strategy

pytestmark = pytest.mark.filterwarnings("ignore:probcover")


def problem(n_labeled=12):
    X, y, *_ = small.arrays(dtype=np.float64)
    known = np.full(len(X), np.nan)
    known[:n_labeled] = y[:n_labeled]
    return X, known, SklearnClassifier(LogisticRegression(), classes=[0, 1, 2])


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_answers_their_query(name):
    X, y, clf = problem()
    clf = None if name == "dropquery" else clf
    query = Strategy(name, random_state=3)
    rows = query.query(X, y, clf, batch_size=7)
    assert len(set(rows.tolist())) == 7 and np.isnan(y[rows]).all()
    np.testing.assert_array_equal(rows, Strategy(name, random_state=3).query(X, y, clf, batch_size=7))
    few = query.query(X, y, clf, candidates=[20, 30, 40, 41, 42], batch_size=3)
    assert set(few.tolist()) <= {20, 30, 40, 41, 42} and len(set(few.tolist())) == 3


def test_margin_is_theirs_and_has_utilities():
    X, y, clf = problem()
    rows, utilities = Strategy("margin").query(X, y, clf, batch_size=5, return_utilities=True)
    theirs, their_utilities = UncertaintySampling(method="margin_sampling", random_state=0).query(
        X, y, clf, batch_size=5, return_utilities=True
    )
    np.testing.assert_array_equal(rows, theirs)
    np.testing.assert_array_equal(np.isnan(utilities), np.isnan(their_utilities))
    seen = ~np.isnan(utilities)
    np.testing.assert_allclose(np.exp(utilities[seen]), their_utilities[seen], rtol=1e-6)


def test_what_cannot_be_done_is_said():
    X, y, clf = problem()
    with pytest.raises(ConfigError, match="badge has no utilities"):
        Strategy("badge").query(X, y, clf, return_utilities=True)
    with pytest.raises(ConfigError, match="given probabilities"):
        Strategy("dropquery").query(X, y, clf)
    with pytest.warns(UserWarning, match="batch_size"):
        assert len(Strategy("random").query(X, y, candidates=[50, 51], batch_size=3)) == 2
    with pytest.raises(ConfigError, match="did you mean CoreSet"):
        make("skactiveml:Coreset")
    with pytest.raises(ConfigError, match="also needs"):
        make("skactiveml:QueryByCommittee")


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
