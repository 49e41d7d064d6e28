"""What keeps a file from being read, in one sentence."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxal.errors import did_you_mean
from jaxal_extract import ExtractError


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what opening and reading `path` raises into an ExtractError, but for bytes that are no text."""
    try:
        if path.exists() and not path.is_file():  # opening a FIFO would wait for ever
            raise ExtractError(f"{path} is not a regular file")
        yield
    except UnicodeDecodeError:
        raise
    except FileNotFoundError:
        there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ExtractError(f"there is no file {path}{did_you_mean(path.name, there)}") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:  # ValueError: a NUL in the name
        raise ExtractError(f"{path} cannot be read ({' '.join(str(error).split())})") from None
