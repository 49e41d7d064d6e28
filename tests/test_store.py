"""Stored pools: what is written is what is read, damage is named, and no kill or full disk loses more than a shard."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxal.data import files, store
from jaxal.errors import StoreError

REPOSITORY = Path(__file__).parents[1]
ABOUT = {"dataset": "toy", "model": "made", "class_names": ["a", "b", "c"], "settings": {"pooling": "mean"}}


def arrays(n=10, m=4, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X, X_test = rng.normal(size=(n, d)).astype(np.float32), rng.normal(size=(m, d)).astype(np.float32)
    return X, rng.integers(-1, 3, n), X_test, rng.integers(0, 3, m)


def write(path, data=None, **changes):
    return store.write_arrays(path, *(data or arrays()), **{**ABOUT, "shard_rows": 4, **changes})


def content(path):
    """Every file of a pool as bytes; of the manifest all but the time."""
    found = {file.name: file.read_bytes() for file in Path(path).iterdir()}
    found["manifest.json"] = json.loads(found["manifest.json"]) | {"created": None}
    return found


def change_manifest(path, **changes):
    file = path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# ---- round trips


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 13),
    m=st.integers(0, 7),
    d=st.integers(1, 5),
    shard_rows=st.integers(1, 15),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    scale=st.sampled_from([1e-30, 1e-6, 1.0, 1e4, 1e6]),
)
def test_round_trip(tmp_path, n, m, d, shard_rows, dtype, scale):
    shutil.rmtree(tmp_path / "pool", ignore_errors=True)
    X, y, X_test, y_test = arrays(n, m, d)
    with np.errstate(over="ignore", under="ignore"):
        X, X_test = (X * scale).astype(dtype), (X_test * scale).astype(dtype)
    if not np.isfinite(X).all() or not np.isfinite(X_test).all():
        return
    back = store.read(write(tmp_path / "pool", (X, y, X_test if m else None, y_test), shard_rows=shard_rows))
    assert back.X.dtype in (np.float16, np.float32)
    assert back.y.dtype == np.int32
    for wrote, read in ((X, back.X), *([(X_test, back.X_test)] if m else [])):
        lost = np.linalg.norm(wrote.astype(np.float64) - read.astype(np.float64), axis=1)
        assert (lost <= 2.0**-11 * np.linalg.norm(wrote.astype(np.float64), axis=1)).all()
    np.testing.assert_array_equal(back.y, y)
    if m:
        np.testing.assert_array_equal(back.y_test, y_test)
    else:
        assert back.X_test is None
        assert back.y_test is None
    assert back.class_names == ["a", "b", "c"]
    assert len(list((tmp_path / "pool").glob("train-*"))) == -(-n // shard_rows)


@pytest.mark.parametrize(
    ("row", "dtype"),
    [
        ([1.0, 1e-7, 0.0], np.float16),  # one subnormal element beside a large one costs nothing
        ([0.0, 0.0, 0.0], np.float16),
        ([65504.0, 1.0, 0.0], np.float16),
        ([70000.0, 1.0, 0.0], np.float32),  # overflow
        ([1e-6, 1e-6, 1e-6], np.float32),  # all weight in float16's subnormals
        ([1e-30, 0.0, 0.0], np.float32),  # rounds to nothing
    ],
)
def test_float32_only_where_float16_loses_more_than_its_rounding(tmp_path, row, dtype):
    X = np.ones((3, 3), np.float32)
    X[1] = row
    back = store.read(write(tmp_path / "pool", (X, None)))
    assert back.X.dtype == dtype
    np.testing.assert_allclose(back.X, X, rtol=1e-3 * (dtype == np.float16), atol=3e-8 * (dtype == np.float16))


def test_one_shard_may_need_float32_and_the_others_not(tmp_path):
    X, *rest = arrays(n=8)
    X[6] = 1e5
    back = store.read(write(tmp_path / "pool", (X, *rest)))
    assert back.X.dtype == np.float32
    np.testing.assert_array_equal(back.X[4:], X[4:])
    np.testing.assert_array_equal(back.X[:4], X[:4].astype(np.float16))


def test_texts_and_ids(tmp_path):
    names = {
        "texts": [f"text {i}" for i in range(10)],
        "texts_test": ["é\nü"] * 4,
        "ids": [f"id{i}" for i in range(10)],
    }
    path = write(tmp_path / "pool", **names)
    assert store.texts(path) == names["texts"]
    assert store.texts(path, np.array([7, 2])) == ["text 7", "text 2"]
    assert store.ids(path, [9]) == ["id9"]
    assert store.ids(path, []) == []
    assert store.texts(path, [3], "test") == ["é\nü"]
    assert store.ids(path, [3], "test") == ["3"]
    with pytest.raises(StoreError, match="no row 10 in its train split of 10 rows"):
        store.texts(path, [0, 10])
    assert store.texts(write(tmp_path / "without")) is None


# ---- the store's folder


def test_root(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXAL_STORE", str(tmp_path))
    assert store.root() == tmp_path
    assert store.root("x") == Path("x")
    monkeypatch.delenv("JAXAL_STORE")
    assert store.root().name == "store"
    assert "jaxal" in store.root().parts


def test_find_and_listing(tmp_path):
    assert store.listing(tmp_path / "none") == []
    big = write(tmp_path / "toy" / "big")
    assert store.find("toy", root_path=tmp_path) == big
    other = write(tmp_path / "toy" / "other")
    with pytest.raises(StoreError, match=r"several models .*big, other"):
        store.find("toy", root_path=tmp_path)
    minilm = write(tmp_path / "toy" / "minilm", (arrays()[0], None))
    assert store.find("toy", root_path=tmp_path) == minilm
    assert store.find("toy", "other", tmp_path) == other
    with pytest.raises(StoreError, match="unknown dataset 'toi': did you mean toy"):
        store.find("toi", root_path=tmp_path)
    with pytest.raises(StoreError, match="unknown model 'bigg': did you mean big"):
        store.find("toy", "bigg", tmp_path)
    with store.open_writer(tmp_path / "half" / "big", **ABOUT, train=store.Rows(["0"], [0], None)):
        pass
    for model in (None, "big"):
        with pytest.raises(StoreError, match=r"half.big is unfinished"):
            store.find("half", model, tmp_path)
    assert store.listing(tmp_path) == [
        store.Entry("half", "big", tmp_path / "half" / "big", 1, 0, None, 3, False),
        store.Entry("toy", "big", big, 10, 4, 3, 3, True),
        store.Entry("toy", "minilm", minilm, 10, 0, 3, 3, True),
        store.Entry("toy", "other", other, 10, 4, 3, 3, True),
    ]
    assert store.is_pool(big)
    assert store.is_pool(tmp_path / "half" / "big")
    assert not store.is_pool(tmp_path / "toy")


# ---- writing


def test_the_same_pool_again_is_left_alone(tmp_path):
    path = write(tmp_path / "pool")

    def times():  # but of the lock, which some releases of filelock touch
        return {file.name: file.stat().st_mtime_ns for file in path.iterdir() if file.name != ".lock"}

    before = times()
    assert write(path, shard_rows=3) == path
    assert before == times()


def test_a_damaged_pool_is_not_taken_for_finished(tmp_path):
    path = write(tmp_path / "pool")
    (path / "train-00001-of-00003.safetensors").unlink()
    with pytest.raises(StoreError, match=r"train-00001-of-00003.safetensors is missing.*delete"):
        write(path)


def test_another_pool_is_refused_by_name(tmp_path):
    path = write(tmp_path / "pool")
    with pytest.raises(StoreError, match=r'pooling: "mean" -> "cls"; prompt: null -> "q".*--as NAME'):
        write(path, settings={"pooling": "cls", "prompt": "q"})
    with pytest.raises(StoreError, match=r'N: 10 -> 11; rows_sha256: .*; vectors: "'):
        write(path, arrays(n=11))
    assert store.read(path).manifest["settings"]["pooling"] == "mean"


def test_an_unfinished_pool_is_refused_only_if_it_has_shards(tmp_path):
    rows = store.Rows([str(i) for i in range(6)], np.zeros(6), None)
    begin = lambda **changes: store.open_writer(tmp_path / "pool", **{**ABOUT, **changes}, train=rows, shard_rows=4)  # noqa: E731
    with begin():
        pass
    with begin(settings={"pooling": "cls"}) as writer:
        writer.write(writer.missing()[0], np.ones((4, 2), np.float32))
    with pytest.raises(StoreError, match="another pool"), begin():
        pass
    with begin(settings={"pooling": "cls"}) as writer:
        assert [shard.start for shard in writer.missing()] == [4]


def test_shards_that_nothing_describes_are_not_taken_over(tmp_path):
    path = write(tmp_path / "pool", arrays(seed=1))
    (path / "manifest.json").unlink()
    X = arrays()[0]
    np.testing.assert_array_equal(store.read(write(path)).X, X.astype(np.float16))


def test_the_writer_checks_what_it_is_given(tmp_path):
    rows = store.Rows(["0", "1", "2"], np.zeros(3), None)
    with store.open_writer(tmp_path / "pool", **ABOUT, train=rows, shard_rows=2) as writer:
        first, second = writer.missing()
        with pytest.raises(StoreError, match="needs 2 vectors"):
            writer.write(first, np.ones((3, 2), np.float32))
        with pytest.raises(StoreError, match=r"train row 2 \(counted from 0\) has NaN"):
            writer.write(second, np.array([[1.0, np.inf]], np.float32))
        writer.write(first, np.ones((2, 2), np.float32))
        with pytest.raises(StoreError, match="a shard is missing"):
            writer.finish()
        writer.write(second, np.ones((1, 3), np.float32))
        with pytest.raises(StoreError, match="differ in dimension"):
            writer.finish()
        with (
            pytest.raises(StoreError, match="another process is writing"),
            store.open_writer(tmp_path / "pool", **ABOUT, train=rows),
        ):
            pass
    with pytest.raises(StoreError, match="10 vectors, 9 labels"):
        write(tmp_path / "short", (arrays()[0], np.zeros(9)))
    with pytest.raises(StoreError, match="labels outside its 3 classes"):
        write(tmp_path / "short", (arrays()[0], np.full(10, 3)))
    with pytest.raises(StoreError, match="at least one row"):
        write(tmp_path / "short", (arrays()[0][:0], None))


# ---- faults at every effect on the file system


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours has an effect after it, cleaning up included."""


