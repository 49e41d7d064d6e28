"""Texts to vectors with a transformer: tokens in a thread ahead, batches by length, pooling on the device."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from packaging.version import Version

from jaxal_extract import ExtractError
from jaxal_extract.models.batches import batches
from jaxal_extract.models.plan import Plan
from jaxal_extract.models.pooling import POOLINGS
from jaxal_extract.models.tokens import Tokenizer, Tokens

# Architectures that were compared with one text at a time when no attention mask is given for texts of equal length.
_WITHOUT_MASK = {"bert", "mpnet", "modernbert", "mistral", "qwen2", "qwen3", "gemma3_text"}
_BATCH_TOKENS = {"cpu": 1024, "mps": 8192, "cuda": 32768}


class Transformer:
    """An `Encoder` that `LooksAhead`: see encoder.py. `load` makes it."""

    def __init__(self, model, tokenizer: Tokenizer, settings: dict, batch_tokens: int | None, made: dict):
        self.model = model
        self.tokenizer = tokenizer
        self.device = model.device
        self.batch_tokens = batch_tokens or _BATCH_TOKENS[self.device.type]
        self.pool = POOLINGS[settings["pooling"]]
        self.padding = "right"  # absolute positions then count from the text's start; the mask hides the rest
        # A causal token never sees what is right of it: padding there needs no mask, and attention without one is fast.
        self.causal = settings["attention"] == "causal"
        self.can_omit_mask = model.config.model_type in _WITHOUT_MASK
        self.made = made
        self.counts = {"texts": 0, "tokens": 0, "truncated": 0}
        self.thread = ThreadPoolExecutor(1, "tokenise")
        # A batch a core: two cores on one batch wait for each other at every layer, longest when the machine is busy.
        self.streams = torch.get_num_threads() if self.device.type == "cpu" else 1
        self.compute = ThreadPoolExecutor(self.streams, "compute")
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        self.ahead: tuple[list[list[str]], Future[Tokens]] | None = None

    def probe(self, texts: list[list[str]]) -> None:
        """Run one whole batch of the longest texts, and find a batch size that fits into memory."""
        longest = np.argsort([-sum(map(len, row)) for row in zip(*texts, strict=True)], kind="stable")[:256]
        tokens = self.tokenizer([[column[i] for i in longest] for column in texts])
        while True:
            rows = next(batches(tokens.lengths, self.batch_tokens))
            try:
                self._run(tokens, rows).cpu()
                return
            except torch.OutOfMemoryError:
                self._shrink(tokens, rows)

    def expect(self, texts: list[list[str]]) -> None:
        """Tokenise these in a thread: the tokenizer lets go of Python's lock."""
        self.ahead = texts, self.thread.submit(self.tokenizer, texts)

    def encode(self, texts: list[list[str]], advance: Callable[..., Any]) -> np.ndarray:
        """Embed n texts or pairs as (n, D) float32; equal texts in equal shards give equal bits."""
        tokens = self._tokens(texts)
        vectors: torch.Tensor | None = None
        for rows, found in self._results(tokens):
            if vectors is None:
                vectors = torch.empty((len(tokens.ids), found.shape[1]), dtype=torch.float32, device=self.device)
            vectors[torch.from_numpy(rows).to(self.device)] = found.float()  # stays there: nothing waits for the device
            advance(len(rows), int(tokens.lengths[rows].sum()))
        if vectors is None:
            raise ValueError("there are no texts")
        self.counts["texts"] += len(tokens.ids)
        self.counts["tokens"] += int(tokens.lengths.sum())
        self.counts["truncated"] += tokens.truncated
        return vectors.cpu().numpy()

    def report(self) -> dict:
        """Counts of texts, tokens and truncated texts so far, and whether texts end with an end token."""
        return self.counts | {"ends": self.tokenizer.ends_texts}

    def close(self) -> None:
        """End the threads."""
        self.thread.shutdown(cancel_futures=True)
        self.compute.shutdown(cancel_futures=True)

    def _results(self, tokens: Tokens) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Rows and vectors of each batch, in order."""
        left = deque(batches(tokens.lengths, self.batch_tokens))
        if self.streams == 1:
            while left:
                rows = left.popleft()
                try:
                    found = self._run(tokens, rows)
                except torch.OutOfMemoryError:
                    self._shrink(tokens, rows)
                    again = np.concatenate([rows, *left])
                    left = deque(again[few] for few in batches(tokens.lengths[again], self.batch_tokens))
                else:
                    yield rows, found
        running: deque = deque()
        while left or running:
            while left and len(running) < 2 * self.streams:
                running.append((left[0], self.compute.submit(self._run, tokens, left.popleft())))
            rows, future = running.popleft()
            yield rows, future.result()

    def _shrink(self, tokens: Tokens, rows: np.ndarray) -> None:
        """Halve the batches after running out of memory with `rows`; raises ExtractError if that was one text."""
        if len(rows) == 1:
            raise ExtractError(
                f"one text of {tokens.lengths[rows[0]]} tokens does not fit into the memory of {self.device}: "
                "give a smaller --max-length, or another --device"
            )
        self.batch_tokens = int(tokens.lengths[rows].max()) * (len(rows) // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _tokens(self, texts: list[list[str]]) -> Tokens:
        if self.ahead and self.ahead[0] == texts:
            _, future = self.ahead
            self.ahead = None
            return future.result()
        return self.tokenizer(texts)

    def _run(self, tokens: Tokens, rows: np.ndarray) -> torch.Tensor:
        lengths = tokens.lengths[rows]
        ids = self._filled([tokens.ids[i] for i in rows], lengths, self.tokenizer.pad)
        arguments = {"input_ids": ids}
        if tokens.types is not None:
            arguments["token_type_ids"] = self._filled([tokens.types[i] for i in rows], lengths, 0)
        equal = lengths[0] == lengths[-1]
        mask = None if equal else self._filled([np.ones(n, np.int64) for n in lengths], lengths, 0)
        if not (equal and self.can_omit_mask) and not (self.causal and self.padding == "right"):
            arguments["attention_mask"] = torch.ones_like(ids) if mask is None else mask
        with torch.inference_mode():
            found = self.model(**arguments)
            hidden = found["sentence_embeddings"] if type(found) is dict else found[0]  # NV-Embed's own code: a dict
            return self.pool(hidden, mask)

    def _filled(self, arrays: list[np.ndarray], lengths: np.ndarray, value: int) -> torch.Tensor:
        longest = lengths.max()
        if (lengths == longest).all():
            return torch.from_numpy(np.stack(arrays)).to(self.device)
        filled = np.full((len(arrays), longest), value, np.int64)
        for row, array in zip(filled, arrays, strict=True):
            at = slice(longest - len(array), None) if self.padding == "left" else slice(len(array))
            row[at] = array
        return torch.from_numpy(filled).to(self.device)


def load(plan: Plan, folder: Path, pairs: bool, device: str) -> Transformer:
    """Load the model in `folder` onto a device.

    Raises ExtractError if its files are incomplete, or max_length leaves no room for a text.
    """
    settings = plan.settings
    if plan.threads:
        torch.set_num_threads(plan.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    os.environ["HF_HUB_OFFLINE"] = "1"  # all files are there; transformers would look for newer ones
    old = Version(transformers.__version__) < Version("4.56")  # only for nv-embed-v2, which needs 4.42.4
    dtype = {"torch_dtype" if old else "dtype": getattr(torch, settings["dtype"])}
    common = {"local_files_only": True, "trust_remote_code": plan.weights.code}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **common)
        config = transformers.AutoConfig.from_pretrained(folder, **common)
        if settings["attention"] == "bidirectional":
            config.is_causal = False  # only on this object: as a keyword it is dropped without a word
        config.use_cache = False
        if plan.weights.code and hasattr(config, "text_config"):
            config.text_config._name_or_path = str(folder)  # NV-Embed loads a tokenizer by this name, else from the hub
        model, report = transformers.AutoModel.from_pretrained(
            folder, config=config, output_loading_info=True, **dtype, **common
        )
    except Exception as error:  # transformers passes on whatever it meets in a broken folder
        raise ExtractError(f"transformers cannot load {folder} ({type(error).__name__}: {str(error)[:200]})") from error
    _check_complete(folder, report["missing_keys"])
    ours = Tokenizer(
        tokenizer,
        max_length=settings["max_length"],
        prompt=settings["prompt"],
        end_token=settings["end_token"],
        pairs=pairs,
        name=plan.weights.name,
    )
    made = {"torch": torch.__version__, "transformers": transformers.__version__, "device": device}
    made |= {"pairs": "joined by a newline" if ours.joins else "tokenised as pairs"} if pairs else {}
    return Transformer(model.eval().to(device), ours, settings, plan.batch_tokens, made | plan.notes)


def _check_complete(folder: Path, missing) -> None:
    absent = sorted(key for key in missing if not key.startswith("pooler."))
    if absent:  # transformers would go on with random numbers in their place
        raise ExtractError(f"{folder} is incomplete: its weights lack {absent[0]} and {len(absent) - 1} more")
