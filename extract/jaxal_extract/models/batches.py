"""Which texts run through the model together."""

from collections.abc import Iterator

import numpy as np


def batches(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Row numbers in batches of like length, longest first; rows times longest is at most batch_tokens (or one row).

    Texts of exactly one length need no padding and no attention mask, which is faster: a batch takes shorter texts
    only while it has less than a quarter of batch_tokens.
    """
    order = np.argsort(-lengths, kind="stable")
    falling = -lengths[order]
    start = 0
    while start < len(order):
        longest = max(1, -falling[start])
        most = min(len(order), start + max(1, batch_tokens // longest))
        equal = int(np.searchsorted(falling, falling[start], "right"))
        least = start - (-batch_tokens // (4 * longest))
        stop = min(most, max(equal, least))
        yield order[start:stop]
        start = stop
