"""Labels out of the files that annotation tools export: each format is a function from one record to entries.

label-studio and label-studio-min are its JSON and JSON_MIN, argilla `records.to_list(flatten=True)`,
prodigy `db-out`, doccano JSONL; csv and jsonl have label, and row or id, and may have annotator, seconds and time.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxal.errors import DataError, unknown
from jaxal.labeling.entries import Entry
from jaxal.labeling.labels import read_csv

ANNOTATOR = "label-studio:"  # and the user's number there: it must not be taken for an annotator of other files

Record = Mapping[str, Any]


class Format(NamedTuple):
    """How a format is told from others by a record, and what a record says."""

    knows: Callable[[Record], bool]
    entries: Callable[[str, Record], Iterator[Entry]]  # of "file line 3" and its record


def read(path: Path, format: str | None = None) -> tuple[str, list[Entry]]:
    """The format of a file (by its content, unless it is given) and its entries; rows without a label give none.

    Raises DataError, one sentence that names the file and the record.
    """
    if format is not None and format not in FORMATS:
        raise DataError(unknown("format", format, FORMATS))
    is_csv = format == "csv" or (format is None and path.suffix.lower() != ".json" and not _begins_as_json(path))
    records = _csv(path) if is_csv else _json(path)
    if not records:
        return format or ("csv" if is_csv else "jsonl"), []
    where, first = records[0]
    name = format or ("csv" if is_csv else next((name for name, f in FORMATS.items() if f.knows(first)), None))
    if name is None:
        raise DataError(
            f"{where} is of no format that jaxal knows ({', '.join(FORMATS)}): its keys are {', '.join(first)}"
        )
    entries = []
    for where, record in records:
        try:
            entries += FORMATS[name].entries(where, record)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise DataError(f"{where} is not as {name} exports it ({type(error).__name__}: {error})") from None
    return name, entries


def _begins_as_json(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from None


def _csv(path: Path) -> list[tuple[str, Record]]:
    columns, lines = read_csv(path)
    if "label" not in columns or not {"row", "id"} & set(columns):
        raise DataError(f"{path} needs the columns label and row (or id); it has {', '.join(columns)}")
    return [
        (f"{path} line {line}", {name: cells[i] for name, cells in columns.items() if cells[i] != ""})
        for i, line in enumerate(lines)
    ]


def _json(path: Path) -> list[tuple[str, Record]]:
    """The objects of a JSON array, or of JSON lines."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as text ({error})") from None
    if text.lstrip()[:1] == "[":
        values = [(f"{path} record {i}", value) for i, value in enumerate(_parsed(str(path), text), 1)]
    else:
        lines = ((f"{path} line {i}", line) for i, line in enumerate(text.split("\n"), 1) if line.strip())
        values = [(where, _parsed(where, line)) for where, line in lines]
    for where, value in values:
        if not isinstance(value, dict):
            raise DataError(f"{where} is no JSON object: {str(value)[:60]}")
    return values


