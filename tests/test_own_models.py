"""A function of one's own and the packaged static models as the embedding model."""

import importlib.util
import sys
from importlib import metadata

import numpy as np
import pytest

from jaxal_extract import ExtractError
from jaxal_extract.models import static, table
from jaxal_extract.models.encoder import Options

GOOD = """
import numpy as np

calls = []

def embed(texts):
    calls.append(len(texts))
    return np.array([[len(text), text.count("a")] for text in texts], np.float64)

class Model:
    def encode(self, texts):
        return embed(texts).tolist()

model = Model()
table = np.zeros(3)
def fails(texts): raise RuntimeError("no GPU here")
def none(texts): return None
def flat(texts): return np.zeros(len(texts))
def short(texts): return np.zeros((1, 3))
def words(texts): return np.array([["x"]] * len(texts))
def nan(texts): return np.full((len(texts), 2), np.nan)
def ragged(texts): return [[1.0]] * (len(texts) - 1) + [[1.0, 2.0]]
def grows(texts):
    calls.append(0)
    return np.zeros((len(texts), len(calls)))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "own_model.py").write_text(GOOD)
    (tmp_path / "broken_model.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("own_model", "broken_model"):
        sys.modules.pop(name, None)


def embed(model, texts, **options):
    encoder = table.choose(Options(model=model, **options), len(texts)).load()
    done = []
    X = encoder.encode(texts, lambda n, tokens=0: done.append(n))
    encoder.close()
    assert sum(done) == len(X)
    return X, encoder


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("name", ["own_model:embed", "own_model:model.encode"])
def test_a_function_of_ones_own(name):
    texts = ["a" * (i % 7) + "b" for i in range(2500)]
    X, encoder = embed(name, [texts])
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, [[i % 7 + 1, i % 7] for i in range(2500)])
    assert encoder.report()["texts"] == 2500
    pairs, _ = embed(name, [["a", ""], ["aa", "b"]], prompt=">")
    np.testing.assert_array_equal(pairs, [[5, 3], [3, 0]])


def test_its_file_is_its_revision(module):
    first = table.choose(Options(model="own_model:embed"), 1)
    assert first.name == "own_model.embed"
    assert first.settings["revision"].startswith("sha256:")
    sys.modules.pop("own_model")
    (module / "own_model.py").write_text(GOOD + "\n# changed\n")
    assert table.choose(Options(model="own_model:embed"), 1).settings["revision"] != first.settings["revision"]


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("own_model:fails", "--model own_model:fails failed: RuntimeError: no GPU here"),
        ("own_model:none", r"returned object with shape \(\) for 3 texts"),
        ("own_model:flat", r"returned float64 with shape \(3,\) .* with shape \(3, D\)"),
        ("own_model:short", r"returned float64 with shape \(1, 3\)"),
        ("own_model:words", "returned <U1 with shape"),
        ("own_model:nan", "not finite"),
        ("own_model:ragged", "returned a list for 3 texts"),
        ("own_model:absent", "the module own_model has no 'absent'"),
        ("own_model:table", "is a ndarray, not a function"),
        ("broken_model:embed", "cannot import broken_model .ZeroDivisionError"),
        ("no_such_module:embed", "cannot import no_such_module"),
    ],
)
def test_what_goes_wrong_in_it_is_told(name, told):
    with pytest.raises(ExtractError, match=told):
        embed(name, [["x", "y", "z"]])


@pytest.mark.usefixtures("module")
def test_the_authors_own_traceback(capsys):
    with pytest.raises(ExtractError):
        embed("own_model:fails", [["x"]])
    shown = capsys.readouterr().err
    assert "own_model.py" in shown
    assert "own.py" not in shown.replace("own_model.py", "")


@pytest.mark.usefixtures("module")
def test_the_dimension_stays():
    with pytest.raises(ExtractError, match="returned 2 numbers a text after 1"):
        embed("own_model:grows", [["x"] * 2000])


def packaged(name):
    if importlib.util.find_spec(static.MODELS[name].module) is None:
        pytest.skip(f"{static.MODELS[name].package} is in the extra `static-models`")


@pytest.mark.parametrize("name", static.MODELS)
def test_packaged_models(name):
    packaged(name)
    chosen = table.choose(Options(model=name), 1)
    assert chosen.settings["revision"].endswith(metadata.version(static.MODELS[name].package))
    texts = ["How far is it to the moon?", "What is the distance to the moon?", "My card was stolen.", "moon"]
    X, encoder = embed(name, [texts])
    assert X.shape == (4, static.MODELS[name].dim)
    assert X.dtype == np.float32
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2] + 0.1
    assert encoder.report()["texts"] == 4
    reverse, _ = embed(name, [texts[::-1]])
    np.testing.assert_allclose(reverse[::-1], X, atol=1e-6)
    joined, _ = embed(name, [["moon"], ["My card was stolen."]])
    np.testing.assert_allclose(joined, embed(name, [["moon\nMy card was stolen."]])[0], atol=1e-6)


def test_words_are_averaged():
    packaged("glove-50d")
    X, encoder = embed("glove-50d", [["Moon", "card", "moon, card xqzzy", "xqzzy qqzx", ","]])
    np.testing.assert_allclose(X[2], (X[0] + X[1] + X[4]) / 3, rtol=1e-6)
    assert not X[3].any()
    assert encoder.made["without known tokens"] == 1
    assert encoder.report() == {"texts": 5, "tokens": 6, "truncated": 0}


def test_a_package_that_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExtractError, match="pip install wordllama"):
        table.choose(Options(model="wordllama"), 1)


@pytest.mark.parametrize("option", [{"pooling": "cls"}, {"max_length": 5}, {"base_url": "http://x"}, {"dtype": "bf16"}])
def test_options_without_a_meaning(option):
    packaged("wordllama")
    with pytest.raises(ExtractError, match="has no meaning for wordllama"):
        table.choose(Options(model="wordllama", **option), 1)
