"""The tables that extraction reads: formats, columns, labels, and the sentence for what is broken in them."""

import csv
import gzip
import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxal_extract import ExtractError
from jaxal_extract.texts.parquet import class_names
from jaxal_extract.texts.splits import Cleaning, Columns, choose_columns, clean, read_split, strip_end
from jaxal_extract.texts.tables import header, read_columns
from jaxal_extract.texts.tasks import TASKS


def write_csv(path, names, *columns):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *zip(*columns, strict=True)])
    return path


# ---- tables


ROWS = [["plain", "1"], ['with "quotes", commas', "2"], ["é ü 漢", "3"], ["", "4"]]
CSV = 'text,label\r\nplain,1\r\n"with ""quotes"", commas",2\r\né ü 漢,3\r\n,4\r\n'
TSV = 'text\tlabel\nplain\t1\nwith "quotes", commas\t2\né ü 漢\t3\n\t4\n'
JSONL = "".join(json.dumps({"text": text or None, "label": int(label)}) + "\n" for text, label in ROWS)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("kind", "content"), [("csv", CSV), ("tsv", TSV), ("jsonl", JSONL), ("CSV", "\ufeff" + CSV + "\r\n\n")]
)
def test_every_format_gives_the_same_cells(tmp_path, kind, content, packed):
    path = tmp_path / (f"t.{kind}" + ".gz" * packed)
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert header(path) == ["text", "label"]
    assert read_columns(path, ["label", "text"]) == [["1", "2", "3", "4"], [text for text, _ in ROWS]]


def write_parquet(path, columns, classes=None):
    """As `datasets` writes it: `classes` maps a column to the names of its classes."""
    features = {name: {"names": names, "_type": "ClassLabel"} for name, names in (classes or {}).items()}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


def test_parquet_gives_the_same_cells(tmp_path):
    texts = [text or None for text, _ in ROWS]
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        for labels in ([1, 2, 3, 4], ["1", "2", "3", "4"]):
            path = write_parquet(tmp_path / "t.parquet", {"text": pa.array(texts, kind), "label": labels})
            assert header(path) == ["text", "label"]
            assert read_columns(path, ["label", "text"]) == [["1", "2", "3", "4"], [text for text, _ in ROWS]]
    path = write_parquet(tmp_path / "t.PARQUET", {"text": [1.5, None], "label": [True, False], "none": [None, None]})
    assert read_columns(path, ["text", "label", "none"]) == [["1.5", ""], ["true", "false"], ["", ""]]


def test_class_numbers_of_a_parquet_file_become_its_names(tmp_path):
    columns = {"text": ["x"] * 4, "label": [1, 0, None, -1], "fine": [3, 2, 1, 0]}
    path = write_parquet(tmp_path / "t.parquet", columns, {"label": ["zebra", "ant"]})
    assert class_names(path, "label") == ["zebra", "ant"]
    assert class_names(path, "fine") is None
    assert read_columns(path, ["label", "fine"]) == [["ant", "zebra", "", ""], ["3", "2", "1", "0"]]
    write_parquet(path, {"label": [0, 2]}, {"label": ["zebra", "ant"]})
    with pytest.raises(ExtractError, match=r"t.parquet row 2 has 2 in 'label', but the file names 2 classes"):
        read_columns(path, ["label"])
    write_parquet(path, {"label": [0, -2]}, {"label": ["zebra", "ant"]})
    with pytest.raises(ExtractError, match="row 2 has -2"):
        read_columns(path, ["label"])
    for written in (b"[]", b"x", b"[" * 100_000, b'{"info": {"features": {"label": {"names": 3}}}}'):
        pq.write_table(pa.table({"label": [7]}).replace_schema_metadata({"huggingface": written}), path)
        assert read_columns(path, ["label"]) == [["7"]]


def raising(error):
    def function(*arguments):
        raise error

    return function


def broken_text():
    """A column whose second row is no UTF-8, which pyarrow does not look at."""
    buffers = pa.array([b"fine", b"\xff", b"fine"]).buffers()
    return pa.Array.from_buffers(pa.string(), 3, buffers)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": broken_text()}, "row 2 is not UTF-8 in 'text'"),
        ({"text": [["x"]]}, "holds list<.*> in 'text', not texts"),
        ({"text": [b"x"]}, "holds binary in 'text', not texts"),
        ({"txt": ["x"]}, r"has no column 'text' \(did you mean txt\?\); its columns are: txt"),
        ({"text": pa.array([], pa.string())}, "has a header but no rows"),
    ],
)
def test_broken_parquet_is_named(tmp_path, columns, message):
    path = write_parquet(tmp_path / "t.parquet", columns)
    with pytest.raises(ExtractError, match=message) as caught:
        read_columns(path, ["text"])
    assert str(path) in str(caught.value)


