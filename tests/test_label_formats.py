"""A batch goes to annotation tools and comes back. Exports of Label Studio 1.23.2 are recorded, Argilla's are made by
its own client 2.8.0; those of doccano and Prodigy are written by their documentation, not compared with real ones.
"""

import json
import sys
from itertools import islice
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import commands
import pytest
from commands import NAMES, call, read_csv, refused
from conftest import ROOT
from small import arrays

import jaxal
from jaxal.errors import DataError
from jaxal.labeling import exports
from jaxal.labeling.create import create
from jaxal.labeling.project import Project

cache, here, world = commands.cache, commands.here, commands.world  # fixtures
Y = arrays()[1]
USERS = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"


def label_studio(task, i):
    """As Label Studio 1.23.2 exported it, recorded, less what is beside the point."""
    row = task["data"]["row"]
    result = [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [NAMES[Y[row]]]}}]
    annotation = {"id": i, "completed_by": 1, "result": result, "was_cancelled": False, "ground_truth": False,
                  "created_at": "2026-11-28T05:21:37.286197Z", "updated_at": "2026-11-28T05:21:37.286215Z",
                  "draft_created_at": None, "lead_time": 3.2, "task": i, "project": 2}  # fmt: skip
    return {"id": i, "annotations": [annotation], "drafts": [], "predictions": [1], "data": task["data"], "meta": {},
            "inner_id": i, "total_annotations": 1, "cancelled_annotations": 0}  # fmt: skip


def label_studio_min(task, i):
    """Recorded as well: the task's number takes the place of `id`."""
    time = "2026-11-28T05:21:37.286197Z"
    label = NAMES[Y[task["data"]["row"]]]
    return task["data"] | {"id": i, "label": label, "annotator": 1, "annotation_id": i, "lead_time": 3.2,
                           "created_at": time, "updated_at": time}  # fmt: skip


def argilla(record, i):
    """As the client 2.8.0 made it of a record with two responses, the second a draft, by `to_list(flatten=True)`."""
    suggestion = {f"label.suggestion{of}": record.get(f"label.suggestion{of}") for of in ("", ".score", ".agent")}
    return {"id": record["id"], "status": "completed", "_server_id": None, "text": record["text"], "row": record["row"],
            "rank": record["rank"], "label.responses": [NAMES[Y[record["row"]]], "no"], "label.responses.users": USERS,
            "label.responses.status": ["submitted", "draft"]} | suggestion  # fmt: skip


def prodigy(task, i):
    label = NAMES[Y[task["meta"]["row"]]]
    return task | {"_input_hash": i, "_task_hash": -i, "_view_id": "choice", "accept": [label], "answer": "accept",
                   "_timestamp": 1764300000, "_annotator_id": "ann", "_session_id": "ann"}  # fmt: skip


def doccano(record, i):
    beside = {name: value for name, value in record.items() if name not in ("text", "label")}
    return {"id": i, "text": record["text"], "label": [NAMES[Y[record["row"]]]], **beside, "Comments": []}


TOOLS = {
    "label-studio": ("label-studio", label_studio),
    "label-studio-min": ("label-studio", label_studio_min),
    "argilla": ("argilla", argilla),
    "prodigy": ("prodigy", prodigy),
    "doccano": ("doccano", doccano),
    "jsonl": ("jsonl", lambda record, i: record | {"label": NAMES[Y[record["row"]]]}),
}


def loads(text):
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.split("\n") if line]


@pytest.fixture
def project(here):
    return create(here / "p", jaxal.load("toy"), batch_size=6, strategy="margin", cold_start="random")


