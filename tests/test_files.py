"""Files that are written whole or not at all, and folders that one process uses at a time."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from jaxal.data import files
from jaxal.errors import StoreError

# ---- writing


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_file_is_replaced_as_a_whole(tmp_path):
    files.atomic_write(tmp_path / "f", b"old")
    files.atomic_write(tmp_path / "f", memoryview(b"new"))
    assert content(tmp_path) == {"f": b"new"}


def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after(tmp_path, monkeypatch):
    effects = []
    for name in ("_write", "_fsync", "_rename", "_remove"):
        real = getattr(files, name)
        monkeypatch.setattr(files, name, lambda *a, name=name, real=real: effects.append(name) or real(*a))
    files.atomic_write(tmp_path / "f", b"x")
    assert effects == ["_write", "_fsync", "_rename", "_fsync"]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    name = "é" * 127
    files.atomic_write(tmp_path / name, b"x")
    assert content(tmp_path) == {name: b"x"}


def link(path, target):
    path.symlink_to(target)
    return path


def test_a_symbolic_link_stays_and_its_end_is_replaced(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    (there / "f").write_bytes(b"old")
    first, second = link(here / "first", "../there/f"), link(here / "second", "first")
    new = link(here / "new", there / "none yet")
    files.atomic_write(second, b"through two links")
    files.atomic_write(new, b"new")
    assert content(there) == {"f": b"through two links", "none yet": b"new"}
    assert first.is_symlink()
    assert second.is_symlink()
    assert new.is_symlink()
    assert len(list(here.iterdir())) == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_fifo_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", link(tmp_path / "link", "fifo")):
        reader = subprocess.Popen(["cat", tmp_path / "fifo"], stdout=subprocess.PIPE)
        files.atomic_write(path, b"x" * 100_000)
        assert reader.communicate(timeout=10)[0] == b"x" * 100_000
        assert (tmp_path / "fifo").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "link"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's devices")
def test_a_device_is_written_into(tmp_path):
    files.atomic_write("/dev/null", b"x")
    files.atomic_write(link(tmp_path / "link", "/dev/null"), b"x")
    assert os.path.exists("/dev/null")
    assert not os.path.isfile("/dev/null")
    with pytest.raises(StoreError, match=r"cannot write /dev/full \(No space left on device\): free some space") as e:
        files.atomic_write("/dev/full", b"x")
    assert "\n" not in str(e.value)
    assert not os.path.isfile("/dev/full")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/stdout")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_written_into_whatever_it_is(tmp_path, name):
    code = "import sys; from jaxal.data.files import atomic_write; atomic_write(sys.argv[1], b'new')"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, name]
    assert subprocess.run(command, env=env, capture_output=True, check=True).stdout == b"new"
    (tmp_path / "log").write_bytes(b"old ")
    with open(tmp_path / "log", "ab") as log:
        subprocess.run(command, env=env, stdout=log, check=True)
    assert content(tmp_path) == {"log": b"old new"}


CANNOT_BE_WRITTEN = {
    "a folder": ("folder", "Is a directory.*that is a folder, give the name of a file"),
    "this folder": (".", "that is a folder"),
    "nothing": ("", "that is a folder"),
    "a link to a folder": ("to folder", "that is a folder"),
    "300 characters": ("x" * 300, "File name too long.*choose a shorter name"),
    "no such folder": ("none/f", "No such file or directory"),
    "below a file": ("file/f", "Not a directory"),
    "a link to nowhere": ("to none", "No such file or directory"),
    "a circle of links": ("circle", "Too many levels of symbolic links"),
    "a NUL": ("a\0b", "null byte.*choose another name"),
    "no Unicode": ("a\ud800b", "surrogates not allowed.*choose another name"),
}


@pytest.mark.parametrize("case", CANNOT_BE_WRITTEN)
def test_what_cannot_be_written_costs_one_sentence(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"kept")
    for name, target in (("to folder", "folder"), ("to none", "none/f"), ("circle", "circle")):
        link(tmp_path / name, target)
    before = sorted(tmp_path.iterdir())
    name, message = CANNOT_BE_WRITTEN[case]
    with pytest.raises(StoreError, match=f"cannot write .*{message}") as e:
        files.atomic_write(name, b"x")
    assert "\n" not in str(e.value)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "file").read_bytes() == b"kept"


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "file/folder"])
def test_folders_that_cannot_be_made(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot write"):
        files.make_folders(tmp_path / name / "deeper")


# ---- locks


def hold(folder, then="sys.stdin.read()"):
    """A process that has locked `folder` and waits."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom jaxal.data.files import locked\n"
        f"with locked(Path(sys.argv[1]), 'busy'):\n    print('locked', flush=True)\n    {then}"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], env=env, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout.readline() == "locked\n"
    return process


def end(process):
    process.stdin.close(), process.stdout.close()
    return process.wait(10)


def test_one_process_at_a_time(tmp_path):
    process = hold(tmp_path)
    with pytest.raises(StoreError, match="the first is in"), files.locked(tmp_path, "the first is in"):
        pytest.fail("both are in")
    assert end(process) == 0
    with files.locked(tmp_path, "wait"):
        with pytest.raises(StoreError, match="here too"), files.locked(tmp_path, "here too"):
            pytest.fail("both are in")
        (tmp_path / "other").mkdir()
        with files.locked(tmp_path / "other", "another folder is free"):
            pass
    with files.locked(tmp_path, "it was given back"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_process_locks_nobody_out(tmp_path):
    process = hold(tmp_path)
    process.send_signal(signal.SIGKILL)
    assert end(process) == -signal.SIGKILL
    assert (tmp_path / ".lock").is_file()  # left behind
    with files.locked(tmp_path, "busy"):
        pass


def test_an_error_inside_gives_the_lock_back_and_is_passed_on(tmp_path):
    for error in (OSError(errno.ENOSPC, "full"), KeyboardInterrupt()):
        with pytest.raises(type(error)), files.locked(tmp_path, "busy"):
            raise error
    with files.locked(tmp_path, "busy"):
        pass


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_to_is_used_without_a_lock(tmp_path, monkeypatch, code):
    real = os.open

    def refuse(path, *rest, **options):
        if str(path).endswith(".lock"):
            raise OSError(code, os.strerror(code))
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    with files.locked(tmp_path, "busy"):
        assert not (tmp_path / ".lock").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other locks")
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks(tmp_path, monkeypatch, code):
    import fcntl

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):  # whatever the first left behind locks nobody out
        with files.locked(tmp_path, "busy"):
            pass
