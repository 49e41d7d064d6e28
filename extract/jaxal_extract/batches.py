"""Which texts run through the model together."""

from collections.abc import Iterator

import numpy as np


def batches(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Row numbers in batches of like length, longest first; rows times longest is at most batch_tokens (or one row)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size
