"""The journal of a run: after every cycle, all that the next one needs, in one file that is replaced whole."""

import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from jaxal.data.files import atomic_write, make_folders
from jaxal.errors import StoreError
from jaxal.experiments.loop import History, Position
from jaxal.numerics import threefry
from jaxal.numerics.logreg import Params


def path_of(folder: Path, run_id: str, seeds: Sequence[int]) -> Path:
    """One journal a run and block of seeds."""
    block = hashlib.sha256(json.dumps(list(seeds)).encode()).hexdigest()[:8]
    return folder / "journal" / f"{run_id}-{block}.safetensors"


def write(path: Path, position: Position, seeds: Sequence[int]) -> None:
    """Store a position. Raises StoreError when the disk does not take it; the journal before it then stays."""
    arrays = {name: getattr(position, name) for name in ("rows", "scores", "labels")} | position.params._asdict()
    arrays["history"] = np.stack(position.history, axis=-1)  # (cycles, S, fields of History)
    carry = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(position.carry)]
    arrays |= {f"carry.{i}": leaf for i, leaf in enumerate(carry)}
    arrays = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    make_folders(path.parent)
    atomic_write(path, save(arrays, {"seeds": json.dumps(list(seeds)), "checksum": _checksum(arrays, seeds)}))


def seeds_of(path: Path) -> list[int]:
    """The seeds of a journal; none when the file is not one, or not as it was written."""
    try:
        with safe_open(path, "numpy") as f:
            seeds = json.loads(f.metadata()["seeds"])
            return seeds if f.metadata()["checksum"] == _checksum(_arrays(f), seeds) else []
    except (OSError, ValueError, SafetensorError, KeyError, TypeError, AttributeError):
        return []


def read(path: Path, carry_like: Callable[[Position], Any]) -> Position:
    """The position stored last. `carry_like(position)` has the structure, shapes and dtypes of the strategy's carry.

    Raises StoreError when the strategy keeps another carry than it did, or jaxal measures something else.
    """
    with safe_open(path, "numpy") as f:
        arrays = _arrays(f)
    on_device = {name: jnp.asarray(a) for name, a in arrays.items()}
    stored = [on_device[f"carry.{i}"] for i in range(sum(name.startswith("carry.") for name in arrays))]
    history = np.moveaxis(arrays["history"], -1, 0)
    if len(history) != len(History._fields):
        raise StoreError(f"{path} is of another version of jaxal: run again with --force")
    position = Position(
        rows=arrays["rows"],
        scores=arrays["scores"],
        history=History(*history),
        labels=on_device["labels"],
        params=Params(on_device["W"], on_device["b"]),
        carry=(),
    )
    like, structure = jax.tree.flatten(carry_like(position))
    if len(like) == len(stored):
        stored = [_keys(a, as_.dtype) if _is_key(as_) else a for a, as_ in zip(stored, like, strict=True)]
    if [(a.shape, a.dtype) for a in stored] != [(a.shape, a.dtype) for a in like]:
        raise StoreError(
            f"{path} has another carry than the strategy's init makes: it is of another version of its strategy, or "
            "select changes the carry's shape (jaxal.testing.check_strategy tells): run again with --force"
        )
    return position._replace(carry=jax.tree.unflatten(structure, stored))


def _keys(data, dtype):
    """Keys of this dtype: of jaxal's implementation, as those that strategies are given, or of JAX's default one."""
    keys = jax.random.wrap_key_data(data, impl=threefry.THREEFRY)
    return keys if keys.dtype == dtype else jax.random.wrap_key_data(data)


def _is_key(a) -> bool:
    return jnp.issubdtype(a.dtype, jax.dtypes.prng_key)


def _arrays(f) -> dict[str, np.ndarray]:
    return {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118  (not a mapping)


def _checksum(arrays: dict[str, np.ndarray], seeds) -> str:
    """A disk that lies must not become a result: safetensors knows lengths, but not what is in them."""
    crc = zlib.crc32(json.dumps(list(seeds)).encode())
    for name, a in sorted(arrays.items()):
        crc = zlib.crc32(a.tobytes(), zlib.crc32(f"{name}{a.dtype}{a.shape}".encode(), crc))
    return f"{crc:08x}"
