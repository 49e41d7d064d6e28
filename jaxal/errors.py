"""What jaxal raises when the input, not the program, is at fault, and what both command lines make of it."""

import difflib
from typing import overload

USER_ERROR, INTERRUPTED = 2, 130  # exit codes; a shell reports 130 for Ctrl-C


class JaxalError(Exception):
    """One clear sentence for a user: what is wrong, where, and what to do. The CLI prints it and exits with 2."""


class StoreError(JaxalError):
    """A stored pool is missing, unfinished, damaged, or not the one asked for."""


class DataError(JaxalError):
    """Arrays, labels or files that cannot be used as a pool."""


class ConfigError(JaxalError):
    """A setting that is unknown, out of range, or in conflict with results that are there."""


class StrategyError(ConfigError):
    """A strategy of one's own that fails or returns what cannot be. Its author's error, if any, is the cause."""


@overload
def outcome(error: JaxalError | KeyboardInterrupt) -> tuple[int, str]: ...
@overload
def outcome(error: BaseException) -> tuple[int, str] | None: ...
def outcome(error: BaseException) -> tuple[int, str] | None:
    """Exit code of a command that `error` ended, and its one line on stderr; None for a fault of ours: a traceback.

    2 for a JaxalError, 130 for a KeyboardInterrupt.
    """
    if isinstance(error, JaxalError):
        return USER_ERROR, f"Error: {' '.join(str(error).split())}"
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "Interrupted: the same command goes on where it stopped."
    return None


def closest(name: str, known) -> str | None:
    """The known name that `name` was most likely meant to be; None when nothing is close."""
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def did_you_mean(name: str, known) -> str:
    """A part of a sentence, ` (did you mean margin?)`; empty when nothing is close."""
    close = closest(name, known)
    return f" (did you mean {close}?)" if close else ""


def unknown(kind: str, name: str, known) -> str:
    """'unknown strategy 'margn': did you mean margin?', or the list of what is known when nothing is close."""
    known = list(known)
    close = closest(name, known)
    hint = f"did you mean {close}?" if close else "known: " + (", ".join(known) or "none")
    return f"unknown {kind} '{name}': {hint}"
