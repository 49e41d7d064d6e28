"""Strategies of one's own that go wrong: one sentence that names the strategy, what came back and what is expected."""

import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace

import commands
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner
from commands import call, refused
from small import arrays, pool

import jaxal
from jaxal.cli.group import group
from jaxal.errors import ConfigError, StrategyError
from jaxal.strategies import check_picks, make
from jaxal.strategies.interface import check_setting

cache, here, world = commands.cache, commands.here, commands.world  # fixtures

X = arrays()[0]
N = len(X)
HERE = "test_own_strategies"


def raises_inside(key, state):
    return state.X[:, 0] / (1 // 0)


def branches(key, state):
    return state.X[:, 0] if state.X.sum() > 0 else state.X[:, 1]


def takes_one(key):
    return jnp.zeros(N)


SCORES = {  # what a score function returns -> what is said of it
    "nothing": (lambda key, state: None, "returned None"),
    "a number": (lambda key, state: 0.5, "returned a float"),
    "a scalar": (lambda key, state: state.X.sum(), "returned an array of float32 with shape ()"),
    "a list": (lambda key, state: [0.5] * N, "returned a list"),
    "a string": (lambda key, state: "x" * N, "returned a str"),
    "strings": (lambda key, state: np.array(["x"] * N), "returned an array of <U1 with shape (120,)"),
    "a tuple": (lambda key, state: (state.X[:, 0], state.X[:, 1]), "returned a tuple"),
    "too few": (lambda key, state: state.X[1:, 0], "returned an array of float32 with shape (119,)"),
    "a matrix": (lambda key, state: state.X, "returned an array of float32 with shape (120, 5)"),
    "a column": (lambda key, state: state.X[:, :1], "returned an array of float32 with shape (120, 1)"),
    "integers": (lambda key, state: jnp.arange(N, dtype=jnp.int32), "returned an array of int32 with shape (120,)"),
    "booleans": (lambda key, state: state.X[:, 0] > 0, "returned an array of bool with shape (120,)"),
    "complex": (lambda key, state: state.X[:, 0].astype(jnp.complex64), "returned an array of complex64"),
}


@pytest.mark.parametrize("kind", SCORES)
def test_scores_that_are_none(kind):
    score, message = SCORES[kind]
    jaxal.register(f"returns {kind}", score)
    sentence = f"the strategy returns {kind} {message}"
    for use in (lambda name: jaxal.query(X, strategy=name, batch_size=3), lambda name: jaxal.run(pool(), name, 2)):
        with pytest.raises(StrategyError) as e:
            use(f"returns {kind}")
        assert str(e.value).startswith(sentence)
        assert str(e.value).endswith("it must return an array of floats with shape (120,), a score for each row")
        assert e.value.__cause__ is None


def test_scores_from_logits_are_checked_too():
    jaxal.register("logits", jaxal.by_logits(lambda logits: logits))
    with pytest.raises(StrategyError, match=r"test_own_strategies:.*<lambda> returned an array of float32 with shape"):
        jaxal.query(X, strategy="logits", batch_size=3)


def test_scores_of_numpy_and_not_a_number_are_fine():
    jaxal.register("numpy", lambda key, state: np.where(np.arange(N) % 2, np.nan, np.arange(N)))
    assert jaxal.query(X, strategy="numpy", batch_size=3).tolist() == [118, 116, 114]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises_inside", "ZeroDivisionError: integer division or modulo by zero"),
        ("branches", "TracerBoolConversionError: Attempted boolean conversion of traced array with shape bool[]"),
        ("takes_one", "TypeError: takes_one() takes 1 positional argument but 2 were given"),
    ],
)
def test_errors_inside_a_strategy_keep_the_traceback_of_its_author(name, message):
    with pytest.raises(StrategyError) as e:
        jaxal.query(X, strategy=f"{HERE}:{name}", batch_size=3)
    assert str(e.value).startswith(f"the strategy {HERE}:{name} failed: {message}")
    assert "\n" not in str(e.value)
    trace = e.value.__cause__.__traceback__
    if name != "takes_one":  # which never came so far
        assert trace.tb_frame.f_code.co_name == name


@pytest.mark.parametrize("part", ["prepare", "init", "select"])
def test_errors_in_every_part_of_a_strategy(part):
    def broken(*_):
        raise KeyError("gone")

    jaxal.register(f"broken {part}", make("random")._replace(**{part: broken}))
    for use in (lambda name: jaxal.query(X, strategy=name, batch_size=3), lambda name: jaxal.run(pool(), name, 2)):
        with pytest.raises(StrategyError, match=f"the strategy broken {part} failed: KeyError: 'gone'"):
            use(f"broken {part}")


