"""A pool: embeddings, labels and a test split in memory; from arrays, a stored pool, an .npz file or `digits`."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from jaxal.data import npz, store
from jaxal.data.format import aligned_empty
from jaxal.data.tasks import TASKS
from jaxal.errors import DataError, unknown

_BLOCK = 4096  # rows that are checked or hashed at a time


@dataclass(frozen=True, eq=False, repr=False)
class Pool:
    """Frozen embeddings to choose from, checked when made.

    Args:
        X: (N, D) embeddings, finite. float64 stays float64 and is computed in float64; all else is computed in float32.
            float16 stays float16, half as large, and is widened a block at a time; all else becomes float32.
        y: (N,) labels, integers or strings; -1 (or an empty string) where unknown. None: no labels at all.
        X_test, y_test: (M, D), (M,) the test split that learning curves are measured on.
        class_names: what the integers 0..C-1 of y mean. None: the sorted distinct labels.
    Raises: DataError, one sentence that names the row or the shape at fault.
    Cost: one pass over X to see that it is finite; a copy only where its dtype or layout changes.
    """

    X: np.ndarray
    y: np.ndarray | None = None
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    class_names: Sequence[str] | None = None
    dataset: str = "arrays"
    model: str = "given"
    path: Path | None = None  # of the stored pool, which knows the texts
    rows: np.ndarray | None = None  # under a cap: row numbers in the original pool

    def __post_init__(self):
        set_ = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731  (the dataclass is frozen)
        set_("X", _embeddings(self.X, "X"))
        if self.X_test is not None:
            set_("X_test", _embeddings(self.X_test, "X_test", self.dtype))
            if self.X_test.shape[1] != self.X.shape[1]:
                raise DataError(f"X has {self.X.shape[1]} columns but X_test has {self.X_test.shape[1]}")
        elif self.y_test is not None:
            raise DataError("y_test is given without X_test")
        split = {"y": (self.y, self.X), "y_test": (self.y_test, self.X_test)}
        labels = {name: _labels(y, 0 if X is None else len(X), name) for name, (y, X) in split.items() if y is not None}
        given = self.class_names is not None
        if given:
            names = _class_names(self.class_names)
        elif "y" in labels:
            names = np.unique(labels["y"][~_unlabeled(labels["y"])])
        elif "y_test" in labels:
            raise DataError("y_test is given without y: give the labels of X too, or class_names")
        else:
            names = None
        for name, values in labels.items():
            set_(name, _encode(values, names, given, name))
        set_("class_names", None if names is None else tuple(str(n) for n in names))
        if self.y_test is not None and (self.y_test < 0).any():
            raise DataError(f"y_test row {int(np.argmax(self.y_test < 0))} has no label")

    def __repr__(self) -> str:
        n, dim = self.X.shape
        return f"Pool({self.dataset}, {self.model}: {n:,} rows x {dim}, {self.n_classes} classes)"

    @property
    def n_classes(self) -> int:
        """How many classes there are; 0 without labels."""
        return 0 if self.class_names is None else len(self.class_names)

    @property
    def dtype(self) -> np.dtype:
        """That of the arithmetic, float32 or float64."""
        return np.result_type(self.X, np.float32)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of everything that decides a result: embeddings, labels, test split. float16 counts as float32."""
        digest = hashlib.sha256()
        for a in (self.X, self.y, self.X_test, self.y_test):
            if a is None:
                digest.update(b"none")
                continue
            dtype = self.dtype if a.ndim == 2 else a.dtype
            digest.update(f"{dtype}{a.shape}".encode())
            for start in range(0, len(a), _BLOCK):
                digest.update(np.ascontiguousarray(a[start : start + _BLOCK], dtype).data)
        return digest.hexdigest()

    def widened(self) -> "Pool":
        """This pool with float32 in place of float16."""
        if np.float16 not in (self.X.dtype, None if self.X_test is None else self.X_test.dtype):
            return self
        return replace(self, X=_converted(self.X, self.dtype), X_test=_converted(self.X_test, self.dtype))

    def cap(self, size: int | None) -> "Pool":
        """At most `size` rows: one subset per (dataset, size), the same for every model, seed and strategy.

        Returns: a pool with X (size, D) copied, or this one where it has no more rows.
        """
        n = len(self.X)
        if size is None or size >= n:
            return self
        seed = hashlib.sha256(f"{self.dataset} {size}".encode()).digest()[:16]
        # Raw Philox words: NumPy promises this stream for good, its shuffles it does not.
        order = np.argsort(np.random.Philox(key=int.from_bytes(seed, "little")).random_raw(n), kind="stable")
        rows = np.sort(order[:size])
        original = rows if self.rows is None else self.rows[rows]
        return replace(self, X=self.X[rows], y=None if self.y is None else self.y[rows], rows=original)

    def normalized(self) -> "Pool":
        """Rows of X (N, D) and X_test (M, D) scaled to Euclidean norm 1; rows of zeros stay zeros. Copies both.

        Rows of any finite length come out right: each is divided by its largest element first.
        """
        wide = self.widened()
        return replace(wide, X=_unit(wide.X), X_test=None if wide.X_test is None else _unit(wide.X_test))


