"""Settings: their defaults, what is refused before anything is computed, and the identity of a run."""

import numpy as np
import pytest
from small import QUICK, arrays, files_of, pool, same_tables

import jaxal
from jaxal.data.pool import Pool
from jaxal.errors import ConfigError
from jaxal.experiments import initial_pools, loop
from jaxal.experiments.config import Config, check, columns, configure, default_folder
from jaxal.experiments.experiment import run_config

NAMES = ["random", "margin", "entropy"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"initial_size": 0}, "initial_size is 0: it must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0: it must be at least 1"),
        ({"cycles": -1}, "cycles is -1"),
        ({"pool_size": 0}, "pool_size is 0"),
        ({"pool_size": -3}, "pool_size is -3"),
        ({"C": 0}, "C is 0"),
        ({"C": "much"}, "C is 'much': it must be a number"),
        ({"cycles": 2.5}, "cycles is 2.5: it must be a whole number"),
        ({"batch_size": "3"}, "batch_size is '3': it must be a whole number"),
        ({"seeds": [0.5]}, "seeds must be a count or whole numbers"),
        ({"seeds": "0,1"}, "seeds must be a count or whole numbers"),
        ({"seeds": None}, "seeds must be a count or whole numbers"),
        ({"C": -1.0}, "C is -1.0"),
        ({"C": float("nan")}, "C is nan"),
        ({"seeds": 0}, "at least one strategy and one seed"),
        ({"seeds": []}, "at least one strategy and one seed"),
        ({"seeds": -2}, "at least one strategy and one seed"),
        ({"seeds": [-1]}, "seeds must be between 0 and 2^32 - 1"),
        ({"seeds": [2**32]}, "seeds must be between 0 and 2^32 - 1"),
        ({"seeds": 10**12}, "seeds"),
        ({"strategies": []}, "at least one strategy and one seed"),
        ({"strategies": "margn"}, "unknown strategy 'margn': did you mean margin?"),
        ({"variant": "oficial"}, "unknown variant 'oficial': did you mean official?"),
        ({"ips": "rndom"}, "unknown initial pool selection 'rndom': did you mean random?"),
        ({"cycle": 3}, "unknown setting 'cycle': did you mean cycles?"),
        ({"settings": {"random": {"n_masks": 3}}}, "random has no settings (got 'n_masks')"),
        ({"settings": {"margin": {}}}, "a setting for margin, which is not among the strategies random"),
        ({"batch_size": 6, "initial_size": 4}, "the budget of 4 + 20 x 6 = 124 rows is larger than the pool of 120"),
        ({"batch_size": 5, "pool_size": 90}, "the budget of 2 + 20 x 5 = 102 rows is larger than the pool of 90"),
        # beyond 64 bits, and products that would wrap round them to something that fits the pool
        ({"cycles": 10**11}, "the budget of 3 + 100000000000 x 3 = 300,000,000,003 rows is larger"),
        ({"cycles": 2**32, "batch_size": 2**32}, "x 4294967296 = 18,446,744,073,709,551,619 rows is larger"),
        ({"cycles": 2**70}, "rows is larger than the pool of 120"),
        ({"cycles": -(2**70)}, "it must be at least 0"),
        ({"batch_size": 2**70, "cycles": 1}, "rows is larger than the pool of 120"),
        ({"batch_size": 2**64, "cycles": 0, "initial_size": 2**64}, "rows is larger than the pool of 120"),
        ({"initial_size": 2**70}, "rows is larger than the pool of 120"),
        ({"pool_size": -(2**70)}, "it must be at least 1"),
        ({"seeds": 2**70}, "are too many"),
        ({"seeds": [2**70]}, "seeds must be between 0 and 2^32 - 1"),
        ({"C": 10**400}, "it must be a number"),
        # other types
        ({"seeds": 1.5}, "seeds must be a count or whole numbers, not 1.5"),
        ({"seeds": ["a"]}, "seeds must be a count or whole numbers"),
        ({"batch_size": 2.5}, "batch_size is 2.5: it must be a whole number"),
        ({"initial_size": [3]}, "initial_size is [3]: it must be a whole number"),
        ({"pool_size": "all"}, "pool_size is 'all': it must be a whole number"),
        ({"cycles": None}, "cycles is None: it must be a whole number"),
        ({"C": None}, "C is None: it must be a number"),
        ({"C": "a"}, "C is 'a': it must be a number"),
        ({"normalize": "no"}, "normalize is 'no': it must be true or false"),
        ({"warm_start": 2}, "warm_start is 2: it must be true or false"),
        ({"strategies": [1]}, "strategies is [1]: it must be names"),
        ({"strategies": 1}, "strategies is 1: it must be names"),
        ({"strategies": [None, "margin"]}, "it must be names"),
        ({"strategies": len}, "gets one by jaxal.register"),
        ({"variant": 1}, "variant is 1: it must be a name"),
        ({"ips": ["random"]}, "ips is ['random']: it must be a name"),
        ({"settings": 5}, "settings is 5: it must be options by strategy"),
        ({"settings": {"random": 5}}, "it must be options by strategy"),
        ({"settings": {"random": {"k": {1, 2}}}}, "it must be options by strategy"),
        ({"settings": {1: {}}}, "it must be options by strategy"),
        ({"out": 5}, "out is 5: it must be the path of a results folder"),
        ({"out": "a\0b"}, "no file system has such a name"),
        ({"out": "\ud800"}, "no file system has such a name"),
    ],
    ids=lambda v: "-".join(f"{k}={x}" for k, x in v.items()) if isinstance(v, dict) else "",
)
def test_settings_are_checked_before_anything_is_computed(tmp_path, monkeypatch, settings, message):
    monkeypatch.setattr(loop, "start", lambda *_: pytest.fail("something was computed"))
    with pytest.raises(ConfigError) as e:
        jaxal.run(pool(), **{"strategies": ["random"], "out": tmp_path / "out"} | settings)
    assert message in str(e.value)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "out").exists()


