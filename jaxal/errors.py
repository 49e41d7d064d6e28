"""What jaxal raises when the input, not the program, is at fault."""

import difflib


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


def unknown(kind: str, name: str, known) -> str:
    """'unknown strategy 'margn': did you mean margin?', or the list of what is known when nothing is close."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else "known: " + (", ".join(known) or "none")
    return f"unknown {kind} '{name}': {hint}"
