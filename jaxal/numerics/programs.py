"""Compiled programs: how fast XLA compiles them, and that they are found again without tracing.

Half the time that XLA:CPU takes for a program of many small kernels, it makes and takes down an MLIR compiler for each.
Its older way does without: `fit` compiles in .7 instead of 1.4 s and runs up to 6 % slower, badge in 1.1 instead of
1.8 s and 10 to 18 %, margin in half the time and runs as fast; k-means in 1.4 instead of 2.6 s and 10 %.

JAX's compilation cache goes by the lowered program, so that every process traces and lowers anew: 1.0 of the 2.0 s of
a query by badge for which all is compiled; here it is .2. In exchange a name must say all that tracing depends on:
jaxal's code, JAX's settings, versions, processor, shapes. So it serves what jaxal's commands run of jaxal's own. The
library, and strategies of somebody else's, go through `jax.jit`.
"""

import hashlib
import os
import pickle
import platform
import re
import stat
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, cached_property, wraps
from importlib.metadata import version
from pathlib import Path

import jax
import jax.monitoring
from jax import tree
from jax.core import Tracer
from jax.experimental import serialize_executable

from jaxal.data.files import atomic_write

_folder: Path | None = None
_code: str | None = None  # a digest of jaxal's, as it was when this process read it


def keep(folder: Path) -> None:
    """Keep programs in `folder` from now on, unless others can write there: programs are code.

    Nor where jaxal's own code cannot be told: it is in no plain files, or they changed since this process began.
    """
    global _folder, _code
    with suppress(OSError):  # a folder that cannot be made
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
        ours = not hasattr(os, "getuid") or about.st_uid == os.getuid()
        _code = _digest(_began())
        if ours and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and _code is not None:
            _folder = folder


_QUICK: dict[str, str | bool] = {"xla_cpu_use_fusion_emitters": False}


class Kept:
    """A function of `jax.jit` that also keeps its programs where `keep` says, if anywhere.

    Args: name: which function of jaxal's it is, and all that it closes over. static: names of its static arguments,
        which are given by keyword. quick: whether it should compile fast rather than run fast, on CPU; or what tells
        it of the arguments.
    Cost: some 40 microseconds a call, and 50 ms for a program from the disk, which count as compiling. On accelerators
        nothing is kept: it was not tried there.
    """

    def __init__(self, jitted: Callable, name: str, static: Sequence[str] = (), *, quick: Callable | bool = False):
        self._jitted, self._name, self._static, self._quick = jitted, name, static, quick
        self._quick_jitted = jax.jit(jitted.__wrapped__, static_argnames=static, compiler_options=_QUICK)
        self._programs: dict[tuple, Callable] = {}

    def __call__(self, *arguments, **options):
        """What the function returns."""
        if not _keeping():
            return self._without(arguments, options)
        call = _Call(self._name, self._static, arguments, options, self._is_quick(arguments, options))
        if call.kind not in self._programs:
            loaded = _load(call)
            if loaded is not None:
                with suppress(jax.errors.JaxRuntimeError):  # that a part of it is missing shows when it runs
                    result = jax.block_until_ready(loaded(*arguments, **call.options))
                    self._programs[call.kind] = loaded
                    return result
            self._programs[call.kind] = _compile(self._jitted.__wrapped__, call)
        return self._programs[call.kind](*arguments, **call.options)

    def _without(self, arguments, options):
        """The function by `jax.jit`."""
        inside = any(isinstance(leaf, Tracer) for leaf in tree.leaves((arguments, options)))
        if not inside and self._is_quick(arguments, options):  # JAX has no such options within a program
            try:
                return self._quick_jitted(*arguments, **options)
            except jax.errors.JaxRuntimeError as error:
                if not _unknown_option(error):
                    raise
                self._quick = False
        return self._jitted(*arguments, **options)

    def _is_quick(self, arguments, options) -> bool:
        quick = self._quick(*arguments, **options) if callable(self._quick) else self._quick
        return quick and jax.default_backend() == "cpu"


def _unknown_option(error: Exception) -> bool:
    """Whether it says that this version of XLA has only one way."""
    return "No such compile option" in str(error)


def _keeping() -> bool:
    return _folder is not None and jax.default_backend() == "cpu" and not jax.config.values["jax_disable_jit"]