def test_defaults_are_of_the_pool_and_of_the_ten_tasks():
    X, y, _, _ = arrays(n=1000)
    for n, expected in ((1000, 25), (800, 20), (39, 1), (1, 1)):
        config = configure(Pool(X[:n], y[:n]))
        assert (config.batch_size, config.initial_size, config.cycles, config.C) == (expected, expected, 20, 1.0)
        assert config.seeds == (0, 1, 2, 3, 4)
        assert config.variant == "official"
        assert config.ips == "random"
    assert configure(Pool(np.zeros((5000, 2)), np.zeros(5000, int))).batch_size == 50
    assert configure(Pool(X, y), pool_size=400).batch_size == 10
    budgets = {"agnews": 1000, "banking77": 5000, "dbpedia": 500, "fnc1": 3500, "mnli": 4000, "qnli": 4500,
               "sst2": 500, "trec6": 1000, "wikitalk": 3000, "yelp5": 2500}  # fmt: skip
    for name, budget in budgets.items():
        config = configure(Pool(X, y, dataset=name))
        assert config.batch_size == config.initial_size == budget // 20, name
    assert configure(Pool(X, y, dataset="mnli"), batch_size=7).initial_size == 200


@pytest.mark.parametrize("change", ["C", "batch_size", "initial_size", "ips", "variant", "normalize", "warm_start",
                                    "cycles", "pool_size", "pool", "strategy", "dataset", "model", "seed"])  # fmt: skip
def test_run_id_is_of_all_settings_but_the_seed(change):
    new = {"C": 2.0, "batch_size": 2, "initial_size": 2, "ips": "margin", "variant": "skactiveml", "normalize": True,
           "warm_start": False, "cycles": 7, "pool_size": 50}  # fmt: skip
    identity = {"dataset": "d", "model": "m", "pool": "p"}

    def run_id(seeds=5, strategy="margin", identity=identity, **settings):
        return columns(pool(), configure(pool(), ["margin"], seeds, **settings), identity, strategy)["run_id"]

    if change in identity:
        assert run_id(identity=identity | {change: "other"}) != run_id()
    elif change == "strategy":
        assert run_id(strategy="entropy") != run_id()
    elif change == "seed":
        assert run_id(seeds=[9]) == run_id()
    else:
        assert run_id(**{change: new[change]}) != run_id()


def test_integers_and_floats_of_any_kind_are_the_same_settings(tmp_path):
    """C=1 and C=1.0 are one run, and NumPy's numbers are numbers."""
    first = jaxal.run(pool(), NAMES, **QUICK, out=tmp_path)
    before = files_of(tmp_path)
    odd = {"C": 1, "batch_size": np.int64(3), "initial_size": np.int32(3), "normalize": np.False_, "warm_start": 1}
    again = jaxal.run(pool(), NAMES, seeds=5, cycles=np.int64(3), out=tmp_path, **odd)
    assert files_of(tmp_path) == before
    same_tables(first.tables, again.tables)


def test_pools_that_cannot_make_curves_are_refused():
    X, y, X_test, y_test = arrays()
    for bad, message in (
        (Pool(X, None, X_test, None), "label for every row"),
        (Pool(X, np.where(np.arange(120) == 3, -1, y), X_test, y_test), "label for every row"),
        (Pool(X, y), "test split"),
        (Pool(X, y, X_test), "test split"),
    ):
        with pytest.raises(ConfigError, match=message):
            jaxal.run(bad)


