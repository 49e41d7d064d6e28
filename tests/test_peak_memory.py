"""The most memory that was held, in the results and in what the commands say."""

import json
from pathlib import Path
from types import SimpleNamespace

import commands
import jax
import numpy as np
import pytest
from commands import SHORT, call
from small import QUICK, pool

import jaxal
from jaxal.errors import StoreError
from jaxal.experiments import memory
from jaxal.experiments.folder import note_peak
from jaxal.reporting.provenance import provenance
from jaxal.reporting.study import Study

cache, here, world = commands.cache, commands.here, commands.world  # fixtures


def peak_of(folder):
    return json.loads((folder / "config.json").read_text())["peak_memory_gb"]


def test_what_was_held_counts_when_it_is_given_back():
    assert memory.peak()["device"] is None, "the CPU has no memory of its own"
    before = process_peak()
    held = np.ones(int(before * 2**30) + 2**28, np.uint8)  # more than ever before
    assert process_peak() >= before + 0.24
    del held
    assert process_peak() >= before + 0.24


def process_peak() -> float:
    gb = memory.peak()["process"]
    assert gb is not None
    return gb


def test_an_accelerator_has_its_own(monkeypatch):
    device = SimpleNamespace(memory_stats=lambda: {"peak_bytes_in_use": 3 * 2**30, "bytes_in_use": 1})
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [device])
    assert memory.peak()["device"] == 3.0


def test_a_folder_keeps_the_largest(tmp_path, monkeypatch):
    def run(name, process, device):
        monkeypatch.setattr(memory, "peak", lambda: {"process": process, "device": device})
        return jaxal.run(pool(), name, **QUICK, out=tmp_path).peak_memory_gb

    assert run("random", 5.0, None) == peak_of(tmp_path) == {"process": 5.0, "device": None}
    run("margin", 3.0, 1.5)
    assert peak_of(tmp_path) == {"process": 5.0, "device": 1.5}
    run("entropy", 7.0, None)
    assert peak_of(tmp_path) == {"process": 7.0, "device": 1.5}
    before = (tmp_path / "config.json").stat().st_mtime_ns
    run("entropy", 9.0, None)
    assert (tmp_path / "config.json").stat().st_mtime_ns == before, "nothing was run"
    assert provenance(Study(tmp_path))["peak GB"].tolist() == ["process 7.0, device 1.5"]


def test_what_becomes_of_the_config_meanwhile(tmp_path):
    note_peak(tmp_path, {"process": 1.0})
    assert not list(tmp_path.iterdir()), "it has gone"
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(StoreError, match=r"config\.json is damaged"):
        note_peak(tmp_path, {"process": 1.0})


def test_commands_tell_it(here):
    said = call("run", "-d", "toy", *SHORT, "--out", "out")
    assert f"peak memory {peak_of(Path('out'))['process']:.2f} GB (process)" in said.output
