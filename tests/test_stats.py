"""The report's statistics against SciPy, statsmodels, published tables and plain loops; coverage on simulated seeds."""

from itertools import combinations, product
from math import inf, isnan, sqrt

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxal.reporting import stats

RNG = np.random.default_rng(3)


def test_an_interval_is_scipys_percentile_bootstrap_with_its_ends_moved():
    seeds = RNG.normal(1.0, 0.3, size=12)
    ours = stats.mean([seeds])
    confidence = 1 - 2 * stats.tail([seeds])
    theirs = scipy_stats.bootstrap(
        (seeds,), np.mean, n_resamples=50_000, confidence_level=confidence, method="percentile", rng=0
    ).confidence_interval
    assert ours.value == seeds.mean()
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.03)
    assert ours.high - ours.low > 0.3  # a width that the tolerance cannot hide
    general = stats.bootstrap([seeds], lambda groups: groups[0].mean(axis=1))
    assert [general.low, general.high] == pytest.approx([ours.low, ours.high], abs=0.03)
    assert stats.of_mean(seeds, lambda means: 2 * means) == pytest.approx([2 * end for end in ours])


def test_ends_of_one_group_are_those_of_the_paper():
    """Hesterberg 2015: alpha / 2 becomes Phi(-sqrt(n / (n - 1)) t)."""
    for n in (3, 5, 10, 50):
        t = scipy_stats.t.ppf(0.975, n - 1)
        assert stats.tail([np.zeros(n)]) == pytest.approx(scipy_stats.norm.cdf(-sqrt(n / (n - 1)) * t))
    assert stats.tail([np.zeros(5)]) == pytest.approx(0.001, abs=2e-4)
    assert stats.tail([np.zeros(50)] * 50) == pytest.approx(0.024, abs=5e-4)
    assert isnan(stats.tail([np.zeros(1)]))


@pytest.mark.parametrize(
    ("n_groups", "n_seeds", "least"), [(1, 5, 0.90), (1, 10, 0.925), (1, 50, 0.935), (6, 5, 0.93), (6, 3, 0.92)]
)
def test_intervals_cover_the_truth(n_groups, n_seeds, least, monkeypatch):
    """Simulated seeds: how often the interval of the mean holds the true mean, of 95 % that it promises."""
    monkeypatch.setattr(stats, "_RESAMPLES", 2_000)
    rng, times = np.random.default_rng(n_groups), 1_500
    truth = np.arange(n_groups)[:, None, None]
    values = truth + rng.normal(size=(n_groups, n_seeds, times)) * (1 + truth)
    interval = stats.mean(list(values))
    covered = ((interval.low <= truth.mean()) & (truth.mean() <= interval.high)).mean()
    assert least < covered < 0.975
    plain = np.quantile(values[0][rng.integers(n_seeds, size=(500, n_seeds))].mean(axis=1), [0.025, 0.975], axis=0)
    if n_groups == 1 and n_seeds == 5:  # what the moved ends are for
        assert ((plain[0] <= 0) & (plain[1] >= 0)).mean() < 0.87


def test_groups_count_the_same_whatever_their_seeds():
    groups = [np.full(3, 1.0), np.full(30, 4.0)]
    assert stats.mean(groups) == pytest.approx((2.5, 2.5, 2.5))


def test_one_seed_has_no_interval():
    interval = stats.mean([np.array([[1.0, 2.0]])])
    assert interval.value.tolist() == [1, 2]
    assert np.isnan([interval.low, interval.high]).all()


def test_interquartile_mean_and_improvement_are_their_definitions():
    groups = [RNG.normal(size=(1, 8)), RNG.normal(size=(1, 8))]
    pooled = np.sort(np.concatenate(groups, axis=1)[0])
    assert stats.interquartile_mean(groups)[0] == pytest.approx(pooled[4:-4].mean())
    both = [np.round(RNG.normal(size=(1, 6, 2)), 1) for _ in range(3)]
    both[0][0, 0] = 0.0  # a tie
    expected = []
    for group in both:
        pairs = [(a > b) + (a == b) / 2 for a, b in product(group[0, :, 0], group[0, :, 1])]
        expected.append(np.mean(pairs))
    assert stats.improvement(both)[0] == pytest.approx(np.mean(expected))
    u = scipy_stats.mannwhitneyu(both[1][0, :, 0], both[1][0, :, 1])[0]
    assert stats.improvement(both[1:2])[0] == pytest.approx(u / 36)


