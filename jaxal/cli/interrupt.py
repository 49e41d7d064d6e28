"""Ctrl-C while libraries are imported and when a command ends, and TERM."""

import gc
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress

from jaxal.errors import INTERRUPTED, outcome


@contextmanager
def loading():
    """For imports, and what click does around a command: Ctrl-C ends the process at once, with its one line and code.

    A KeyboardInterrupt in the middle of an import would be shown as a traceback or lost: Python's import system and
    compiled modules run code whose errors are printed and ignored. Nothing has to be put in order yet.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody else decides what Ctrl-C does, or that it does nothing
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _end:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def interruptible():
    """Within `loading`: a part that ends in order, by KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is not _end:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _end)


@contextmanager
def on_term(action):
    """Call `action()` when TERM comes, in place of ending at once."""
    before = signal.signal(signal.SIGTERM, lambda *_: action())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def settle(code) -> None:
    """A command is done and the process ends with `code`: quickly, and whatever Ctrl-C comes now.

    After an interrupt it ends here: XLA goes on compiling in threads of its own, and dies of SIGSEGV where Python takes
    its client down meanwhile.
    """
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == INTERRUPTED:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)
    gc.freeze()  # Python looks through all objects before it ends: .15 s


def _end(*_) -> None:
    code, line = outcome(KeyboardInterrupt())
    try:
        os.write(2, f"{line}\n".encode())
    finally:  # also where nobody reads it
        os._exit(code)
