"""Pools out of .npz files: what may be in them, and the sentence for what cannot be used."""

import io
import os
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from small import arrays, write_npz

from jaxal.data.pool import load
from jaxal.errors import DataError


def test_npz(tmp_path):
    X, y, X_test, y_test = arrays()
    made = load(str(write_npz(tmp_path / "my.pool.npz")))
    np.testing.assert_array_equal(made.X, X)
    np.testing.assert_array_equal(made.y_test, y_test)
    assert (made.dataset, made.model, made.path, made.rows) == ("my.pool", "npz", None, None)
    names = np.array(["no", "maybe", "yes"])
    made = load(write_npz(tmp_path / "b.npz", y=names[y], y_test=names[y_test], class_names=names, extra=np.eye(2)))
    assert made.class_names == ("no", "maybe", "yes")
    np.testing.assert_array_equal(made.y, y)
    made = load(write_npz(tmp_path / "c.npz", y=None, X_test=None, y_test=None))
    assert made.y is None
    assert made.X_test is None
    assert made.n_classes == 0
    made = load(write_npz(tmp_path / "d.npz", X=X.astype(np.float16), X_test=X_test.astype(np.float16)))
    assert made.X.dtype == np.float16


def damage(path, kind):
    content = path.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "text":
        path.write_text("X,y\n1,2\n")
    elif kind == "npy":
        with path.open("wb") as f:
            np.save(f, np.eye(3))
    elif kind == "pickled":
        np.savez(path, X=np.array([{}, 3], dtype=object))
    elif kind == "bits":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
            z.writestr("X.npy", bytes(range(256)) * 64)
        content = bytearray(path.read_bytes())
        content[60:70] = b"\xff" * 10
        path.write_bytes(content)
    elif kind == "missing":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "not an array":
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("X", "hello")
    elif kind == "without X":
        np.savez(path, y=np.arange(3))


@pytest.mark.parametrize(
    "kind",
    ["empty", "truncated", "text", "npy", "pickled", "bits", "missing", "folder", "not an array", "without X"],
)
def test_an_npz_that_is_none_is_named(tmp_path, kind):
    path = write_npz(tmp_path / "p.npz")
    damage(path, kind)
    with pytest.raises(DataError) as e:
        load(str(path))
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value).strip()


def test_the_file_is_named_with_what_is_wrong_in_it(tmp_path):
    X = arrays()[0].copy()
    X[3] = np.nan
    path = write_npz(tmp_path / "p.npz", X=X)
    with pytest.raises(DataError) as e:
        load(str(path))
    assert str(e.value) == f"{path}: X row 3 has a NaN or infinite value"


# ---- archives that lie


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def with_header(text: str, data=b"") -> bytes:
    """An .npy file of version 1 with this header."""
    text = text.ljust(118) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1") + data


def claim(shape, descr="'<f4'") -> bytes:
    return with_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}", bytes(48))


LIES = {
    "10^12 rows": claim("(1000000000000, 4)"),
    "10^9 rows": claim("(1000000000, 4)"),
    "rows beyond 64 bits": claim(f"({10**30}, 4)"),
    "a row too many": claim("(4, 4)"),
    "a row too few": claim("(2, 4)"),
    "negative rows": claim("(-3, -4)"),
    "no shape": claim("5"),
    "another dtype": claim("(3, 4)", "'<f8'"),
    "no dtype": claim("(3, 4)", "'hello'"),
    "objects": claim("(3, 4)", "'|O'"),
    "a record": claim("(3, 4)", "[('a', '<f4')]"),
    "no header": with_header("3"),
    "a header that does not end": with_header("{'descr': ("),
    "a nested header": with_header("(" * 200),
    "a long header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 100_000,
    "an unknown version": b"\x93NUMPY\x09\x09" + bytes(200),
    "nothing": b"",
    "text": b"1,2,3",
}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("case", LIES)
def test_a_header_is_believed_only_if_the_bytes_are_there(tmp_path, case, compression):
    path = tmp_path / "p.npz"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("X.npy", LIES[case])
    with pytest.raises(DataError) as e:
        load(str(path))
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 400


def test_an_honest_header_of_that_form_is_read(tmp_path):
    path = tmp_path / "p.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", claim("(3, 4)"))
    assert load(path).X.shape == (3, 4)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("X.npy", "X.npy"), ("X.npy", "X"), ("y.npy", "y.npy")])
def test_an_array_that_is_there_twice_is_refused(tmp_path, names):
    path = write_npz(tmp_path / "p.npz", X=None, y=None)
    X, y, _, _ = arrays()
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("X.npy", "y.npy", *names[1:]):
            archive.writestr(name, npy(X if name.startswith("X") else y))
    with pytest.raises(DataError, match=f"it holds {names[0][0]} twice"):
        load(path)


def test_other_arrays_do_not_matter(tmp_path):
    path = write_npz(tmp_path / "p.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other.npy", LIES["10^12 rows"])
        archive.writestr("notes.txt", "hello")
    np.testing.assert_array_equal(load(path).X, arrays()[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": None}, "y_test is given without y"),
        ({"X_test": None}, "y_test is given without X_test"),
        ({"y": np.arange(120.0)}, "y must be a vector of integers or strings; it is float64"),
        ({"class_names": np.array([["a", "b", "c"]])}, "class_names must be a list of strings or integers"),
        ({"class_names": np.array([0.1, 0.2, 0.3])}, "class_names must be a list of strings or integers"),
        ({"class_names": np.array("abc")}, "class_names must be a list of names"),
        ({"class_names": np.array(["a", "a", "b"])}, "class_names has 'a' twice"),
        ({"class_names": np.array(["a", "b"])}, "which is not among the 2 classes"),
        ({"X": np.zeros((120, 5), [("a", "f4")])}, "X must be a non-empty matrix of numbers"),
        ({"X": np.zeros((120, 5), "M8[s]")}, "X must be a non-empty matrix of numbers"),
    ],
)
def test_arrays_that_do_not_go_together(tmp_path, changes, message):
    path = write_npz(tmp_path / "p.npz", **changes)
    with pytest.raises(DataError) as e:
        load(path)
    assert message in str(e.value)
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)


def test_big_endian_arrays_and_numbers_as_class_names(tmp_path):
    X, y, X_test, y_test = arrays()
    swapped = {"X": X.astype(">f4"), "y": y.astype(">i8"), "X_test": X_test.astype(">f2"), "y_test": y_test}
    made = load(write_npz(tmp_path / "p.npz", **swapped, class_names=np.array([7, 8, 9])))
    np.testing.assert_array_equal(made.X, X)
    np.testing.assert_array_equal(made.y, y)
    assert made.class_names == ("7", "8", "9")
    assert made.X.dtype.isnative
    assert made.X_test.dtype == np.float16
    assert made.X_test.dtype.isnative
    fortran = load(write_npz(tmp_path / "q.npz", X=np.asfortranarray(X)))
    np.testing.assert_array_equal(fortran.X, X)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_fifo_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.npz")
    code = "import sys; from jaxal.data.pool import load; load(sys.argv[1])"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, tmp_path / "p.npz"]
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "it is not a regular file" in run.stderr
