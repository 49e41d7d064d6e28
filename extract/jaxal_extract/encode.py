"""Texts to vectors with a transformers model. torch and transformers are imported when a model is loaded."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxal_extract import ExtractError
from jaxal_extract.pooling import POOLINGS


class Encoder(NamedTuple):
    """A loaded model and how it is used. made: versions and device, for the manifest."""

    tokenizer: Any
    model: Any
    pool: Callable
    max_length: int
    prompt: str
    made: dict


def require_torch() -> None:
    """Raises ExtractError if torch or transformers is not installed; imports neither."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise ExtractError(f'{package} is not installed: pip install "jaxal[extract]"')


def load(
    folder: Path, *, pooling: str, max_length: int, prompt: str, pairs: bool, device: str, threads: int | None
) -> Encoder:
    """Load a model in float32.

    Raises ExtractError if its files are incomplete, the device is not there, or max_length leaves no room for a text.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # all files are in `folder`; transformers would look for newer ones
    import torch
    import transformers

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ExtractError("--device cuda: torch finds no CUDA device here; use --device cpu")
    if threads:
        torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model, report = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # transformers passes on whatever it meets in a broken folder
        raise ExtractError(f"transformers cannot load {folder} ({type(error).__name__}: {str(error)[:200]})") from error
    absent = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if absent:  # transformers would go on with random numbers in their place
        raise ExtractError(f"{folder} is incomplete: its weights lack {absent[0]} and {len(absent) - 1} more")
    _check_room(tokenizer, max_length, prompt, pairs)
    tokenizer.padding_side = "right"  # absolute positions then count from the text's start; the mask hides the rest
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    made = {"torch": torch.__version__, "transformers": transformers.__version__, "device": device}
    return Encoder(tokenizer, model.eval().to(device), POOLINGS[pooling], max_length, prompt, made)


def _check_room(tokenizer, max_length: int, prompt: str, pairs: bool) -> None:
    """Raises ExtractError if not one token of a text, or of each text of a pair, fits into max_length."""
    apart = pairs and tokenizer.sep_token is not None  # else `_tokens` makes one text of the two
    special = tokenizer.num_special_tokens_to_add(pair=apart)
    before = len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) if prompt else 0
    least = special + before + 1 + apart
    if max_length < least:
        raise ExtractError(
            f"--max-length {max_length} leaves no room for the text beside {special} special tokens"
            + f" and {before} of the prompt" * (before > 0)
            + f": give at least {least}"
        )


def encode(encoder: Encoder, texts: list[list[str]], batch_tokens: int, advance: Callable[[int], Any]) -> np.ndarray:
    r"""Embed n texts, or n pairs if `texts` has two columns, as (n, D) float32; `advance` is told how many are done.

    Pairs go through the tokenizer as pairs, the longer text cut first, where it knows a separator; else as "a\nb".
    """
    import torch

    tokens = _tokens(encoder, texts)
    lengths = np.array([len(ids) for ids in tokens["input_ids"]])
    X: np.ndarray | None = None
    for rows in batches(lengths, batch_tokens):
        batch = encoder.tokenizer.pad(
            {name: [cells[i] for i in rows] for name, cells in tokens.items()}, return_tensors="pt"
        )
        with torch.inference_mode():
            batch = batch.to(encoder.model.device)
            vectors = encoder.pool(encoder.model(**batch).last_hidden_state, batch["attention_mask"]).cpu().numpy()
        if X is None:
            X = np.empty((len(lengths), vectors.shape[1]), np.float32)
        X[rows] = vectors
        advance(len(rows))
    if X is None:
        raise ValueError("there are no texts")
    return X


def _tokens(encoder: Encoder, texts: list[list[str]]) -> dict[str, list]:
    first, *second = texts
    if second and encoder.tokenizer.sep_token is None:
        first, second = [f"{a}\n{b}" for a, b in zip(*texts, strict=True)], []
    first = [encoder.prompt + text for text in first]
    return dict(encoder.tokenizer(first, *second, truncation="longest_first", max_length=encoder.max_length))


def batches(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Row numbers in batches of like length, longest first; rows times longest is at most batch_tokens (or one row)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size
