"""What the folder of a transformers or sentence-transformers model says about itself, read without torch."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from jaxal_extract import ExtractError

NO_LIMIT = 10**9
_OURS = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls", "lasttoken": "eos"}


class Folder(NamedTuple):
    """path: of the transformer, the folder itself or one inside it. name: for the store. revision: a fingerprint.

    pooling: that of sentence-transformers; None: one that we do not have. max_length: tokens that it reads by default;
    longest: the most that it takes. normalize: it scales its vectors to length 1, which we do not.
    """

    path: Path
    name: str
    revision: str
    pooling: str | None
    max_length: int
    longest: int
    normalize: bool


def read_folder(folder: Path) -> Folder:
    """Raises ExtractError if this is no model, or one with modules that would have to run after the pooling."""
    modules = _modules(folder)
    path = folder / modules.get("Transformer", "")
    if not (path / "config.json").is_file():
        raise ExtractError(f"{folder} is not the folder of a transformers model: it has no config.json")
    longest = limit(path)
    sentence_bert = path / "sentence_bert_config.json"
    max_length = _tokens(sentence_bert, _json(sentence_bert).get("max_seq_length")) or min(512, longest)
    pooling = _pooling(folder / modules.get("Pooling", "1_Pooling") / "config.json")
    name = folder.resolve().name
    return Folder(path, name, _fingerprint(path), pooling, max_length, longest, "Normalize" in modules)


def limit(folder: Path) -> int:
    """The most tokens that the model takes, by its configuration and its tokenizer's."""
    limits = []
    for name, key in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        limits.append(_tokens(folder / name, _json(folder / name).get(key)) or NO_LIMIT)
    return min(limits)


def _modules(folder: Path) -> dict[str, str]:
    """Kind and folder of each module of sentence-transformers; empty if `folder` is not one of its."""
    file = folder / "modules.json"
    content = _read(file, list)
    try:
        modules = {str(module["type"]).rsplit(".", 1)[-1]: str(module.get("path") or "") for module in content}
    except (TypeError, KeyError, AttributeError):
        raise ExtractError(f"{file} is not a list of modules, each with a type and a path") from None
    unknown = sorted(set(modules) - {"Transformer", "Pooling", "Normalize"})
    if unknown:
        raise ExtractError(
            f"{folder} has a module {unknown[0]} after its transformer, which is not supported: embed with "
            "sentence-transformers by a function of your own, --model package.module:callable"
        )
    return modules


def _pooling(file: Path) -> str | None:
    """The pooling that sentence-transformers would use; mean for a folder that is not one of its."""
    config = _json(file)
    if not config:
        return "mean"
    flags = [key.removeprefix("pooling_mode_") for key, on in config.items() if on is True and "pooling_mode" in key]
    modes = [str(config["pooling_mode"])] if "pooling_mode" in config else flags
    return _OURS.get(modes[0]) if len(modes) == 1 else None


def _tokens(file: Path, value) -> int | None:
    """A number of tokens out of a configuration; None where it sets no limit, which 0 and -1 also mean."""
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise ExtractError(f"{file} has {str(value)[:40]!r} where a number of tokens belongs")
    return int(min(value, NO_LIMIT)) if value >= 1 else None


def _json(file: Path) -> dict:
    return _read(file, dict)


def _read(file: Path, kind: type):
    """An object or a list out of a JSON file; empty if there is no such file."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return kind()
    except (OSError, ValueError, RecursionError) as error:
        raise ExtractError(f"{file} cannot be read ({error})") from None
    if not isinstance(content, kind):
        raise ExtractError(f"{file} is not a JSON {'object' if kind is dict else 'list'}")
    return content


def _fingerprint(folder: Path) -> str:
    """One sha256 over weights, configuration and tokenizer: the revision of a model that has no other."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".safetensors", ".bin", ".json", ".txt", ".model") and file.is_file():
            with open(file, "rb") as opened:
                digest.update(file.name.encode() + hashlib.file_digest(opened, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
