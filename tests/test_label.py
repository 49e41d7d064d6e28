"""A labeling project: rounds of next and add, what counts of the log, crashes, and one clear line for every mistake."""

import json
from dataclasses import asdict
from pathlib import Path

import commands
import numpy as np
import pandas as pd
import pytest
from commands import NAMES, call, read_csv, refused
from small import arrays

import jaxal
from jaxal.data import files
from jaxal.errors import DataError, StoreError
from jaxal.labeling import entries, exports, log, rounds
from jaxal.labeling.create import create
from jaxal.labeling.entries import Entry
from jaxal.labeling.log import Line
from jaxal.labeling.project import Project

cache, here, world = commands.cache, commands.here, commands.world  # fixtures
Y = arrays()[1]


def init(*options, name="p", batch=6):
    result = call("label", "init", name, "-d", "toy", "-b", batch, *options)
    assert result.exit_code == 0, result.output
    return Path(name)


def answer(file, to="labels.csv", **columns):
    """The batch in `file` with its true labels."""
    table = pd.read_csv(file)
    table["label"] = [NAMES[Y[row]] for row in table["row"]]
    table.assign(**columns).to_csv(to, index=False)
    return table["row"].tolist()


def one(row, label, annotator=None, action="label"):
    return Entry("test", row, None, label, annotator, action=action)


@pytest.fixture
def project(here, world):
    return create(here / "p", jaxal.load("toy"), batch_size=6)


def add(project, *given, **options):
    with project.locked():
        return entries.add(project, given, **options)


# ---- rounds


@pytest.mark.parametrize("strategy", ["badge", "random"])
def test_rounds_choose_what_a_run_with_the_same_seed_chooses(here, strategy):
    cold = {"badge": "typiclust", "random": "random"}[strategy]
    folder = init("-s", strategy, "--seed", 3)
    expected = jaxal.run(jaxal.load("toy"), strategy, seeds=[3], ips=cold, cycles=3, batch_size=6, initial_size=6,
                         warm_start=False)  # fmt: skip
    for _ in range(4):
        assert call("label", "next", folder, "--out", "batch.csv").exit_code == 0
        rows = answer("batch.csv")
        assert call("label", "add", folder, "labels.csv").exit_code == 0
    project = Project.open(folder)
    assert project.labels()["row"].tolist() == expected.tables.picks["row"].tolist()
    assert project.labels()["label"].tolist() == [NAMES[Y[row]] for row in project.labels()["row"]]
    assert project.labels()["round"].tolist() == np.repeat([1, 2, 3, 4], 6).tolist()
    assert rows == project.batches()[3].rows.tolist()
    assert [batch.strategy for batch in project.batches()] == [cold, strategy, strategy, strategy]
    assert project.batches()[1].suggestions[0] in NAMES
    assert 1 / 3 <= min(project.batches()[1].confidences) <= max(project.batches()[1].confidences) <= 1


def test_next_gives_rows_that_wait_again(here):
    folder = init()
    first = call("label", "next", folder)
    assert "typiclust, which needs no labels: badge needs some, and there are none yet" in first.stderr
    assert call("label", "next", folder).stdout == first.stdout
    records = read_csv(first.stdout)
    assert list(records[0]) == ["order", "row", "id", "score", "suggestion", "confidence", "text", "label"]
    Path("two.csv").write_text(f"id,label\n{records[0]['id']},no\n{records[3]['id']},yes\n")
    assert call("label", "add", folder, "two.csv").stderr == "two.csv (csv): 2 new\n"
    again = call("label", "next", folder)
    left = [records[i]["row"] for i in (1, 2, 4, 5)]
    assert [record["row"] for record in read_csv(again.stdout)] == left
    assert again.stderr.startswith("round 1: 4 rows still wait for a label")
    more = read_csv(call("label", "next", folder, "--more").stdout)
    assert len(more) == 6
    assert not {record["row"] for record in more} & {record["row"] for record in records}
    assert [batch.round for batch in Project.open(folder).batches()] == [1, 2]


