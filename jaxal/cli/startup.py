"""What a command that computes does before JAX starts."""

import glob
import re
import sys
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path


def start_jax() -> None:
    """Keep compiled programs between commands, and find strategies of one's own in the current folder."""
    import jax
    import platformdirs

    if _cache_folder() is None:  # $JAX_COMPILATION_CACHE_DIR
        jax.config.update("jax_compilation_cache_dir", str(platformdirs.user_cache_path("jaxal", False) / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    folder = _cache_folder()
    if folder and "://" not in folder and jax.config.values["jax_enable_compilation_cache"]:
        from jaxal.numerics import programs

        programs.keep(Path(folder) / "programs")
    if "" not in sys.path:
        sys.path.append("")  # last: a random.py or queue.py here must not take the place of Python's own
    warnings.showwarning = partial(_show_warning, warnings.showwarning)


def _cache_folder() -> str | None:
    import jax

    return jax.config.values["jax_compilation_cache_dir"]  # JAX declares no attribute for it


def _show_warning(show, message, *rest, **options):
    """Show a warning, but for JAX's of a compiled program that it can neither read nor replace: delete that one.

    A kill or a full disk leaves it half written, and every later command would say so and compile it again.
    """
    broken = re.match(r"Error (?:reading|writing) persistent compilation cache entry for '([^']+)'", str(message))
    if broken is None:
        return show(message, *rest, **options)
    for entry in Path(_cache_folder() or "").glob(f"{glob.escape(broken[1])}-*"):
        with suppress(OSError):
            entry.unlink()
