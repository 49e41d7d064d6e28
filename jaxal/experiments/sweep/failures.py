"""What failed, in `failures.json` of the folder it belongs to: a run's, or of a whole pool its group's."""

import json
import traceback
from pathlib import Path

from jaxal.data.files import atomic_write, make_folders, remove
from jaxal.errors import JaxalError

_FILE = "failures.json"
ALL = "*"  # in place of a strategy: every one


def add(folder: Path, strategy: str, error: Exception) -> None:
    """Keep one sentence, and a traceback where it is not a user's fault or tells an author where. Raises StoreError."""
    sentence = str(error) if isinstance(error, JaxalError) else f"{type(error).__name__}: {error}"
    shown = error.__cause__ if isinstance(error, JaxalError) else error
    trace = "" if shown is None else "".join(traceback.format_exception(shown))
    about = {"error": " ".join(sentence.split()), "traceback": trace}
    make_folders(folder)
    atomic_write(folder / _FILE, json.dumps(_read(folder) | {strategy: about}, indent=1).encode())


def forget(folder: Path) -> None:
    """Before all is tried again. Raises StoreError."""
    remove(folder / _FILE)


def of(folder: Path) -> dict[str, str]:
    """The sentence of each strategy that failed."""
    return {strategy: about["error"] for strategy, about in _read(folder).items()}


def _read(folder: Path) -> dict[str, dict[str, str]]:
    try:
        return json.loads((folder / _FILE).read_text())
    except (OSError, ValueError):
        return {}
