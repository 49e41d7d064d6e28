"""A chosen model at work on a list of shards: in this process on one device, else in a process for each device."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jaxal_extract.models.encoder import Chosen, Encoder, LooksAhead
from jaxal_extract.workers import Texts, Workers


def start(chosen: Chosen) -> "Alone | Workers":
    """Load the model where it is to run. Raises ExtractError."""
    return Workers([chosen.load, *chosen.others]) if chosen.others else Alone(chosen.load())


class Alone:
    """One encoder in this process, with what `Workers` offer. made: the encoder's."""

    def __init__(self, encoder: Encoder):
        self.encoder = encoder
        self.made = encoder.made

    def run(self, shards: list[Texts], advance: Callable[..., Any]) -> Iterator[tuple[int, np.ndarray]]:
        """Embed every shard; yields its number and its vectors, (n, D) float32."""
        encoder = self.encoder
        if shards and isinstance(encoder, LooksAhead):
            encoder.probe([[text for shard in shards for text in shard[column]] for column in range(len(shards[0]))])
        for number, texts in enumerate(shards):
            if number + 1 < len(shards) and isinstance(encoder, LooksAhead):
                encoder.expect(shards[number + 1])
            yield number, encoder.encode(texts, advance)

    def report(self) -> dict:
        """The encoder's counts."""
        return self.encoder.report()

    def close(self) -> None:
        """Free the encoder."""
        self.encoder.close()
