"""Groups as processes of their own, each `jaxal sweep --group`, some at a time: one that dies takes no other along."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxal.data.files import make_folders

LOG = "log.txt"  # in the folder of a group


class Ended(NamedTuple):
    """A group whose process has ended."""

    group: str
    exit_code: int  # negative: of the signal that killed it


def command(out: Path, group: str) -> list[str]:
    """The command of one group. Strategies of one's own are found in the current folder, as by `jaxal run`."""
    # -P: the current folder is not where modules are looked for first
    return [sys.executable, "-P", "-m", "jaxal", "sweep", "--out", os.path.abspath(out), "--group", group]


def run_groups(groups: Sequence[str], out: Path, workers: int, on_end: Callable[[Ended], object]) -> None:
    """Run groups in this order, `workers` at a time; `on_end` is called for each.

    What they print is kept in the log of each; the progress bar of a worker that is alone is shown. When this process
    is interrupted, they finish their cycles and end first. Of CUDA_VISIBLE_DEVICES each worker sees one.
    """
    waiting, running = list(groups), {}
    try:
        while waiting or running:
            for slot in sorted(set(range(workers)) - set(running)):
                if waiting:
                    group = waiting.pop(0)
                    running[slot] = group, _start(group, out, slot, alone=workers == 1)
            for slot, (group, process) in list(running.items()):
                if process.poll() is not None:
                    del running[slot]
                    on_end(Ended(group, process.returncode))
            time.sleep(0.05)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.wait()


def _start(group: str, out: Path, slot: int, alone: bool) -> subprocess.Popen:
    make_folders(out / group)
    with open(out / group / LOG, "a") as log:
        return subprocess.Popen(
            command(out, group),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=None if alone and sys.stderr.isatty() else log,
            env=os.environ | _device(slot),
        )


def _device(slot: int) -> dict[str, str]:
    devices = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return {"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]} if devices else {}
