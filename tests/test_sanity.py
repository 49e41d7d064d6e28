"""The checks of vectors and counts see what they are for, and nothing in sound vectors."""

import numpy as np
import pytest

from jaxal_extract.sanity import Vectors, warnings

SOUND = {"texts": 100, "tokens": 900, "truncated": 5, "ends": True}


def seen(X, report=SOUND, parts=3, **settings):
    vectors = Vectors()
    for part in np.array_split(np.asarray(X, np.float32), parts):
        vectors.add(part)
    return warnings(vectors, report, {"pooling": "mean", "max_length": 128} | settings)


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(100, 8))


def test_sound_vectors_have_no_warning(X):
    assert seen(X) == []
    assert seen(X + 30) == []  # one direction that all share, as in many models


def test_vectors_that_are_nearly_one(X):
    same = 1 + np.float32(2**-9) * X.clip(-1, 1)  # what bfloat16 leaves of one vector
    (warning,) = seen(same, pooling="cls")
    assert "the 100 vectors are nearly one: they spread by" in warning
    assert "causal" in warning
    assert "causal" not in seen(same, pooling="mean")[0]
    assert "nearly one" in seen(np.zeros((100, 8)))[0]
    assert seen(same[:9]) == []  # too few to tell


def test_the_spread_is_that_of_numpy(X):
    vectors = Vectors()
    for part in np.array_split((X + 3).astype(np.float32), 7):
        vectors.add(part)
    expected = (X + 3).var(0).sum() / np.square(X + 3).sum(1).mean()
    assert vectors.spread() == pytest.approx(expected, rel=1e-5)


def test_constant_dimensions(X):
    X[:, [1, 5]] = 0.25
    assert seen(X) == ["2 of 8 dimensions are the same in all 100 vectors"]
    X[50, 1] = 0
    assert seen(X) == ["1 of 8 dimensions are the same in all 100 vectors"]


def test_texts_that_are_cut(X):
    (warning,) = seen(X, SOUND | {"truncated": 6})
    assert warning == "6% of the texts (6 of 100) are longer than --max-length 128 and were cut"
    assert seen(X, {"texts": 100, "tokens": None, "truncated": None}) == []


def test_last_tokens_that_are_no_end(X):
    assert "no end token" in seen(X, SOUND | {"ends": False}, pooling="eos")[0]
    assert seen(X, SOUND | {"ends": False}) == []
    assert seen(X, SOUND, pooling="eos") == []
