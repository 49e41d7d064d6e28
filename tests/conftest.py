"""What all tests share: strict JAX, tiny blocks and windows, and where the real pools and texts are."""

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_bert

from jaxal.numerics import programs

ROOT = Path(__file__).parents[1]

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Compiled programs outlive `forget_compiled_programs`, and the next run finds them: most of the time of a first run is
# compiling. Each worker has a folder of its own, since JAX does not lock one.
os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)  # JAX has set it for itself; commands that tests start do so too
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / f"xla-{os.environ.get('PYTEST_XDIST_WORKER', 0)}"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# What the tests start hears Ctrl-C and a hang-up, though a shell may have begun them with both ignored (`nohup`, `&`).
for _signal in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.default_int_handler if _signal == signal.SIGINT else signal.SIG_DFL)

# Commands that tests run in this process keep no programs: those of functions that a test has changed would be found.
KEEP, programs.keep = programs.keep, lambda folder: None

ROWS = 8  # of a tiny block: pools of the tests have many, and the last one overlaps the one before it
TINY = {
    "numerics.blocks._ELEMENTS": 1,
    "numerics.blocks._LEAST_ROWS": ROWS,
    "numerics.assignment._CENTERS": 5,
    "numerics.assignment._LISTED": ROWS,
    "numerics.bounds._LEAST_CLUSTERS": 1,
    "numerics.bounds._LEAST_SIZE": 2,
    "numerics.bounds._LEAST_WORK": 1,
    "numerics.bounds._MET": 2,
    "numerics.distances._NORM_ROWS": ROWS,
    "numerics.kmeans._TABLE": 0,
    "numerics.lazy._PROPOSALS": 3,
    "numerics.lazy._WINDOW": 4,
    "numerics.neighbors._SIZE": ROWS,
    "numerics.softmax._BLOCK": ROWS,
    "strategies._ball_graph._BLOCK": 1,  # 32 rows
    "strategies._ball_graph._COLUMNS": ROWS,
    "strategies._coreset._CHUNK": 4,
    "strategies._coreset._ROWS": 5,
    "strategies._coreset._WINDOW": 3,
}


@pytest.fixture(scope="module", autouse=True)
def forget_compiled_programs():
    """Each holds a few memory maps, of which Linux gives a process 65,530: all tests together would end in a crash."""
    yield
    jax.clear_caches()


@contextmanager
def _tiny_blocks():
    """Blocks of eight rows and windows below every B but 1. Sizes are read while kernels are traced, so what is
    compiled with others is forgotten, before and after."""
    jax.clear_caches()
    with pytest.MonkeyPatch.context() as patch:
        for name, size in TINY.items():
            module, _, constant = name.rpartition(".")
            patch.setattr(import_module(f"jaxal.{module}"), constant, size)
        yield
    jax.clear_caches()


@pytest.fixture
def tiny_blocks():
    """A test with tiny blocks."""
    with _tiny_blocks():
        yield


@pytest.fixture(scope="module")
def tiny_blocks_everywhere():
    """A module with tiny blocks (`pytestmark`), so that its tests share what they compile."""
    with _tiny_blocks():
        yield


@pytest.fixture(params=["blocks as they are", "tiny blocks"])
def block_sizes(request):
    """A test twice: with blocks that hold a small pool whole, and with tiny ones."""
    if request.param == "tiny blocks":
        request.getfixturevalue("tiny_blocks")


@pytest.fixture
def patch_kernels(monkeypatch):
    """`monkeypatch.setattr` for what kernels read while they are traced: `jax.jit` of the same function, even by
    another call of it, would go on with what it compiled before."""

    def patch(module, name, value):
        monkeypatch.setattr(module, name, value)
        jax.clear_caches()

    yield patch
    jax.clear_caches()


@pytest.fixture
def count_traces(monkeypatch):
    """`traces = count_traces(module, name, statics)`: a list that grows when this jitted function is traced anew."""

    def count(module, name, statics):
        traces, jitted = [], getattr(module, name)
        function = jitted.__wrapped__

        @wraps(function)
        def counted(*arguments, **keywords):
            traces.append(name)
            return function(*arguments, **keywords)

        for attribute, value in list(vars(module).items()):
            if jitted in (value, getattr(value, "_jitted", None)):
                monkeypatch.setattr(module, attribute, jax.jit(counted, static_argnames=statics))
        return traces

    return count


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real texts (data/) and embeddings (pools/) that is not part of the repository."""
    folder = Path(os.environ.get("JAXAL_SHARED", ROOT.parent / "shared"))
    if not (folder / "pools").is_dir():
        pytest.skip(f"the real pools are not in {folder} (set JAXAL_SHARED to their folder)")
    return folder


@pytest.fixture(scope="session")
def banking77(shared):
    """X (10003, 384) float32, y, X_test (3080, 384), y_test: MiniLM embeddings of Banking77."""
    with np.load(shared / "pools" / "banking77-minilm.npz") as z:
        return {k: z[k].astype(np.float32) if "X" in k else z[k] for k in z}


@pytest.fixture(scope="session")
def worker():
    """Call a function in a process that may load torch: worker(function, *arguments)."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *arguments, **options: pool.submit(function, *arguments, **options).result()


@pytest.fixture(scope="session")
def bert(worker, tmp_path_factory):
    """The folder of `tiny_bert.make_bert`'s model."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    worker(tiny_bert.make_bert, folder)
    return folder
