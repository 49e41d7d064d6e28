"""The ten classification tasks of the study: sizes, classes and budgets. Text columns belong to the extraction side."""

from typing import NamedTuple


class Task(NamedTuple):
    """One task. Sizes are rows of its full splits; the study labels `budget` rows in 20 cycles."""

    title: str
    n_classes: int
    n_train: int
    n_test: int
    budget: int

    @property
    def batch_size(self) -> int:
        """Batch size and initial pool size of the study: a twentieth of the budget."""
        return self.budget // 20


# Classes and sizes: Hugging Face hub cards and ActiveGLAE; budgets: the study's dataset table. FNC-1's train rows are
# what is left of 49,972 when a tenth (4,998, as in the study) and a tenth of the rest (4,498) have been split off.
TASKS = {
    "agnews": Task("AG News", 4, 120_000, 7_600, 1_000),
    "banking77": Task("Banking77", 77, 10_003, 3_080, 5_000),
    "dbpedia": Task("DBPedia", 14, 560_000, 70_000, 500),
    "fnc1": Task("FNC-1", 4, 40_476, 4_998, 3_500),
    "mnli": Task("MNLI", 3, 392_702, 9_815, 4_000),
    "qnli": Task("QNLI", 2, 104_743, 5_463, 4_500),
    "sst2": Task("SST-2", 2, 67_349, 872, 500),
    "trec6": Task("TREC-6", 6, 5_452, 500, 1_000),
    "wikitalk": Task("WikiTalk", 2, 159_571, 63_978, 3_000),
    "yelp5": Task("Yelp-5", 5, 650_000, 50_000, 2_500),
}
