"""Programs that are kept: found again without tracing, never one of something else, made anew when damaged."""

import hashlib
import os
import pickle
import time
from typing import NamedTuple

import commands
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import KEEP
from small import in_process

from jaxal import strategies
from jaxal.experiments import loop
from jaxal.numerics import programs

cache, here, world = commands.cache, commands.here, commands.world  # fixtures


class Pair(NamedTuple):
    x: jax.Array
    n: jax.Array


class Counted:
    """A kept function, as a process that has just started sees it, and how often it was traced."""

    def __init__(self, name="f", factor=2):
        self.traced = 0

        def f(pair, *, shift=0):
            self.traced += 1
            return Pair(pair.x * factor + shift, pair.n + 1), {"sum": pair.x.sum()}

        self.kept = programs.Kept(jax.jit(f, static_argnames="shift"), name, ["shift"])

    def __call__(self, x=(1.0, 2.0), n=3, **options):
        (y, n), rest = self.kept(Pair(np.asarray(x, np.float32) if isinstance(x, tuple) else x, n), **options)
        return np.asarray(y).tolist(), int(n), float(rest["sum"])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "_folder", None)
    KEEP(tmp_path / "programs")
    return tmp_path / "programs"


def test_it_is_traced_once_for_all_processes(folder):
    first, second = Counted(), Counted()
    assert first() == first() == second() == second() == ([2, 4], 4, 3)
    assert (first.traced, second.traced) == (1, 0)
    assert len(list(folder.iterdir())) == 1
    assert second((1.0, 2.0, 3.0)) == ([2, 4, 6], 4, 6)
    assert second(shift=1) == ([3, 5], 4, 3)
    assert second.traced == 2


def test_static_arguments_are_told_apart_by_type_too(folder):
    kept = programs.Kept(jax.jit(lambda x, *, s: x + int(isinstance(s, float)), static_argnames="s"), "f", ["s"])
    assert [float(kept(np.float32(1), s=s)) for s in (1, 1.0, 1)] == [1, 2, 1]


def test_nothing_is_kept_unless_it_is_said_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert programs._folder is None
    counted = Counted()
    assert counted() == counted()
    assert counted.traced == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [
        {"x": (1.0,)},  # shape
        {"x": np.ones(2, np.float16)},
        {"n": np.int32(3)},  # a Python number takes the other's type
        {"shift": 1},
        {"shift": 0.0},
    ],
)
def test_other_arguments_have_a_program_of_their_own(folder, other):
    Counted()()
    counted, plain = Counted(), Counted()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "_folder", None)
        expected = plain(**other)
    assert counted(**other) == expected
    assert counted.traced == 1


SURROUNDINGS = {
    "another function": lambda patch: None,
    "a setting of JAX": lambda patch: jax.config.update("jax_default_matmul_precision", "high"),
    "a flag of XLA": lambda patch: patch.setenv("XLA_FLAGS", "--xla_dump_to="),
    "jaxal's code": lambda patch: patch.setattr(programs, "_code", "other"),
    "a version": lambda patch: patch.setattr(programs, "version", lambda name: "9.9"),
    "the processor": lambda patch: patch.setattr(programs, "_processor", lambda: "another"),
    "cores": lambda patch: patch.setattr(os, "sched_getaffinity", lambda pid: range(77)),
}


@pytest.mark.parametrize("change", SURROUNDINGS)
def test_other_surroundings_have_programs_of_their_own(folder, monkeypatch, change):
    monkeypatch.setattr(programs, "_surroundings", programs._surroundings.__wrapped__)  # without what it remembers
    Counted()()
    same = Counted()
    same()
    assert same.traced == 0
    SURROUNDINGS[change](monkeypatch)
    other = Counted("g" if change == "another function" else "f")
    other()
    jax.config.update("jax_default_matmul_precision", None)
    assert other.traced == 1


def test_a_weakly_typed_number_has_a_program_of_its_own(folder):
    counted = Counted()
    counted(n=np.int32(3))
    counted(n=jax.jit(lambda: 3)())
    assert counted.traced == 2


def test_arithmetic_in_64_bits_has_programs_of_its_own(folder):
    counted = Counted()
    counted()
    with jax.enable_x64(True):
        counted()
    assert counted.traced == 2


