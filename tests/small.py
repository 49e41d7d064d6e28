"""One small pool and one way to run it, for every test that runs whole experiments: few shapes are compiled."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import jaxal

SECONDS = ["fit_seconds", "select_seconds", "eval_seconds"]
QUICK = {"seeds": 5, "cycles": 3}  # and B = K0 = 3 by default


def arrays(n=120, m=60, dim=5, n_classes=3, dtype=np.float32):
    """X (n, dim), y, X_test (m, dim), y_test of overlapping blobs: curves rise, and no strategy is perfect."""
    rng = np.random.default_rng(7)
    centers = rng.normal(size=(n_classes, dim)) * 1.3
    y = rng.integers(0, n_classes, n + m)
    X = (centers[y] + rng.normal(size=(n + m, dim))).astype(dtype)
    return X[:n], y[:n], X[n:], y[n:]


def pool(**kwargs) -> jaxal.Pool:
    return jaxal.Pool(*arrays(**kwargs))


def write_npz(path, **changes) -> Path:
    """The small pool as a file; `changes` replace arrays, None leaves one out."""
    content = dict(zip(("X", "y", "X_test", "y_test"), arrays(), strict=True)) | changes
    np.savez(path, **{name: a for name, a in content.items() if a is not None})
    return Path(path)


def same(a: pd.DataFrame, b: pd.DataFrame, *ignored: str) -> None:
    """Bit for bit the same rows, in any order; seconds do not count."""
    keys = [c for c in ("run_id", "seed", "cycle", "order") if c in a and c not in ignored]
    tidy = [t.drop(columns=[*SECONDS, *ignored], errors="ignore").sort_values(keys, ignore_index=True) for t in (a, b)]
    pd.testing.assert_frame_equal(*tidy, check_exact=True)


def same_tables(a, b) -> None:
    for x, y in zip(a, b, strict=True):
        same(x, y)


def seeds_of(table: pd.DataFrame, *seeds: int) -> pd.DataFrame:
    return table[table["seed"].isin(seeds)]


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of the last change of every result in a folder."""
    return {
        p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir() if p.is_file() and p.name != ".lock"
    }


def left_over(folder: Path) -> list[str]:
    """What a finished run must not leave behind: temporary files and journals."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.suffix in (".tmp", ".safetensors"))


def jaxal_command(*arguments, first: str = "pass") -> list[str]:
    """`jaxal` with these arguments in this environment; `first` is run before it."""
    # -P: as with the installed command, the current folder is not where modules are looked for first
    return [sys.executable, "-P", "-c", f"{first}\nfrom jaxal.cli import main; main()", *map(str, arguments)]


def in_process(arguments, cache: Path, first: str = "pass") -> subprocess.CompletedProcess:
    """`jaxal` as a process of its own, with a compilation cache."""
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    command = jaxal_command(*arguments, first=first)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
