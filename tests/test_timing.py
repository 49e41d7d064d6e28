"""Seconds with compiling apart: intervals that nest and overlap, and stopwatches around real work."""

import time

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import pool

import jaxal
from jaxal.experiments import timing
from jaxal.experiments.timing import Intervals, stopwatch

EVENT = "/jax/core/compile/backend_compile_duration"


@pytest.mark.parametrize(
    ("reported", "seconds"),
    [
        ([], 0),
        ([(1, 2), (3, 5)], 3),  # one after the other
        ([(2, 3), (4, 5), (1, 6)], 5),  # the outer one comes last and holds both
        ([(2, 3), (1, 4), (5, 6), (0, 7)], 7),  # three levels
        ([(1, 3), (2, 4)], 3),  # they overlap: two threads
        ([(1, 2), (3, 4), (1.5, 5)], 4),  # the last overlaps the first and holds the second
        ([(1, 2), (2, 3)], 2),  # they touch
        ([(-5, 1)], 1),  # begun before the watch
        ([(-5, -1)], 0),
        ([(1, 2), (1, 2)], 1),  # the same twice
        ([(2, 3), (5, 6), (4, 7)], 4),  # an outer one after another one
    ],
)
def test_the_union_of_intervals_in_the_order_of_their_ends(reported, seconds):
    intervals = Intervals(since=0)
    for begin, end in reported:
        intervals.add(begin, end)
    assert intervals.seconds == seconds


@given(st.lists(st.tuples(st.integers(-3, 20), st.integers(1, 10)), max_size=12))
def test_the_union_of_any_intervals(pairs):
    """Against a count of unit cells that any of them covers."""
    reported = sorted(((begin, begin + length) for begin, length in pairs), key=lambda pair: pair[1])
    intervals = Intervals(since=0)
    for begin, end in reported:
        intervals.add(begin, end)
    assert intervals.seconds == len({cell for begin, end in reported for cell in range(max(0, begin), end)})


def test_a_stopwatch_counts_work_and_compiling_apart():
    """JAX's events are made by hand: 30 ms of work, of which 20 are said to have been compiling."""
    with stopwatch() as watch:
        time.sleep(0.03)
        jax.monitoring.record_event_duration_secs(EVENT, 0.02)
        jax.monitoring.record_event_duration_secs("/jax/some/other/event", 5.0)
    assert watch.compile_seconds == pytest.approx(0.02, abs=1e-9)
    assert 0.01 <= watch.seconds < 1
    stopped = watch.seconds
    time.sleep(0.01)
    jax.monitoring.record_event_duration_secs(EVENT, 0.005)
    assert (watch.seconds, watch.compile_seconds) == (stopped, pytest.approx(0.02, abs=1e-9)), "it went on"


def test_stopwatches_within_each_other():
    with stopwatch() as outer:
        for _ in range(2):
            with stopwatch() as inner:
                time.sleep(0.02)
                jax.monitoring.record_event_duration_secs(EVENT, 0.01)
            assert inner.compile_seconds == pytest.approx(0.01, abs=1e-9)
            assert outer.compile_seconds >= inner.compile_seconds, "an outer one can be read while it runs"
    assert outer.compile_seconds == pytest.approx(0.02, abs=1e-9)
    assert outer.seconds >= inner.seconds >= 0.01


def test_an_event_longer_than_the_block_counts_as_the_block():
    with stopwatch() as watch:
        time.sleep(0.002)
        jax.monitoring.record_event_duration_secs(EVENT, 60.0)
    assert 0.002 <= watch.compile_seconds < 1
    assert 0 <= watch.seconds < 1


def test_real_compiling_is_counted_once():
    """Nested jits report one after another; their sum would be more than the block took."""
    nested = lambda x: x  # noqa: E731
    for _ in range(30):
        nested = jax.jit(lambda x, f=nested: jnp.sin(f(x)) + 1)
    began = time.perf_counter()
    with stopwatch() as first:
        jax.block_until_ready(nested(np.float32(1)))
    took = time.perf_counter() - began
    assert 0.5 * took < first.compile_seconds <= took
    with stopwatch() as second:
        jax.block_until_ready(nested(np.float32(2)))
    assert second.compile_seconds == 0 < second.seconds


def test_a_block_that_raises_is_ended_too():
    with pytest.raises(KeyboardInterrupt), stopwatch():
        raise KeyboardInterrupt
    assert timing._running == []


def test_nothing_is_kept_and_there_is_one_listener(monkeypatch):
    registered = []
    monkeypatch.setattr(jax.monitoring, "register_event_duration_secs_listener", registered.append)
    timing._listen.cache_clear()
    with stopwatch(), stopwatch():
        pass
    with stopwatch():
        assert len(timing._running) == 1
    assert registered == [timing._note], "a listener a stopwatch"
    assert timing._running == []


def test_seconds_in_the_tables_are_without_compiling():
    """The first run compiles and the second does not: the tables' seconds must not tell them apart by it."""
    jax.clear_caches()
    first, second = (jaxal.run(pool(dim=6), ["margin"], seeds=3, cycles=2, batch_size=4) for _ in range(2))
    assert first.compile_seconds > 0.1 > second.compile_seconds
    columns = ["fit_seconds", "select_seconds", "eval_seconds"]
    seconds = first.to_pandas().query("seed == 0")[columns].to_numpy().sum()
    assert 0 < seconds < first.compile_seconds, "compiling is in the tables"