def test_the_processor_is_told_with_its_instructions():
    assert len(programs._processor()) > 0
    if os.path.exists("/proc/cpuinfo"):
        assert "flags" in programs._processor() or "Features" in programs._processor()


@pytest.mark.parametrize("damage", ["nothing in it", "cut off", "a bit", "another content", "no program"])
def test_a_damaged_file_is_made_anew(folder, damage):
    expected = Counted()()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(
        {
            "nothing in it": b"",
            "cut off": whole[: len(whole) // 2],
            "a bit": whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:],
            "another content": hashlib.sha256(b"junk").digest() + b"junk",
            "no program": hashlib.sha256(pickle.dumps((b"", 0))).digest() + pickle.dumps((b"", 0)),
        }[damage]
    )
    counted, again = Counted(), Counted()
    assert counted() == again() == expected
    assert (counted.traced, again.traced) == (1, 0)


def test_a_program_that_cannot_run_is_made_anew(folder, monkeypatch):
    """As XLA:CPU writes one that came from JAX's own cache: it loads, but lacks its functions."""
    expected = Counted()()
    load = programs._load

    def broken(call):
        def program(*_, **__):
            raise jax.errors.JaxRuntimeError("NOT_FOUND: Function add_fusion not found")

        assert load(call) is not None
        return program

    monkeypatch.setattr(programs, "_load", broken)
    counted = Counted()
    assert counted() == counted() == expected
    assert counted.traced == 1


def test_it_is_never_taken_from_the_cache_of_jax(folder):
    """Which has the same program from before."""
    Counted()()
    for path in folder.iterdir():
        path.unlink()
    Counted()()
    again = Counted()
    again()
    assert again.traced == 0


def test_a_folder_that_cannot_be_written_to(folder, tmp_path, monkeypatch):
    folder.rmdir()
    counted = Counted()
    assert counted() == counted() == ([2, 4], 4, 3)
    assert counted.traced == 1
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(programs, "_folder", None)
    KEEP(tmp_path / "file" / "programs")
    assert programs._folder is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no owners and modes of this kind")
def test_a_folder_that_others_can_write_to_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "_folder", None)
    for mode in (0o777, 0o770, 0o707):
        tmp_path.chmod(mode)
        KEEP(tmp_path)
        assert programs._folder is None
    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "getuid", lambda: -5)
    KEEP(tmp_path)
    assert programs._folder is None


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Where jaxal's code is, as far as `programs` knows."""
    root = tmp_path / "package"
    (root / "numerics").mkdir(parents=True)
    (root / "numerics" / "programs.py").write_text("as it was")
    monkeypatch.setattr(programs, "__file__", str(root / "numerics" / "programs.py"))
    monkeypatch.setattr(programs, "_folder", None)
    monkeypatch.setattr(programs, "_code", None)
    return root


def test_code_that_changed_since_the_process_began_is_not_kept(package, tmp_path, monkeypatch):
    KEEP(tmp_path / "programs")
    assert programs._folder is None, "it is younger than this process"
    monkeypatch.setattr(programs, "_began", lambda: time.time() + 1)
    KEEP(tmp_path / "programs")
    assert programs._folder is not None
    Counted("f")()
    (package / "other.py").write_text("new")
    Counted("g")()
    assert len(list((tmp_path / "programs").iterdir())) == 1, "g was traced from code that is there no longer"
    KEEP(tmp_path / "programs")  # another process
    again = Counted("f")
    again()
    assert again.traced == 1


def test_code_in_no_files_is_not_kept(package, tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "_began", lambda: time.time() + 1)
    (package / "numerics" / "programs.py").rename(package / "numerics" / "programs.pyc")
    KEEP(tmp_path / "programs")
    assert programs._folder is None


def test_when_this_process_began():
    assert time.time() - 24 * 3600 < programs._began() <= time.time() - time.process_time() / (os.cpu_count() or 1)


@pytest.mark.parametrize(
    "setting", ["JAX_COMPILATION_CACHE_DIR=", "JAX_ENABLE_COMPILATION_CACHE=false", "JAX_DISABLE_JIT=true"]
)
def test_who_wants_no_cache_gets_none(here, world, tmp_path, monkeypatch, setting):
    monkeypatch.setenv(*setting.split("="))
    folder = "" if "DIR" in setting else tmp_path / "cache"
    result = in_process(["query", "-d", world / "p.npz", "-b", 5], folder)
    assert result.returncode == 0, result.stderr
    assert list(here.rglob("*.program")) == []


