"""What the files of a stored pool are called, hold and must agree on; for store.py (reading) and writer.py.

`settings` is the manifest's name for everything that decides the vectors besides the texts.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors

from jaxal.errors import StoreError

FORMAT = 1
SHARD_ROWS = 8192
_FLOAT16_ROUNDING = 2.0**-11  # half the gap between 1 and the next float16: the relative error of one rounding
MANIFEST, UNFINISHED, ROWS = "manifest.json", "unfinished.json", "rows.parquet"
NAME_RULE = "letters, digits and . _ - only, a letter or digit first, at most 100"

_DESCRIPTION = {
    "dataset": str,
    "model": str,
    "settings": dict,
    "class_names": list,
    "N": int,
    "M": int,
    "texts": bool,
    "rows_sha256": str,
    "shard_rows": int,
}
_RESULT = {"D": int, "dtype": str, "files": dict}


class Rows(NamedTuple):
    """One split without its vectors. ids: n strings; y (n,) int32, -1 where unlabeled; texts: n strings, or None."""

    ids: Sequence[str]
    y: np.ndarray
    texts: Sequence[str] | None


class Shard(NamedTuple):
    """Rows start..stop-1 of a split, and the name of the file that holds their vectors."""

    file: str
    split: str
    start: int
    stop: int


def is_name(name) -> bool:
    """Whether a dataset or model may be called this, see NAME_RULE: it becomes part of paths."""
    return isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is not None


def shards(about: dict) -> Iterator[Shard]:
    """Every shard of the pool that `about` (a manifest or unfinished.json) describes, train first."""
    size = about["shard_rows"]
    for split, n in (("train", about["N"]), ("test", about["M"])):
        count = -(-n // size)
        for i in range(count):
            name = f"{split}-{i:05d}-of-{count:05d}.safetensors"
            yield Shard(name, split, i * size, min(n, (i + 1) * size))


def damaged(file: Path, what: str) -> StoreError:
    """The error for a file that is not as it was written."""
    return StoreError(f"{file} {what}: the pool is damaged, delete {file.parent} and extract it again")


def aligned_empty(shape: tuple[int, ...], dtype) -> np.ndarray:
    """An array that JAX can use where it lies: on CPU a pool is then in memory once. NumPy aligns to 16
    bytes, XLA to 64.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def load(file: Path) -> dict:
    """manifest.json or unfinished.json, with every field that a reader relies on checked. Raises StoreError."""
    try:
        about = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(file, f"cannot be read ({error})") from error
    if not isinstance(about, dict) or not _is(about.get("format"), int):
        raise damaged(file, "is not a description of a pool")
    if about["format"] != FORMAT:
        raise StoreError(
            f"{file} has format {about['format']} and this jaxal reads format {FORMAT}: use the jaxal that wrote it"
        )
    _check_fields(file, about)
    return about


def _check_fields(file: Path, about: dict) -> None:
    for name, kind in (_DESCRIPTION | (_RESULT if file.name == MANIFEST else {})).items():
        if not _is(about.get(name), kind):
            raise damaged(file, f"has no valid {name!r}")
    for name in ("dataset", "model"):
        if not is_name(about[name]):
            raise damaged(file, f"has the {name} {about[name][:60]!r}, which is no name ({NAME_RULE})")
    names = about["class_names"]
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise damaged(file, "has class names that are not distinct strings")
    if min(about["N"], about["shard_rows"], about.get("D", 1)) < 1 or about["M"] < 0:
        raise damaged(file, "has impossible sizes")
    if about.get("dtype", "float16") not in ("float16", "float32"):
        raise damaged(file, f"has the unknown dtype {about['dtype']!r}")


def _is(value, kind: type) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def check_files(path: Path, about: dict) -> None:
    """Raises StoreError for the first file of the manifest `about` that is not in `path` with its size.

    What N, M and D call for is then no more than the files hold, and may be allocated.
    """
    _check_file(path, about, ROWS)
    for shard in shards(about):
        _check_file(path, about, shard.file, (shard.stop - shard.start) * about["D"])


def _check_file(path: Path, about: dict, name: str, n_values: int = 0) -> None:
    file, expected = path / name, about["files"].get(name)
    if not isinstance(expected, dict):
        raise damaged(path / MANIFEST, f"does not list {name}, which its N and M call for")
    if not file.is_file():
        raise damaged(file, "is missing")
    size = file.stat().st_size
    if size != expected.get("bytes"):
        raise damaged(file, f"has {size} bytes where the manifest says {expected.get('bytes')}")
    if size < 2 * n_values:  # of float16
        raise damaged(path / MANIFEST, f"has D = {about['D']}, for which {name} is too small")


