"""Files that are written whole or not at all, and folders that one process uses at a time."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from jaxal.data import files
from jaxal.errors import StoreError

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
    with pytest.raises(StoreError, match="^wait for the other$"), files.locked(tmp_path, "wait for the other"):
        pytest.fail("both are in")
    assert end(process) == 0
    with files.locked(tmp_path, "wait"):
        with pytest.raises(StoreError, match="^also within a process$"), files.locked(tmp_path, "also within a process"):
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