@pytest.mark.parametrize("run", [jaxal.run, jaxal.initial_pools])
@pytest.mark.parametrize("pool", ["digits", None, arrays()[0]], ids=["name", "none", "array"])
def test_what_is_no_pool_is_refused(run, pool):
    with pytest.raises(ConfigError, match=r"^pool is .*: give a jaxal.Pool, such as jaxal.load\('digits'\)$"):
        run(pool)


@pytest.mark.parametrize("name", [5, None, "\ud800"])
def test_names_that_no_table_can_hold_are_refused(name):
    with pytest.raises(ConfigError, match="give it a name of plain text"):
        jaxal.run(Pool(*arrays(), dataset=name), "random", 1, cycles=0)


def test_a_config_made_by_hand_is_checked_too(tmp_path):
    config = Config(strategies="margin", seeds=np.int64(2), C=1, cycles=np.int32(1), batch_size=3, initial_size=3)
    assert config == configure(pool(), "margin", 2, cycles=1)
    assert [type(v) for v in (config.C, config.cycles, config.seeds[0])] == [float, int, int]
    check(pool(), config)
    with pytest.raises(ConfigError, match=r"batch_size is 2\.5"):
        Config(("margin",), (0,), batch_size=2.5)
    with pytest.raises(ConfigError, match="larger than the pool"):
        run_config(pool(), Config(("margin",), (0,), cycles=10**11), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    same_tables(run_config(pool(), config).tables, jaxal.run(pool(), "margin", 2, cycles=1).tables)


def test_options_are_one_whatever_their_types():
    """A tuple is the list that config.json gives back, and NumPy's numbers are Python's."""
    ids = set()
    for options in ({"a": [1, 2], "b": 0.5, "c": 3}, {"c": np.int64(3), "b": np.float64(0.5), "a": (1, 2)}):
        config = configure(pool(), ["dropquery"], settings={"dropquery": options})
        ids.add(columns(pool(), config, {"dataset": "d", "model": "m", "pool": "p"}, "dropquery")["run_id"])
    assert len(ids) == 1


# of jaxal 0.1.0: results folders of today must be found, and extended, by every later version
GOLDEN = [
    ({}, "5dc9f138", "90afa004b6ae9395", "23769f30a1bb9ad0"),
    ({"C": 0.5, "normalize": True, "variant": "skactiveml", "warm_start": False},
     "9be5c6ee", "1e1958a1fbbc9b42", "b1d61d156cbe689e"),
    ({"ips": "typiclust", "cycles": 3, "batch_size": 7, "initial_size": 9, "pool_size": 500},
     "9165114a", "908cf07eda0d36db", "4ce593f3f96e6565"),
    ({"settings": {"dropquery": {"n_masks": 20}}}, "5dc9f138", "90afa004b6ae9395", "7e511b6f44334d7e"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "folder", "margin", "dropquery"), GOLDEN)
def test_run_ids_and_folders_never_change(settings, folder, margin, dropquery):
    stored = Pool(np.zeros((3000, 2)), np.arange(3000) % 2, dataset="mnli", model="minilm")
    identity = {"dataset": "mnli", "model": "minilm", "pool": "p"}
    config = configure(stored, ["margin", "dropquery"], 5, **settings)
    assert str(default_folder(stored, config)) == f"runs/mnli-minilm-{folder}"
    ids = [columns(stored, config, identity, name)["run_id"] for name in config.strategies]
    assert ids == [margin, dropquery]


def test_the_folder_of_initial_pools_never_changes():
    stored = Pool(np.zeros((3000, 2)), np.arange(3000) % 2, dataset="mnli", model="minilm")
    for selections, sizes, seeds in ((["random"], [20], 3), (["coreset", "typiclust"], [50, 100], 5)):
        steps = initial_pools.configure(stored, selections, sizes, seeds)
        assert str(initial_pools.default_folder(stored, steps)) == "runs/mnli-minilm-ips-9d1d9d2b"


@pytest.mark.parametrize(
    "dataset", ["../../x", "/etc/x", "..", "a/../../b", "a\\b", "\0", "x" * 300, "é" * 300, "\ud800", ""]
)
def test_the_default_folder_is_directly_in_runs(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = Pool(*arrays(), dataset=dataset, model="m/" * 150)
    steps = initial_pools.configure(named, ["random"], [5], 1)
    for folder in (default_folder(named, configure(named)), initial_pools.default_folder(named, steps)):
        assert len(folder.parts) == 2
        assert folder.parts[0] == "runs"
        assert "\\" not in folder.name
        folder.mkdir(parents=True)
        assert folder.resolve().parent == tmp_path / "runs"
