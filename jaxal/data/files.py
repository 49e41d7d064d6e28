"""Writing a file so that it is there whole or not at all."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from errno import EACCES, EDQUOT, EISDIR, ENAMETOOLONG, ENOSPC, EPERM, EROFS
from pathlib import Path

from jaxal.errors import StoreError

_AGAIN = "and run the same command again, what is finished is kept"
_ADVICE = (
    dict.fromkeys((ENOSPC, EDQUOT), f"free some space {_AGAIN}")
    | dict.fromkeys((EACCES, EPERM, EROFS), f"choose a folder that can be written to {_AGAIN}")
    | {EISDIR: "that is a folder, give the name of a file", ENAMETOOLONG: "choose a shorter name"}
)


# Every effect on the file system goes through the next five functions, so that tests can make each one of them fail.


def _write(file, data) -> None:
    file.write(data)
    file.flush()


def _fsync(descriptor: int) -> None:
    os.fsync(descriptor)


def _rename(source: Path, target: Path) -> None:
    os.replace(source, target)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _mkdir(path: Path) -> None:
    path.mkdir(exist_ok=True)


@contextmanager
def one_sentence(path: Path) -> Iterator[None]:
    """Turn an OSError into a StoreError about `path`."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, f"put that right {_AGAIN}")
        raise StoreError(f"cannot write {path} ({error.strerror or error}): {advice}") from error
    except ValueError as error:  # a name that no file can have: it holds a NUL, or is not valid Unicode
        raise StoreError(f"cannot write {str(path)!r} ({error}): choose another name") from error


def _fsync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: str | os.PathLike, data) -> None:
    """Write `data` (bytes or a buffer) to `path`: whatever happens, `path` holds all of it or what it held before.

    A symbolic link stays one: what it points to is replaced. A FIFO or a device is written into, as it cannot be
    replaced. Raises StoreError, leaving no temporary file behind, when the disk is full or the folder cannot be
    written to.
    """
    path = Path(path)
    with one_sentence(path):
        if _is_stream(path):
            with open(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as stream:
                _write(stream, data)
        else:
            _replace(Path(os.path.realpath(path)), data)


def _is_stream(path: Path) -> bool:
    """Whether `path` is something that is written into; False for a file, and for nothing yet. Raises OSError."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
    folder = os.path.realpath(path.parent)
    # /dev/stdout and /dev/fd/3 may be files, but the shell's, which others write into too.
    return not stat.S_ISREG(mode) or folder == "/dev" or folder.startswith("/proc/")


def _replace(path: Path, data) -> None:
    temporary = path.with_name(f".{path.name[:60]}.{os.getpid()}.tmp")  # a name has at most 255 bytes
    try:
        with open(temporary, "wb") as file:
            _write(file, data)
            _fsync(file.fileno())
        _rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            _remove(temporary)
        raise
    _fsync_folder(path.parent)


def append(file, data: bytes) -> None:
    """Write `data` behind what an open file holds, durably; a kill may leave a part of it. Raises OSError."""
    file.seek(0, os.SEEK_END)
    _write(file, data)
    _fsync(file.fileno())


def remove(path: Path) -> None:
    """Delete a file if it is there. Raises StoreError."""
    with one_sentence(path):
        if path.exists():  # a store that is mounted read-only refuses to delete even what is not there
            _remove(path)


def remove_temporaries(folder: Path) -> None:
    """Delete what writers that were killed left in `folder`. Raises StoreError."""
    for path in folder.glob(".*.[0-9]*.tmp"):  # as atomic_write names them
        remove(path)


def make_folders(path: Path) -> None:
    """Create `path` and its parents, durably. Raises StoreError."""
    with one_sentence(path):
        if not path.is_dir():
            make_folders(path.parent)
            _mkdir(path)
            _fsync_folder(path.parent)


@contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """Keep other processes, and other calls in this one, out of `folder`. Raises StoreError(busy) if one is in it.

    The lock is the operating system's, on the file `.lock` in `folder`: it ends with the process however that ends, and
    a file that was left behind locks nothing. Where there can be no lock, in a folder that cannot be written to or on
    a network file system without locks, the folder is used without one.
    """
    from filelock import FileLock, Timeout  # takes longer to import than most commands need

    with ExitStack() as held:
        try:
            held.enter_context(FileLock(folder / ".lock", timeout=0, fallback_to_soft=False))
        except Timeout:
            raise StoreError(busy) from None
        except OSError:
            pass
        yield