def test_what_cannot_be_written_is_compiled_all_the_same(folder):
    kept = programs.Kept(jax.jit(lambda x: jax.pure_callback(lambda a: a + 1, x, x)), "f")
    assert float(kept(np.float32(1))) == float(kept(np.float32(1))) == 2
    assert list(folder.iterdir()) == []


def test_the_cache_of_jax_holds_no_second_copy(folder, tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "jax"))
    try:
        Counted()()
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert [path.name for path in tmp_path.rglob("*f_*")] == []


def test_an_error_while_tracing_is_raised(folder):
    with pytest.raises(ZeroDivisionError):
        programs.Kept(jax.jit(lambda x: x / (1 // 0)), "f")(1.0)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("keeping", [True, False])
@pytest.mark.parametrize("quick", [True, False])
def test_quick_programs_are_compiled_the_quick_way_where_xla_has_it(folder, monkeypatch, quick, keeping):
    """With an option that no XLA has: it is asked for once, and only of quick programs."""
    refused, unknown = [], programs._unknown_option
    monkeypatch.setattr(programs, "_QUICK", {"xla_cpu_no_such_option": True})
    monkeypatch.setattr(programs, "_unknown_option", lambda error: refused.append(error) or unknown(error))
    if not keeping:
        monkeypatch.setattr(programs, "_folder", None)
    kept = programs.Kept(jax.jit(lambda x, *, s: x + s, static_argnames="s"), "f", ["s"], quick=quick)
    assert float(kept(np.float32(1), s=2)) == float(kept(np.float32(1), s=2)) == 3
    assert len(refused) == quick


def test_this_version_of_xla_has_the_quick_way():
    assert float(jax.jit(lambda x: x + 1, compiler_options=programs._QUICK)(1.0)) == 2


@pytest.mark.parametrize("keeping", [True, False])
def test_what_fails_for_another_reason_is_raised(folder, monkeypatch, keeping):
    if not keeping:
        monkeypatch.setattr(programs, "_folder", None)

    def fails(x):
        raise OSError("no such file")

    kept = programs.Kept(jax.jit(lambda x: jax.pure_callback(fails, x, x)), "f", quick=True)
    with pytest.raises(jax.errors.JaxRuntimeError, match="no such file"):
        jax.block_until_ready(kept(np.float32(1)))


def test_a_quick_function_may_be_part_of_another(monkeypatch):
    kept = programs.Kept(jax.jit(lambda x: x + 1), "f", quick=True)
    assert float(jax.jit(lambda x: 2 * kept(x))(np.float32(1))) == 4
    assert jax.vmap(kept)(jnp.ones(2)).tolist() == [2, 2]


def test_programs_of_strategies_are_told_apart():
    names = [
        strategies.own(strategies.make(name, variant, options))
        for name, variant, options in (
            ("badge", "official", {}),
            ("badge", "skactiveml", {}),
            ("margin", "official", {}),
            ("probcover", "official", {"delta": 0.5}),
            ("probcover", "official", {"delta": 0.25}),
        )
    ]
    assert len(set(names)) == 5
    assert None not in names
    assert isinstance(loop.compiled(strategies.make("badge")), programs.Kept)


def test_a_strategy_of_ones_own_is_not_kept():
    mine = strategies.per_seed(lambda key, state: jnp.zeros(state.labels.shape))
    assert strategies.own(mine) is None
    assert not isinstance(loop.compiled(mine), programs.Kept)


COUNT = """
import atexit, jax, sys
lowered = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **about: lowered.append(about.get("fun_name")) if "to_mlir" in event else None)
atexit.register(lambda: print(sorted(set(map(str, lowered))), "pandas" in sys.modules, file=sys.stderr))
"""


def test_a_second_query_neither_traces_nor_imports_pandas(here, world, tmp_path):
    (here / "labels.csv").write_text("row,label\n1,0\n2,1\n3,2\n")
    query = ["query", "-d", world / "p.npz", "-l", "labels.csv", "-b", 5]
    first, second = (in_process(query, tmp_path / "cache", first=COUNT) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout == second.stdout
    assert "fit" in first.stderr
    assert "select" in first.stderr
    assert "fit" not in second.stderr
    assert "select" not in second.stderr
    assert second.stderr.rstrip().endswith("False")
