"""A results folder: locked while a run writes to it, and refused to a run of other settings."""

import json
import platform
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import jax

from jaxal import __version__
from jaxal.data.files import atomic_write, make_folders, remove_temporaries
from jaxal.errors import ConfigError, StoreError
from jaxal.experiments.config import Config


@contextmanager
def opened(folder: Path):
    """The results folder, made if need be, locked against a second run at the same time, and swept."""
    make_folders(folder)
    try:
        lock = (folder / ".lock").open("a")
    except OSError as e:
        raise StoreError(f"cannot write results to {folder} ({e.strerror}): choose another folder with --out") from e
    with lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"another run is writing to {folder}: wait for it, or choose another --out") from None
        except (ImportError, OSError):
            pass  # Windows and some network file systems have no such locks
        remove_temporaries(folder)
        remove_temporaries(folder / "journal")
        yield


def settle(folder: Path, config: Config, identity: dict) -> None:
    """Refuse a folder of other settings, naming them; else add this run's strategies and seeds to its config.json."""
    path = folder / "config.json"
    new = {
        **identity,
        **config.shared(),
        "settings": config.of_strategies(),
        "seeds": list(config.seeds),
        "versions": {"jaxal": __version__, **{name: version(name) for name in ("jax", "jaxlib", "optax", "numpy")}},
        "python": platform.python_version(),
        "device": str(jax.devices()[0]),
    }
    if path.exists():
        try:
            old = json.loads(path.read_text())
            seeds = sorted({*old["seeds"], *new["seeds"]})
            differs = [k for k in {**identity, **config.shared()} if old[k] != new[k]]
            clash = [
                s for s, values in new["settings"].items() if s in old["settings"] and old["settings"][s] != values
            ]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise StoreError(f"{path} is damaged ({e!r}): move the folder away, or choose another --out") from e
        names = ["pool (other embeddings or labels)" for k in differs if k == "pool"]
        names += [f"{k} ({old[k]!r} there, {new[k]!r} now)" for k in differs if k != "pool"]
        names += [f"settings of {s} ({old['settings'][s]} there, {new['settings'][s]} now)" for s in clash]
        if names:
            raise ConfigError(f"{folder} holds results of another config: {'; '.join(names)}; choose another --out")
        new["settings"] = old["settings"] | new["settings"]
        new["seeds"] = seeds
    text = json.dumps(new, indent=1)
    if not path.exists() or path.read_text() != text:
        atomic_write(path, text.encode())
