"""Texts to embeddings, in PyTorch: `python -m jaxal_extract`, a process of its own that shares only the store."""

from jaxal.errors import JaxalError


class ExtractError(JaxalError):
    """A file, a model or an option that texts cannot be embedded with."""
