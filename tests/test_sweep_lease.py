"""Leases: one holder at a time, given back, taken over when stale, and lost to another without harm."""

import json
import os
import subprocess
import sys
import threading
import time

import commands
import pytest
from commands import refused
from small import same_tables
from test_sweep import SMALL, made, run

from jaxal.errors import StoreError
from jaxal.experiments import results
from jaxal.experiments.sweep import lease as leases
from jaxal.experiments.sweep.lease import LEASE, Lost, holder, lease
from jaxal.experiments.sweep.status import state

cache, here, world = commands.cache, commands.here, commands.world  # fixtures

HOLD = """
import sys, time
from pathlib import Path
from jaxal.experiments.sweep.lease import lease
with lease(Path(sys.argv[1])) as held:
    print(held is not None, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def elsewhere(tmp_path):
    """A process that holds the lease of a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.communicate()


def as_if_from(folder, **changes) -> None:
    """Change who holds the lease."""
    path = folder / LEASE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def aged(folder, seconds) -> None:
    """Set the time of the last heartbeat."""
    os.utime(folder / LEASE, (time.time() - seconds,) * 2)


def test_one_holder_who_gives_it_back(tmp_path):
    folder = tmp_path / "new"
    with lease(folder) as held:
        held.check()
        assert holder(folder)["pid"] == os.getpid()
        with lease(folder) as second:
            assert second is None
        assert holder(folder) is not None, "who did not get it gave it back"
    assert holder(folder) is None
    assert list(folder.iterdir()) == []


def test_of_a_job_of_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    with lease(tmp_path):
        assert {"job": "17", "restarts": "2"}.items() <= holder(tmp_path).items()


def test_a_dead_process_of_this_host_holds_nothing(tmp_path, elsewhere):
    assert holder(tmp_path)["pid"] == elsewhere.pid
    with lease(tmp_path) as held:
        assert held is None
    elsewhere.kill()
    elsewhere.wait()
    assert holder(tmp_path) is None
    with lease(tmp_path) as held:
        assert held is not None


@pytest.mark.parametrize("other", [{"host": "another"}, {"space": "pid:[1]"}])
def test_elsewhere_only_time_tells(tmp_path, elsewhere, other):
    """A process of another host, or of another container of this one, whose number means nothing here."""
    elsewhere.kill()
    elsewhere.wait()
    as_if_from(tmp_path, **other)
    aged(tmp_path, leases.STALE - 10)
    with lease(tmp_path) as held:
        assert held is None
    aged(tmp_path, leases.STALE + 10)
    assert holder(tmp_path) is None
    with lease(tmp_path) as held:
        assert held is not None


def test_a_lease_that_was_not_written_whole_counts_until_it_is_stale(tmp_path):
    (tmp_path / LEASE).write_text("")
    with lease(tmp_path) as held:
        assert held is None
    aged(tmp_path, leases.STALE + 1)
    with lease(tmp_path) as held:
        assert held is not None


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "BEAT", 0.05)
    with lease(tmp_path):
        aged(tmp_path, leases.STALE + 10)
        time.sleep(0.5)
        assert holder(tmp_path) is not None
        with lease(tmp_path) as second:
            assert second is None


def test_a_lease_is_lost_to_who_takes_it_over(tmp_path):
    with lease(tmp_path) as first:
        aged(tmp_path, leases.STALE + 10)  # it was suspended
        with lease(tmp_path) as second:
            second.check()
            with pytest.raises(Lost, match=LEASE):
                first.check()
            first.end()
            second.check()  # it was not given back by who lost it


def test_of_many_who_find_it_stale_one_has_it(tmp_path, monkeypatch):
    (tmp_path / LEASE).write_text("{}")
    aged(tmp_path, leases.STALE + 10)
    code = HOLD.replace("time.sleep(60)", "time.sleep(2)")
    started = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert sorted(process.communicate()[0] for process in started) == ["False\n"] * 3 + ["True\n"]


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / LEASE).mkdir()
    with pytest.raises(StoreError, match=LEASE), lease(tmp_path):
        pass


def test_a_group_leaves_a_run_to_who_holds_it_and_comes_back(here):
    this = made(here, SMALL + 'ips = ["random", "coreset"]')
    said, seen = [], []
    folder = here / "out" / "toy-made" / "random-cycles2"
    with lease(folder):
        waiting = threading.Thread(
            target=run, args=(this, "out"), kwargs={"on_wait": said.append, "on_cycle": seen.append}
        )
        waiting.start()
        while not said:
            time.sleep(0.05)
        assert state(this, this.groups[0], here / "out").done == 2, "the other run was not done meanwhile"
        assert said == [
            f"waiting for out/toy-made/random-cycles2: process {os.getpid()} on {os.uname().nodename} is at work on it"
        ]
    waiting.join()
    assert state(this, this.groups[0], here / "out").done == 4
    assert len(said) == 1


def test_who_loses_its_lease_stops_and_leaves_the_run(here, monkeypatch):
    """Another process takes the run over in the middle, and does it: both come to the same tables."""
    this = made(here, SMALL.replace("cycles = 2", "cycles = 4"))
    folder = here / "out" / "toy-made" / "random-cycles4"
    run(this, "whole")
    seen, waited = [], []

    def take(progress):
        seen.append(progress)
        if len(seen) == 3:
            as_if_from(folder, host="another")

    def give_back(sentence):
        waited.append(len(seen))
        (folder / LEASE).unlink()

    run(this, "out", on_cycle=take, on_wait=give_back)
    assert waited == [3], "it worked on without its lease"
    same_tables(results.read(folder), results.read(here / "whole" / "toy-made" / "random-cycles4"))


def test_an_unwritable_out(here):
    made(here)
    (here / "file").write_text("")
    assert "file" in refused("sweep", "s.toml", "--out", "file/out")
