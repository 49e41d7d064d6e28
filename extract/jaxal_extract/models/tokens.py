"""Texts to token numbers: prompt, pairs, truncation and the end token."""

from typing import NamedTuple

import numpy as np

from jaxal_extract import ExtractError


class Tokens(NamedTuple):
    """ids: n arrays of token numbers. types: n arrays with the segment of each token, None where all are 0.

    lengths (n,): of the arrays. truncated: how many texts were cut.
    """

    ids: list[np.ndarray]
    types: list[np.ndarray] | None
    lengths: np.ndarray
    truncated: int


class Tokenizer:
    r"""A tokenizer of transformers with what our settings add to it.

    pad: the number that fills up. joins: pairs become one text, "a\nb", because the tokenizer puts nothing between.
    appends: the end token is ours, the tokenizer's own rules do not give it. end: the number each text ends with, if
    the settings ask for one.

    Raises ExtractError if max_length leaves no room for a text, or there is no such end token.
    """

    def __init__(self, tokenizer, *, max_length: int, prompt: str, end_token: str | None, pairs: bool, name: str):
        if not tokenizer.is_fast:
            raise ExtractError(f"{name} has no fast tokenizer: save one into its folder as tokenizer.json")
        self.prompt = prompt
        self.name = name
        special = [tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True)]
        self.joins = pairs and (tokenizer.sep_token is None or special[1] == special[0])
        self.backend = tokenizer.backend_tokenizer
        # without offsets; the release that nv-embed-v2 needs has no such method
        self.batch = getattr(self.backend, "encode_batch_fast", self.backend.encode_batch)
        self.backend.no_padding()
        self.backend.no_truncation()
        self.end = self._number_of(end_token)
        self.appends = self.end is not None and self._last("a") != self.end
        apart = pairs and not self.joins
        self._check_room(max_length, special[apart] + self.appends, apart)
        self.backend.enable_truncation(max_length - self.appends, strategy="longest_first")
        self.segments = "token_type_ids" in tokenizer.model_input_names and any(
            self.backend.encode("a", "b" if apart else None).type_ids
        )
        pad = tokenizer.pad_token_id
        self.pad = pad if pad is not None else tokenizer.eos_token_id or 0
        last = {tokenizer.eos_token_id, tokenizer.sep_token_id, self.end} - {None}
        self.ends_texts = self.appends or self._last("a") in last

    def __call__(self, texts: list[list[str]]) -> Tokens:
        """Tokenise n texts, or n pairs. Raises ExtractError if one does not end with the end token."""
        first, *second = texts
        if second and self.joins:
            first, second = [f"{a}\n{b}" for a, b in zip(*texts, strict=True)], []
        if self.prompt:
            first = [self.prompt + text for text in first]
        found = self.batch(list(zip(first, *second, strict=True)) if second else first)
        tail = [self.end] if self.appends else []
        ids = [np.array((encoding.ids + tail) or [self.pad], np.int64) for encoding in found]
        types = [np.array(encoding.type_ids, np.int64) for encoding in found] if self.segments else None
        lengths = np.array([len(row) for row in ids])
        longest = self.backend.truncation["max_length"] + len(tail)
        cut = sum(bool(found[i].overflowing) for i in np.flatnonzero(lengths >= longest))
        if self.end is not None and not all(row[-1] == self.end for row in ids):
            raise ExtractError(f"the tokenizer of {self.name} leaves its end token out of some texts, although not all")
        return Tokens(ids, types, lengths, cut)

    def _number_of(self, end_token: str | None) -> int | None:
        if end_token is None:
            return None
        number = self.backend.token_to_id(end_token)
        if number is None:
            raise ExtractError(f"the tokenizer of {self.name} has no {end_token}, which its texts have to end with")
        return number

    def _last(self, text: str) -> int | None:
        ids = self.backend.encode(text).ids
        return ids[-1] if ids else None

    def _check_room(self, max_length: int, special: int, apart: bool) -> None:
        before = len(self.backend.encode(self.prompt, add_special_tokens=False).ids) if self.prompt else 0
        least = special + before + 1 + apart
        if max_length < least:
            raise ExtractError(
                f"--max-length {max_length} leaves no room for the text beside {special} special tokens"
                + f" and {before} of the prompt" * (before > 0)
                + f": give at least {least}"
            )
