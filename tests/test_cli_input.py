"""Hostile input to the command line, by class: each is one sentence and exit code 2, and no file is lost."""

import bz2
import gzip
import lzma
import os
from pathlib import Path

import commands
import pytest
from commands import SHORT, call, refused
from small import write_npz

cache, here, world = commands.cache, commands.here, commands.world  # fixtures

HUGE = 10**40  # more than 64 bits
DIGITS = "9" * 5000  # more than Python turns into a number


# ---- --out is not an input


def links(target: Path):
    """Every way to name a file or folder: itself, roundabout, by a symbolic link, by a hard link."""
    yield target
    yield Path(os.path.relpath(target.parent)) / "." / target.name
    soft = Path("soft" + target.suffix)
    soft.symlink_to(target)
    yield soft
    if target.is_file():
        hard = Path("hard" + target.suffix)
        hard.hardlink_to(target)
        yield hard


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_query_does_not_overwrite_the_labels(here):
    Path("labels.csv").write_text("row,label\n1,no\n2,yes\n")
    for out in links(here / "labels.csv"):
        assert "which this command reads" in refused("query", "-d", "toy", "-l", "labels.csv", "-o", out)
    assert Path("labels.csv").read_text() == "row,label\n1,no\n2,yes\n"


def test_query_does_not_overwrite_the_pool(here, world):
    before = write_npz(here / "pool.npz").read_bytes()
    for out in links(here / "pool.npz"):
        assert "which this command reads" in refused("query", "-d", "pool.npz", "-o", out)
    assert Path("pool.npz").read_bytes() == before
    stored = world / "store" / "toy" / "made"
    before = content(world)
    for dataset in ("toy", stored):
        for out in (stored / "manifest.json", stored / "rows.parquet", stored / "new.csv"):
            assert "which this command reads" in refused("query", "-d", dataset, "-o", out)
    Path("link").symlink_to(stored)
    assert "which this command reads" in refused("query", "-d", "toy", "-o", "link/batch.csv")
    assert content(world) == before


def test_a_run_does_not_write_into_its_pool(here, world):
    stored, before = world / "store" / "toy" / "made", content(world)
    Path("link").symlink_to(stored)
    Path("out").mkdir()
    Path("out/curves.png").symlink_to(write_npz(here / "pool.npz"))
    for verb, options in (("run", SHORT), ("ips", ["--sizes", "4"])):
        for out in (stored, stored / "results", Path("link")):
            assert "which this command reads" in refused(verb, "-d", "toy", *options, "-o", out)
        assert "which this command reads" in refused(verb, "-d", "pool.npz", *options, "-o", "out")
    assert content(world) == before


def test_a_report_does_not_overwrite_results(here):
    assert call("run", "-d", "toy", *SHORT, "-o", "out").exit_code == 0
    before = content(here)
    for name in ("results.parquet", "picks.parquet", "config.json"):
        link = Path(f"{name}.png")
        link.symlink_to(here / "out" / name)
        for out in (f"out/{name}", link):
            assert "which this command reads" in refused("report", "out", "-o", out)
        link.unlink()
    assert content(here) == before
    assert call("report", "out", "-o", "out/other.png").exit_code == 0


def test_a_dataset_of_a_folders_name_may_have_results_there(here):
    """`toy` is in the store; the folder `toy` is another thing."""
    assert call("run", "-d", "toy", *SHORT, "-o", "toy/results").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query", "-d", "toy", "-o", "."], "'.' is a directory"),
        (["query", "-d", "toy", "-o", "no/where.csv"], "no/where.csv: there is no folder no"),
        (["report", "out", "-o", "."], "'.' is a directory"),
        (["report", "out", "-o", "no/where.png"], "no/where.png: there is no folder no"),
        (["run", "-d", "toy", "-o", "file"], "'file' is a file"),
        (["ips", "-d", "toy", "-o", "file"], "'file' is a file"),
    ],
)
def test_what_cannot_be_written_is_said_before_any_work(here, monkeypatch, arguments, message):
    Path("file").write_text("")
    monkeypatch.setattr("jaxal.data.pool.load", lambda *_: pytest.fail("the pool was loaded"))
    assert message in refused(*arguments)


