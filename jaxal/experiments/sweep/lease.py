"""A lease keeps other processes, on this host or another, out of a run folder while its holder is alive."""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jaxal.data.files import atomic_write, make_folders
from jaxal.errors import StoreError

LEASE = "lease.json"
BEAT, STALE = 10.0, 120.0  # seconds between heartbeats, and without one until a lease is another's to take
_SETTLE = 0.5  # seconds in which another may take the same stale lease


class Lost(Exception):
    """Another process holds the lease: perhaps this one was suspended, or cut off from the folder, for too long."""


class Lease:
    """A lease that is held. Its file names the holder; its heartbeat is the time of the file's last change."""

    def __init__(self, path: Path, text: bytes):
        self._path, self._text = path, text
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    def check(self) -> None:
        """Raise Lost when it is no longer held."""
        if self._is_lost():
            raise Lost(f"another process has taken {self._path}")

    def end(self) -> None:
        """Give it back."""
        self._ended.set()
        self._heart.join()
        if not self._is_lost():
            self._path.unlink(missing_ok=True)

    def _is_lost(self) -> bool:
        try:
            return self._path.read_bytes() != self._text
        except FileNotFoundError:
            return True
        except OSError:  # the network: it may come back
            return False

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            if self._is_lost():
                return
            with suppress(OSError):
                os.utime(self._path)


@contextmanager
def lease(folder: Path) -> Iterator[Lease | None]:
    """Hold the lease of `folder`, which is made if need be; None when another process holds it.

    A lease is stale, and taken over, when its heartbeat is older than STALE, or its holder was a process of this host
    that is dead. Raises StoreError when the folder cannot be written to.
    """
    make_folders(folder)
    path = folder / LEASE
    text = json.dumps(_here() | {"token": secrets.token_hex(8)}).encode()
    if not _take(path, text):
        yield None
        return
    held = Lease(path, text)
    try:
        yield held
    finally:
        held.end()


def holder(folder: Path) -> dict[str, Any] | None:
    """Who holds the lease of a folder: host, pid, job and restarts (of SLURM), since; None when nobody alive does."""
    path = folder / LEASE
    try:
        age = time.time() - path.stat().st_mtime
        return None if _is_stale(path, age) else _content(path)
    except OSError:
        return None


def _here() -> dict[str, Any]:
    about = {"host": socket.gethostname(), "pid": os.getpid(), "space": _space(), "since": time.strftime("%F %T")}
    names = {"job": "SLURM_JOB_ID", "restarts": "SLURM_RESTART_COUNT"}
    return about | {key: os.environ[name] for key, name in names.items() if name in os.environ}


def _space() -> str:
    """Where process ids count: containers of one host name have their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _take(path: Path, text: bytes) -> bool:
    try:
        with open(path, "xb") as file:  # exclusive on network file systems, too
            file.write(text)
        return True
    except FileExistsError:
        return _take_over(path, text)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _take_over(path: Path, text: bytes) -> bool:
    try:
        if not _is_stale(path, _now(path) - path.stat().st_mtime):
            return False
        atomic_write(path, text)
        time.sleep(_SETTLE)  # of several that found it stale, the last to write has it
        return path.read_bytes() == text
    except FileNotFoundError:  # given back this moment
        return False
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot write {path} ({error.strerror}): choose another --out")


def _now(path: Path) -> float:
    """The time of the file system, which may be that of another machine."""
    probe = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _is_stale(path: Path, age: float) -> bool:
    if age > STALE:
        return True
    content = _content(path)
    here = _here()
    same = all(content.get(name) == here[name] for name in ("host", "space"))
    return same and isinstance(content.get("pid"), int) and not _alive(content["pid"])


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        return content if isinstance(content, dict) else {}
    except ValueError:  # it is being written
        return {}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    try:  # of a dead process, whose parent has not asked how it ended
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True
