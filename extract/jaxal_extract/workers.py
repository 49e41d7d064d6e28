"""Several devices: a process each, which embeds whole shards that this process hands out and stores.

Only this process writes into the store and holds its lock, so no two devices can have one shard, and a shard has the
same bits whichever device, and however many, took part. Texts go out and vectors come back through pipes: 130 MB for
8,192 vectors of 4,096 numbers, a fraction of a second beside the minutes that they take.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import numpy as np

from jaxal_extract import ExtractError
from jaxal_extract.models.encoder import Encoder, LooksAhead

Texts = list[list[str]]


class _Worker(NamedTuple):
    process: Any
    pipe: Connection


class Workers:
    """Encoders in processes of their own. made: of the first, and how many there are.

    Raises ExtractError if one of them cannot load the model.
    """

    def __init__(self, loads: list[Callable[[], Encoder]]):
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self.workers = []
        self.counts: list[dict] = []
        for load in loads:
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(load, theirs), daemon=True)
            process.start()
            theirs.close()
            self.workers.append(_Worker(process, ours))
        try:
            made = [self._answer(worker, "made")[0] for worker in self.workers]
        except BaseException:
            self.close()
            raise
        self.made = made[0] | {"device": ",".join(each["device"] for each in made)}

    def run(self, shards: list[Texts], advance: Callable[..., Any]) -> Iterator[tuple[int, np.ndarray]]:
        """Embed every shard; yields its number and its vectors, as they come. Raises ExtractError if a worker fails."""
        if not shards:
            return
        queue = _Queue(len(shards), len(self.workers))
        self._probe(shards)
        busy = {worker.pipe: number for number, worker in enumerate(self.workers) if self._give(queue, number, shards)}
        while busy:
            for pipe in wait(list(busy)):
                number = busy[pipe]
                kind, *content = self._receive(self.workers[number])
                if kind == "advance":
                    advance(*content)
                    continue
                if not self._give(queue, number, shards):
                    del busy[pipe]
                shard, vectors = content
                yield shard, vectors

    def _probe(self, shards: list[Texts]) -> None:
        everything = [[text for shard in shards for text in shard[column]] for column in range(len(shards[0]))]
        for worker in self.workers:
            worker.pipe.send(("probe", everything))
        for worker in self.workers:
            self._answer(worker, "probed")

    def _give(self, queue: "_Queue", number: int, shards: list[Texts]) -> bool:
        """Send the next shard to a worker that waits for one; False if none is left."""
        present, after = queue.take(number)
        if present is None:
            return False
        self.workers[number].pipe.send(("encode", present, shards[present], None if after is None else shards[after]))
        return True

    def report(self) -> dict:
        """The counts of all workers together."""
        for worker in self.workers:
            worker.pipe.send(("report",))
        reports = [self._answer(worker, "report")[0] for worker in self.workers]
        return merged(reports)

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join()

    def _answer(self, worker: _Worker, expected: str) -> list:
        kind, *content = self._receive(worker)
        if kind != expected:
            raise RuntimeError(f"a worker answered {kind} where {expected} was due")
        return content

    def _receive(self, worker: _Worker) -> tuple:
        try:
            message = worker.pipe.recv()
        except (EOFError, ConnectionError):
            worker.process.join(5)
            raise ExtractError(
                f"the process of one device ended (exit code {worker.process.exitcode}; -9 often means that memory "
                "ran out): the same command goes on where it stopped"
            ) from None
        if message[0] == "error":
            raise ExtractError(message[1])
        return message


class _Queue:
    """Which worker gets which shard, and which one it tokenises meanwhile."""

    def __init__(self, shards: int, workers: int):
        self.waiting = deque(range(shards))
        self.workers = workers
        self.ahead: dict[int, int] = {}

    def take(self, worker: int) -> tuple[int | None, int | None]:
        """The next shard of this worker and the one after it; None where there is none."""
        if worker not in self.ahead and not self.waiting:
            return None, None
        present = self.ahead.pop(worker) if worker in self.ahead else self.waiting.popleft()
        if len(self.waiting) > self.workers:  # near the end each takes what is left as soon as it is free
            self.ahead[worker] = self.waiting.popleft()
        return present, self.ahead.get(worker)


def merged(reports: list[dict]) -> dict:
    """Counts added up; what is no count is the same in all."""
    first = reports[0]
    return {
        key: sum(report[key] for report in reports) if type(value) is int else value for key, value in first.items()
    }


def _work(load: Callable[[], Encoder], pipe: Connection) -> None:
    """What a worker does: load, then answer until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one ends us
    parent = multiprocessing.parent_process()
    if parent:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    try:
        encoder = load()
        pipe.send(("made", encoder.made))
        while True:
            _answer(encoder, pipe, *pipe.recv())
    except EOFError:
        pass
    except ExtractError as error:
        pipe.send(("error", str(error)))
    except Exception as error:
        traceback.print_exc()
        pipe.send(("error", f"the process of one device failed ({type(error).__name__}: {error})"))


def _answer(encoder: Encoder, pipe: Connection, kind: str, *content) -> None:
    if kind == "probe":
        if isinstance(encoder, LooksAhead):
            encoder.probe(*content)
        pipe.send(("probed",))
    elif kind == "encode":
        number, texts, after = content
        if after and isinstance(encoder, LooksAhead):
            encoder.expect(after)
        vectors = encoder.encode(texts, lambda n, tokens=0: pipe.send(("advance", n, tokens)))
        pipe.send(("vectors", number, vectors))
    else:
        pipe.send(("report", encoder.report()))


def _end_with(sentinel: int) -> None:
    """End this process when the one that started it is gone, however it went."""
    wait([sentinel])
    os._exit(1)