def load(dataset: str | os.PathLike, model: str | None = None, root: str | os.PathLike | None = None) -> Pool:
    """The pool called `dataset`: a name in the store, the path of a stored pool or an .npz file, or `digits`.

    Args: model: needed where the store has the dataset from several. root: of the store, see `store.root`.
    Raises: DataError for a name that is unknown or a file that cannot be used, StoreError for a damaged pool.
    Cost: reads all files of the pool once, and checks their hashes while it does. X (N, D) is held once in memory.
    """
    if not isinstance(dataset, str | os.PathLike) or not os.fspath(dataset):
        raise DataError(f"{dataset!r} is no dataset: give a name in the store, a path, or digits")
    path = Path(dataset)
    if path.suffix == ".npz":
        return _only(_named(path, dataset=path.stem, model="npz", **npz.read(path)), model, path)
    if store.is_pool(path):
        return _only(_from_store(path), model, path)
    name = os.fspath(dataset)
    if name == "digits":
        return _only(digits(), model, name)
    stored = store.datasets(root)
    if name in stored:
        return _from_store(store.find(name, model, root))
    if os.path.isdir(path) or len(path.parts) > 1:
        raise DataError(f"{name} is no stored pool: it has no manifest.json; `jaxal extract` makes one")
    if name in TASKS:
        raise DataError(
            f"{name} is not in the store {store.root(root)}: make it with "
            f"`jaxal extract --name {name}`, or name another store with --store"
        )
    raise DataError(
        unknown("dataset", name, ["digits", *TASKS, *(s for s in stored if s not in TASKS)])
        + "; a stored pool's path and an .npz file work too"
    )


def _only(pool: Pool, model: str | None, source) -> Pool:
    if model not in (None, pool.model):
        raise DataError(f"{unknown('model', model, [pool.model])} (that is the only one of {source})")
    return pool


def digits() -> Pool:
    """scikit-learn's bundled 1,797 x 64 handwritten digits, with a fixed stratified test split of 20 %."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X.astype(np.float32), y, test_size=0.2, stratify=y, random_state=0)
    X, y, X_test, y_test = (np.asarray(a) for a in (X, y, X_test, y_test))
    return Pool(X, y, X_test, y_test, class_names=[str(i) for i in range(10)], dataset="digits", model="pixels")


def _from_store(path: Path) -> Pool:
    stored = store.read(path)
    arrays = {k: getattr(stored, k) for k in ("X", "y", "X_test", "y_test", "class_names")}
    if not stored.class_names:
        arrays |= {"y": None, "y_test": None, "class_names": None}
    return _named(path, dataset=stored.manifest["dataset"], model=stored.manifest["model"], path=path, **arrays)


def _named(source: Path, **arrays) -> Pool:
    try:
        return Pool(**arrays)
    except DataError as e:
        raise DataError(f"{source}: {e}") from e


def _embeddings(X, name: str, dtype=None) -> np.ndarray:
    """X checked; in `dtype`, or float32 unless it is float64. float16 stays as it is, except beside float64."""
    try:
        X = _native(np.asarray(X))
    except ValueError as e:  # rows of different lengths
        raise DataError(f"{name} must be a non-empty matrix of numbers, one row a text: {e}") from e
    if X.ndim != 2 or 0 in X.shape or X.dtype.kind not in "fiub":
        raise DataError(f"{name} must be a non-empty matrix of numbers, one row a text; it is {X.dtype} {X.shape}")
    with np.errstate(over="ignore"):  # what overflows is infinite, and named
        dtype = dtype or (np.float64 if X.dtype == np.float64 else np.float32)
        X = X if X.dtype == np.float16 and dtype != np.float64 else _converted(X, dtype)
    for start in range(0, len(X), _BLOCK):
        finite = np.isfinite(X[start : start + _BLOCK]).all(axis=1)
        if not finite.all():
            raise DataError(f"{name} row {start + int(np.argmin(finite))} has a NaN or infinite value")
    return X


def _converted(X, dtype):
    """X (N, D) in the dtype, aligned where it has to be copied; None for None."""
    if X is None or X.dtype == dtype:
        return X
    converted = aligned_empty(X.shape, dtype)
    converted[...] = X
    return converted


def _native(a: np.ndarray) -> np.ndarray:
    """In this machine's byte order; pandas knows no other."""
    return a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("="))


