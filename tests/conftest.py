"""What all tests share: strict JAX, and where the real pools and texts are."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_bert

ROOT = Path(__file__).parents[1]

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="module", autouse=True)
def forget_compiled_programs():
    """Each holds a few memory maps, of which Linux gives a process 65,530: all tests together would end in a crash."""
    yield
    jax.clear_caches()


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
