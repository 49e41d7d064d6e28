"""A results folder: locked while a run writes to it, and refused to a run of other settings."""

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from jaxal import __version__
from jaxal.data.files import atomic_write, locked, make_folders, remove_temporaries
from jaxal.errors import ConfigError, StoreError
from jaxal.experiments.config import Config


@contextmanager
def opened(folder: Path) -> Iterator[None]:
    """The results folder, made if need be, locked against a second run at the same time, and swept.

    Raises StoreError when it cannot be written to, or another run is writing to it.
    """
    make_folders(folder)
    if not os.access(folder, os.W_OK):
        raise StoreError(f"cannot write results to {folder} (Permission denied): choose another folder with --out")
    with locked(folder, f"another run is writing to {folder}: wait for it, or choose another --out"):
        remove_temporaries(folder)
        remove_temporaries(folder / "journal")
        yield


def settle(folder: Path, config: Config, identity: Mapping[str, str]) -> None:
    """Refuse a folder of other settings, naming them; else add this run's strategies and seeds to its config.json.

    Raises ConfigError for other settings, StoreError when config.json is damaged or cannot be written.
    """
    path = folder / "config.json"
    shared, options = {**identity, **config.shared()}, config.options()
    new = {
        **shared,
        "settings": options,
        "seeds": list(config.seeds),
        "versions": {"jaxal": __version__, **{name: version(name) for name in ("jax", "jaxlib", "numpy")}},
        "python": platform.python_version(),
        "device": str(jax.devices()[0]),
        "peak_memory_gb": {},
    }
    old = _read(path, shared)
    if old is not None:
        # through JSON, as the old ones: a tuple is a list there
        differ = [
            s for s in options if s in old["settings"] and old["settings"][s] != json.loads(json.dumps(options[s]))
        ]
        names = [
            "pool (other embeddings or labels)" if k == "pool" else f"{k} ({old[k]!r} there, {new[k]!r} now)"
            for k in shared
            if old[k] != new[k]
        ]
        names += [f"settings of {s} ({old['settings'][s]} there, {options[s]} now)" for s in differ]
        if names:
            raise ConfigError(f"{folder} holds results of another config: {'; '.join(names)}; choose another --out")
        new["settings"] = old["settings"] | options
        new["peak_memory_gb"] = old.get("peak_memory_gb", {})
        new["seeds"] = sorted({*old["seeds"], *config.seeds})
    _write(path, new)


def note_peak(folder: Path, peak: Mapping[str, float | None]) -> None:
    """Keep the largest peak of memory, see `memory.peak`, of all processes that worked for this folder.

    Raises StoreError where config.json has been damaged meanwhile; where it has gone nothing is kept.
    """
    path = folder / "config.json"
    config = _read(path, {})
    if config is None:
        return
    known = config.get("peak_memory_gb", {})
    config["peak_memory_gb"] = {name: _larger(known.get(name), value) for name, value in peak.items()}
    _write(path, config)


def _larger(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)


def _write(path: Path, config: Mapping[str, Any]) -> None:
    text = json.dumps(config, indent=1)
    if not path.exists() or path.read_text() != text:
        atomic_write(path, text.encode())


def _read(path: Path, needed: Mapping[str, Any]) -> dict[str, Any] | None:
    """The config.json of a results folder; None where there is none."""
    try:
        old = json.loads(path.read_text())
        if not isinstance(old, dict):
            raise ValueError(f"it holds a {type(old).__name__}, not an object")
        missing = [name for name in (*needed, "settings", "seeds") if name not in old]
        if missing:
            raise ValueError(f"it has no '{missing[0]}'")
        if not (isinstance(old["seeds"], list) and all(type(seed) is int for seed in old["seeds"])):
            raise ValueError("its seeds are not a list of whole numbers")
        if not (isinstance(old["settings"], dict) and all(isinstance(of, dict) for of in old["settings"].values())):
            raise ValueError("its settings are not objects by strategy")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as e:
        raise StoreError(f"{path} is damaged ({e}): move the folder away, or choose another --out") from e
    return old
