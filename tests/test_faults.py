"""A disk that fails at any moment costs one sentence and nothing else; a journal is believed only when it is whole."""

import errno
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save, save_file
from small import left_over, pool, same, same_tables

import jaxal
from jaxal.data import files
from jaxal.errors import DataError, StoreError, StrategyError
from jaxal.experiments import journal, loop, memory, results
from jaxal.reporting import curves as figures
from jaxal.strategies import Strategy, pick_best

NAMES = ["random", "margin"]
SHORT = {"seeds": 5, "cycles": 2}
EFFECTS = ["_write", "_fsync", "_rename", "_remove", "_mkdir"]


class Disk:
    """Counts the effects of `files`; lets the chosen one fail once, a write with half its data written."""

    def __init__(self, monkeypatch, effect=None, at=0, code=errno.ENOSPC):
        self.count, self.code = dict.fromkeys(EFFECTS, 0), code
        self.effect, self.at = effect, at
        for name in EFFECTS:
            monkeypatch.setattr(files, name, self.wrap(name, getattr(files, name)))

    def wrap(self, name, real):
        def effect(*arguments):
            self.count[name] += 1
            if name == self.effect and self.count[name] == self.at:
                if name == "_write":
                    file, data = arguments
                    real(file, bytes(data)[: len(data) // 2])
                raise OSError(self.code, "No space left on device")
            return real(*arguments)

        return effect


@pytest.fixture(scope="module", autouse=True)
def steady_memory():
    """A run writes its settings once more when memory has grown, which is no two times the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "peak", lambda: {"process": 1.0, "device": None})
        yield


@pytest.fixture(scope="module")
def uninterrupted(steady_memory, tmp_path_factory):
    """The run that every other one here must equal, and how many effects it had."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        run = jaxal.run(pool(), NAMES, **SHORT, out=tmp_path_factory.mktemp("whole"))
    return run.tables, disk.count


def stopped(monkeypatch, out, after, names=NAMES):
    """A run that was stopped when it had computed so many cycles; returns its journals."""
    cycles = []

    def count(progress):
        cycles.extend([progress.cycle] * (progress.cycle > 0))
        if len(cycles) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jaxal.run(pool(), names, **SHORT, out=out, on_cycle=count)
    return sorted((out / "journal").glob("*.safetensors"))


def resumed(out, names=NAMES):
    """The tables of a run that goes on, and how many cycles it computed."""
    told = []
    tables = jaxal.run(pool(), names, **SHORT, out=out, on_cycle=told.append).tables
    assert left_over(out) == []
    return tables, [p.cycle for p in told]


# ---- writes, fsyncs, renames


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_effect_may_fail_once(uninterrupted, tmp_path, monkeypatch, effect):
    expected, count = uninterrupted
    assert count[effect] >= {"_write": 7, "_fsync": 14, "_rename": 7, "_remove": 2, "_mkdir": 1}[effect]
    for at in range(1, count[effect] + 1):
        out = tmp_path / f"{effect}{at}"
        with monkeypatch.context() as patch:
            disk = Disk(patch, effect, at)
            with pytest.raises(StoreError) as e:
                jaxal.run(pool(), NAMES, **SHORT, out=out / "here")
            assert disk.count[effect] == at, "the run went on after the disk failed"
        message = str(e.value)
        assert str(out) in message
        assert "No space left on device" in message
        assert "free some space" in message
        assert "\n" not in message
        assert not [path for path in out.rglob("*.tmp")], f"{effect} {at} left a temporary file"
        tables, _ = resumed(out / "here")
        same_tables(expected, tables)
        same_tables(expected, results.read(out / "here"))


def test_a_fault_costs_one_cycle_and_nothing_that_was_finished(uninterrupted, tmp_path, monkeypatch):
    """The disk fails in the last cycle of the second strategy: the first is not run again, the second goes on."""
    expected, count = uninterrupted
    with monkeypatch.context() as patch:
        Disk(patch, "_write", count["_write"] - 2)  # then come picks and results
        with pytest.raises(StoreError, match=r"journal"):
            jaxal.run(pool(), NAMES, **SHORT, out=tmp_path)
    assert set(results.read(tmp_path).results["strategy"]) == {"random"}
    tables, cycles = resumed(tmp_path)
    assert cycles == [2, 1, 2]  # random: done before; margin: from cycle 1 to 2
    same_tables(expected, tables)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT])
