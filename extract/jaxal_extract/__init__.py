"""Texts to embeddings, in PyTorch: `python -m jaxal_extract`, a process of its own that shares only the store."""

import difflib


class ExtractError(Exception):
    """One clear sentence for a user: what is wrong, where, and what to do. cli.py prints it and exits with 2."""


def closest(name: str, names) -> str:
    """The part of an error sentence ` (did you mean X?)`; empty when no name is close."""
    found = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {found[0]}?)" if found else ""