def test_wilcoxon_is_the_count_of_all_signs():
    differences = np.array([0.5, -1.2, 2.2, 3.1, 0.7, 1.9])
    ranks = scipy_stats.rankdata(abs(differences))
    seen = ranks[differences > 0].sum()
    sums = np.array([ranks[np.array(signs)].sum() for signs in product([False, True], repeat=6)])
    expected = 2 * min((sums >= seen).mean(), (sums <= seen).mean())
    assert stats.wilcoxon(differences) == pytest.approx(expected)
    assert stats.wilcoxon(np.zeros(5)) == 1
    assert isnan(stats.wilcoxon(np.array([])))


def test_rank_biserial_from_the_statistic_of_scipy():
    differences = RNG.normal(0.4, 1, size=15)
    less = np.asarray(scipy_stats.wilcoxon(differences))[0]  # the smaller sum of ranks
    assert abs(stats.rank_biserial(differences)) == pytest.approx(1 - 2 * less / (15 * 16 / 2))
    assert stats.rank_biserial(np.array([1.0, 2, 3])) == 1
    assert stats.rank_biserial(np.array([-1.0, -2, 0])) == -1
    assert stats.rank_biserial(np.zeros(3)) == 0


def test_holm_is_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")
    for n in (1, 4, 9):
        p = RNG.random(n) ** 3
        assert stats.holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


def test_holm_leaves_out_what_is_missing():
    assert stats.holm(np.array([0.04, np.nan, 0.01, 0.03])) == pytest.approx([0.06, np.nan, 0.03, 0.06], nan_ok=True)


def test_the_critical_difference_is_demsars():
    """q of the two-tailed Nemenyi test at .05 for 2 to 10 classifiers, from table 5(a) of Demšar 2006."""
    table = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for k, q in enumerate(table, 2):
        found = stats.ranking(RNG.random((7, k)))
        assert found.critical == pytest.approx(q * sqrt(k * (k + 1) / 42), abs=2e-3)
        assert found.n == 7


def test_ranks_average_ties_and_friedman_is_scipys():
    scores = np.array([[0.9, 0.8, 0.8], [0.7, 0.6, 0.5], [0.1, 0.3, 0.2]])
    found = stats.ranking(scores)
    assert found.ranks == pytest.approx([5 / 3, 5.5 / 3, 7.5 / 3])
    assert found.p == pytest.approx(scipy_stats.friedmanchisquare(*scores.T)[1])
    assert isnan(stats.ranking(scores[:, :2]).p)


def test_cliques_are_the_longest_groups():
    ranks = np.array([4.0, 1.0, 2.0, 2.5, 6.0])
    assert stats.cliques(ranks, 1.6) == [(1.0, 2.5), (2.5, 4.0)]
    assert stats.cliques(ranks, 0.1) == []
    assert stats.cliques(ranks, 9.0) == [(1.0, 6.0)]


def test_the_opposite_sign_of_subsets():
    differences = np.array([3.0, -1, -1, -1, 4])
    subsets = [np.mean(s) < 0 for s in combinations(differences, 3)]
    assert stats.opposite(differences, 3) == pytest.approx(np.mean(subsets))
    assert np.mean(subsets) == 0.1
    assert isnan(stats.opposite(differences, 5))
    assert isnan(stats.opposite(np.array([1.0, -1, 1, -1]), 3))
    many = np.concatenate([np.full(24, 1.0), np.full(16, -1.0)])  # 5,000 of 40 over 3 subsets
    expected = scipy_stats.hypergeom(40, 16, 3).sf(1)  # two or three of the sixteen
    assert stats.opposite(many, 3) == pytest.approx(expected, abs=0.02)


def test_labels_for_an_accuracy():
    labels, curve = np.array([10, 20, 30, 40]), np.array([0.5, 0.7, 0.6, 0.9])
    assert stats.labels_for(curve, labels, 0.6) == 15
    assert stats.labels_for(curve, labels, 0.7) == 20
    assert stats.labels_for(curve, labels, 0.8) == pytest.approx(36 + 2 / 3)
    assert stats.labels_for(curve, labels, 0.4) == 10
    assert stats.labels_for(curve, labels, 0.95) == inf
    assert stats.labels_for(np.stack([curve, curve + 0.1]), labels, 0.7).tolist() == [20, 15]


def test_an_interval_may_end_at_never():
    group = np.array([1.0, 2, inf, 3, 4])[:, None] * np.ones(2)
    interval = stats.bootstrap([group], lambda groups: groups[0].max(axis=1))
    assert interval.high.tolist() == [inf, inf]
    assert not np.isnan(interval.low).any()
