"""Stored pools that are not as they were written: every kind of damage costs one sentence that names the file."""

import hashlib
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from test_store import ABOUT, arrays, change_manifest, write

from jaxal.data import store
from jaxal.errors import StoreError

SHARD, OTHER = "train-00001-of-00003.safetensors", "train-00000-of-00003.safetensors"


def refused(path, read=store.read):
    """The one sentence about a damaged pool."""
    with pytest.raises(StoreError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def accept(path):
    """Enter the files as they are into the manifest: what is wrong with them then has to be seen in their content."""
    files = store.manifest(path)["files"]
    for name in files:
        content = (path / name).read_bytes()
        files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    change_manifest(path, files=files)


# ---- other bytes than were written


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1])


def flip(file, at=-1):
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def flip_in_the_middle(file):
    flip(file, file.stat().st_size // 2)


def swap_shards(file):
    content = file.read_bytes()
    file.write_bytes((file.parent / OTHER).read_bytes())
    (file.parent / OTHER).write_bytes(content)


def reverse_rows(file):
    table = pq.read_table(file)
    pq.write_table(table.take(list(range(len(table)))[::-1]), file, compression="zstd")


def make_a_folder(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        (SHARD, Path.unlink, f"{SHARD} is missing"),
        (SHARD, make_a_folder, f"{SHARD} is missing"),
        (SHARD, truncate, f"{SHARD} has .* bytes where the manifest says"),
        (SHARD, flip, f"{SHARD} has another sha256"),
        (SHARD, flip_in_the_middle, f"{SHARD} (has another|cannot be read)"),
        (SHARD, swap_shards, f"{OTHER} has another sha256"),
        (SHARD, lambda file: file.write_bytes(b"\xff" * file.stat().st_size), f"{SHARD} (has another|cannot be read)"),
        ("test-00000-of-00001.safetensors", flip, "test-00000-of-00001.safetensors has another sha256"),
        ("rows.parquet", Path.unlink, "rows.parquet is missing"),
        ("rows.parquet", flip_in_the_middle, "rows.parquet has another sha256"),
        ("rows.parquet", reverse_rows, "rows.parquet has (another sha256|.* bytes where the manifest says)"),
        ("manifest.json", truncate, "manifest.json cannot be read"),
    ],
)
def test_what_is_not_as_it_was_written_is_named(tmp_path, file, damage, message):
    path = write(tmp_path / "pool")
    store.verify(path)
    damage(path / file)
    for read in (store.read, store.verify):
        with pytest.raises(StoreError, match=message):
            read(path)
    if file == "rows.parquet":
        assert "rows.parquet" in refused(path, store.ids)


# ---- files that are whole but hold something else


def nan_row(file):
    X = safetensors.numpy.load_file(file)["X"]
    X[1, 0] = np.nan
    file.write_bytes(safetensors.numpy.save({"X": X}))


def change_labels(labels, kind=None):
    def change(file):
        table = pq.read_table(file)
        column = pa.array([*labels, *([0] * (len(table) - len(labels)))], kind)
        pq.write_table(table.set_column(table.column_names.index("label"), "label", column), file)

    return change


