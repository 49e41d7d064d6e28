"""The labels of a project as a table to take away."""

import io

import pandas as pd

from jaxal.data import store
from jaxal.labeling.log import Line
from jaxal.labeling.project import Project


def table(project: Project, log: bool = False) -> pd.DataFrame:
    """`Project.labels` with the texts, or every line of the log. Cost: reads the texts; the vectors are not loaded."""
    if log:
        return pd.DataFrame(project.lines, columns=[*Line._fields])
    labels = project.labels()
    path = project.settings.pool
    texts = store.texts(path, labels["row"].to_numpy()) if store.is_pool(path) else None
    return labels if texts is None else labels.assign(text=texts)


def as_bytes(table: pd.DataFrame, format: str) -> bytes:
    """A table as csv, jsonl or parquet."""
    if format == "parquet":
        return table.to_parquet(index=False)
    if format == "csv":
        return table.to_csv(index=False, lineterminator="\r\n").encode()  # so that a CR in a text is quoted, too
    lines = io.StringIO()
    table.to_json(lines, orient="records", lines=True, force_ascii=False)
    return lines.getvalue().encode()