# ---- labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,label\n0,5,1\n", "labels.csv cannot be read as CSV: "),
        ("row,label\n1,no\n0,5,1\n", "labels.csv cannot be read as CSV: line 3: 3 cells, the first line has 2"),
        ("row,label,label\n1,no,yes\n", "labels.csv has the column label twice"),
        ("row,row,label\n1,2,yes\n", "labels.csv has the column row twice"),
        ("text,row,label\n\"a\nb\",1,no\n\nc,x,no\n", "labels.csv line 5: 'x' is no row number"),
        ("row,label\n\n\n7,\n", "labels.csv line 4 has no label"),
        ("row,label\n" + DIGITS + ",no\n", "is no row number"),
        ("row,label\n1,\"no\n2,yes\n", "labels.csv cannot be read as CSV: line 2: unexpected end of data"),
        ("row,label\n1,no\n2,\"yes\" \n", "labels.csv cannot be read as CSV: line 3: ',' expected after '\"'"),
        ("\0", "labels.csv "),
    ],
)  # fmt: skip
def test_labels_that_would_be_misread(here, text, message):
    Path("labels.csv").write_text(text)
    assert message in refused("query", "-d", "toy", "-l", "labels.csv")


def test_compressed_labels_that_are_broken(here):
    text = b"row,label\n" + b"".join(b"%d,no\n" % row for row in range(100))
    for name, pack in (("l.csv.gz", gzip.compress), ("l.csv.bz2", bz2.compress), ("l.csv.XZ", lzma.compress)):
        packed = pack(text)
        Path(name).write_bytes(packed)
        assert call("query", "-d", "toy", "-l", name, "-b", 3, "-s", "random").exit_code == 0
        for broken in (packed[:-20], packed[:3], b"", text, packed[:20] + b"\xff" * 20 + packed[40:]):
            Path(name).write_bytes(broken)
            assert f"{name} cannot be read as CSV" in refused("query", "-d", "toy", "-l", name)
    assert "unpack it first (.gz, .bz2, .xz are read as they are)" in refused("query", "-d", "toy", "-l", "l.csv.zip")
    Path("folder.csv").mkdir()
    assert "folder.csv cannot be read as CSV" in refused("query", "-d", "toy", "-l", "folder.csv")
    assert "cannot be read as CSV" in refused("query", "-d", "toy", "-l", "n" * 300)


# ---- --set


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("probcover.delta=abc", "probcover.delta is 'abc': it must be a number"),
        ("probcover.delta=", "probcover.delta is '': it must be a number"),
        ("probcover.delta=true", "probcover.delta is True: it must be a number"),
        ("probcover.delta={}", "probcover.delta is {}: it must be a number"),
        ('probcover.delta={"a": [1]}', "probcover.delta is {'a': [1]}: it must be a number"),
        ("probcover.delta=[0.4]", "probcover.delta is [0.4]: it must be a number"),
        ("probcover.delta=NaN", "probcover.delta is nan: it must be at least 0"),
        ("probcover.delta=1e999", "probcover.delta is inf: that is too large"),
        (f"probcover.delta={HUGE}", "that is too large"),
        (f"probcover.delta={DIGITS}", "it must be a number"),
        ("probcover.delta=" + "[" * 100_000, "it must be a number"),
        ("probcover.name=1", "unknown setting of probcover 'name'"),
        ("typiclust.k=abc", "typiclust.k is 'abc': it must be a whole number"),
        ("typiclust.k=2.0", "typiclust.k is 2.0: it must be a whole number"),
        (f"typiclust.k={HUGE}", "that is too large"),
        ("typiclust.k=2147483648", "typiclust.k is 2147483648: that is too large"),
        (f"dropquery.n_masks=-{HUGE}", "it must be at least 1"),
        ("random.name=1", "random has no settings (got 'name')"),
        *((f"badge.{name}=3", f"badge has no settings (got '{name}')")
          for name in ("batch_size", "seed", "pool", "codes", "name", "variant", "options", "C")),
    ],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_settings_that_a_strategy_does_not_take(here, option, message):
    strategy, _, bare = option.partition(".")
    assert message in refused("query", "-d", "toy", "-s", strategy, "--set", option)
    assert message in refused("query", "-d", "toy", "-s", strategy, "--set", bare)
    assert message in refused("run", "-d", "toy", "-s", strategy, "--set", option)