def save(**tensors):
    return lambda file: file.write_bytes(safetensors.numpy.save(tensors))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (SHARD, nan_row, "the vector of train row 5 .* has NaN"),
        (SHARD, lambda file: file.write_bytes(b"\xff" * 99), f"{SHARD} cannot be read"),
        (SHARD, lambda file: file.write_bytes(b""), f"D = 3, for which {SHARD} is too small"),
        (SHARD, save(Y=np.ones((4, 3), np.float16)), f"{SHARD} cannot be read"),
        (SHARD, save(X=np.ones((3, 4), np.float16)), f"{SHARD} holds .3, 4. float16 where .* .4, 3. float16"),
        (SHARD, save(X=np.ones((4, 3), np.float32)), f"{SHARD} holds .4, 3. float32 where"),
        (SHARD, save(X=np.ones((4, 3), np.int32)), f"{SHARD} cannot be read as float16 or float32"),
        (SHARD, save(X=np.ones((4, 3), np.float16), Z=np.ones(3)), f"{SHARD} cannot be read"),
        (SHARD, save(X=np.ones(12, np.float16)), f"{SHARD} cannot be read"),
        ("rows.parquet", lambda file: file.write_bytes(b"PAR1" * 99), "rows.parquet cannot be read"),
        ("rows.parquet", lambda file: file.write_bytes(b""), "rows.parquet cannot be read"),
        ("rows.parquet", change_labels([2**40], pa.int64()), "rows.parquet has labels outside the 3 classes"),
        ("rows.parquet", change_labels([-2], pa.int64()), "rows.parquet has labels outside the 3 classes"),
        ("rows.parquet", change_labels([2**64 - 1], pa.uint64()), "rows.parquet has labels outside the 3 classes"),
        ("rows.parquet", change_labels([3]), "rows.parquet has labels outside the 3 classes"),
        ("rows.parquet", change_labels([None]), "rows.parquet has labels that are not all integers"),
        ("rows.parquet", change_labels(["a"] * 14), "rows.parquet has labels that are not all integers, but string"),
        ("rows.parquet", change_labels([0.5]), "rows.parquet has labels that are not all integers, but double"),
        ("rows.parquet", change_labels([[0]] * 14), "rows.parquet has labels that are not all integers, but list"),
    ],
)  # fmt: skip
def test_what_the_files_hold_is_checked_too(tmp_path, file, change, message):
    path = write(tmp_path / "pool")
    change(path / file)
    accept(path)
    with pytest.raises(StoreError, match=message) as e:
        store.read(path)
    assert "\n" not in str(e.value)


def test_rows_of_another_pool(tmp_path):
    path, longer = write(tmp_path / "pool"), write(tmp_path / "longer", arrays(n=11))
    shutil.copy(longer / "rows.parquet", path)
    accept(path)
    assert "has 15 rows where the manifest says 10 + 4" in refused(path)
    table = pq.read_table(path / "rows.parquet")
    pq.write_table(table.drop_columns("label").slice(0, 14), path / "rows.parquet")
    accept(path)
    assert "rows.parquet cannot be read" in refused(path)


def test_what_is_no_pool(tmp_path):
    assert "is not a stored pool" in refused(tmp_path)


# ---- manifests

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"null", b"{", b"\xff", b'{"format": true}', DEEP.encode(),
                                     b'{"format": 1}', b'{"format": ' + b"1" * 5000 + b"}"])  # fmt: skip
