"""A batch as annotation tools take it: text of the file to upload, in pick order.

Of what is beside the text, `row` and `id` find the way back, and `rank` or `order` is the place in the batch.
"""

import json
from collections.abc import Callable

import numpy as np

from jaxal.labeling import batch as batches
from jaxal.labeling.label_studio import Form
from jaxal.labeling.project import Batch, Project

Record = dict
FORM = Form("label", "text", ())  # what `LabelStudio.create` makes


def write(project: Project, batch: Batch, format: str) -> str:
    """The file of a batch in one of `FORMATS`. Cost: reads the texts of its rows."""
    return FORMATS[format](records(project, batch), project.settings.classes, agent(batch))


def records(project: Project, batch: Batch) -> list[Record]:
    """Order, row, id, score, suggestion, confidence, and the text (the id, in a pool without texts)."""
    found = []
    for i, record in enumerate(batches.describe(project.pool(), batch.rows, np.zeros(len(batch.rows)))):
        text = record.pop("text", record["id"])
        told = {"score": batch.scores[i], "suggestion": batch.suggestions[i], "confidence": batch.confidences[i]}
        found.append(record | told | {"text": text})
    return found


def agent(batch: Batch) -> str:
    """What suggestions are said to come from."""
    return f"jaxal-{batch.round}"


def _csv(records: list[Record], classes, agent) -> str:
    return batches.as_csv([record | {"label": ""} for record in records])


def _jsonl(records: list[Record], classes, agent) -> str:
    return _lines(record | {"label": None} for record in records)


def _label_studio(records: list[Record], classes, agent) -> str:
    return json.dumps(label_studio_tasks(records, agent), ensure_ascii=False, indent=1) + "\n"


def label_studio_tasks(records: list[Record], agent: str, form: Form = FORM) -> list[Record]:
    """Tasks for its import. It serves low scores first, and drops those outside [0, 1]."""
    tasks = []
    for record in records:
        data = {"text": record["text"], "row": record["row"], "id": record["id"], "rank": record["order"]}
        chosen = record["suggestion"]
        result = [{"from_name": form.control, "to_name": form.text, "type": "choices", "value": {"choices": [chosen]}}]
        prediction = {
            "model_version": agent,
            "score": record["order"] / len(records),
            "result": result if chosen else [],
        }
        tasks.append({"data": data, "predictions": [prediction]})
    return tasks


def _argilla(records: list[Record], classes, agent) -> str:
    def record_of(record: Record) -> Record:
        plain = {"id": record["id"], "text": record["text"], "row": record["row"], "rank": record["order"]}
        if record["suggestion"] is None:
            return plain
        return plain | {"label.suggestion": record["suggestion"], "label.suggestion.score": record["confidence"],
                        "label.suggestion.agent": agent}  # fmt: skip

    return _lines(map(record_of, records))


def _prodigy(records: list[Record], classes, agent) -> str:
    return _lines(prodigy_tasks(records, classes))


def prodigy_tasks(records: list[Record], classes) -> list[Record]:
    """Tasks for its view `choice`; the suggestion is shown below the text, and not chosen beforehand."""
    options = [{"id": name, "text": name} for name in classes]
    beside = ("row", "id", "suggestion")
    return [{"text": r["text"], "options": options, "meta": {name: r[name] for name in beside}} for r in records]


def _doccano(records: list[Record], classes, agent) -> str:
    """Without suggestions: in its export they would look like labels."""
    return _lines({"text": r["text"], "label": [], "row": r["row"], "rank": r["order"]} for r in records)


def _lines(values) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


FORMATS: dict[str, Callable[..., str]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "label-studio": _label_studio,
    "argilla": _argilla,
    "prodigy": _prodigy,
    "doccano": _doccano,
}
