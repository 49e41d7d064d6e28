"""From the vectors of the tokens to one vector a text.

hidden (B, L, D): float tensor; mask (B, L): 1 at real tokens, of which every row has at least one, 0 at padding, on any
side; None if all are real. Each returns (B, D), the mean in float32.
"""


def mean(hidden, mask):
    """The mean over the real tokens."""
    if mask is None:
        return hidden.float().mean(1)
    weight = mask.unsqueeze(-1)
    return (hidden.float() * weight).sum(1) / weight.sum(1)


def cls(hidden, mask):
    """The first real token, [CLS] in models of the BERT kind."""
    return hidden[:, 0] if mask is None else _pick(hidden, mask.argmax(1))


def eos(hidden, mask):
    """The last real token, the only one that a causal model has shown the whole text."""
    return hidden[:, -1] if mask is None else _pick(hidden, mask.shape[1] - 1 - mask.flip(1).argmax(1))


def _pick(hidden, positions):
    return hidden.gather(1, positions[:, None, None].expand(-1, 1, hidden.shape[2])).squeeze(1)


POOLINGS = {"mean": mean, "cls": cls, "eos": eos}