def fail_at(monkeypatch, at, fault):
    """Make effect number `at` fail; a write fails half-way. Returns the list of effects that were begun."""
    seen = []
    for name in ("_write", "_fsync", "_rename", "_remove", "_mkdir"):
        original = getattr(files, name)

        def effect(*arguments, original=original, name=name):
            seen.append(name)
            if len(seen) - 1 == at or (fault is Killed and len(seen) > at):
                if name == "_write" and len(seen) - 1 == at:
                    original(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise fault()
            return original(*arguments)

        monkeypatch.setattr(files, name, effect)
    return seen


def full_disk():
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("fault", "raised"), [(full_disk, StoreError), (Killed, Killed)])
def test_a_fault_at_any_effect_leaves_a_right_or_a_resumable_pool(tmp_path, fault, raised):
    expected = content(write(tmp_path / "whole" / "made", texts=["t"] * 10, texts_test=["u"] * 4))
    at, failed = 0, True
    while failed:
        path = tmp_path / f"{at}" / "made"
        with pytest.MonkeyPatch.context() as patch:
            seen = fail_at(patch, at, fault)
            error = None
            try:
                write(path, texts=["t"] * 10, texts_test=["u"] * 4)
            except raised as e:
                error = e
            failed = len(seen) > at
        if fault is full_disk and error is not None:
            assert "free some space" in str(error)
            assert "\n" not in str(error)
        if fault is full_disk:
            assert not list(path.glob("*.tmp"))
        if (path / "manifest.json").exists():
            store.read(path)
        kept = {file.name: file.stat().st_mtime_ns for file in path.glob("*.safetensors")}
        write(path, texts=["t"] * 10, texts_test=["u"] * 4)
        assert content(path) == expected
        assert kept.items() <= {file.name: file.stat().st_mtime_ns for file in path.iterdir()}.items()
        at += 1
    assert at > 20