def _parsed(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON ({error})") from None


# ---- one record of each format


def _plain(where: str, record: Record) -> Iterator[Entry]:
    label = _text(record.get("label"))
    action = record.get("action") or "label"
    if label is None and action == "label":
        return
    seconds = None if record.get("seconds") is None else float(record["seconds"])
    yield Entry(where, _row(where, record), _text(record.get("id")), label, _text(record.get("annotator")),
                seconds, _text(record.get("time")), action, record.get("text"))  # fmt: skip


def label_studio_task(where: str, task: Record) -> Iterator[Entry]:
    """A task with all its annotations; of several by one annotator the last one counts."""
    data = task["data"]
    row, id_ = _row(where, data), _text(data.get("id"))
    for annotation in sorted(task["annotations"], key=lambda a: (a.get("updated_at") or "", a["id"])):
        label = None if annotation.get("was_cancelled") else label_of(where, annotation["result"])
        by = annotation.get("completed_by")
        by = ANNOTATOR + str(by.get("id") if isinstance(by, dict) else by)
        yield Entry(where, row, id_, label, by, annotation.get("lead_time"), annotation.get("updated_at"),
                    "label" if label else "skip", data.get("text"))  # fmt: skip


def label_of(where: str, result: list[Record]) -> str | None:
    """The one choice of a Label Studio annotation; None where nothing was chosen. Raises DataError for other kinds."""
    kinds = {part.get("type") for part in result}
    if kinds - {"choices"}:
        raise DataError(
            f"{where} has an annotation of type {min(map(str, kinds - {'choices'}))}, where jaxal needs choices"
        )
    return _only(where, [choice for part in result for choice in part["value"]["choices"]])


def _label_studio_min(where: str, record: Record) -> Iterator[Entry]:
    """`id` is the task's number there, not the pool's: the text tells whether the row is right."""
    label = record.get("label")
    label = _only(where, label["choices"]) if isinstance(label, dict) else _text(label)
    yield Entry(where, _row(where, record), None, label, ANNOTATOR + str(record["annotator"]), record.get("lead_time"),
                record.get("updated_at"), "label" if label else "skip", record.get("text"))  # fmt: skip


def prodigy_answer(where: str, record: Record) -> Iterator[Entry]:
    """One answer: what was accepted is a label; what was rejected or ignored is a skip."""
    meta = record.get("meta", {})
    accepted = record["answer"] == "accept"
    label = (_only(where, record["accept"]) if "accept" in record else _text(record["label"])) if accepted else None
    by = record.get("_annotator_id") or record.get("_session_id")
    yield Entry(where, _row(where, meta), _text(meta.get("id")), label, _text(by), None, None,
                "label" if label else "skip", record.get("text"))  # fmt: skip


def _argilla(where: str, record: Record) -> Iterator[Entry]:
    """Submitted responses are labels, discarded ones skips; drafts do not count."""
    if "fields" in record:  # there, responses have no status
        raise DataError(f"{where} does not tell drafts from answers: export it by `records.to_list(flatten=True)`")
    lists = [record.get(f"label.responses{of}") or [] for of in ("", ".users", ".status")]
    for value, user, status in zip(*lists, strict=True):
        if status in ("submitted", "discarded"):
            label = _text(value) if status == "submitted" else None
            yield Entry(where, _row(where, record), _text(record.get("id")), label, _text(user),
                        action="label" if label else "skip", text=record.get("text"))  # fmt: skip


def _doccano(where: str, record: Record) -> Iterator[Entry]:
    """`id` is doccano's own; what was uploaded beside text and label lies beside them, or in `meta`."""
    label = _only(where, record["label"])
    if label is not None:
        meta = record if "row" in record else record.get("meta", {})
        yield Entry(where, _row(where, meta), None, label, None, text=record.get("text"))


FORMATS = {  # in this order: the first that knows a record reads the file
    "label-studio": Format(lambda r: "annotations" in r and "data" in r, label_studio_task),
    "label-studio-min": Format(lambda r: "annotation_id" in r, _label_studio_min),
    "prodigy": Format(lambda r: "answer" in r, prodigy_answer),
    "argilla": Format(lambda r: "_server_id" in r or "responses" in r or "label.responses" in r, _argilla),
    "doccano": Format(lambda r: isinstance(r.get("label"), list), _doccano),
    "jsonl": Format(lambda r: "label" in r and ("row" in r or "id" in r), _plain),
    "csv": Format(lambda r: False, _plain),
}


def _row(where: str, record: Record) -> int | None:
    row = record.get("row")
    if row is None:
        if record.get("id") is None:
            raise DataError(
                f"{where} has no row: it was not pushed by jaxal, or the tool dropped what was beside the text"
            )
        return None
    if isinstance(row, bool) or not str(row).isdecimal() or len(str(row)) > 18:
        raise DataError(f"{where}: {row!r} is no row number")
    return int(row)


def _text(value: Any) -> str | None:
    """A label, id or name as a string; None where there is none."""
    text = "" if value is None else str(value).strip()
    return text or None


def _only(where: str, labels: list) -> str | None:
    if len(labels) > 1:
        raise DataError(f"{where} has {len(labels)} labels ({', '.join(map(str, labels))}), where jaxal needs one")
    return _text(labels[0]) if labels else None
