"""The most memory that this process has held so far."""

import sys

import jax

try:
    import resource
except ImportError:  # Windows has no such count
    resource = None

GB = 2**30


def peak() -> dict[str, float | None]:
    """GB of 2^30 bytes: `process`, all that it held in main memory at once, Python and the pool among it; `device`, on
    the accelerator. None where that is not known, or where the device is the CPU.

    Both are of the whole process: what was run in it before counts too.
    """
    stats = jax.devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    return {"process": _process(), "device": round(stats["peak_bytes_in_use"] / GB, 2) if stats else None}


def _process() -> float | None:
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GB, 2)
