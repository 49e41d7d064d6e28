"""How far an extraction is: a bar on a terminal, else a line a shard."""

import sys
import time

import click
from tqdm import tqdm


class Progress:
    """total: texts to embed; characters: in all of them, since long texts take longer than short ones."""

    def __init__(self, total: int, characters: int):
        self.total, self.characters = total, characters
        self.done, self.tokens, self.done_characters = 0, 0, 0
        self.started = time.perf_counter()
        self.bar = tqdm(total=total, unit=" texts", file=sys.stderr, disable=not sys.stderr.isatty())

    def advance(self, texts: int, tokens: int = 0) -> None:
        """So many more texts are embedded."""
        self.done += texts
        self.tokens += tokens
        if self.tokens:
            self.bar.set_postfix_str(f"{self.tokens / self._seconds():,.0f} tokens/s", refresh=False)
        self.bar.update(texts)

    def shard(self, characters: int) -> None:
        """A shard with so many characters is stored."""
        self.done_characters += characters
        if self.bar.disable:
            seconds = self._seconds()
            left = seconds * (self.characters - self.done_characters) / max(1, self.done_characters)
            tokens = f", {self.tokens / seconds:,.0f} tokens/s" if self.tokens else ""
            click.echo(
                f"{self.done} of {self.total} rows, {self.done / seconds:,.0f} texts/s{tokens}, {left:.0f} s left",
                err=True,
            )

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()

    def _seconds(self) -> float:
        return max(1e-9, time.perf_counter() - self.started)