def test_a_jaxal_error_of_a_strategy_is_left_as_it_is():
    def choosy(key, state):
        raise jaxal.JaxalError("give a second column")

    jaxal.register("choosy", choosy)
    with pytest.raises(jaxal.JaxalError) as e:
        jaxal.query(X, strategy="choosy", batch_size=3)
    assert str(e.value) == "give a second column"


# ---- selections

LABELS = np.full((2, 9), -1, np.int32)
LABELS[0, 3] = LABELS[1, 4] = 0
SCORES_OF_THREE = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 1, 3], [0, 1, 2]], "mine chose row 3, which is labeled already"),
        ([[0, 1, 2], [4, 1, 2]], "mine chose row 4, which is labeled already"),
        ([[0, 1, 9], [0, 1, 2]], "mine chose row 9, but the pool has rows 0 to 8"),
        ([[0, 1, 2], [0, 1, -1]], "mine chose row -1, but the pool has rows 0 to 8"),
        ([[0, 1, 0], [0, 1, 2]], "mine chose row 0 twice in one query"),
        ([[0, 1, 2], [8, 5, 8]], "mine chose row 8 twice in one query"),
        ([[0, 1], [0, 1]], "mine returned rows of int64 with shape (2, 2): they must be integers with shape (2, 3)"),
        ([[0, 1, 2, 5], [0, 1, 2, 5]], "rows of int64 with shape (2, 4)"),
        ([[0, 1, 2]], "rows of int64 with shape (1, 3)"),
        ([0, 1, 2], "rows of int64 with shape (3,)"),
        ([[0.0, 1, 2], [0, 1, 2]], "rows of float64 with shape (2, 3): they must be integers"),
        ([[True, False, True], [True, False, True]], "rows of bool"),
        ([["0", "1", "2"]] * 2, "rows of <U1"),
        ([[0, 1, 2], [0]], "mine returned rows that are no array"),
        (None, "rows of object with shape ()"),
    ],
)
def test_selections_that_are_none(rows, message):
    with pytest.raises(StrategyError) as e:
        check_picks("mine", rows, SCORES_OF_THREE, LABELS, 3)
    assert message in str(e.value)
    assert str(e.value).startswith("the strategy mine ")
    assert "\n" not in str(e.value)


def test_selections_as_they_must_be():
    for rows in ([[0, 1, 2], [0, 3, 8]], np.array([[8, 7, 6], [5, 6, 7]], np.uint8)):
        check_picks("mine", rows, SCORES_OF_THREE, LABELS, 3)
        check_picks("mine", jnp.asarray(np.array(rows)), jnp.asarray(SCORES_OF_THREE), jnp.asarray(LABELS), 3)
    check_picks("mine", [[0, 1, 2]] * 2, np.full((2, 3), np.nan), LABELS, 3)
    for scores in (np.zeros((2, 2)), np.zeros(3), [["a"] * 3] * 2, None):
        with pytest.raises(StrategyError, match="the strategy mine returned scores of"):
            check_picks("mine", [[0, 1, 2]] * 2, scores, LABELS, 3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda state: jnp.full((1, 3), -1, jnp.int32), "chose row -1"),
        (lambda state: jnp.full((1, 3), 7, jnp.int32), "chose row 7 twice"),
        (lambda state: jnp.array([[0, 1, 2]]), "chose row 1, which is labeled already"),
        (lambda state: jnp.array([[0, 2, N]]), f"chose row {N}, but the pool has rows 0 to {N - 1}"),
        (lambda state: jnp.array([[0, 2]]), r"returned rows of int32 with shape \(1, 2\)"),
        (lambda state: state.X[:1, :3], "returned rows of float32"),
    ],
)
def test_query_checks_what_it_returns(rows, message):
    name = f"chooses {message}"
    made = make("random")._replace(select=lambda keys, aux, carry, state: (rows(state), jnp.zeros((1, 3)), carry))
    jaxal.register(name, made)
    with pytest.raises(StrategyError, match=message):
        jaxal.query(X, [1], ["a"], strategy=name, batch_size=3)


# ---- where they come from


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Write modules that can be imported in this test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield lambda name, text: (tmp_path / f"{name}.py").write_text(text)
    for name in set(sys.modules) - before:
        del sys.modules[name]