def test_other_failures_are_named_too(tmp_path, monkeypatch, code):
    with monkeypatch.context() as patch:
        Disk(patch, "_write", 2, code)
        with pytest.raises(StoreError, match=r"cannot write .*journal") as e:
            jaxal.run(pool(), NAMES, **SHORT, out=tmp_path)
    advice = {errno.EROFS: "choose a folder", errno.EACCES: "choose a folder", errno.EDQUOT: "free some space"}
    assert advice.get(code, "run the same command again") in str(e.value)


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_computed(tmp_path, monkeypatch):
    """Root may write everywhere, so the system's answer is given by hand."""
    monkeypatch.setattr(loop, "start", lambda *_: pytest.fail("something was computed"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(StoreError, match="Permission denied") as e:
            jaxal.run(pool(), NAMES, **SHORT, out=tmp_path)
    assert str(tmp_path) in str(e.value)
    assert "--out" in str(e.value)
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError) as e:
            jaxal.run(pool(), NAMES, **SHORT, out=out)
        assert str(tmp_path / "file") in str(e.value)
        assert "\n" not in str(e.value)


def test_a_figure_is_whole_or_not_there(uninterrupted, tmp_path, monkeypatch):
    curves = uninterrupted[0].results
    figure = figures.draw(curves, tmp_path / "curves.png")
    before = figure.read_bytes()
    assert before.startswith(b"\x89PNG")
    assert len(before) > 5000
    with monkeypatch.context() as patch:
        Disk(patch, "_write", 1)
        with pytest.raises(StoreError, match=r"curves\.png"):
            figures.draw(curves.query("strategy == 'random'"), figure)
    assert figure.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["curves.png"]
    with pytest.raises(StoreError, match="No such file or directory"):
        figures.draw(curves, tmp_path / "nowhere" / "curves.png")
    for name in ("curves", "curves.xyz", ".png"):
        with pytest.raises(DataError, match=r"must end in one of .*png"):
            figures.draw(curves, tmp_path / name)
    assert figures.draw(curves, tmp_path / "a.SVG").read_bytes().startswith(b"<?xml")


def test_files_of_a_killed_writer_are_swept(uninterrupted, tmp_path):
    (tmp_path / "journal").mkdir()
    for name in (".config.json.1.tmp", ".results.parquet.77.tmp", "journal/.abc-1.safetensors.3.tmp"):
        (tmp_path / name).write_bytes(b"half")
    tables, _ = resumed(tmp_path)
    same_tables(uninterrupted[0], tables)


# ---- journals


@pytest.mark.parametrize("after", range(5))
def test_a_stopped_run_goes_on_where_it_stopped(uninterrupted, tmp_path, monkeypatch, after):
    stopped(monkeypatch, tmp_path, after)
    tables, cycles = resumed(tmp_path)
    assert cycles == [[0, 1, 2, 0, 1, 2], [1, 2, 0, 1, 2], [2, 0, 1, 2], [2, 1, 2], [2, 2]][after]
    same_tables(uninterrupted[0], tables)


def flips(content: bytes):
    """Places to damage: the header's length, its text, and every tensor's bytes."""
    header = int.from_bytes(content[:8], "little") + 8
    rng = np.random.default_rng(0)
    return [0, 7, 8, *rng.integers(9, header, 8), *rng.integers(header, len(content), 12), len(content) - 1]


def test_no_flipped_bit_in_a_journal_becomes_a_result(uninterrupted, tmp_path, monkeypatch):
    (path,) = stopped(monkeypatch, tmp_path, 1)
    content = path.read_bytes()
    assert journal.seeds_of(path) == [0, 1, 2, 3, 4]
    for at in flips(content):
        broken = bytearray(content)
        broken[at] ^= 0x10
        path.write_bytes(broken)
        assert journal.seeds_of(path) == [] or int.from_bytes(content[:8], "little") + 8 > at, f"byte {at}"
        tables, _ = resumed(tmp_path)
        same_tables(uninterrupted[0], tables)
        for stale in tmp_path.glob("*.parquet"):
            stale.unlink()


@pytest.mark.parametrize("kind", ["empty", "truncated", "text", "zeros", "too long", "no metadata", "folder"])
def test_a_journal_that_is_none_is_ignored(uninterrupted, tmp_path, monkeypatch, kind):
    (path,) = stopped(monkeypatch, tmp_path, 1)
    content = path.read_bytes()
    if kind == "no metadata":
        save_file(load_file(path), path)
    elif kind == "folder":
        path.unlink()
        path.mkdir()
        with pytest.raises(StoreError):
            resumed(tmp_path)
        path.rmdir()
    else:
        path.write_bytes({"empty": b"", "truncated": content[: len(content) * 2 // 3], "text": b"{}" * 99,
                          "zeros": bytes(len(content)), "too long": content + b"\0"}[kind])  # fmt: skip
    tables, cycles = resumed(tmp_path)
    assert cycles == [0, 1, 2, 0, 1, 2]
    same_tables(uninterrupted[0], tables)


def test_journals_of_other_seeds_and_runs(uninterrupted, tmp_path, monkeypatch):
    """A journal of seeds 0 to 4 serves 0 to 5, block by block; it is given up when fewer seeds are wanted."""
    stopped(monkeypatch, tmp_path, 1, ["margin"])
    told = []
    run = jaxal.run(pool(), ["margin"], seeds=6, cycles=2, out=tmp_path, on_cycle=told.append)
    assert [p.cycle for p in told] == [1, 2, 0, 1, 2]
    assert left_over(tmp_path) == []
    margin = uninterrupted[0].results.query("strategy == 'margin'")
    same(margin, run.to_pandas().query("seed < 5"))
    assert run.to_pandas().groupby("seed")["seeds_in_block"].first().tolist() == [5] * 5 + [1]

    stopped(monkeypatch, tmp_path / "b", 1, ["margin"])
    run = jaxal.run(pool(), ["margin"], seeds=[2], cycles=2, out=tmp_path / "b")
    same(margin.query("seed == 2"), run.to_pandas(), "seeds_in_block")
    assert left_over(tmp_path / "b") == []
    tables, _ = resumed(tmp_path / "b", ["margin"])
    same(margin, tables.results, "seeds_in_block")


def test_killed_between_the_results_and_the_end_of_the_journal(uninterrupted, tmp_path, monkeypatch):
    """Results are written, the journal is still there: it is of no more use, and nothing is written twice."""
    from jaxal.experiments import experiment

    kept = []
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "remove", lambda path: kept.append((path, path.read_bytes())))
        jaxal.run(pool(), NAMES, **SHORT, out=tmp_path)
    before = (tmp_path / "results.parquet").read_bytes()
    assert len(kept) == 2
    assert all(path.exists() for path, _ in kept)
    tables, cycles = resumed(tmp_path)
    assert cycles == [2, 2]
    assert (tmp_path / "results.parquet").read_bytes() == before
    same_tables(uninterrupted[0], tables)


def test_killed_between_picks_and_results(uninterrupted, tmp_path, monkeypatch):
    """picks.parquet has a run that results.parquet does not: it counts as unfinished, and its picks are replaced."""
    write = results.write

    def die(path, table):
        if path.name == "results.parquet":
            raise KeyboardInterrupt
        write(path, table)

    with monkeypatch.context() as patch:
        patch.setattr(results, "write", die)
        with pytest.raises(KeyboardInterrupt):
            jaxal.run(pool(), NAMES, **SHORT, out=tmp_path)
    assert len(results.read(tmp_path).picks)
    assert results.read(tmp_path).results.empty
    tables, cycles = resumed(tmp_path)
    assert cycles == [2, 0, 1, 2], "the journal at the last cycle was not used"
    same_tables(uninterrupted[0], tables)
    same_tables(uninterrupted[0], results.read(tmp_path))


@pytest.mark.parametrize("name", ["results", "picks"])
def test_a_table_that_was_lost_is_made_again(uninterrupted, tmp_path, name):
    jaxal.run(pool(), NAMES, **SHORT, out=tmp_path)
    (tmp_path / f"{name}.parquet").unlink()
    tables, cycles = resumed(tmp_path)
    assert cycles == [0, 1, 2, 0, 1, 2]
    same_tables(uninterrupted[0], tables)


def test_force_forgets_a_journal(uninterrupted, tmp_path, monkeypatch):
    stopped(monkeypatch, tmp_path, 1)
    told = []
    tables = jaxal.run(pool(), NAMES, **SHORT, out=tmp_path, force=True, on_cycle=told.append).tables
    assert [p.cycle for p in told] == [0, 1, 2, 0, 1, 2]
    same_tables(uninterrupted[0], tables)


def carrying():
    """A strategy that keeps arrays of many kinds from cycle to cycle, and lets every one decide what it picks."""

    def init(aux, state):
        n_seeds, n = state.labels.shape
        return {
            "bound": jnp.full((n_seeds, n), 2, state.X.dtype),
            "mask": jnp.zeros((n_seeds, n), bool),
            "count": jnp.zeros((), jnp.int32),
            "key": jax.random.split(jax.random.key(5), n_seeds),
            "nothing": (),
        }

    def select(keys, aux, carry, state):
        draw = jax.vmap(lambda k: jax.random.uniform(k, (state.X.shape[0],), state.X.dtype))(carry["key"])
        scores = (draw + carry["bound"]) * (carry["count"] + 1).astype(state.X.dtype) + carry["mask"].astype(draw.dtype)
        rows, best = jax.vmap(lambda k, s, l: pick_best(k, s, l, state.batch_size))(keys, scores, state.labeled)
        carry = {
            "bound": carry["bound"] * draw,
            "mask": carry["mask"] | (draw > 0.5),
            "count": carry["count"] + 1,
            "key": jax.vmap(lambda k: jax.random.fold_in(k, 1))(carry["key"]),
            "nothing": (),
        }
        return rows, best, carry

    return Strategy(lambda pool, key: (), init, select)


def test_the_whole_carry_is_kept(tmp_path, monkeypatch):
    jaxal.register("carrying", carrying())
    whole = jaxal.run(pool(), ["carrying"], **SHORT).tables
    (path,) = stopped(monkeypatch, tmp_path, 1, ["carrying"])
    assert load_file(path)["carry.1"].shape == ()
    assert journal.seeds_of(path) == [0, 1, 2, 3, 4]
    tables, cycles = resumed(tmp_path, ["carrying"])
    assert cycles == [1, 2]
    same_tables(whole, tables)


def test_a_strategy_that_changed_its_carry_does_not_go_on_from_the_old_one(tmp_path, monkeypatch):
    jaxal.register("changing", carrying())
    stopped(monkeypatch, tmp_path, 1, ["changing"])
    changed = carrying()
    shrunk = changed._replace(init=lambda aux, state: changed.init(aux, state) | {"mask": jnp.zeros((5, 1), bool)})
    jaxal.register("changing", shrunk)
    with pytest.raises(StoreError, match=r"another version of its strategy.*: run again with --force"):
        resumed(tmp_path, ["changing"])
    jaxal.register("changing", carrying())
    jaxal.run(pool(), ["changing"], **SHORT, out=tmp_path, force=True)
    assert left_over(tmp_path) == []


def test_a_strategy_whose_init_reads_values_is_named_when_it_goes_on(tmp_path, monkeypatch):
    """Both as a Strategy, whose errors are the author's own, and wrapped by its name."""
    good = carrying()

    def init(aux, state):
        assert np.asarray(state.labels).max() >= 0
        return good.init(aux, state)

    jaxal.register("reading", good._replace(init=init))
    stopped(monkeypatch, tmp_path, 1, ["reading"])
    with pytest.raises(StrategyError, match=r"reading cannot go on from .*check_strategy.*--force") as e:
        resumed(tmp_path, ["reading"])
    assert "\n" not in str(e.value)
    assert jaxal.run(pool(), ["reading"], **SHORT, out=tmp_path, force=True).to_pandas()["cycle"].max() == 2


def test_a_carry_that_grows_is_named_when_the_run_goes_on(tmp_path, monkeypatch):
    good = carrying()

    def select(keys, aux, carry, state):
        rows, scores, _ = good.select(keys, aux, carry["kept"], state)
        return rows, scores, carry | {"seen": jnp.concatenate([carry["seen"], rows], axis=1)}

    def init(aux, state):
        return {"kept": good.init(aux, state), "seen": jnp.zeros((len(state.labels), 0), jnp.int32)}

    jaxal.register("growing", good._replace(init=init, select=select))
    stopped(monkeypatch, tmp_path, 1, ["growing"])
    with pytest.raises(StoreError, match=r"select changes the carry's shape .*--force"):
        resumed(tmp_path, ["growing"])


def test_a_journal_of_another_version_is_refused(tmp_path, monkeypatch):
    """It is whole, but what was measured then is not what is measured now."""
    (path,) = stopped(monkeypatch, tmp_path, 1)
    content = load_file(path)
    content["history"] = np.ascontiguousarray(content["history"][..., :-1])
    seeds = journal.seeds_of(path)
    path.write_bytes(save(content, {"seeds": str(seeds), "checksum": journal._checksum(content, seeds)}))
    with pytest.raises(StoreError, match="another version of jaxal: run again with --force"):
        resumed(tmp_path)


def test_the_journal_keeps_its_format(tmp_path, monkeypatch):
    """Journals that 0.1 left behind go on: these arrays, the history as (cycles, S, 8) in this order."""
    (path,) = stopped(monkeypatch, tmp_path, 1)
    arrays = load_file(path)
    assert set(arrays) == {"rows", "scores", "history", "labels", "W", "b"}
    assert arrays["history"].shape == (2, 5, 8)
    assert arrays["history"].dtype == np.float64
    assert loop.History._fields == ("accuracy", "macro_f1", "balanced_accuracy", "fit_seconds", "select_seconds",
                                    "eval_seconds", "fit_iterations", "converged")  # fmt: skip
    position = journal.read(path, lambda position: ())
    for i, measured in enumerate(position.history):
        np.testing.assert_array_equal(measured, arrays["history"][..., i])
