# pyright: reportCallIssue=false, reportIndexIssue=false, reportGeneralTypeIssues=false
# pandas' stubs do not know what a key of an index with several levels gives.
"""Every number of the report again from results.parquet, with pandas alone, on a study of synthetic curves."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy import stats as scipy_stats

from jaxal.errors import DataError
from jaxal.reporting import contests, gains, stats
from jaxal.reporting.study import Study

UNIT = ["dataset", "model"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = synthetic.write_study(tmp_path_factory.mktemp("study"), seeds=12)
    synthetic.write_pools(root / "deep" / "er" / "ips")
    return root


@pytest.fixture(scope="module")
def study(root):
    return Study(root)


@pytest.fixture(scope="module")
def sample(study):
    return study.main()


@pytest.fixture(scope="module")
def raw(root):
    """All learning curves with random initial pools, in points."""
    table = pd.concat(map(pd.read_parquet, root.rglob("*.parquet")))
    table = table[(table["strategy"] != "none") & (table["ips"] == "random")]
    return table.assign(points=100 * table["accuracy"])


@pytest.fixture(scope="module")
def aulc(raw):
    """AULC by (dataset, model, seed), a column a strategy."""
    return raw.groupby([*UNIT, "seed", "strategy"])["points"].mean().unstack().round(9)


@pytest.fixture(scope="module")
def curves(raw):
    """Mean accuracy by (dataset, model, cycle), a column a strategy."""
    return raw.groupby([*UNIT, "cycle", "strategy"])["points"].mean().unstack().round(9)


def near(a, b):
    np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=1e-8, atol=1e-9)


def test_what_is_read(study, root):
    assert study.strategies == ["random", "margin", "entropy", "badge", "coreset", "typiclust"]
    assert study.baseline == "random"
    assert study.method == {"ips": "random", "variant": "official", "C": 1.0, "normalize": False, "warm_start": True}
    assert study.levels("ips") == ["random", "typiclust"]
    assert study.levels("C") == []
    assert len(study.configs) == 13
    assert len(study.runs) == 12 * 6 * 12 * 7
    assert set(study.pools["ips"]) == {"random", "coreset", "typiclust"}
    assert study.damaged == []


def test_the_best_of_each_task(sample, aulc):
    table = gains.best(sample).set_index(UNIT)
    means = aulc.groupby(UNIT).mean()
    assert table["best"].to_dict() == means.idxmax(axis=1).to_dict()
    near(table["aulc"], means.max(axis=1))
    near(table["gain"], means.max(axis=1) - means["random"])
    near(table["lead"], [row.max() - row.nlargest(2).iloc[1] for _, row in means.iterrows()])
    for unit, row in table.iterrows():
        behind = aulc.loc[unit].sub(aulc.loc[unit, row["best"]], axis=0)
        t = behind.mean() / (behind.std() / np.sqrt(12)).replace(0, np.nan)
        sure = set(t.index[t < -4])  # far beyond any interval of 95 %
        assert not sure & set(row["as_good"].split(", "))
        assert set(t.index[t > -1]) <= {row["best"], *row["as_good"].split(", ")}


def test_the_table_of_settings(sample, raw, aulc):
    table = gains.by_setting(sample).set_index([*UNIT, "strategy"]).sort_index()
    near(table["aulc"], aulc.groupby(UNIT).mean().stack().sort_index())
    final = raw[raw["cycle"] == 6].groupby([*UNIT, "strategy"])
    near(table["final"], final["points"].mean())
    near(table["final_macro_f1"], 100 * final["macro_f1"].mean())
    near(table["final_balanced_accuracy"], 100 * final["balanced_accuracy"].mean())
    assert (table["seeds"] == 12).all()
    gain = aulc.sub(aulc["random"], axis=0).drop(columns="random").groupby(UNIT).mean().stack().sort_index()
    rivals = table.drop("random", level="strategy")
    near(rivals["gain"], gain)
    for third, cycles in {"early": [1, 2], "middle": [3, 4], "late": [5, 6]}.items():
        part = raw[raw["cycle"].isin(cycles)].groupby([*UNIT, "strategy"])["points"].mean().unstack()
        near(rivals[f"gain_{third}"], part.sub(part["random"], axis=0).drop(columns="random").stack().sort_index())
    assert table.xs("random", level="strategy")["gain"].isna().all()


def test_an_interval_of_the_table_is_scipys(sample, aulc):
    row = gains.by_setting(sample).set_index([*UNIT, "strategy"]).loc[("trec6", "minilm", "margin")]
    difference = (aulc["margin"] - aulc["random"]).loc[("trec6", "minilm")].to_numpy()
    theirs = scipy_stats.bootstrap(
        (difference,), np.mean, n_resamples=50_000, method="percentile", rng=0,
        confidence_level=1 - 2 * stats.tail([difference]),
    ).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert [row["gain_low"], row["gain_high"]] == pytest.approx([theirs.low, theirs.high], abs=width / 12)


def test_when_the_interval_first_excludes_nothing(sample, raw):
    table = gains.by_setting(sample).set_index([*UNIT, "strategy"])
    for key, row in table.drop("random", level="strategy").iterrows():
        runs = raw.set_index([*UNIT, "strategy"]).sort_index()
        pair = [runs.loc[(*key[:2], name)] for name in (key[2], "random")]
        both = [run.pivot(index="seed", columns="n_labeled", values="points") for run in pair]
        difference = both[0] - both[1]
        t = difference.mean() / (difference.std() / np.sqrt(12)).replace(0, np.inf)
        for column, sign in (("first_better", 1), ("first_worse", -1)):
            surely, maybe = (t.index[sign * t > at] for at in (3.5, 1.5))
            assert row[column] == np.inf if maybe.empty else row[column] >= maybe[0]
            assert surely.empty or row[column] <= surely[0]


def test_gains_over_all_settings(sample, aulc):
    table = gains.over_settings(sample).set_index("strategy")
    assert table["gain"].is_monotonic_decreasing
    p = {}
    for name, row in table.iterrows():
        difference = aulc[name] - aulc["random"]
        means = difference.groupby(UNIT).mean()
        near(row["gain"], means.mean())
        middle = difference.sort_values().to_numpy()[18:-18]  # of 6 settings x 12 seeds
        near(row["iqm"], middle.mean())
        wins = []
        for _, group in aulc.groupby(UNIT):
            ahead = group[name].to_numpy()[:, None] - group["random"].to_numpy()
            wins.append((ahead > 0).mean() + (ahead.round(9) == 0).mean() / 2)
        near(row["improvement"], np.mean(wins))
        p[name] = scipy_stats.wilcoxon(means)[1]
        near(row["p"], p[name])
        near(row["effect"], np.sign(means.mean()))  # all six have the same sign
        assert row["settings"] == row["better"] + row["worse"] == 6
    near(table["p_holm"], [min(1, 5 * p[name]) for name in table.index])  # all p are the least possible


def test_labels_saved(sample, curves):
    table = gains.labels_saved(sample)
    for _, row in table.iterrows():
        own, random = (curves.loc[(row["dataset"], row["model"]), name] for name in (row["strategy"], "random"))
        target = random.cummax()[round(row["budget"] * 6)]
        needs = [_needed(curve, target) for curve in (random, own)]
        near(row["target"], target)
        near([row["baseline_labels"], row["labels"]], needs)
        near(row["saved"], needs[0] - needs[1])
        assert row["saved_low"] <= row["saved"] <= row["saved_high"]
    coreset = table[(table["strategy"] == "coreset") & (table["budget"] == 1)]
    assert (coreset["saved"] == -np.inf).all(), "never reached is shown"


def _needed(curve, target):
    """Labels at which a curve by cycle reaches the target, on straight lines; 10 labels a cycle from 10 on."""
    above = curve.index[curve >= target - 1e-9]
    if above.empty:
        return np.inf
    c = above[0]
    return 10.0 if c == 0 else 10 * (c + (target - curve[c - 1]) / (curve[c] - curve[c - 1]))


def test_the_speed_up(sample, curves):
    table = gains.speed_up(sample)
    for _, row in table.iterrows():
        own, random = (curves.loc[(row["dataset"], row["model"]), name] for name in (row["strategy"], "random"))
        targets = random.cummax().drop(0)
        needs = np.array([[_needed(curve, target) for target in targets] for curve in (random, own)])
        assert (row["reached"], row["of"]) == (np.isfinite(needs[1]).sum(), 6)
        near(row["factor"], np.exp(np.log(needs[0] / np.minimum(needs[1], 70)).mean()))
    assert (table.loc[table["strategy"] == "margin", "factor_low"] > 1).all()


def test_how_the_verdict_depends_on_the_number_of_seeds(sample, aulc):
    table = gains.stability(sample).set_index(["strategy", "subset"])
    assert set(table.index.get_level_values("subset")) == {3, 5, 10}
    shares = []
    for _, group in aulc.groupby(UNIT):
        difference = (group["typiclust"] - group["random"]).to_numpy()
        means = np.array([subset for subset in combinations(difference, 3)]).mean(axis=1)
        shares.append(100 * (np.sign(means) == -np.sign(difference.mean())).mean())
    near(table.loc[("typiclust", 3), "opposite"], np.mean(shares))
    near(table.loc[("typiclust", 3), "worst"], max(shares))


def test_win_rates(sample, curves):
    table = contests.win_rates(sample)
    for a, b in combinations(curves, 2):
        wins, losses = (curves[a] > curves[b]).sum(), (curves[a] < curves[b]).sum()
        assert wins + losses <= 36, "the initial pool is the same for all"
        near([table.loc[a, b], table.loc[b, a]], [wins / (wins + losses), losses / (wins + losses)])


def test_wins_ties_and_losses(sample, aulc):
    means = aulc.groupby(UNIT).mean()
    for _, row in contests.win_tie_loss(sample).iterrows():
        difference = means[row["a"]] - means[row["b"]]
        assert row["wins"] == (difference > 0.1).sum()
        assert row["losses"] == (difference < -0.1).sum()
        assert row["ties"] == 6 - row["wins"] - row["losses"]
        near(row["mean"], difference.mean())
        near(row["p"], scipy_stats.wilcoxon(difference.round(9))[1])


@pytest.mark.parametrize("by", ["cycle", "dataset", "model"])
def test_the_share_at_the_top(sample, curves, by):
    cells = curves.reset_index().query("cycle > 0")
    names = list(curves)
    second = np.sort(cells[names].to_numpy(), axis=1)[:, -2]
    cells = cells[cells[names].max(axis=1) > second]
    winner = cells[names].idxmax(axis=1)
    table = contests.top(sample, [by]).set_index(by)
    for level, group in winner.groupby(cells[by]):
        assert table.loc[level, "cells"] == len(group)
        for name in names:
            near(table.loc[level, name], 100 * (group == name).mean())


def test_ranks_and_profile(sample, aulc):
    names, ranking = contests.ranks(sample) or pytest.fail("no setting has all strategies")
    near(ranking.ranks, aulc.groupby(UNIT).mean().rank(axis=1, ascending=False).mean()[names])
    profile = contests.profile(sample, np.array([-1.0, 0.5, 1.0]))
    gain = aulc.sub(aulc["random"], axis=0)
    near(profile["entropy"], [(gain["entropy"] > at).mean() for at in (-1.0, 0.5, 1.0)])


def test_initial_pools(study, root):
    raw = pd.read_parquet(root / "deep" / "er" / "ips" / "results.parquet")
    means = raw.groupby(["initial_size", "ips"])["accuracy"].mean()
    near(contests.initial_pools(study.pools).set_index(["initial_size", "ips"])["accuracy"], 100 * means)
    winners = contests.pool_winners(study.pools).set_index("initial_size")
    for size, name in means.unstack().idxmax(axis=1).items():
        assert winners.loc[size, name] == 1
        assert winners.loc[size].sum() == 1


def test_other_initial_pools_by_cycle(study, sample, root):
    table = pd.concat(map(pd.read_parquet, (root / "trec6").rglob("*.parquet")))
    table = table[(table["model"] == "minilm") & (table["strategy"] == "badge")]
    by_ips = table.pivot(index=["seed", "cycle"], columns="ips", values="accuracy")
    expected = 100 * (by_ips["typiclust"] - by_ips["random"]).unstack()
    found = {(name, unit): d for name, unit, d in contests.ips_gains(sample, study.main(ips="typiclust"))}
    assert len(found) == 36
    near(found[("badge", ("trec6", "minilm"))], expected)


def test_sensitivity_and_seconds(study, sample, raw, aulc):
    samples = {level: study.main(ips=level) for level in study.levels("ips")}
    table = gains.sensitivity(samples, "ips").set_index(["value", "strategy"])
    near(table.loc[("random", "badge"), "gain"], (aulc["badge"] - aulc["random"]).groupby(UNIT).mean().mean())
    seconds = contests.seconds(sample.rows).set_index([*UNIT, "strategy"])
    near(seconds.loc[("trec6", "minilm", "badge"), "select_seconds"], 7 * 6.0 / 12)
    near(seconds["seconds"], seconds[["select_seconds", "fit_seconds", "eval_seconds"]].sum(axis=1))


def test_a_strategy_that_some_tasks_lack(tmp_path):
    rng = np.random.default_rng(0)
    synthetic.write_run(tmp_path / "a", rng, "trec6", "minilm", ["random", "margin"], seeds=range(3))
    synthetic.write_run(tmp_path / "b", rng, "sst2", "minilm", ["random"], seeds=range(2), cycles=3)
    sample = Study(tmp_path).main()
    assert gains.over_settings(sample)["settings"].tolist() == [1]
    assert gains.best(sample).set_index("dataset")["best"].to_dict() == {"sst2": "random", "trec6": "margin"}
    assert sample.labels(("sst2", "minilm")).tolist() == [10, 20, 30, 40]
    assert len(gains.by_setting(sample)) == 3


def test_what_is_paired_are_the_same_seeds(tmp_path):
    """Seeds that only one of two strategies has do not count in their difference."""
    folder = synthetic.write_run(tmp_path, np.random.default_rng(0), "trec6", "minilm", ["random", "margin"])
    table = pd.read_parquet(folder / "results.parquet")
    table[~((table["strategy"] == "random") & (table["seed"] > 2))].to_parquet(folder / "results.parquet")
    sample = Study(tmp_path).main()
    wide = table.assign(points=100 * table["accuracy"]).groupby(["seed", "strategy"])["points"].mean().unstack()
    near(gains.over_settings(sample)["gain"], (wide["margin"] - wide["random"])[:3].mean())
    assert sample.seeds.to_dict() == {("trec6", "minilm", "margin"): 5, ("trec6", "minilm", "random"): 3}


def test_options_and_other_settings_are_kept_apart(tmp_path):
    rng = np.random.default_rng(0)
    names = ["random", "dropquery"]
    synthetic.write_run(tmp_path / "a", rng, "trec6", "minilm", names)
    synthetic.write_run(tmp_path / "b", rng, "trec6", "minilm", names,
                        settings={"random": {}, "dropquery": {"n_masks": 20}})  # fmt: skip
    synthetic.write_run(tmp_path / "c", rng, "trec6", "minilm", names, batch_size=5)
    synthetic.write_run(tmp_path / "d", rng, "trec6", "minilm", names, C=10.0)
    study = Study(tmp_path)
    assert study.strategies == ["random", "dropquery", "dropquery n_masks=20"]
    assert len(study.damaged) == 1, "random is in a and b, with other numbers"
    assert (study.levels("batch_size"), study.levels("C")) == ([5, 10], [1.0, 10.0])
    assert study.main().labels(("trec6", "minilm"))[0] == 10
    assert study.main(batch_size=5).labels(("trec6", "minilm"))[0] == 5


def test_folders_that_are_no_study(tmp_path):
    with pytest.raises(DataError, match=r"has no results.parquet with finished runs"):
        Study(tmp_path)
    folder = synthetic.write_run(tmp_path / "x", np.random.default_rng(0), "trec6", "minilm", ["margin", "badge"])
    (folder / "config.json").write_text("{")
    study = Study(tmp_path)
    assert study.baseline == "margin"
    assert "config.json cannot be read" in study.damaged[0]


def test_a_tie_at_the_top_and_a_gain_that_is_not_sure(tmp_path):
    """Cycle 1: margin is above random by luck of the seeds; from cycle 2 on it surely is, level with entropy."""
    folder = synthetic.write_run(
        tmp_path, np.random.default_rng(0), "sst2", "minilm", ["random", "margin", "entropy"], cycles=3
    )
    table = pd.read_parquet(folder / "results.parquet")
    luck = table["seed"].map({0: 0.05, 1: -0.04, 2: 0.03, 3: -0.02, 4: 0.01})
    gain = luck.where(table["cycle"] == 1, 0.03).where(table["cycle"] > 0, 0.0)
    ahead = {"random": 0.0, "margin": gain, "entropy": gain.where(table["cycle"] > 1, 0.0)}
    accuracy = sum((table["strategy"] == name) * above for name, above in ahead.items()) + 0.5
    table.assign(accuracy=accuracy).to_parquet(folder / "results.parquet")
    sample = Study(tmp_path).main()
    first = gains.by_setting(sample).set_index("strategy")["first_better"]
    assert (first["margin"], first["entropy"]) == (30, 30)
    top = contests.top(sample, ["cycle"])
    assert top[["cycle", "margin", "cells"]].to_numpy().tolist() == [[1, 100, 1]], "cycles 2 and 3 are ties"
    assert contests.win_rates(sample).loc["margin", "entropy"] == 1