class _Call:
    """Arguments of a kept function, and which program serves all that are alike."""

    def __init__(self, name: str, static: Sequence[str], arguments: tuple, options: dict, quick: bool):
        self.name, self.static, self.arguments, self.quick = name, static, arguments, quick
        self.fixed = {key: options[key] for key in static if key in options}
        self.options = {key: value for key, value in options.items() if key not in self.fixed}
        leaves, self.structure = tree.flatten((arguments, self.options))
        fixed = [(name, type(value), value) for name, value in self.fixed.items()]  # 1 and 1.0 are equal
        self.kind = (self.structure, *map(_kind, leaves), *fixed, _x64())

    @cached_property
    def path(self) -> Path:
        """The file of the program; its name is the digest of all that the program depends on."""
        assert _folder is not None
        settings = sorted((name, str(value)) for name, value in jax.config.values.items())
        backend = jax.devices()[0].client.platform_version
        known = [self.name, self.quick, *map(str, self.kind), settings, backend, _code, *_surroundings()]
        return _folder / f"{hashlib.sha256(repr(known).encode()).hexdigest()}.program"


def _x64() -> bool:
    return jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]  (JAX declares it nowhere)


def _kind(leaf) -> tuple:
    if not hasattr(leaf, "dtype"):
        return (type(leaf).__name__,)
    return leaf.shape, str(leaf.dtype), getattr(leaf, "weak_type", False)


def _load(call: _Call) -> Callable | None:
    """The program for a call from its file; None where there is none, or a damaged one."""
    began = time.perf_counter()
    with suppress(Exception):  # whatever is wrong with it, it is made again
        content = call.path.read_bytes()
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            program, result = pickle.loads(content[32:])
            loaded = serialize_executable.deserialize_and_load(program, call.structure, tree.structure(result))
            seconds = time.perf_counter() - began
            jax.monitoring.record_event_duration_secs("/jax/core/compile/kept_program_duration", seconds)
            return loaded
    return None


def _compile(function: Callable, call: _Call) -> Callable:
    """Compile for a call, and write the file.

    The name is one that JAX's cache has never seen: what comes from there cannot be written a second time.
    """
    renamed = wraps(function)(lambda *arguments, **options: function(*arguments, **options))
    renamed.__name__ = unique = f"{getattr(function, '__name__', 'program')}_{uuid.uuid4().hex}"
    jitted = jax.jit(renamed, static_argnames=call.static)
    lowered = jitted.lower(*call.arguments, **call.options, **call.fixed)
    try:
        compiled = lowered.compile(compiler_options=_QUICK if call.quick else None)
    except jax.errors.JaxRuntimeError as error:
        if not _unknown_option(error):
            raise
        compiled = lowered.compile()
    with suppress(Exception):  # no space, say: the next process compiles again
        program, _, structure = serialize_executable.serialize(compiled)
        # A structure cannot be pickled where it has classes of our own; something that has it can.
        content = pickle.dumps((program, tree.unflatten(structure, range(structure.num_leaves))))
        if _digest(time.time()) == _code:  # else this is a program of what is there no longer
            atomic_write(call.path, hashlib.sha256(content).digest() + content)
        for entry in Path(jax.config.values["jax_compilation_cache_dir"] or "").glob(f"*{unique}*"):
            entry.unlink()  # nobody will look for it
    return compiled


@cache
def _surroundings() -> list[str]:
    """Versions, the processor and its settings."""
    versions = [sys.version, *map(version, ("jax", "jaxlib", "numpy"))]
    flags = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("XLA_")]
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return [*versions, *flags, str(len(cores)), platform.platform(), _processor()]


def _digest(before: float) -> str | None:
    """Of jaxal's code; None if it is in no files, or in files that have changed since `before`."""
    code = hashlib.sha256()
    root = Path(__file__).parents[1]
    paths = sorted(root.rglob("*.py"))
    for path in paths:
        code.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    told = Path(__file__) in paths and all(path.stat().st_ctime < before for path in paths)
    return code.hexdigest() if told else None


def _began() -> float:
    """When this process began, in seconds since 1970; a minute ago where the system does not say."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        up = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return time.time() - 60


def _processor() -> str:
    """Its model and the instructions that it has."""
    with suppress(OSError):
        told = re.findall(r"^(?:model name|flags|Features|CPU part)\s*:.*", Path("/proc/cpuinfo").read_text(), re.M)
        if told:
            return "\n".join(sorted(set(told)))
    return platform.processor()