@pytest.mark.parametrize("option", ["", "=", "=3", ".=3", ".k=3", "badge.=3", "badge.k", "k", "..", "."])
def test_settings_that_are_none(here, option):
    for verb in ("query", "run"):
        assert "write it as strategy.name=value" in refused(verb, "-d", "toy", "--set", option)


def test_a_setting_takes_strings_and_dictionaries(here, monkeypatch):
    """As JSON where it is JSON; a plain string is a string."""
    seen = []
    monkeypatch.setitem(
        __import__("jaxal.strategies.registry", fromlist=["STRATEGIES"]).STRATEGIES,
        "told",
        lambda variant, how=None: seen.append(how) or __import__("jaxal").strategies.make("random"),
    )
    values = {
        "abc": "abc",
        '"abc"': "abc",
        "3": 3,
        "3.0": 3.0,
        "true": True,
        '{"a": [1, {}]}': {"a": [1, {}]},
        "a=b": "a=b",
    }
    for text in values:
        assert call("query", "-d", "toy", "-s", "told", "-b", 2, "--set", f"how={text}").exit_code == 0
    assert seen == ["abc", 3, 3.0, True, {"a": [1, {}]}, "a=b"], "1, 1.0 and True are three, 'abc' and abc are one"
    assert [type(value) for value in seen[1:4]] == [int, float, bool]


# ---- numbers


@pytest.mark.parametrize(
    "seeds",
    [
        ":", "5:1", "5:5", "1:2:3", "-1", "-1,2", "1e3", "1.5", "x", "1,x", "1;2", "5:", ":5", "0x1", "٣", "", " ",
        DIGITS, f"0:{DIGITS}", f"{DIGITS},1",
    ],
    ids=lambda text: text[:10],
)  # fmt: skip
def test_seeds_that_are_none(here, seeds):
    for verb in ("run", "ips"):
        message = refused(verb, "-d", "toy", "--seeds", seeds)
        assert "--seeds" in message
        assert "(0,3,7)" in message or "empty range" in message
        assert len(message) < 250


@pytest.mark.parametrize("sizes", ["", ",", "x", "4,x", "4.5", "-4", "1e3", "4,,5", DIGITS], ids=lambda text: text[:10])
def test_sizes_that_are_none(here, sizes):
    message = refused("ips", "-d", "toy", "--sizes", sizes)
    assert "--sizes" in message
    assert "give numbers of rows, such as 20,100,500" in message
    assert len(message) < 250


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--seeds", HUGE], "are too many"),
        (["run", "--seeds", f"0:{HUGE}"], "are too many"),
        (["run", "--seeds", f"{HUGE},1"], "seeds must be between 0 and 2^32 - 1"),
        (["run", "--batch-size", HUGE], "the budget of"),
        (["run", "--initial", HUGE], "the budget of"),
        (["run", "--cycles", HUGE], "the budget of"),
        (["run", "--cycles", 10**11], "the budget of"),
        (["run", "--pool-size", -HUGE], "it must be at least 1"),
        (["run", "--C", "inf"], "C is inf"),
        (["run", "--C", "nan"], "C is nan"),
        (["run", "--C", "-inf"], "C is -inf"),
        (["ips", "--sizes", "0"], "initial_size is 0: it must be at least 1"),
        (["ips", "--seeds", HUGE], "are too many"),
        (["query", "--batch-size", HUGE], "that is too large"),
        (["query", "--batch-size", -HUGE], "it must be at least 1"),
        (["query", "--seed", HUGE], "it must be between 0 and 4294967295"),
        (["query", "--seed", -1], "seed is -1"),
        (["query", "--seed", "1.5"], "'1.5' is not a valid integer"),
        (["query", "--batch-size", DIGITS], "is not a valid integer"),
        (["query", "--C", "inf"], "C is inf"),
        (["query", "--C", "nan"], "C is nan"),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, list) else "",
)
def test_numbers_out_of_all_bounds(here, arguments, message):
    verb, *options = arguments
    assert message in refused(verb, "-d", "toy", *options)


def test_more_sizes_than_the_pool_has_are_clipped(here):
    assert call("ips", "-d", "toy", "-s", "random", "--sizes", f"4,{HUGE}", "--seeds", 1, "-o", "out").exit_code == 0