def test_parquet_that_is_none_or_was_cut(tmp_path):
    path = write_parquet(tmp_path / "t.parquet", {"text": ["x" * 100] * 5, "label": [1] * 5})
    whole = path.read_bytes()
    for content in (b"", b"text,label\nx,1\n", whole[:-30], b"PAR1" + b"\xff" * 60 + whole[64:]):
        path.write_bytes(content)
        with pytest.raises(ExtractError, match=r"t.parquet cannot be read") as caught:
            read_columns(path, ["text"])
        assert "\n" not in str(caught.value)
    with pytest.MonkeyPatch.context() as patch:  # not every error of Arrow is a ValueError or an OSError
        patch.setattr(pq, "ParquetFile", raising(pa.ArrowNotImplementedError("no such\ncodec")))
        with pytest.raises(ExtractError, match=r"t.parquet cannot be read as Parquet \(no such codec\)"):
            header(path)
    pq.write_table(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"]), path)
    with pytest.raises(ExtractError, match="has the column 'text' 2 times"):
        read_columns(path, ["text"])
    with pytest.raises(ExtractError, match=r"no file .*tt.parquet \(did you mean t.parquet\?\)"):
        header(tmp_path / "tt.parquet")


def test_csv_keeps_newlines_in_quotes_and_long_texts(tmp_path):
    path = write_csv(tmp_path / "t.csv", ["text"], ["one\ntwo", "x" * 200_000])
    assert read_columns(path, ["text"]) == [["one\ntwo", "x" * 200_000]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "t.csv is empty"),
        ("t.csv", b"text,label\n", "has a header but no rows"),
        ("t.csv", b"a,label\nx,y\n", "has no column 'text'; its columns are: a, label"),
        ("t.csv", b"txt,label\nx,y\n", r"has no column 'text' \(did you mean txt\?\)"),
        ("t.csv", b"text,label\nx,y\nx\n", "row 2 has 1 cells, the header has 2"),
        ("t.tsv", b"text\tlabel\nx\ty\tz\n", "row 1 has 3 cells, the header has 2"),
        ("t.csv", b"text,label\nx,y\n\nx,y\n", "row 2 is blank"),
        ("t.csv", b'text,label\n"x,y\n', "line 2 is not valid CSV"),
        ("t.csv", b"text,label\nx,y\nx,\xff\n", "line 3 is not UTF-8"),
        ("t.jsonl", b'{"text": "x"}\n{"text": \n', "line 2 is not valid JSON"),
        ("t.jsonl", b'{"text": "\\ud800"}\n', "line 1 is not valid JSON .*surrogate"),
        ("t.jsonl", b'["x"]\n', "line 1 is not a JSON object"),
        ("t.jsonl", b'{"text": "x"}\n{"a": "x"}\n', "row 2 has no 'text'"),
        ("t.jsonl", b'{"text": ["x"]}\n', "row 1 holds a list in 'text'"),
        ("t.csv.gz", b"text\nx\n", "cannot be read"),
        ("t.csv.gz", gzip.compress(b"text\nx\n", mtime=0)[:-9], "cannot be read"),
        ("t.csv.gz", gzip.compress(b"text\nx\n" * 99, mtime=0)[:-20], "cannot be read"),
        ("t.jsonl.gz", b"\x1f\x8b" + b"garbage" * 20, "cannot be read"),
        ("t.csv.gz", gzip.compress(b"text\nx\n", mtime=0)[:10] + b"\xff" * 30, "cannot be read"),
        ("t.csv", b"text,label,text\nx,y,z\n", "has the column 'text' 2 times: rename all but one"),
        ("t.tsv", b"text\ttext\nx\tz\n", "has the column 'text' 2 times"),
        ("t.csv", b"text,label\nx,y\nx,y,z\n", "row 2 has 3 cells, the header has 2"),
        ("t.csv", b"text,label\n0,5,1\n", "row 1 has 3 cells, the header has 2"),
        ("t.jsonl", b'{"text": "x", "text": "y"}\n', "line 1 is not valid JSON .*'text' is there twice"),
        ("t.jsonl", b'{"text": "x"}\n{"text": ' + b"[" * 100_000, "line 2 is nested too deeply"),
        ("t.jsonl", b'{"text": ' + b"[" * 1000 + b"]" * 1000 + b"}\n", "nested too deeply|holds a list in 'text'"),
        ("t.jsonl", b'{"text": ' + b"1" * 5000 + b"}\n", "line 1 is not valid JSON"),
        ("t.xlsx", b"", "unknown extension: use .csv, .tsv, .jsonl"),
    ],
)
def test_broken_tables_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExtractError, match=message) as caught:
        read_columns(tmp_path / name, ["text"])
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_read_may_be_there_twice(tmp_path):
    (tmp_path / "t.csv").write_text("text,,\nx,1,2\n")
    assert read_columns(tmp_path / "t.csv", ["text"]) == [["x"]]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize(
    "name", ["fifo.csv", "fifo.parquet", "folder.csv", "null.csv", "loop.csv", "x" * 300 + ".csv", "a\0b.csv"]
)
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / "fifo.csv"), os.mkfifo(tmp_path / "fifo.parquet")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "null.csv").symlink_to("/dev/null")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    code = """if True:
        import sys
        from pathlib import Path
        from jaxal.errors import JaxalError
        from jaxal_extract.texts.tables import header
        try:
            header(Path(sys.stdin.read()))
        except JaxalError as error:
            print(error)"""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], input=str(tmp_path / name), env=env, capture_output=True,
                         text=True, timeout=60, check=True)  # fmt: skip
    assert any(what in run.stdout for what in ("is not a regular file", "cannot be read", "there is no file"))
    assert run.stdout.count("\n") == 1


