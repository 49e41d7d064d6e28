"""What vectors and counts look like when something silent went wrong: warnings with numbers.

A shard at a time, in O(D) memory.
"""

import numpy as np

_COLLAPSED = 1e-4  # of the mean squared length; rounding to bfloat16 alone leaves up to 1.5e-5
_CUT = 0.05
_LEAST = 10  # rows: fewer are alike by chance


class Vectors:
    """What `warnings` needs to know of all vectors: their number, sum, squares, and the range of each dimension."""

    def __init__(self):
        self.n = 0
        self.sum = self.squares = np.float64(0)
        self.low, self.high = np.inf, -np.inf

    def add(self, X: np.ndarray) -> None:
        """More vectors, (n, D) float32; D is always the same."""
        self.n += len(X)
        self.sum = self.sum + X.sum(0, dtype=np.float64)
        self.squares = self.squares + np.square(X, dtype=np.float64).sum()
        self.low, self.high = np.minimum(self.low, X.min(0)), np.maximum(self.high, X.max(0))

    def spread(self) -> float:
        """The variance of the vectors as a share of their mean squared length: 0 if all are one, 1 if centred."""
        if self.squares == 0:
            return 0.0
        return float(1 - np.square(self.sum / self.n).sum() / (self.squares / self.n))

    def constant(self) -> int:
        """How many dimensions are the same in all vectors."""
        return int(np.sum(self.low == self.high))


def warnings(vectors: Vectors, report: dict, settings: dict) -> list[str]:
    """A sentence for each thing that looks wrong. report: of the encoder; settings: what the vectors were made with."""
    found = []
    spread = vectors.spread() if vectors.n >= _LEAST else 1
    if spread < _COLLAPSED:
        cause = "the first token of a causal model sees no other, so that --pooling cls gives one vector for all texts"
        advice = "" if settings.get("pooling") != "cls" else f" ({cause})"
        found.append(f"the {vectors.n:,} vectors are nearly one: they spread by {spread:.1e} of their length{advice}")
    elif vectors.n >= _LEAST and vectors.constant():
        found.append(f"{vectors.constant()} of {vectors.sum.size} dimensions are the same in all {vectors.n:,} vectors")
    texts, cut = report.get("texts") or 0, report.get("truncated") or 0
    if cut > _CUT * texts:
        found.append(
            f"{cut / texts:.0%} of the texts ({cut:,} of {texts:,}) are longer than --max-length "
            f"{settings.get('max_length')} and were cut"
        )
    if settings.get("pooling") == "eos" and report.get("ends") is False:
        found.append(
            "--pooling eos reads the last token, and the tokenizer puts no end token there: most models were trained "
            "with one"
        )
    return found
