"""Somebody's own function as the embedding model: `package.module:callable`, from a list of n str to (n, D)."""

import hashlib
import os
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from jaxal_extract import ExtractError
from jaxal_extract.models.encoder import Chosen, Encoder, Options, join_columns, plain_settings, refuse

_TEXTS = 1024  # a call: enough for any library's own batches, few enough to show progress


def choose(options: Options, n_text_columns: int) -> Chosen:
    """The function that the model's name leads to. Imports its module: raises ExtractError where that fails."""
    refuse(
        options,
        "has no meaning for a function of your own, which decides that itself",
        *("pooling", "max_length", "dtype", "base_url", "trust_remote_code"),
    )
    function = _find(options.model)
    settings = plain_settings(options, "function", options.model, _revision(function), "set by the function")
    name = options.model.replace(":", ".")
    return Chosen(name, settings, lambda: Function(options.model, function, settings["prompt"]))


class Function(Encoder):
    """A function of one's own, whose results are checked."""

    def __init__(self, name: str, function: Callable, prompt: str):
        """name: for errors; function: list of n str -> (n, D); prompt: put before every text."""
        self._name, self._function, self._prompt = name, function, prompt
        self._texts, self._dim = 0, None
        self.made = {"truncated": "unknown"}

    def encode(self, texts: list[list[str]], advance: Callable[..., Any]) -> np.ndarray:
        """See `Encoder.encode`. Raises ExtractError if the function fails or returns something else than (n, D)."""
        whole = join_columns(texts, self._prompt)
        parts = []
        for start in range(0, len(whole), _TEXTS):
            parts.append(self._call(whole[start : start + _TEXTS]))
            advance(len(parts[-1]))
        self._texts += len(whole)
        return np.concatenate(parts)

    def report(self) -> dict:
        """See `Encoder.report`."""
        return {"texts": self._texts, "tokens": None, "truncated": None}

    def close(self) -> None:
        """Nothing is held."""

    def _call(self, texts: list[str]) -> np.ndarray:
        try:
            returned = self._function(texts)
        except Exception as error:
            frames = error.__traceback__.tb_next if error.__traceback__ else None  # theirs alone
            traceback.print_exception(type(error), error, frames, file=sys.stderr)
            raise ExtractError(f"--model {self._name} failed: {type(error).__name__}: {str(error)[:200]}") from None
        try:
            X = np.asarray(returned)
        except Exception:  # a tensor on a GPU, lists of different lengths
            X = None
        if X is None or X.dtype.kind not in "fiu" or X.ndim != 2 or len(X) != len(texts):
            what = f"a {type(returned).__name__}" if X is None else f"{X.dtype} with shape {X.shape}"
            raise ExtractError(
                f"--model {self._name} returned {what} for {len(texts)} texts: it must return an array of numbers "
                f"(NumPy, on the CPU) with shape ({len(texts)}, D)"
            )
        if self._dim not in (None, X.shape[1]):
            raise ExtractError(f"--model {self._name} returned {X.shape[1]} numbers a text after {self._dim}")
        self._dim = X.shape[1]
        if not np.isfinite(X).all():
            raise ExtractError(f"--model {self._name} returned numbers that are not finite")
        return X.astype(np.float32)


def _find(name: str) -> Callable:
    module, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # a file beside the command, as `python -m` would find it
    try:
        found = import_module(module)
    except Exception as error:  # their code runs
        raise ExtractError(f"--model {name}: cannot import {module} ({type(error).__name__}: {error})") from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ExtractError(f"--model {name}: the module {module} has no {attribute!r}")
        found = getattr(found, part)
    if not callable(found):
        raise ExtractError(f"--model {name} is a {type(found).__name__}, not a function of a list of texts")
    return found


def _revision(function: Callable) -> str:
    """A hash of the file that the function stands in: what has changed cannot go on with half a pool."""
    module = sys.modules.get(getattr(function, "__module__", ""))
    file = getattr(module, "__file__", None)
    if not file:
        return "unknown"
    with open(file, "rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
