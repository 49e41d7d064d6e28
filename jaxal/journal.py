"""The journal of a run: after every cycle, all that the next one needs, in one file that is replaced whole."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from jaxal.files import atomic_write, make_folders
from jaxal.logreg import Params
from jaxal.loop import Position


def path_of(folder: Path, run_id: str, seeds) -> Path:
    """One journal a run and block of seeds."""
    block = hashlib.sha256(json.dumps(list(seeds)).encode()).hexdigest()[:8]
    return folder / "journal" / f"{run_id}-{block}.safetensors"


def write(path: Path, position: Position, seeds) -> None:
    """Store a position. Raises StoreError when the disk does not take it; the journal before it then stays."""
    arrays = {name: getattr(position, name) for name in ("rows", "scores", "history", "labels")}
    arrays |= position.params._asdict()
    arrays |= {f"carry.{i}": leaf for i, leaf in enumerate(jax.tree.leaves(position.carry))}
    arrays = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    make_folders(path.parent)
    atomic_write(path, save(arrays, {"seeds": json.dumps(list(seeds))}))


def seeds_of(path: Path) -> list[int]:
    """The seeds of a journal; none when the file is not one."""
    try:
        with safe_open(path, "numpy") as f:
            return json.loads(f.metadata()["seeds"])
    except (OSError, SafetensorError, KeyError, TypeError):
        return []


def read(path: Path, carry_like: Callable) -> Position:
    """The position stored last. `carry_like(position)` has the structure of the strategy's carry."""
    with safe_open(path, "numpy") as f:
        arrays = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118  (not a mapping)
    on_device = {name: jnp.asarray(a) for name, a in arrays.items()}
    leaves = [on_device[f"carry.{i}"] for i in range(sum(name.startswith("carry.") for name in arrays))]
    position = Position(
        **{name: arrays[name] for name in ("rows", "scores", "history")},
        labels=on_device["labels"],
        params=Params(on_device["W"], on_device["b"]),
        carry=(),
    )
    return position._replace(carry=jax.tree.unflatten(jax.tree.structure(carry_like(position)), leaves))