def test_rows_that_wait_or_were_skipped_are_not_chosen_and_the_pool_ends(here, project):
    for done in range(20):
        with project.locked():
            batch = rounds.next_batch(project)
        rows = batch.rows.tolist()
        add(project, *(one(row, NAMES[Y[row]]) for row in rows[:4]), one(rows[4], None, "ann", "skip"))
        assert len(project.waiting()) == len(project.skipped()) == done + 1
    assert len(project.rounds) == 120
    with project.locked(), pytest.raises(DataError, match="every row of the pool has a label, was skipped, or waits"):
        rounds.next_batch(project)


def test_a_pool_without_classes_learns_them(here):
    call("label", "init", "p", "-d", "raw", "-b", 3, "-s", "margin", "--cold-start", "random")
    for names in (["good"], ["good", "bad"], ["bad", "so so"]):
        records = read_csv(call("label", "next", "p").stdout)
        lines = [f"{record['row']},{names[i % len(names)]}" for i, record in enumerate(records)]
        Path("labels.csv").write_text("row,label\n" + "\n".join(lines) + "\n")
        assert call("label", "add", "p", "labels.csv").exit_code == 0
    assert Project.open("p").settings.classes == ("good", "bad", "so so")
    assert len(Project.open("p").labeled()[0]) == 9
    status = call("label", "status", "p").stdout
    assert "9 rows labeled, 3 batches chosen; 0 wait, 0 skipped" in status
    assert "suggestions that were right, by round from 2 on: " in status


# ---- what counts


def test_the_last_word_of_each_and_the_majority_of_all(project):
    add(project, one(1, "no", "a"), one(1, "yes", "b"), one(2, "no", "a"), one(3, "no"), one(4, None, "a", "skip"))
    assert project.words[1].label == "yes", "of equals the last"
    add(project, one(1, "no", "c"))
    assert project.words[1].label == "no"
    add(project, one(1, "maybe", "a"), one(1, "maybe", "b"), one(2, None, "a", "withdraw"), one(3, "yes"))
    labels = project.labels().set_index("row")
    assert labels["label"].to_dict() == {1: "maybe", 3: "yes"}
    assert labels.loc[1, ["annotators", "agreement", "code"]].tolist() == [3, 2 / 3, 1]
    assert project.skipped() == [4]
    assert list(log.disagreed(project.words)) == [1]
    add(project, one(1, "yes"))
    assert project.words[1].votes == {None: "yes"}, "a line without annotator replaces all"
    add(project, one(1, "no", "a"))
    assert project.words[1].votes == {"a": "no"}
    assert len(project.lines) == 12
    assert "disagree on 0" not in call("label", "status", project.folder).stdout


def test_what_is_there_is_not_added_again(project):
    given = [one(1, "no", "a"), one(2, "yes", "a"), one(3, "yes")]
    assert len(add(project, *given).lines) == 3
    content = (project.folder / log.NAME).read_bytes()
    again = add(project, *given, one(1, "no"))
    assert (again.lines, again.unchanged) == ([], 4)
    assert (project.folder / log.NAME).read_bytes() == content
    changed = add(project, one(1, "yes", "a"), one(9, None, "a", "withdraw"))
    assert (len(changed.lines), changed.corrected, changed.unchanged) == (1, 1, 1)


def test_a_wrong_entry_adds_nothing(project):
    with pytest.raises(DataError, match="unknown label 'noo': did you mean no"):
        add(project, one(1, "no"), one(2, "noo"))
    assert project.lines == []
    assert add(project, one(1, "no"), one(2, "new"), new_classes=True).new_classes == ["new"]
    assert Project.open(project.folder).settings.classes == (*NAMES, "new")
    assert Project.open(project.folder).labeled()[1].tolist() == [0, 3]


