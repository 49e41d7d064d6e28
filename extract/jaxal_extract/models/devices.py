"""Where a model runs, and with which numbers. torch is imported only if this machine may have an accelerator."""

import ctypes
import os
import re
import sys
from pathlib import Path

from jaxal_extract import ExtractError

DTYPES = ("float32", "bfloat16", "float16")


def resolve(device: str) -> tuple[str, ...]:
    """The devices that `--device` names: cpu, cuda, cuda:1, mps, auto, or several as `cuda:0,cuda:1` or `cpu,cpu`.

    Raises ExtractError for other names, kinds in mixture, and devices that torch does not find.
    """
    names = device.split(",")
    if any(not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name) for name in names) or (
        "auto" in names and len(names) > 1
    ):
        raise ExtractError(f"--device {device}: give auto, cpu, cuda, cuda:1 or mps, or several as cuda:0,cuda:1")
    if names == ["auto"]:
        return (_best(),)
    kinds = {name.partition(":")[0] for name in names}
    if len(kinds) > 1:
        raise ExtractError(f"--device {device}: devices of one kind give equal vectors, name only such")
    if kinds != {"cpu"} and len(set(names)) < len(names):
        raise ExtractError(f"--device {device}: one device is named twice")
    for name in names:
        _require(name)
    return tuple(names)


def choose_dtype(asked: str | None, device: str, float16: bool) -> str:
    """The numbers to compute with: `asked`, else float32 on a CPU, bfloat16 on a GPU that has it, else float16.

    float16: whether the model's values fit into it. Raises ExtractError if it is asked for and they do not.
    """
    if asked:
        if asked == "float16" and not float16:
            raise ExtractError("--dtype float16: the values of this model overflow in it, use bfloat16 or float32")
        return asked
    if not device.startswith("cuda"):
        return "float32"
    import torch

    with torch.cuda.device(device):
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16"
    return "float16" if float16 else "float32"


def _best() -> str:
    if not _may_have_accelerator():
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _may_have_accelerator() -> bool:
    """False only where torch cannot find one: it takes seconds to import, and a finished pool needs none of it."""
    if sys.platform == "darwin" or Path("/dev/kfd").exists():  # /dev/kfd: the driver of AMD
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _require(name: str) -> None:
    kind, _, number = name.partition(":")
    if kind == "cpu":
        return
    import torch

    if kind == "mps" and not torch.backends.mps.is_available():
        raise ExtractError("--device mps: torch finds no Apple GPU here; use --device cpu")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ExtractError(f"--device {name}: torch finds no CUDA device here; use --device cpu")
    if number and int(number) >= torch.cuda.device_count():
        raise ExtractError(f"--device {name}: torch finds {torch.cuda.device_count()} CUDA devices here")


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