@pytest.mark.parametrize("tool", TOOLS)
def test_there_and_back(here, project, tool):
    """Two rounds: the second one has suggestions."""
    to, exported = TOOLS[tool]
    for round_ in (1, 2):
        pushed = loads(call("label", "next", "p", "--format", to).stdout)
        batch = Project.open("p").batches()[-1]
        records = [exported(record, i) for i, record in enumerate(pushed, 1)]
        Path("export.json").write_text(json.dumps(records[::-1]))
        Path("export.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        file = "export.json" if to == "label-studio" else "export.jsonl"
        assert f"{file} ({tool}): 6 new" in call("label", "add", "p", file).stderr
        assert f"{file} ({tool}): 0 new, 6 there before" in call("label", "add", "p", file).stderr
        labels = Project.open("p").labels()
        assert labels["row"].tolist()[-6:] == batch.rows.tolist()
        assert labels["label"].tolist() == [NAMES[Y[row]] for row in labels["row"]]
        assert labels["round"].tolist()[-6:] == [round_] * 6
        text = json.dumps(pushed)
        assert (batch.suggestions[0] is not None) == (round_ == 2)
        if to not in ("doccano", "jsonl"):
            assert (f"jaxal-{round_}" in text) == (to != "prodigy" and (round_ == 2 or to == "label-studio"))
    who = {"label-studio": "label-studio:1", "argilla": USERS[0], "prodigy": "ann"}.get(to)
    assert set(labels["annotator"]) == {who}


def test_scores_of_label_studio_are_the_rank_in_0_to_1(here, project):
    pushed = loads(call("label", "next", "p", "--format", "label-studio").stdout)
    assert [task["predictions"][0]["score"] for task in pushed] == [i / 6 for i in range(6)]
    assert [task["data"]["rank"] for task in pushed] == list(range(6))
    assert [task["predictions"][0]["result"] for task in pushed] == [[]] * 6, (
        "nothing is suggested before there is a label"
    )


def test_a_csv_that_people_fill_in(here, project):
    records = read_csv(call("label", "next", "p", "--out", "b.csv").stdout or Path("b.csv").read_bytes().decode())
    records[2]["label"] = "yes"
    assert list(records[0])[-2:] == ["text", "label"]
    Path("c.csv").write_text("row,label\n" + "".join(f"{r['row']},{r['label']}\n" for r in records))
    assert call("label", "add", "p", "c.csv").stderr == "c.csv (csv): 1 new\n", "rows without a label are left"


def records_of(format, *records, name="f.json"):
    Path(name).write_text(json.dumps(records))
    return exports.read(Path(name), format)[1]


def test_skips_drafts_and_several_annotators(here):
    task = {"data": {"text": "t", "row": 4, "id": "id-4"}}
    studio = label_studio(task, 3)
    skipped = studio["annotations"][0] | {"id": 9, "completed_by": {"id": 2, "email": "b@c.de"}, "was_cancelled": True}
    empty = studio["annotations"][0] | {"id": 10, "completed_by": 3, "result": []}
    said = records_of(None, studio | {"annotations": [skipped, studio["annotations"][0], empty]})
    assert [(e.row, e.id, e.annotator, e.label, e.action) for e in said] == [
        (4, "id-4", "label-studio:1", NAMES[Y[4]], "label"),
        (4, "id-4", "label-studio:2", None, "skip"),
        (4, "id-4", "label-studio:3", None, "skip"),
    ]
    record = argilla({"id": "id-4", "text": "t", "row": 4, "rank": 0}, 0)
    said = records_of(None, record | {"label.responses.status": ["discarded", "submitted"]})
    assert [(e.annotator, e.label, e.action) for e in said] == [(USERS[0], None, "skip"), (USERS[1], "no", "label")]
    assert records_of("argilla", record | dict.fromkeys([key for key in record if ".responses" in key])) == []
    one = prodigy({"text": "t", "meta": {"row": 4}, "options": []}, 1)
    for change, label in (({"answer": "ignore"}, None), ({"answer": "reject"}, None), ({"accept": []}, None),
                          ({}, NAMES[Y[4]])):  # fmt: skip
        (entry,) = records_of(None, one | change)
        assert (entry.label, entry.action) == (label, "label" if label else "skip")
    assert records_of("doccano", {"id": 1, "text": "t", "label": [], "row": 4}) == []


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"annotations": [{"id": 1, "result": [{"type": "labels"}]}], "data": {"row": 1}},
            "an annotation of type labels",
        ),
        ({"id": 1, "text": "t", "label": ["a", "b"], "row": 4}, "record 1 has 2 labels (a, b), where jaxal needs one"),
        ({"annotations": [], "data": {"text": "t"}}, "record 1 has no row: it was not pushed by jaxal"),
        ({"answer": "accept", "meta": {"row": 1}}, "record 1 is not as prodigy exports it (KeyError: 'label')"),
        ({"_server_id": 1, "fields": {}, "responses": {}}, "export it by `records.to_list(flatten=True)`"),
        ({"label": "a", "row": True}, "True is no row number"),
    ],
)
def test_exports_that_cannot_be_used(here, record, message):
    with pytest.raises(DataError) as error:
        records_of(None, record)
    assert message in str(error.value)
    with pytest.raises(DataError, match="unknown format 'csb': did you mean csv"):
        exports.read(Path("f"), "csb")


def test_labels_of_another_pool_are_refused(here, project):
    Path("min.json").write_text(json.dumps([label_studio_min({"data": {"text": "other", "row": 3}}, 1)]))
    assert "row 3 of the pool has another text" in refused("label", "add", "p", "min.json")


def test_the_prodigy_recipe(here, project, monkeypatch):
    monkeypatch.setitem(sys.modules, "prodigy", SimpleNamespace(recipe=lambda *_, **__: lambda function: function))
    recipe = run_path(str(ROOT / "scripts" / "prodigy_recipe.py"))["label"]
    made = recipe("dataset", "p")
    assert made["view_id"] == "choice"
    first = list(islice(made["stream"], 8))  # it looks ahead: two of the second batch
    assert len({task["meta"]["row"] for task in first}) == 8
    made["update"]([prodigy(task, i) for i, task in enumerate(first[:6])])
    opened = Project.open("p")
    assert opened.labels()["row"].tolist() == [task["meta"]["row"] for task in first[:6]]
    assert opened.labels()["label"].tolist() == [NAMES[Y[task["meta"]["row"]]] for task in first[:6]]
    again = list(islice(recipe("dataset", "p")["stream"], 6))
    assert [task["meta"]["row"] for task in again] == opened.waiting(), "what waits comes first after a restart"