def test_a_manifest_that_is_none(tmp_path, content):
    path = write(tmp_path / "pool")
    (path / "manifest.json").write_bytes(content)
    message = refused(path)
    assert "manifest.json" in message
    assert "damaged" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has format 2 and this jaxal reads format 1"),
        ({"N": 9}, "has 14 rows where the manifest says 9 + 4"),
        ({"N": 14}, "does not list train-00000-of-00004"),
        ({"M": 3}, "has 14 rows where the manifest says 10 + 3"),
        ({"N": 11, "M": 3}, "holds (2, 3) float16 where the manifest says (3, 3) float16"),
        ({"N": -1}, "impossible sizes"),
        ({"N": 0}, "impossible sizes"),
        ({"N": True}, "no valid 'N'"),
        ({"N": 10.0}, "no valid 'N'"),
        ({"N": 10**9}, "does not list train-00000-of-"),
        ({"N": 10**18, "shard_rows": 1}, "does not list train-00000-of-"),
        ({"M": 10**9}, "does not list test-00000-of-"),
        ({"M": 10**9, "shard_rows": 10**9}, "does not list train-00000-of-00001"),
        ({"M": -1}, "impossible sizes"),
        ({"shard_rows": 0}, "impossible sizes"),
        ({"shard_rows": True}, "no valid 'shard_rows'"),
        ({"D": 4}, "where the manifest says (4, 4) float16"),
        ({"D": 0}, "impossible sizes"),
        ({"D": -3}, "impossible sizes"),
        ({"D": True}, "no valid 'D'"),
        ({"D": "3"}, "no valid 'D'"),
        ({"D": 10**12}, "has D = 1000000000000, for which train-00000-of-00003.safetensors is too small"),
        ({"dtype": "int8"}, "unknown dtype 'int8'"),
        ({"dtype": ["float16"]}, "no valid 'dtype'"),
        ({"class_names": ["a"]}, "labels outside the 1 classes"),
        ({"class_names": {"a": 0}}, "no valid 'class_names'"),
        ({"class_names": [["a"], ["b"], ["c"]]}, "class names that are not distinct strings"),
        ({"class_names": ["a", "b", "a"]}, "class names that are not distinct strings"),
        ({"class_names": ["a", "b", None]}, "class names that are not distinct strings"),
        ({"class_names": ["a", "b", 3]}, "class names that are not distinct strings"),
        ({"dataset": "../../x"}, "has the dataset '../../x', which is no name"),
        ({"dataset": "/tmp/x"}, "has the dataset '/tmp/x', which is no name"),
        ({"dataset": ".."}, "has the dataset '..', which is no name"),
        ({"dataset": ""}, "has the dataset '', which is no name"),
        ({"dataset": "a\nb"}, "which is no name"),
        ({"dataset": "x" * 101}, "which is no name"),
        ({"dataset": None}, "no valid 'dataset'"),
        ({"model": "../../x"}, "has the model '../../x', which is no name"),
        ({"model": "a\\b"}, "which is no name"),
        ({"files": []}, "no valid 'files'"),
        ({"files": {}}, "does not list rows.parquet"),
        ({"files": {"rows.parquet": 5}}, "does not list rows.parquet"),
        ({"texts": 1}, "no valid 'texts'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_disagreement_with_the_manifest(tmp_path, changes, message):
    path = write(tmp_path / "pool")
    change_manifest(path, **changes)
    began = time.perf_counter()
    assert message in refused(path)
    assert time.perf_counter() - began < 5, "something of the claimed size was made"


def test_a_class_that_no_hash_belongs_to(tmp_path):
    path = write(tmp_path / "pool")
    files = store.manifest(path)["files"]
    for wrong in ({"bytes": files[SHARD]["bytes"]}, files[SHARD] | {"sha256": 5}):
        change_manifest(path, files=files | {SHARD: wrong})
        assert f"{SHARD} has another sha256" in refused(path)


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "x" * 101, "é", None])
@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_a_pool_gets_no_name_that_could_not_be_read_back(tmp_path, kind, name):
    with pytest.raises(StoreError, match=f"cannot be the name of a {kind}"):
        write(tmp_path / "pool", **{**ABOUT, kind: name})
    assert not (tmp_path / "pool").exists()


# ---- listing


def test_a_damaged_pool_does_not_hide_the_others(tmp_path):
    for dataset in ("a", "b", "c", "d"):
        write(tmp_path / dataset / "made", dataset=dataset)
    (tmp_path / "a" / "made" / "manifest.json").write_text("{")
    change_manifest(tmp_path / "b" / "made", N=10**9)
    (tmp_path / "c" / "made" / SHARD).unlink()
    a, b, c, d = store.listing(tmp_path)
    assert a.damage is not None
    assert "manifest.json cannot be read" in a.damage
    assert b.damage
    assert "does not list" in b.damage
    assert c.damage
    assert f"{SHARD} is missing" in c.damage
    assert (d.dataset, d.n_train, d.damage) == ("d", 10, None)
    assert [(e.dataset, e.model, e.n_train, e.finished) for e in (a, b, c)] == [(n, "made", 0, True) for n in "abc"]
    (tmp_path / "a" / "made" / "manifest.json").rename(tmp_path / "a" / "made" / "unfinished.json")
    a, *_ = store.listing(tmp_path)
    assert a.damage
    assert "unfinished.json cannot be read" in a.damage
    assert not a.finished
    assert store.datasets(tmp_path) == ["a", "b", "c", "d"]


def test_a_folder_that_may_not_be_looked_into_does_not_hide_the_pools(tmp_path, monkeypatch):
    """Such as lost+found, at the top of a disk."""
    write(tmp_path / "own" / "made")
    (tmp_path / "lost+found").mkdir()
    real = Path.iterdir

    def iterdir(path):
        if path.name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert [entry.dataset for entry in store.listing(tmp_path)] == store.datasets(tmp_path) == ["own"]