def read_rows(path: Path, about: dict) -> bytes:
    """The content of rows.parquet. Raises StoreError if its sha256 is not the manifest's."""
    try:
        content = (path / ROWS).read_bytes()
    except OSError as error:
        raise damaged(path / ROWS, f"cannot be read ({error.strerror})") from error
    _check_sha256(path, about, ROWS, hashlib.sha256(content).hexdigest())
    return content


def check_hashes(path: Path, about: dict) -> None:
    """Raises StoreError for the first file of the manifest `about` that has not its sha256; after `check_files`."""
    for name in (ROWS, *(shard.file for shard in shards(about))):
        _check_sha256(path, about, name, sha256(path / name))


def _check_sha256(path: Path, about: dict, name: str, found: str) -> None:
    expected = about["files"].get(name)
    if not isinstance(expected, dict) or expected.get("sha256") != found:
        raise damaged(path / name, "has another sha256 than the manifest")


def check_finite(X: np.ndarray, shard: Shard, source: Path) -> None:
    """Raises StoreError naming the first row of `shard` whose vector in X has a NaN or an infinity."""
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if bad.size:
        row = shard.start + bad[0]
        raise StoreError(f"{source}: the vector of {shard.split} row {row} (counted from 0) has NaN or infinite values")


def sha256(file: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def read_shard(path: Path, about: dict, shard: Shard, out: np.ndarray) -> None:
    """Read the vectors of a shard into `out` (shard.stop - shard.start, D), hashed on the way, with no copy of them.

    Raises StoreError if the shard is damaged, or holds a vector that is not finite.
    """
    file = path / shard.file
    header = shard_header(file)
    if header is None:
        raise damaged(file, "cannot be read as float16 or float32 vectors")
    *shape, dtype = header
    if tuple(shape) != out.shape or not np.can_cast(dtype, out.dtype):
        raise damaged(file, f"holds {tuple(shape)} {dtype} where the manifest says {out.shape} {out.dtype}")
    X = out if dtype == out.dtype else np.empty(shape, dtype)
    with open(file, "rb") as opened:  # the vectors are the end of the file
        digest = hashlib.sha256(opened.read(file.stat().st_size - X.nbytes))
        opened.readinto(X.data.cast("B"))
    digest.update(X.data)
    _check_sha256(path, about, shard.file, digest.hexdigest())
    check_finite(X, shard, file)
    if X is not out:
        out[...] = X


def shard_header(file: Path) -> tuple[int, int, str] | None:
    """Rows, columns and dtype of a shard, without its vectors; None if it is absent, not whole, or anything else."""
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            (name,) = opened.keys()
            tensor = opened.get_slice(name)
            rows, columns = tensor.get_shape()
            return (rows, columns, {"F16": "float16", "F32": "float32"}[tensor.get_dtype()]) if name == "X" else None
    except (OSError, ValueError, KeyError, safetensors.SafetensorError):
        return None


def packed(X: np.ndarray) -> np.ndarray:
    """X (n, D) in float16; in float32 if for a row x float16 overflows or |x - float16(x)| > 2^-11 |x| (Euclidean).

    2^-11 is the most that rounding can cost a row without elements below float16's normal range (2^-14). So the rule
    catches rows whose weight lies in the subnormals or below, and lets single tiny elements pass.
    """
    if X.dtype == np.float16:
        return np.ascontiguousarray(X)
    with np.errstate(over="ignore", invalid="ignore"):  # overflow is what is being looked for
        X = np.ascontiguousarray(X, np.float32)
        half = X.astype(np.float16)
        too_far = _squares(X - half) > _FLOAT16_ROUNDING**2 * _squares(X)
    return X if too_far.any() or not np.isfinite(half).all() else half


def _squares(X: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", X, X, dtype=np.float64)  # squares of float32 values may leave its range


def parquet(columns: dict) -> memoryview:
    """The bytes of rows.parquet for columns of equal length; strings but for `row` and `label`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"row": pa.int64(), "label": pa.int32()}
    table = pa.table({name: pa.array(cells, types.get(name, pa.string())) for name, cells in columns.items()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return memoryview(sink.getvalue())