# ---- crashes and other processes


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_a_torn_line_is_told_and_cut_off(project, cut):
    add(project, one(1, "no"), one(2, "yes"))
    path = project.folder / log.NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut] if cut > 1 else whole[:-1] + b"\n{")
    opened = Project.open(project.folder)
    kept = 2 if cut == 1 else 1
    assert len(opened.lines) == kept
    assert opened.torn
    assert "the log ends in a part of a line" in call("label", "status", project.folder).stdout
    Path("labels.csv").write_text("row,label\n2,yes\n7,no\n")
    result = call("label", "add", project.folder, "labels.csv")
    assert result.stderr.startswith("note: the log ended in a part of a line")
    assert [line.row for line in Project.open(project.folder).lines] == [1, 2, 7]
    assert not Project.open(project.folder).torn


def test_a_last_line_without_its_end_counts(project):
    add(project, one(1, "no"), one(2, "yes"))
    path = project.folder / log.NAME
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert not Project.open(project.folder).torn
    add(project, one(3, "no"))
    assert [line.row for line in Project.open(project.folder).lines] == [1, 2, 3]


@pytest.mark.parametrize("effect", ["_write", "_fsync", "_rename"])
def test_a_disk_that_fails_loses_nothing(project, effect, monkeypatch):
    """Whichever effect fails first, the project opens, and the same labels and batch go in afterwards."""
    add(project, one(1, "no"))

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, effect, fail)
        if effect != "_rename":
            with pytest.raises(StoreError, match="free some space"):
                add(project, one(2, "yes"))
        with project.locked(), pytest.raises(StoreError, match="free some space"):
            rounds.next_batch(project)
    opened = Project.open(project.folder)
    assert opened.batches() == []
    add(opened, one(1, "no"), one(2, "yes"))
    assert {row: word.label for row, word in opened.words.items()} == {1: "no", 2: "yes"}
    with opened.locked():
        assert rounds.next_batch(opened).round == 1


def test_two_processes_are_told_apart(project):
    Path("labels.csv").write_text("row,label\n1,no\n")
    with project.locked():
        message = refused("label", "add", project.folder, "labels.csv")
        assert "another process is working on" in message
        assert "another process is working on" in refused("label", "next", project.folder)
        assert call("label", "status", project.folder).exit_code == 0
    assert call("label", "add", project.folder, "labels.csv").exit_code == 0


# ---- taking away


