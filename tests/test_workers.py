"""Several devices: the same bytes as one, whoever did what; and what happens when a process fails or ends."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_extract import start
from test_tables import write_csv
from tiny_bert import sentences

from jaxal_extract import ExtractError
from jaxal_extract.models.encoder import Chosen, LooksAhead
from jaxal_extract.running import Alone
from jaxal_extract.running import start as start_running
from jaxal_extract.workers import Workers, _Queue, merged


class Lengths:
    """An encoder whose vectors are the lengths of the texts; what it is told is written into a file."""

    def __init__(self, name):
        self.made = {"device": name}
        self.log = []
        self.texts = 0

    def probe(self, texts):
        self.log.append(("probe", len(texts[0])))

    def expect(self, texts):
        self.log.append(("expect", texts[0][0]))

    def encode(self, texts, advance):
        self.log.append(("encode", texts[0][0]))
        if "fail" in texts[0]:
            raise ExtractError("no such text")
        if "crash" in texts[0]:
            raise ValueError("a fault")
        if "die" in texts[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        if "wait" in texts[0]:
            time.sleep(0.5)
        self.texts += len(texts[0])
        advance(len(texts[0]), 7)
        return np.array([[len(text)] for text in texts[0]], np.float32)

    def report(self):
        return {"texts": self.texts, "tokens": None, "log": self.log}

    def close(self):
        pass


def one():
    return Lengths("one")


def two():
    return Lengths("two")


def broken():
    raise ExtractError("cannot be loaded")


SHARDS = [[[f"{'x' * i}{j}" for j in range(3)]] for i in range(9)]


def run(shards, *loads):
    workers = Workers(list(loads))
    try:
        told = []
        found = dict(workers.run(shards, lambda n, tokens: told.append((n, tokens))))
        return found, told, workers.report(), workers.made
    finally:
        workers.close()
        assert not any(worker.process.is_alive() for worker in workers.workers)


def test_every_shard_is_embedded_once():
    found, told, report, made = run(SHARDS, one, two)
    assert sorted(found) == list(range(9))
    for number, X in found.items():
        np.testing.assert_array_equal(X[:, 0], [len(text) for text in SHARDS[number][0]])
    assert told == [(3, 7)] * 9
    assert report["texts"] == 27
    assert made == {"device": "one,two"}
    assert report["log"][0] == ("probe", 27)
    assert run([], one, two)[0] == {}
    assert list(run(SHARDS[:1], one, two)[0]) == [0]


def test_what_comes_after_is_tokenised_meanwhile_and_not_near_the_end():
    queue = _Queue(7, 2)
    taken = [queue.take(worker) for worker in (0, 1, 0, 1, 0, 1, 0, 1, 0)]
    assert taken == [(0, 1), (2, 3), (1, 4), (3, None), (4, None), (5, None), (6, None), (None, None), (None, None)]


def test_a_slow_device_does_not_hold_up_the_others():
    shards = [[["wait"]], *([["a"]] for _ in range(6))]
    found, *_ = run(shards, one, two)
    assert list(found)[-2:] == [0, 1]  # 1 was being tokenised there
    assert len(found) == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [("fail", "^no such text$"), ("crash", "ValueError: a fault"), ("die", "exit code -9; -9 often means that memory")],
)
def test_a_worker_that_fails(text, message, capfd):
    with pytest.raises(ExtractError, match=message):
        run([[["a"]], [[text]], [["b"]]], one, two)
    with pytest.raises(ExtractError, match="cannot be loaded"):
        run(SHARDS, one, broken)


def test_counts_are_added():
    assert merged([{"texts": 2, "tokens": None, "ends": True}, {"texts": 3, "tokens": None, "ends": True}]) == {
        "texts": 5,
        "tokens": None,
        "ends": True,
    }


def test_one_device_works_in_this_process():
    running = start_running(Chosen("lengths", {}, one))
    assert isinstance(running, Alone)
    assert isinstance(running.encoder, LooksAhead)
    assert [number for number, _ in running.run(SHARDS[:3], lambda n, tokens: None)] == [0, 1, 2]
    assert running.report()["log"] == [
        ("probe", 9), ("expect", "x0"), ("encode", "0"), ("expect", "xx0"), ("encode", "x0"), ("encode", "xx0"),
    ]  # fmt: skip


def test_two_cpu_workers_write_the_same_bytes_as_one(bert, tmp_path):
    train = write_csv(tmp_path / "t.csv", ["text", "y"], sentences(8192 * 2 + 100), ["0"] * (8192 * 2 + 100))
    test = write_csv(tmp_path / "u.csv", ["text", "y"], sentences(300, 1), ["0"] * 300)
    arguments = ["--name", "toy", "--train", train, "--test", test, "--text-column", "text", "--label-column", "y"]
    arguments += ["--model", bert]
    files = {}
    for device in ("cpu", "cpu,cpu"):
        process = start(*arguments, "--device", device, "--store", tmp_path / device.replace(",", "-"))
        _, err = process.communicate()
        assert process.returncode == 0, err
        folder = tmp_path / device.replace(",", "-") / "toy" / "tiny"
        files[device] = {file.name: file.read_bytes() for file in folder.glob("*.safetensors")}
    assert len(files["cpu"]) == 4
    assert files["cpu"] == files["cpu,cpu"]


class Sleeper(Lengths):
    def encode(self, texts, advance):
        advance(1, 0)
        time.sleep(60)


def sleeper():
    return Sleeper("sleeper")


SLEEP = """
import os
from test_workers import Workers, sleeper
workers = Workers([sleeper, sleeper])
pids = [worker.process.pid for worker in workers.workers]
next(workers.run([[["a"]], [["b"]]], lambda n, tokens: print(*pids, flush=True)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_end_with_the_process_that_started_them():
    """Even if it is killed in a way that it cannot notice, and they are at work."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", SLEEP], env=env, stdout=subprocess.PIPE, text=True)
    children = process.stdout.readline().split()
    assert len(children) == 2
    assert all(os.path.exists(f"/proc/{pid}") for pid in children)
    process.kill()
    process.wait()
    process.stdout.close()
    for _ in range(500):
        left = [pid for pid in children if os.path.exists(f"/proc/{pid}")]
        if not left:
            return
        time.sleep(0.02)
    pytest.fail(f"processes {left} go on")