def _unit(X: np.ndarray) -> np.ndarray:
    """X (N, D) with rows scaled to norm 1, also where squares leave the range of X's dtype; zeros stay zeros."""
    limits = np.finfo(X.dtype)
    with np.errstate(over="ignore"):
        norm = np.linalg.norm(X, axis=1, keepdims=True)
    unit = np.divide(X, np.where(norm > 0, norm, 1), out=aligned_empty(X.shape, X.dtype))
    # The D squares lose less than half a rounding to underflow where their sum is at least 4 D times the smallest
    # normal number. Other rows are divided by their largest element first.
    far = np.flatnonzero(~np.isfinite(norm[:, 0]) | (norm[:, 0] < 2 * np.sqrt(X.shape[1] * limits.tiny)))
    if far.size:
        largest = np.abs(X[far]).max(axis=1, keepdims=True)
        rows = X[far] / np.where(largest > 0, largest, 1)
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
        unit[far] = rows / np.where(norm > 0, norm, 1)
    return unit


def _class_names(names) -> list[str]:
    """Distinct strings out of a list of strings or integers."""
    try:
        if isinstance(names, str):
            raise TypeError
        odd = [name for name in names if not isinstance(name, str | int | np.integer)]
        names = [str(name) for name in names]
    except TypeError:
        raise DataError(f"class_names must be a list of names; it is {names!r}") from None
    if odd:
        raise DataError(f"class_names must be a list of strings or integers; it has {' '.join(repr(odd[0]).split())}")
    if len(set(names)) < len(names):
        raise DataError(f"class_names has '{max(names, key=names.count)}' twice")
    return names


def _labels(labels, n: int, what: str) -> np.ndarray:
    """Labels of n rows, (n,) integers or strings."""
    labels = _native(np.asarray(labels))
    if labels.dtype == object:  # a column of pandas
        import pandas as pd  # here, since it takes a quarter of a second

        kind = pd.api.types.infer_dtype(labels.ravel(), skipna=False)
        labels = labels.astype({"string": str, "integer": np.int64}.get(kind, object))
    if labels.ndim != 1 or labels.dtype.kind not in "iubU":
        raise DataError(f"{what} must be a vector of integers or strings; it is {labels.dtype} {labels.shape}")
    if len(labels) != n:
        raise DataError(f"{what} has {len(labels)} labels for {n} rows")
    return labels


def _unlabeled(labels: np.ndarray) -> np.ndarray:
    return labels == "" if labels.dtype.kind == "U" else labels < 0


def _encode(labels: np.ndarray, names, given: bool, what: str) -> np.ndarray:
    """Class numbers (N,) int32 of labels, -1 where there is none. Integers are positions in names that were given."""
    known = f"is not among the {len(names)} classes" if given else "no row of train has"
    if given and labels.dtype.kind != "U":
        names = np.arange(len(names))
    code_of = {name: code for code, name in enumerate(np.asarray(names).tolist())}
    codes = np.array([code_of.get(label, -1) for label in labels.tolist()], np.int32)
    bad = (codes < 0) & ~_unlabeled(labels)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"{what} row {row} has the label '{labels[row]}', which {known}")
    return codes
