"""When two texts count as the same."""

import re

_SIGNS = re.compile(r"[\W_]+")


def folded(text: str) -> str:
    """A text without case, blanks and signs; one that has nothing else stays as it is, but for blanks at its ends."""
    return _SIGNS.sub("", text.casefold()) or text.strip()
