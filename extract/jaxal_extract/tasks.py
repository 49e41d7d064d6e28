"""The ten tasks of the study: where they are on the Hugging Face hub, and which columns hold text and label."""

from typing import NamedTuple


class Task(NamedTuple):
    """texts: the text columns to look for, one or two each, the hub's first; labels: the label columns to look for."""

    hub_id: str
    hub_config: str | None
    train_split: str
    test_split: str
    texts: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]


TASKS = {
    "agnews": Task("fancyzhx/ag_news", None, "train", "test", (("text",),), ("label",)),
    "banking77": Task("legacy-datasets/banking77", None, "train", "test", (("text",),), ("label", "category")),
    "dbpedia": Task("fancyzhx/dbpedia_14", None, "train", "test", (("content",), ("text",)), ("label",)),
    "fnc1": Task("nid989/FNC-1", None, "train", "test", (("Headline", "articleBody"),), ("Stance",)),
    "mnli": Task("nyu-mll/glue", "mnli", "train", "validation_matched", (("premise", "hypothesis"),), ("label",)),
    "qnli": Task("nyu-mll/glue", "qnli", "train", "validation", (("question", "sentence"),), ("label",)),
    "sst2": Task("nyu-mll/glue", "sst2", "train", "validation", (("sentence",),), ("label",)),
    "trec6": Task("CogComp/trec", None, "train", "test", (("text",),), ("coarse_label", "label")),
    "wikitalk": Task("google/jigsaw_toxicity_pred", None, "train", "test", (("comment_text",),), ("toxic", "label")),
    "yelp5": Task("Yelp/yelp_review_full", None, "train", "test", (("text",),), ("label",)),
}
