"""A recipe for Prodigy that labels a jaxal project in rounds; every answer goes into the project at once.

prodigy jaxal.label DATASET PROJECT -F scripts/prodigy_recipe.py
"""

import prodigy

from jaxal.errors import DataError
from jaxal.labeling import entries, exports, rounds, tasks
from jaxal.labeling.project import Project


@prodigy.recipe(
    "jaxal.label", dataset=("Dataset", "positional", None, str), folder=("Project", "positional", None, str)
)
def label(dataset, folder):
    """Serve the rows that wait, then batch after batch. Prodigy asks for more before all answers are back."""
    project, served = Project.open(folder), set()

    def stream():
        while True:
            with project.locked():
                rows = [row for row in project.waiting() if row not in served]
                try:
                    rows = rows or rounds.next_batch(project).rows.tolist()
                except DataError:  # the pool is labeled
                    return
                served.update(rows)
                batch = tasks.records(project, rounds.part(project, rows))
            yield from tasks.prodigy_tasks(batch, project.settings.classes)

    def update(answers):
        found = [entry for answer in answers for entry in exports.prodigy_answer("an answer", answer)]
        with project.locked():
            entries.add(project, found)

    return {"dataset": dataset, "view_id": "choice", "stream": stream(), "update": update}
