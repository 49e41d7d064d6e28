"""What loading a transformer needs to know; it can be sent to another process."""

from typing import NamedTuple

from jaxal_extract.models.weights import Weights


class Plan(NamedTuple):
    """All that loading a transformer needs; can be pickled. batch_tokens: None for the device's default."""

    weights: Weights
    settings: dict
    batch_tokens: int | None
    threads: int | None
    notes: dict
