"""The API reference is complete: what a public docstring must say, and that the reference can be built from them."""

import inspect
import re
from types import FunctionType

import pytest

import jaxal
import jaxal.sklearn
import jaxal.testing
from jaxal.data import store
from jaxal.strategies import STRATEGIES

SHAPE = re.compile(r"\((?:[A-Z]|n_classes|size)[\w, ./*]*\)")
DTYPE = re.compile(r"float|int32|int64|bool|dtype|integer|number")
SOURCE = re.compile(r"Reference: .+(19|20)\d\d", re.DOTALL)


def public() -> dict:
    """Every function and class that the README or the reference tells a user of, by name."""
    names = {
        f"jaxal.{name}": getattr(jaxal, name) for name in jaxal.__all__ if name not in ("__version__", "strategies")
    }
    for owner in (jaxal.Pool, jaxal.Result, jaxal.sklearn.LogisticRegression):
        names |= {
            f"{owner.__name__}.{n}": f for n, f in vars(owner).items() if isinstance(f, FunctionType) and n[0] != "_"
        }
    names["jaxal.sklearn.LogisticRegression"] = jaxal.sklearn.LogisticRegression
    names["jaxal.testing.check_strategy"] = jaxal.testing.check_strategy
    functions = {n: f for n, f in vars(store).items() if isinstance(f, FunctionType) and f.__module__ == store.__name__}
    return names | {f"store.{name}": f for name, f in functions.items() if name[0] != "_"}


ARRAYS = ("jaxal.Pool", "jaxal.by_logits", "jaxal.load", "jaxal.per_seed",
          "jaxal.query", "jaxal.run", "jaxal.testing.check_strategy", "jaxal.sklearn.LogisticRegression",
          "LogisticRegression.fit")  # fmt: skip


def docstring(thing) -> str:
    return inspect.getdoc(thing) or ""


@pytest.mark.parametrize("name", public())
def test_every_public_name_says_what_it_is(name):
    thing = public()[name]
    assert len(docstring(thing)) > 40
    assert not docstring(thing).startswith(("Create a new", "NamedTuple", "Alias for")), "not written by anybody"
    if inspect.isclass(thing):
        return
    told = docstring(thing)
    for parameter in inspect.signature(thing).parameters.values():
        known = parameter.name in ("self", "X", "y", "root", "path") or parameter.kind is parameter.VAR_KEYWORD
        assert known or re.search(rf"\b{parameter.name}\b", told), f"{name} does not say what {parameter.name} is"


@pytest.mark.parametrize("name", ARRAYS)
def test_what_takes_arrays_gives_shapes_errors_and_cost(name):
    told = docstring(public()[name])
    assert re.search(r"\b[Rr]aises?\b", told)
    assert "Cost" in told
    assert SHAPE.search(told) or "arrays" in told


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_gives_its_cost_and_source(name):
    told = docstring(STRATEGIES[name])
    assert "Cost: O(" in told or re.search(r"Cost: .*O\(|Cost: k-means", told)
    assert name == "random" or SOURCE.search(told)
    assert re.search(r"[Vv]ariant|skactiveml|scikit-activeml", told), "how the variants differ, or that they do not"
