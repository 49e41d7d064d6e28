"""`jaxal extract` is one process: what ends it ends the work, and Ctrl-C is one line at any moment."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import jaxal_command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

# stands for the command line of jaxal_extract: works until it is ended, for at most 30 s
WORKER = """
import os, signal, sys, time
{before}
def main():
    try:
        print(os.getpid(), flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return 130
"""


@pytest.fixture
def begin(tmp_path):
    """Start `jaxal extract` with a stand-in for the work; its module runs the code `before` when it is imported."""
    begun = []

    def start(before=""):
        package = tmp_path / "jaxal_extract"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "cli.py").write_text(WORKER.format(before=before))
        shutil.copy(Path(__file__).parents[1] / "extract" / "jaxal_extract" / "__main__.py", package)
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        pipe = subprocess.PIPE
        begun.append(subprocess.Popen(jaxal_command("extract", "--x"), env=env, stdout=pipe, stderr=pipe, text=True))
        return begun[0]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid):
    """Whether the process is gone, or goes within 5 s."""
    for _ in range(500):
        if not alive(pid):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_the_command_ends_the_work(begin, number):
    process = begin()
    worker = int(process.stdout.readline())
    process.send_signal(number)
    assert process.wait(10) == -number
    assert gone(worker), "the worker goes on"


def test_ctrl_c_while_it_works(begin):
    process = begin()
    worker = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert err == "Interrupted\n"
    assert gone(worker)


def test_ctrl_c_while_it_starts(begin):
    """The interpreter is busy importing what the work needs."""
    # Python takes the interrupt of a string that it executes, as every dataclass is made, for its own end.
    process = begin(before="exec('os.kill(os.getpid(), signal.SIGINT); time.sleep(30)')")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "Interrupted: the same command goes on where it stopped.\n"


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05])
def test_ctrl_c_as_the_process_becomes_the_worker(begin, moment):
    """As soon as the operating system shows the new command line, or a little later: Python itself is starting."""
    process = begin()
    command_line = Path(f"/proc/{process.pid}/cmdline")
    while b"jaxal_extract" not in command_line.read_bytes():
        time.sleep(0.001)
    time.sleep(moment)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.startswith("Interrupted")
    assert err.count("\n") == 1
