"""`scripts/reproduce`: how it reads texts, and what it says of effects that were planted."""

import csv
import gzip
import json
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import numpy as np
import pytest
from synthetic import EFFECT, write_pools, write_study

from jaxal.reporting import contests
from jaxal.reporting.study import Study

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "reproduce"
MODELS = ("minilm", "glove-50d", "use-m3")


@pytest.fixture(scope="module")
def script():
    loader = SourceFileLoader("reproduce", str(SCRIPT))
    module = module_from_spec(spec_from_loader("reproduce", loader))
    sys.modules["reproduce"] = module  # its classes look themselves up
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = writes
    return module


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = write_study(tmp_path_factory.mktemp("study"), models=MODELS, cycles=12, variants=("official", "skactiveml"))
    for dataset in ("trec6", "banking77"):
        for model in MODELS:
            write_pools(root / "pools" / dataset / model, dataset, model)
    return Study(root)


def test_planted_effects_are_found(script, study):
    random, typiclust = study.main(ips="random"), study.main(ips="typiclust")
    assert script.small_pools(study).verdict == "agree"
    assert script.coreset_pools(study).verdict == "agree"
    assert script.leaders(random).verdict == "agree"
    assert script.gone_after(random, typiclust).verdict == "agree"
    assert script.entropy_against_typiclust(random, typiclust).verdict in ("in part", "cannot say")
    assert script.margin_at_the_top(random).verdict == "cannot say", "AG News is not there"


def test_the_other_way_round_is_no_agreement(script, study, monkeypatch):
    random, typiclust = study.main(ips="random"), study.main(ips="typiclust")
    assert script.gone_after(typiclust, random).verdict == "disagree"
    monkeypatch.setattr(script, "pool_gains", lambda *a: {("a", "b"): np.full((5, 2), -1.0) + 0.01 * np.eye(5, 2)})
    assert script.small_pools(study).verdict == "disagree"
    monkeypatch.setattr(script, "pool_gains", lambda *a: {("a", "b"): np.full((5, 2), 1.0) + 0.01 * np.eye(5, 2)})
    assert script.coreset_pools(study).verdict == "disagree"


def test_gains_of_initial_pools_are_paired_by_seed(script, study):
    found = script.pool_gains(study, "typiclust", 100)
    table = study.pools.query("dataset == 'trec6' and model == 'minilm' and seed == 2 and initial_size < 100")
    rows = table.sort_values("initial_size").groupby("ips")["accuracy"].apply(np.array)
    np.testing.assert_allclose(found["trec6", "minilm"][2], 100 * (rows["typiclust"] - rows["random"]))
    assert set(found) == {(d, m) for d in ("trec6", "banking77") for m in MODELS}


def test_win_rates_are_those_of_the_report(script, study):
    sample = study.main(ips="random")
    rates = contests.win_rates(sample)
    for name in EFFECT:
        ours = script.win_rate(sample, name, sample.strategies)
        np.testing.assert_allclose(ours.value, rates.loc[name].drop(name).mean())
        assert ours.low <= ours.value <= ours.high


def test_correlations_with_the_quality_of_embeddings(script, study):
    random = study.main(ips="random")
    final = script.quality(random)
    noise = 1e-6 * np.arange(5)
    rising = {unit: value + noise for unit, value in final.items()}
    assert script.by_quality("", rising, random).found.startswith("Spearman's correlation with the final accuracy of "
                                                                   "random +1.00")  # fmt: skip
    assert script.by_quality("", rising, random).verdict == "agree"
    assert script.by_quality("", {unit: -value for unit, value in rising.items()}, random).verdict == "disagree"
    assert script.by_quality("", {("a", "b"): noise}, random).verdict == "cannot say"


def test_the_page_has_every_claim_and_no_nan(script, study):
    page = script.page(study, script.FULL, 60.0)
    assert page.count("| agree |") + page.count("| disagree |") + page.count("cannot say |") + page.count("part |") == 9
    assert "nan" not in page
    assert "## Variants" in page
    assert page.count("of 9 |") == len(EFFECT) - 1, "a row a strategy but random"


def test_texts_of_every_form(script, tmp_path):
    texts, out = tmp_path / "texts", tmp_path / "out"
    for folder in ("trec6", "banking77", "sst2", "mnli", "ag_news"):
        (texts / folder).mkdir(parents=True)
    out.mkdir()
    (texts / "trec6/train.tsv").write_text('label\tfine_label\ttext\nDESC\tmanner\tWhat is a "quote ?\n')
    with gzip.open(texts / "mnli/dev_matched.jsonl.gz", "wt") as file:
        file.write(json.dumps({"premise": "One\ntwo", "hypothesis": "Três.", "label": "neutral"}) + "\n")
    with gzip.open(texts / "ag_news/test.csv.gz", "wt") as file:
        file.write('"3","Oil, up","Prices ""rose"""\n')

    def read(task, split):
        with script.tidy(task, texts, split, out).open(newline="") as file:
            return list(csv.DictReader(file))

    assert read("trec6", "train") == [{"text0": 'What is a "quote ?', "label": "DESC"}]
    assert read("mnli", "test") == [{"text0": "One\ntwo", "text1": "Três.", "label": "neutral"}]
    assert read("agnews", "test") == [{"text0": 'Oil, up . Prices "rose"', "label": "2"}]
    with pytest.raises(SystemExit, match=r"there is no .*trec6/test\.tsv"):
        script.embed(script.QUICK, texts, out)
