"""What every way to embed texts offers: a transformer, a static table, a server, or somebody's own function.

`table.choose` turns the options of the command line into a `Chosen`; nothing is loaded or reached before `load`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from jaxal_extract import ExtractError


@dataclass(frozen=True)
class Options:
    """What the command line says about the model; None: the model's own. See cli.py for what each one means."""

    model: str = "minilm"
    pooling: str | None = None
    prompt: str | None = None
    max_length: int | None = None
    dtype: str | None = None
    device: str = "auto"
    threads: int | None = None
    batch_tokens: int | None = None
    trust_remote_code: bool = False
    base_url: str | None = None


class Encoder(Protocol):
    """A loaded model. made: versions, device and notes, for the manifest."""

    made: dict

    def encode(self, texts: list[list[str]], advance: Callable[..., Any]) -> np.ndarray:
        """Embed n texts as (n, D) float32; `texts` has one column of n strings, or two for pairs.

        `advance(n)`, or `advance(n, tokens)` where tokens are counted, is told now and then how many more are done.
        """
        ...

    def report(self) -> dict:
        """Counts since the model was loaded: texts, tokens, truncated (texts that were cut); None where unknown."""
        ...

    def close(self) -> None:
        """Free the model and the processes behind it; the encoder is not used again."""
        ...


@runtime_checkable
class LooksAhead(Protocol):
    """What an encoder may offer besides: work that is done before its turn. Both take texts as `encode` does."""

    def probe(self, texts: list[list[str]]) -> None:
        """Run the longest of these, so that too little memory shows at once; nothing is returned."""
        ...

    def expect(self, texts: list[list[str]]) -> None:
        """Begin to tokenise the texts that a later call of `encode` brings, meanwhile."""
        ...


class Chosen(NamedTuple):
    """A model and how it is used.

    name: its folder's name in the store. settings: all that decides the vectors besides the texts (JSON), such as
    model_id, revision, kind, pooling, prompt, max_length, dtype. load: the encoder; may download, raises ExtractError.
    others: loaders of the same model on further devices, which can be pickled as `load` then can.
    """

    name: str
    settings: dict
    load: Callable[[], Encoder]
    others: tuple[Callable[[], Encoder], ...] = ()


def plain_settings(options: Options, kind: str, model_id: str, revision: str, pooling: str) -> dict:
    """`Chosen.settings` of what pools by itself and reads texts whole, or cuts them unseen."""
    about = {"kind": kind, "model_id": model_id, "revision": revision, "pooling": pooling}
    return about | {"prompt": options.prompt or "", "max_length": None}


def join_columns(texts: list[list[str]], prompt: str) -> list[str]:
    """Prompt and text as one; of a pair both, a line for each. For what has no way of its own to take them apart."""
    return [prompt + "\n".join(row) for row in zip(*texts, strict=True)]


def refuse(options: Options, why: str, *names: str) -> None:
    """Raises ExtractError for those of these options that were given: they would change nothing."""
    for name in names:
        if getattr(options, name):
            raise ExtractError(f"--{name.replace('_', '-')} {why}")
