"""Seconds of a block of work, with those that JAX spends on compiling counted apart."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import jax.monitoring


class Intervals:
    """The length of the union of intervals that are reported one by one, each when it ends.

    JAX reports a function's tracing after that of the functions inside it, so a running total would count the inner
    ones twice. Intervals that do not touch are kept apart until one comes that spans them.
    """

    def __init__(self, since: float):
        self._since = since  # nothing before it counts
        self._apart: list[tuple[float, float]] = []  # begin and end, in order

    def add(self, begin: float, end: float) -> None:
        """Take in an interval that ends no earlier than those before it."""
        begin = max(begin, self._since)
        while self._apart and self._apart[-1][1] >= begin:
            begin = min(begin, self._apart.pop()[0])
        if begin < end:
            self._apart.append((begin, end))

    @property
    def seconds(self) -> float:
        """Seconds that any of the intervals covers."""
        return sum(end - begin for begin, end in self._apart)


class Stopwatch:
    """Seconds since it was started, or of its whole block once that has ended."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._ended: float | None = None
        self._compiling = Intervals(self._began)

    @property
    def compile_seconds(self) -> float:
        """Seconds of tracing, lowering, and compiling or reading the compilation cache."""
        return self._compiling.seconds

    @property
    def seconds(self) -> float:
        """Seconds of all else."""
        ended = time.perf_counter() if self._ended is None else self._ended
        return max(0.0, ended - self._began - self.compile_seconds)


_running: list[Stopwatch] = []  # compiling is noted for these alone; nothing is kept once they have ended


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Time a block of work. Blocks may stand inside others: compiling in one counts for all around it."""
    _listen()
    watch = Stopwatch()
    _running.append(watch)
    try:
        yield watch
    finally:
        watch._ended = time.perf_counter()
        _running.remove(watch)


@cache  # once a process: the oldest JAX that jaxal supports has no public way to take a listener off again
def _listen() -> None:
    jax.monitoring.register_event_duration_secs_listener(_note)


def _note(event: str, duration_secs: float, **_: str | int) -> None:
    if event.startswith("/jax/core/compile/"):
        now = time.perf_counter()
        for watch in _running:
            watch._compiling.add(now - duration_secs, now)