BROKEN = {
    "own_divides": ("1 / 0", "ZeroDivisionError: division by zero"),
    "own_exits": ("raise SystemExit('bye')", "SystemExit: bye"),
    "own_syntax": ("def (", "SyntaxError: invalid syntax"),
    "own_needs": ("import no_such_module", "No module named 'no_such_module'"),
    "own_empty": ("", "module 'own_empty' has no attribute 'score'"),
    "own_wrong": ("score = 3", "is neither a function score(key, state) nor a Strategy"),
}


@pytest.mark.parametrize("module", BROKEN)
def test_modules_that_do_not_load(modules, here, module):
    text, message = BROKEN[module]
    modules(module, text)
    for sentence in (
        refused("query", "-d", "toy", "-s", f"{module}:score"),
        refused("run", "-d", "toy", "-s", f"{module}:score"),
    ):
        assert f"'{module}:score'" in sentence
        assert message in sentence
    if module == "own_divides":
        with pytest.raises(ConfigError) as e:
            make(f"{module}:score")
        assert isinstance(e.value.__cause__, ZeroDivisionError)


def test_entry_points_that_do_not_load(monkeypatch, modules, here):
    modules("own_entry", "1 / 0")
    entry = importlib.metadata.EntryPoint("plugged", "own_entry:score", "jaxal.strategies")
    found = lambda group, name=None: [entry] if name in (None, "plugged") else []  # noqa: E731
    monkeypatch.setattr("jaxal.strategies.registry.entry_points", found)
    assert "plugged" in jaxal.strategies.names()
    assert "cannot load the strategy 'plugged': ZeroDivisionError" in refused("query", "-d", "toy", "-s", "plugged")
    assert "plugged" in call("list").stdout


@pytest.mark.parametrize(
    "name", [".foo:bar", "..:x", ":f", "a b:c", "x" * 300 + ":f", "jaxal:nothing", "~nosuchuser:f", "\0:f"]
)
def test_names_of_no_module(here, name):
    assert f"cannot load the strategy '{name}'" in refused("query", "-d", "toy", "-s", name).replace("\\x00", "\0")


@pytest.mark.parametrize("strategy", [None, 3, max, jax.nn.relu, make("random"), ["badge"]])
def test_a_strategy_is_given_by_name(strategy):
    with pytest.raises(ConfigError, match="a strategy is given by its name"):
        jaxal.query(X, strategy=strategy)


def test_what_can_be_registered():
    for strategy in (3, "badge", None):
        with pytest.raises(ConfigError, match="'own thing' is neither a function"):
            jaxal.register("own thing", strategy)


def test_the_command_line_shows_authors_their_own_code(here):
    result = CliRunner().invoke(group, ["query", "-d", "toy", "-s", f"{HERE}:raises_inside"])
    first, *lines, last = result.stderr.splitlines()
    assert result.exit_code == 2
    assert result.stdout == ""
    assert first == "Traceback (most recent call last):"
    assert f"{HERE}.py" in lines[0]
    assert "in raises_inside" in lines[0]
    assert last.startswith(f"Error: the strategy {HERE}:raises_inside failed: ZeroDivisionError")
    assert not any(f"{Path('jaxal')}/" in line for line in lines)


# ---- options


@pytest.mark.parametrize("options", [3, ["k"], "k=3", {3: 4}])
def test_options_that_are_no_dictionary(options):
    with pytest.raises(ConfigError, match="the settings of typiclust are"):
        make("typiclust", options=options)


def test_strategies_are_made_once_for_the_same_options():
    assert make("typiclust", options={"k": 3}) is make("typiclust", options={"k": 3})
    assert make("typiclust", options={"k": np.int64(3)}) is not make("typiclust", options={"k": 4})
    make("probcover", options={"alpha": 1})
    with pytest.raises(ConfigError, match=r"probcover\.alpha is True"):  # equal to 1, and of the same hash
        make("probcover", options={"alpha": True})


def test_settings_are_numbers_of_python():
    assert [type(check_setting("k", value, int, 0)) for value in (3, np.int8(3), np.uint64(3))] == [int] * 3
    assert [type(check_setting("a", value, float, 0)) for value in (3, 0.5, np.float32(3))] == [float] * 3
    refused_ = SimpleNamespace(
        int=(2.0, "3", None, True, np.True_, np.float32(2), [3]), float=("x", None, True, 1j, {})
    )
    for kind, values in ((int, refused_.int), (float, refused_.float)):
        for value in values:
            with pytest.raises(ConfigError, match=r"^k is .*: it must be a (whole )?number$"):
                check_setting("k", value, kind, 0)
    for value in (-1, 11, float("nan"), 10**400, -(10**400)):
        with pytest.raises(ConfigError, match="must be between 0 and 10"):
            check_setting("a", value, float, 0, 10)