def test_what_a_killed_writer_left_is_removed(tmp_path):
    path = write(tmp_path / "pool")
    (path / ".train-00000-of-00003.safetensors.1.tmp").write_bytes(b"half")
    (path / "unfinished.json").write_bytes((path / "manifest.json").read_bytes())
    write(path)
    assert not list(path.glob("*.tmp"))
    assert not (path / "unfinished.json").exists()


def test_a_read_only_store(tmp_path, monkeypatch):
    path = write(tmp_path / "pool")

    def refuse(*arguments):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("_write", "_fsync", "_rename", "_remove", "_mkdir"):
        monkeypatch.setattr(files, name, refuse)
    write(path)  # it is there already: nothing to write
    with pytest.raises(StoreError, match=r"cannot write .*other.*choose a folder that can be written to"):
        write(tmp_path / "other")


def test_reading_holds_one_copy(tmp_path):
    """650,000 x 4,096 in float16 are 5 GB: there is no room for a second copy."""
    path = write(tmp_path / "pool", (np.ones((4096, 512), np.float32), None), shard_rows=256)
    store.read(path)  # imports are not to be counted
    tracemalloc.start()
    back = store.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.06 * back.X.nbytes


def test_the_store_imports_neither_jax_nor_torch():
    code = "import sys, jaxal.data.store; print(sorted({'jax', 'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