def test_a_missing_file_gets_the_closest_name(tmp_path):
    (tmp_path / "train.csv").touch()
    with pytest.raises(ExtractError, match=r"no file .*trian.csv \(did you mean train.csv\?\)"):
        header(tmp_path / "trian.csv")


# ---- columns and texts


@pytest.mark.parametrize(
    ("task", "there", "texts", "label"),
    [
        ("banking77", ["text", "category"], ["text"], "category"),
        ("mnli", ["premise", "hypothesis", "label"], ["premise", "hypothesis"], "label"),
        ("trec6", ["label", "fine_label", "text"], ["text"], "label"),
        ("trec6", ["text", "coarse_label", "fine_label"], ["text"], "coarse_label"),
        ("dbpedia", ["label", "title", "content"], ["content"], "label"),
        ("dbpedia", ["label", "text"], ["text"], "label"),
        ("fnc1", ["Headline", "articleBody", "Stance"], ["Headline", "articleBody"], "Stance"),
    ],
)
def test_tasks_know_their_columns(tmp_path, task, there, texts, label):
    path = write_csv(tmp_path / "t.csv", there, *(["x"] for _ in there))
    assert choose_columns(path, TASKS[task], [], None, None) == Columns(texts, label, None)
    assert choose_columns(path, TASKS[task], there[:1], there[1], "n") == Columns(there[:1], there[1], "n")


def test_columns_that_must_be_named(tmp_path):
    path = write_csv(tmp_path / "t.csv", ["body", "y"], ["x"], ["1"])
    for task in (None, TASKS["sst2"]):
        with pytest.raises(ExtractError, match=r"--text-column; its columns are: body, y"):
            choose_columns(path, task, [], None, None)
    with pytest.raises(ExtractError, match="--label-column"):
        choose_columns(path, TASKS["sst2"], ["body"], None, None)
    assert choose_columns(path, None, ["body"], None, None).label is None


def test_rows_without_text_and_ids_that_repeat(tmp_path):
    path = write_csv(tmp_path / "t.csv", ["a", "b", "id"], ["x", "", "x"], ["x", "y", " "], ["1", "2", "1"])
    assert read_split(path, Columns(["a", "b"], None, None), Cleaning()).texts == [["x", "", "x"], ["x", "y", " "]]
    with pytest.raises(ExtractError, match="row 3 has no text in b"):
        read_split(path, Columns(["b"], None, None), Cleaning())
    with pytest.raises(ExtractError, match="rows 1 and 3 have the same id '1'"):
        read_split(path, Columns(["a", "b"], None, "id"), Cleaning())


def test_strip_end():
    for text in ("It is lost", "It is lost.", "It is lost . ", "It is lost...", "It is lost\xa0. . "):
        assert strip_end(text, ".") == "It is lost"
    assert strip_end("Mr. X said no!? ", ".") == "Mr. X said no!?"
    assert strip_end("no!? ", "!?") == "no"
    assert strip_end("It is lost. ", "") == "It is lost. "


def test_clean():
    r"""Escapes come first: a line break that was one of `\n` is whitespace to what strips."""
    assert clean(r"a\nb \"c\" d\te\\", Cleaning(unescape=True)) == 'a\nb "c" d\\te\\\\'
    assert clean(r"\n a.\n", Cleaning(".", True, True)) == "a"
    assert clean(" a. ", Cleaning()) == " a. "
    assert clean(" a. ", Cleaning(strip_start=True)) == "a. "
