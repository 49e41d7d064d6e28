"""A sweep as one SLURM job array, an element a group: no daemon, nothing pickled, and no state but the folders."""

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from jaxal.data.files import atomic_write, make_folders
from jaxal.errors import ConfigError
from jaxal.experiments.sweep.workers import command

_SCRIPT = """\
#!/bin/bash
# Written by jaxal sweep. An element is a group; TERM comes to this process two minutes before its time is over.
if [ -z "$JAX_COMPILATION_CACHE_DIR" ]; then  # on a disk of the node: many nodes writing one folder disturb each other
  export JAX_COMPILATION_CACHE_DIR="${{TMPDIR:-/tmp}}/jaxal-xla-$(id -u)"
  mkdir -p -m 700 "$JAX_COMPILATION_CACHE_DIR"
fi
exec {command} "$SLURM_ARRAY_TASK_ID"
"""


def submit(numbers: Sequence[int], out: Path, options: str) -> str:
    """Submit an array of the groups with these numbers, and return its job id.

    Args: options: of sbatch, as one string; they come last and may replace ours.
    Raises: ConfigError with what sbatch says.
    """
    folder = out / "slurm"
    make_folders(folder)
    script = folder / "element.sh"
    atomic_write(script, _SCRIPT.format(command=shlex.join(command(out, "")[:-1])).encode())
    ours = ["--parsable", "--job-name=jaxal", "--requeue", "--open-mode=append", "--signal=B:TERM@120",
            f"--output={os.path.abspath(folder)}/%A_%a.log", f"--array={','.join(map(str, numbers))}"]  # fmt: skip
    try:
        given = shlex.split(options)
        done = subprocess.run(["sbatch", *ours, *given, script], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ConfigError("sbatch is not installed here: submit where SLURM is, or use --workers") from None
    except ValueError as error:  # of shlex: a quotation that does not end
        raise ConfigError(f"--slurm {options!r}: {error}") from error
    if done.returncode:
        raise ConfigError(f"sbatch refused the array: {done.stderr}")
    return done.stdout.strip().partition(";")[0]


def requeue() -> str | None:
    """Put the element that this process is back into the queue. Returns its name; None when it is none, or cancelled.

    `<array>_<task>`: the id of the array alone would requeue all its elements. SLURM itself requeues elements that are
    preempted or whose node fails, and those of `scancel` are to stay cancelled; both get TERM, too, but run no longer.
    """
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
    if array is None or task is None:
        return None
    element = f"{array}_{task}"
    ask = ["scontrol", "show", "job", element]
    about = subprocess.run(ask, capture_output=True, text=True, check=False).stdout
    if re.search(r"\bJobState=RUNNING\b", about) is None:
        return None
    subprocess.run(["scontrol", "requeue", element], check=False)
    return element
