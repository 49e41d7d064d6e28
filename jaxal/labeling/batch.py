"""A batch of rows for people who label: what they need of each row, as CSV or as JSON lines."""

import csv
import io
import json
import math

import numpy as np

from jaxal.data import store
from jaxal.data.pool import Pool


def describe(pool: Pool, rows: np.ndarray, scores: np.ndarray) -> list[dict]:
    """A record for each of rows (B,): order, row, id, score (B,), and the text where the pool is stored with texts."""
    if not len(rows):
        return []
    ids = store.ids(pool.path, rows) if pool.path else None
    texts = store.texts(pool.path, rows) if pool.path else None
    records = []
    for i, (row, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True)):
        record = {"order": i, "row": row, "id": ids[i] if ids else str(row), "score": score}
        records.append(record if texts is None else record | {"text": texts[i]})
    return records


def as_csv(records: list[dict]) -> str:
    """Records with a header, lines that end in a line feed."""
    names = list(records[0]) if records else ["order", "row", "id", "score"]
    return "".join(map(_line, [names, *(record.values() for record in records)]))


def _line(cells) -> str:
    line = io.StringIO(newline="")
    # ends in CR LF: Python quotes the characters of the line's end, and a CR that is not quoted ends a record
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def as_jsonl(records: list[dict]) -> str:
    """A JSON object a line. JSON has no infinite scores: they are null."""
    plain = (record | {"score": record["score"] if math.isfinite(record["score"]) else None} for record in records)
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in plain)
