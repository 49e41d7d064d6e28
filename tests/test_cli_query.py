"""`jaxal query`: the batch it writes, the labels it reads, and one clear line for every mistake."""

import io
import json
from pathlib import Path

import commands
import pandas as pd
import pytest
from commands import NAMES, call, read_csv, refused
from small import arrays, write_npz

import jaxal
from jaxal.strategies import STRATEGIES

cache, here, world = commands.cache, commands.here, commands.world  # fixtures


def test_query_of_a_stored_pool(here):
    result = call("query", "-d", "toy", "-b", 7)
    assert result.exit_code == 0
    assert result.stderr == ""
    batch = read_csv(result.stdout)
    assert [int(record["order"]) for record in batch] == list(range(7))
    rows = [int(record["row"]) for record in batch]
    assert len(set(rows)) == 7
    assert all(0 <= row < 120 for row in rows)
    assert [record["id"] for record in batch] == [f"id-{row}" for row in rows]
    assert [record["text"] for record in batch] == [f'text {row}, "quoted"\nand more\r!' for row in rows]
    assert call("query", "-d", "toy", "-b", 7).stdout == result.stdout, "the same seed, another batch"
    assert call("query", "-d", "toy", "-b", 7, "--seed", 1).stdout != result.stdout
    table = pd.read_csv(io.BytesIO(result.stdout_bytes))
    assert table["row"].tolist() == rows
    assert list(table) == ["order", "row", "id", "score", "text"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("by", ["row", "id"])
def test_a_batch_that_was_labeled_goes_in_again(here, strategy, by):
    """query, label, query: the file that query wrote, with a column more, is what it reads."""
    y = arrays()[1]
    call("query", "-d", "toy", "-s", strategy, "-b", 9, "--out", "batch.csv")
    table = pd.read_csv("batch.csv")
    table["label"] = [NAMES[y[row]] for row in table["row"]]
    table.drop(columns=[{"row": "id", "id": "row"}[by]]).to_csv("labels.csv", index=False)
    result = call("query", "-d", "toy", "-s", strategy, "-b", 500, "--labeled", "labels.csv", "--format", "jsonl")
    assert result.exit_code == 0, result.output
    batch = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]
    assert len(batch) == 111
    assert not {record["row"] for record in batch} & set(table["row"])
    expected = jaxal.query(jaxal.load("toy"), table["row"], table["label"], strategy=strategy, batch_size=500)
    assert [record["row"] for record in batch] == expected.tolist()
    assert batch[3]["id"] == f"id-{expected[3]}"
    assert batch[3]["text"].startswith(f"text {expected[3]},")


def test_query_writes_files_by_their_ending(here):
    for name, option in (("a.csv", []), ("a.jsonl", []), ("b.txt", []), ("c.csv", ["--format", "jsonl"])):
        result = call("query", "-d", "toy", "-b", 3, "--out", name, *option)
        assert result.exit_code == 0
        assert result.stdout == ""
        assert result.stderr == f"3 rows in {name}\n"
        first = Path(name).read_text().splitlines()[0]
        assert first.startswith("{") == ("jsonl" in (name.split(".")[1], *option))


def test_query_without_class_names_texts_or_labels(here, world):
    write_npz(here / "bare.npz", y=None, X_test=None, y_test=None)
    for dataset in ("raw", "bare.npz"):
        lines = call("query", "-d", dataset, "-b", 4, "--format", "jsonl").stdout.splitlines()
        batch = [json.loads(line, parse_constant=pytest.fail) for line in lines]
        assert len(batch) == 4
        assert set(batch[0]) == {"order", "row", "id", "score"}
        assert all(record["id"] == str(record["row"]) for record in batch)
        Path("labels.csv").write_text("row,label\n1,good\n2,bad\n3,so so\n")
        rows = [int(r["row"]) for r in read_csv(call("query", "-d", dataset, "-b", 4, "-l", "labels.csv").stdout)]
        X = jaxal.load(dataset).X
        assert rows == jaxal.query(X, [1, 2, 3], ["good", "bad", "so so"], batch_size=4).tolist()
        unit = [int(r["row"]) for r in
                read_csv(call("query", "-d", dataset, "-b", 4, "-l", "labels.csv", "--normalize").stdout)]  # fmt: skip
        unit_X = jaxal.Pool(X).normalized().X
        assert unit == jaxal.query(unit_X, [1, 2, 3], ["good", "bad", "so so"], batch_size=4).tolist()


def test_query_when_everything_is_labeled(here):
    Path("labels.csv").write_text("row,label\n" + "".join(f"{row},yes\n" for row in range(120)))
    result = call("query", "-d", "toy", "-l", "labels.csv")
    assert result.exit_code == 0
    assert read_csv(result.stdout) == []
    assert result.stdout.startswith("order,row,id,score")
    assert call("query", "-d", "toy", "-l", "labels.csv", "--format", "jsonl").stdout == ""


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (None, ["-l", "nothing.csv"], "nothing.csv does not exist"),
        ("", [], "labels.csv cannot be read as CSV"),
        ("row,label\n1,no\n2,no,more,and more\n", [], "labels.csv cannot be read as CSV"),
        ("row,class\n1,no\n", [], "labels.csv needs the columns label and row (or id); it has row, class"),
        ("row,label\n1,noo\n", [], "unknown label 'noo': did you mean no?"),
        ("row,label\n1,no\n1,no\n", [], "row 1 is labeled twice"),
        ("row,label\n120,no\n", [], "labeled row 120 is not in the pool: it has rows 0 to 119"),
        ("row,label\n1,\n", [], "line 2 has no label"),
        ("id,label\nx,no\n", [], "the pool has no id 'x'"),
        ("row,label\n1,no\n", ["-b", "0"], "batch_size is 0"),
        ("row,label\n1,no\n", ["--seed", "-1"], "seed is -1"),
        ("row,label\n1,no\n", ["--C", "-1"], "C is -1.0"),
        ("row,label\n1,no\n", ["-s", "mragin"], "unknown strategy 'mragin': did you mean margin?"),
        ("row,label\n1,no\n", ["--variant", "x"], "unknown variant 'x'"),
        ("row,label\n1,no\n", ["--set", "n_masks=3"], "badge has no settings (got 'n_masks')"),
        ("row,label\n1,no\n", ["--set", "badge.n_masks=3"], "badge has no settings (got 'n_masks')"),
        ("row,label\n1,no\n", ["--set", "entropy.n_masks=3"], "--set"),
        ("row,label\n1,no\n", ["--set", "C=3"], "badge has no settings (got 'C')"),
        ("row,label\n1,no\n", ["--out", "no/where.csv"], "no/where.csv"),
    ],
)  # fmt: skip
def test_bad_queries_are_one_line(here, labels, options, message):
    if labels is not None:
        Path("labels.csv").write_text(labels)
        options = ["-l", "labels.csv", *options]
    assert message in refused("query", "-d", "toy", *options)