def test_export(project):
    add(project, one(5, "no", "a"), one(2, "yes", "a"))
    add(project, one(2, "no", "a"))
    records = read_csv(call("label", "export", project.folder).stdout)
    assert [(r["row"], r["id"], r["label"], r["text"]) for r in records] == [
        (str(row), f"id-{row}", "no", f'text {row}, "quoted"\nand more\r!') for row in (5, 2)
    ]
    for name, read in (("a.csv", pd.read_csv), ("a.parquet", pd.read_parquet),
                       ("a.jsonl", lambda path: pd.read_json(path, lines=True))):  # fmt: skip
        assert call("label", "export", project.folder, "--out", name).exit_code == 0
        assert read(name)["row"].tolist() == [5, 2]
    lines = call("label", "export", project.folder, "--log", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["no", "yes", "no"]
    create("q", jaxal.load("toy"))
    for name in ("a.csv", "a.jsonl"):
        assert call("label", "add", "q", name).exit_code == 0
    assert {r: w.label for r, w in Project.open("q").words.items()} == {5: "no", 2: "no"}
    assert len(Project.open("q").lines) == 2, "the second file said what the first had said"


# ---- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-s", "bagde"], "unknown strategy 'bagde': did you mean badge?"),
        (["-b", "0"], "batch_size is 0"),
        (["--classes", "a"], "there is one class, a"),
        (["--classes", "a,b,a"], "the class a is named twice"),
        (["--cold-start", "margin"], "margin cannot choose without labels"),
        (["--seed", "-1"], "seed is -1"),
        (["--C", "0"], "C is 0.0"),
        (["--set", "k=3"], "badge has no settings (got 'k')"),
    ],
)
def test_bad_settings_are_one_line(here, options, message):
    assert message in refused("label", "init", "p", "-d", "toy", *options)
    assert not Path("p").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("row,label\n120,no\n", "labels.csv line 2: the pool has no row 120: it has rows 0 to 119"),
        ("id,label\nx,no\n", "labels.csv line 2: the pool has no id 'x'"),
        ("row,label\n1,noo\n", "unknown label 'noo': did you mean no?; --new-classes adds it"),
        ("row,id,label\n1,id-2,no\n", "row 1 of the pool has the id 'id-1', not 'id-2'"),
        ("row,text,label\n1,other,no\n", "row 1 of the pool has another text"),
        ("row,label\n-1,no\n", "'-1' is no row number"),
        ("row,class\n1,no\n", "needs the columns label and row (or id)"),
        ("row,label,seconds\n1,no,long\n", "labels.csv line 2 is not as csv exports it"),
        ('{"row": 1, "label": "no"}\n{"row"\n', "labels.csv line 2 is not JSON"),
        ('{"a": 1}\n', "is of no format that jaxal knows"),
        ("[1]", "record 1 is no JSON object"),
        ("", "cannot be read as CSV"),
    ],
)
def test_bad_labels_are_one_line(here, project, content, message):
    Path("labels.csv").write_text(content)
    assert message in refused("label", "add", "p", "labels.csv")
    assert project.lines == []


def test_bad_folders_are_one_line(here, project):
    assert "p is a labeling project already" in refused("label", "init", "p", "-d", "toy")
    assert "nothing is no labeling project: `jaxal label init` makes one" in refused("label", "status", "nothing")
    assert "nothing.csv does not exist" in refused("label", "add", "p", "nothing.csv")
    settings = Path("p/project.json")
    before = settings.read_text()
    for change, message in (
        ({"format": 2}, "was written by a newer jaxal"),
        ({"fingerprint": "x"}, "other embeddings or labels than when p was made"),
        ({"pool": str(here / "gone")}, "is no stored pool"),
        ({"strange": 1}, "unknown 'strange'"),
        ({"classes": ["a", "a"]}, "it has a class twice"),
    ):
        settings.write_text(json.dumps(json.loads(before) | change))
        assert message in refused("label", "next", "p")
    settings.write_text("{")
    assert "project.json cannot be used" in refused("label", "status", "p")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "noo"}, "row 1: unknown label 'noo'"),
        ({"row": "1"}, "labels.jsonl line 1 is not as jaxal writes it (its row is '1')"),
        ({"label": None}, "its action is 'label' and its label None"),
        ({"more": 1}, "labels.jsonl line 1 is not as jaxal writes it (it needs row, id"),
    ],
)
def test_a_log_edited_by_hand_is_one_line(here, project, change, message):
    add(project, one(1, "no"), one(2, "yes"))
    path = project.folder / log.NAME
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | change), *rest]) + "\n")
    assert message in refused("label", "status", "p")


def test_a_batch_that_is_missing_is_one_line(here, project):
    for _ in range(2):
        with project.locked():
            rounds.next_batch(project)
    (project.folder / "batches" / "0001.json").unlink()
    assert "0002.json is not as jaxal wrote it (round 1 is missing)" in refused("label", "status", "p")


def test_settings_and_lines_are_what_was_written(here, project):
    assert asdict(Project.open("p").settings) == asdict(project.settings)
    line = Line(3, "id-3", "né\u2028\n", "a", 1.5, "2026-11-28T05:00:00Z", 0)
    log.append(project.folder / log.NAME, [line], 0)
    assert log.read(project.folder / log.NAME)[0] == [line]
    assert exports.FORMATS.keys() >= {"csv", "jsonl"}
