"""The table of tasks agrees with itself, and with what is known of the hub."""

import re

import pytest

from jaxal.data import tasks as study
from jaxal_extract.texts.tasks import TASKS


def test_the_ten_tasks_of_the_study():
    assert list(TASKS) == list(study.TASKS)
    for name, task in TASKS.items():
        assert task.facts is study.TASKS[name]
        assert len(set(task.classes)) == len(task.classes) == task.facts.n_classes, name
        assert re.fullmatch(r"[0-9a-f]{40}|refs/convert/parquet", task.revision), name
        assert {len(texts) for texts in task.texts} == {2 if name in ("fnc1", "mnli", "qnli") else 1}


def test_class_orders_that_are_easily_got_wrong():
    """The hub's orders are not sorted ones, except without case, where Banking77 has one capital letter."""
    names = TASKS["banking77"].classes
    assert names == tuple(sorted(names, key=str.lower)) != tuple(sorted(names))
    assert (names.index("Refund_not_showing_up"), names.index("reverted_card_payment?")) == (51, 53)
    assert TASKS["trec6"].classes == ("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM")
    assert TASKS["mnli"].classes.index("contradiction") == 2
    assert TASKS["dbpedia"].classes.index("Company") == 0


@pytest.mark.parametrize(
    "script", ["PolyAI/banking77", "google/jigsaw_toxicity_pred", "CogComp/trec", "OxAISH-AL-LLM/wiki_toxic"]
)
def test_repositories_that_are_a_script_are_not_read_from_their_main_branch(script):
    revisions = {task.repository: task.revision for task in TASKS.values()}
    assert revisions.get(script, "refs/convert/parquet") in (
        "refs/convert/parquet",
        "65752bf53af25bc935a0dce92fb5b6c930728450",  # CogComp/trec's
    )


def test_the_splits_of_fnc1_make_up_its_rows():
    task = study.TASKS["fnc1"]
    assert task.n_train + task.n_test + 4_498 == 49_972
