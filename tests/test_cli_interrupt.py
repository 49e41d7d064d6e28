"""Ctrl-C at any moment, and an output that is full: one line and an exit code, as a shell sees them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import commands
import pytest
from commands import SHORT
from small import in_process, jaxal_command

cache, here, world = commands.cache, commands.here, commands.world  # fixtures

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")

LINE = "Interrupted: the same command goes on where it stopped.\n"
AT_IMPORT = """
import os, signal, sys
class AtImport:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            {action}
sys.meta_path.insert(0, AtImport())
import jaxal.cli
"""
INTERRUPT = "os.kill(os.getpid(), signal.SIGINT)"


@pytest.mark.parametrize(
    ("module", "verb"),
    [
        *((module, "query") for module in ("click", "jaxal.cli.run", "jax", "numpy", "jaxal.labeling.query")),
        *((module, verb) for verb in ("run", "ips") for module in ("jax", "pandas", "jaxal.numerics.logreg")),
        ("jaxal.reporting.curves", "report"),
        ("jaxal.data.store", "list"),
    ],
)
def test_ctrl_c_while_something_is_imported(here, world, cache, module, verb):
    arguments = {"report": ["report", "."], "list": ["list"]}.get(verb, [verb, "-d", world / "p.npz", "-o", "out"])
    result = in_process(arguments, cache, first=AT_IMPORT.format(module=module, action=INTERRUPT))
    assert (result.returncode, result.stdout, result.stderr) == (130, "", LINE)
    assert not Path("out").exists()


@pytest.mark.parametrize("part", ["Command.parse_args", "Context.exit"])
def test_ctrl_c_while_click_reads_the_command_line_or_ends(here, world, cache, part):
    first = f"""
import click, os, signal
def interrupted(*arguments, before=click.{part}):
    {INTERRUPT}
    before(*arguments)
click.{part} = interrupted
import jaxal.cli
"""
    result = in_process(["query", "-d", world / "p.npz", "-b", 5], cache, first=first)
    assert (result.returncode, result.stderr.splitlines(keepends=True)[-1]) == (130, LINE)


@pytest.mark.parametrize("seconds", [0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8])
def test_ctrl_c_after_a_while(here, world, cache, seconds):
    """A real process, a real signal. It may be done by then when the machine is fast."""
    first = AT_IMPORT.format(module="click", action="print('begun', flush=True)")  # Python itself has started
    command = jaxal_command("query", "-d", world / "p.npz", "-b", 5, "-o", "batch.csv", first=first)
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=env, **pipes) as process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    if seconds <= 0.2 or process.returncode != 0:
        assert (process.returncode, errors) == (130, LINE)
    if seconds > 0.2 and (process.returncode == 0 or list(Path().iterdir())):  # it was written just before
        assert len(Path("batch.csv").read_text().splitlines()) == 6
        assert list(Path().iterdir()) == [Path("batch.csv")]
    else:
        assert list(Path().iterdir()) == []


def test_ctrl_c_while_a_program_is_compiled(here, world, tmp_path_factory):
    """XLA goes on in a thread of its own, which must not be torn down under it: the process died of SIGSEGV."""
    first = f"""
import os, signal, threading
from jaxal.numerics import programs
def interrupted(*arguments, before=programs._compile):
    threading.Timer(.1, lambda: {INTERRUPT}).start()
    return before(*arguments)
programs._compile = interrupted
"""
    result = in_process(["query", "-d", world / "p.npz", "-b", 5, "-o", "out"], tmp_path_factory.mktemp("empty"), first)
    assert (result.returncode, result.stderr) == (130, LINE)
    assert not Path("out").exists()


def test_ctrl_c_where_nobody_reads_what_it_says(here, world, cache):
    closed = "import os\nread, write = os.pipe()\nos.close(read)\nos.dup2(write, 2)\n"
    first = closed + AT_IMPORT.format(module="jax", action=INTERRUPT)
    assert in_process(["query", "-d", world / "p.npz", "-b", 5], cache, first=first).returncode == 130


def test_an_interrupt_that_the_caller_ignores_stays_ignored(here, world, cache):
    """As of `nohup`, and of what a script starts in the background."""
    ignored = AT_IMPORT.format(module="jax", action=INTERRUPT) + "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    result = in_process(["query", "-d", world / "p.npz", "-b", 5], cache, first=ignored)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(
    "arguments", ["--help", "--version", "run -h", "list", "query -d {pool} -b 5", "run -d {pool} {short} -o out"]
)
def test_an_output_that_is_full(here, world, cache, arguments):
    arguments = arguments.format(pool=world / "p.npz", short=" ".join(SHORT)).split()
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            jaxal_command(*arguments), env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if " rows x " not in line]
    assert lines == ["Error: cannot write to standard output (No space left on device)"]
