"""A sweep as Ray tasks, each the process of one group: for a large workstation, a cloud or Kubernetes."""

import logging
import os
import subprocess
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from jaxal.data.files import make_folders
from jaxal.errors import ConfigError
from jaxal.experiments.sweep.workers import LOG, Ended, command


def run_groups(groups: Sequence[str], out: Path, on_end: Callable[[Ended], object]) -> None:
    """Run groups on the cluster at $RAY_ADDRESS, else on one of this machine alone; `on_end` is called for each.

    A task gets a CPU, and a GPU where there are any. All nodes must see `out` and Python under the same paths. A task
    whose node is lost is run again by Ray, as often as need be: a group goes on where it stopped.

    Raises: ConfigError when Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    alone = "RAY_ADDRESS" not in os.environ
    if alone:  # Ray keeps to the loopback address only where it is told, before its import, that there is no cluster
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        ray = import_module("ray")
    except ImportError as error:
        raise ConfigError(f'--ray needs Ray: pip install "jaxal[ray]" ({error})') from error
    local = {"address": "local", "include_dashboard": False, "object_store_memory": 100_000_000}  # nothing is stored
    ray.init(**local if alone else {}, log_to_driver=False, logging_level=logging.ERROR)
    # max_calls: a fresh process for each, so that a device's memory is given back
    task = ray.remote(num_gpus=int("GPU" in ray.cluster_resources()), max_calls=1, max_retries=-1)(_run)
    try:
        running = {task.remote(command(out, group), str(out.resolve() / group), os.getcwd()): group for group in groups}
        while running:
            done, _ = ray.wait(list(running), num_returns=1)
            on_end(Ended(running.pop(done[0]), ray.get(done[0])))
    finally:
        for each in running:
            ray.cancel(each)
        ray.shutdown()


def _run(command: list[str], folder: str, cwd: str) -> int:
    """The exit code of a group's process, which ends with this one."""
    make_folders(Path(folder))
    with open(Path(folder) / LOG, "a") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=cwd)
    try:
        return process.wait()
    finally:
        process.terminate()
