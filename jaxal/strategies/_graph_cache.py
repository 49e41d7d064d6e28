"""ProbCover's graph of balls, kept beside a stored pool: it depends on the pool and the settings alone."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from jaxal.data.files import atomic_write
from jaxal.data.pool import Pool
from jaxal.errors import StoreError
from jaxal.numerics.distances import Norms
from jaxal.strategies._ball_graph import Graph

# Of how radius and balls are computed, k-means included. Raised when that changes, so that no old graph is read; a test
# holds the numbers of this version.
VERSION = 3


def path_of(pool: Pool, settings: list) -> Path | None:
    """Where the graph of a pool with these settings (JSON) is kept; None for a pool that is not in a store."""
    if pool.path is None:
        return None
    identity = json.dumps([VERSION, pool.fingerprint, *settings])
    return Path(pool.path) / f"probcover-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.cache"


def read(path: Path | None, norms: Norms, n: int) -> Graph | None:
    """The graph that is kept at `path`; None where there is none, or none that can be read."""
    if path is None:
        return None
    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        bits = jnp.asarray(arrays["bits"]) if "bits" in arrays else None
        if len(arrays["degrees"]) != n:
            return None
        return Graph(norms, jnp.asarray(arrays["limit"]), jnp.asarray(arrays["degrees"]), bits)
    except (OSError, KeyError, SafetensorError):
        return None


def write(path: Path | None, graph: Graph) -> None:
    """Keep the graph, unless the folder cannot be written to: then the next run computes it again."""
    if path is None:
        return
    arrays = {"limit": graph.limit, "degrees": graph.degrees} | ({} if graph.bits is None else {"bits": graph.bits})
    with suppress(StoreError):
        atomic_write(path, save({name: np.asarray(a, order="C") for name, a in arrays.items()}))
