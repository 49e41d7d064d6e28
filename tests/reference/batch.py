"""The B best unlabeled rows, best first, one at a time."""

import numpy as np


def best(scores, labeled, batch_size):
    """Greedy; ties go to the lower row, so only for scores without ties."""
    scores = np.where(labeled, -np.inf, scores)
    picked = []
    for _ in range(batch_size):
        row = max((r for r in range(len(scores)) if not labeled[r] and r not in picked), key=lambda r: scores[r])
        picked.append(row)
    return picked
