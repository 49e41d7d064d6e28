"""The stopping rules against computations by hand, against scikit-learn and SciPy, and what `target` says of curves."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import cohen_kappa_score

from jaxal import stopping
from jaxal.errors import DataError
from jaxal.numerics.learning_curve import futures


def test_kappa_by_hand():
    # agreed 7 of 10; shares .5 .5 and .4 .6: chance .5; (.7 - .5) / .5
    one, other = np.repeat([0, 1], 5), np.array([0, 0, 0, 1, 1, 0, 1, 1, 1, 1])
    assert stopping.kappa(one, other) == pytest.approx(0.4)
    assert stopping.kappa(one, 1 - one) == -1
    assert stopping.kappa(np.zeros(4, int), np.zeros(4, int)) == 1, "chance explains it all, and yet they agree"


def test_kappa_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    for n_classes in (2, 5):
        one, other = rng.integers(0, n_classes, (2, 200))
        other = np.where(rng.random(200) < 0.6, one, other)
        assert stopping.kappa(one, other) == pytest.approx(cohen_kappa_score(one, other))


def test_stable_is_the_mean_of_the_last_three():
    same, moved = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    # pairs: 1, kappa(same, moved), kappa(moved, same), 1, 1, 1; agreed .75, chance .25 * .5 + .75 * .5 = .5
    predicted = np.stack([same, same, moved, same, same, same, same])
    means, stop = stopping.stable(predicted)
    half = (0.75 - 0.5) / 0.5
    assert np.isnan(means[:3]).all()
    np.testing.assert_allclose(means[3:], [(1 + 2 * half) / 3, (1 + 2 * half) / 3, (2 + half) / 3, 1])
    assert stop.tolist() == [False] * 6 + [True]
    assert (
        stopping.stable(predicted, window=2, threshold=0.7)[1].tolist()
        == [False] * 2 + [True, False, True] + [True] * 2
    )


def test_the_stop_set_is_fixed_and_distinct():
    rows = stopping.stop_set(5000)
    assert len(set(rows.tolist())) == 2000
    assert rows.max() < 5000
    np.testing.assert_array_equal(rows, stopping.stop_set(5000))
    np.testing.assert_array_equal(stopping.stop_set(7), np.arange(7))


def test_wilson_by_hand():
    # z = 1.95996, n = 10, 8 right: (.8 + z^2/20 +- z sqrt(.016 + z^2/400)) / (1 + z^2/10)
    found = stopping.wilson(8, 10)
    np.testing.assert_allclose(found, (0.8, 0.490162, 0.943318), atol=1e-6)
    assert stopping.wilson(0, 5).low == pytest.approx(0, abs=1e-12)
    assert stopping.wilson(5, 5).high == 1
    empty = stopping.wilson(0, 0)
    assert np.isnan(empty.value)
    assert empty[1:] == (0, 1)
    assert stopping.batch_accuracy([0, 1, 2, 2], [0, 1, 2, 0], level=0.9) == stopping.wilson(3, 4, 0.9)


def test_temperature_is_the_optimum():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(400, 4)) * 2
    labels = np.array([rng.choice(4, p=softmax(z / 3)) for z in logits])  # drawn at temperature 3
    found = stopping.temperature(logits, labels)
    smooth = np.full((400, 4), 1 / 402 / 3)
    smooth[np.arange(400), labels] = 1 - 1 / 402
    loss = lambda t: -(smooth * log_softmax(logits / t, axis=1)).sum(axis=1).mean()  # noqa: E731
    optimum = minimize_scalar(loss, bounds=(0.05, 20), method="bounded")
    assert found == pytest.approx(dict(optimum)["x"], rel=1e-3)
    assert 2.3 < found < 4
    assert stopping.temperature(logits * 2, labels) == pytest.approx(2 * found, rel=1e-3)
    assert stopping.temperature(logits[:0], labels[:0]) == 1


def test_a_few_rows_that_are_all_right_make_nobody_certain():
    """Ten right answers of odds 9 to 1: each counts as 11/12 right, so that odds of 11 to 1 fit best."""
    logits = np.tile(np.log([0.9, 0.1]), (10, 1))
    t = stopping.temperature(logits, np.zeros(10, int))
    assert t == pytest.approx(np.log(9) / np.log(11), rel=1e-3)
    assert stopping.expected_error(logits, t) == pytest.approx(1 / 12, rel=1e-3)


def test_temperature_skips_rows_of_classes_without_a_label():
    logits, labels = np.array([[1.0, 0, -np.inf], [0.5, 0, -np.inf], [0, 1.0, -np.inf]]), np.array([0, 1, 2])
    assert stopping.temperature(logits, labels) == stopping.temperature(logits[:2], labels[:2])
    assert stopping.temperature(logits[2:], labels[2:]) == 1


def test_expected_error_by_hand():
    logits = np.log([[0.9, 0.1], [0.2, 0.8]])
    assert stopping.expected_error(logits) == pytest.approx((0.1 + 0.2) / 2)
    # at temperature 2 odds of 9 are odds of 3, those of 4 are 2
    assert stopping.expected_error(logits, 2) == pytest.approx((1 / 4 + 1 / 3) / 2)
    assert stopping.expected_error(np.array([[0.0, -np.inf]])) == 0


N = np.arange(50, 550, 50)


@pytest.mark.parametrize(
    "curve",
    [lambda n: 1 - 2 * n**-0.5, lambda n: 1 - 0.05 - 3 * n**-0.7, lambda n: 0.95 * (1 - 0.6 ** ((n / 20) ** 0.5))],
    ids=["pow2", "pow3", "PALM"],
)
def test_target_continues_curves_of_its_families(curve):
    goal = float(curve(1000.0))
    answer = stopping.target(N, curve(N.astype(float)), goal)
    assert answer.reason is None
    assert answer.low <= 1000 <= answer.high
    assert 750 < answer.labels < 1300


def test_target_with_noise_covers_the_truth():
    rng = np.random.default_rng(3)
    curve = lambda n: 1 - 2 * n**-0.4  # noqa: E731
    answers = [stopping.target(N, curve(N) + rng.normal(size=10) * 0.01, float(curve(900))) for _ in range(40)]
    assert np.mean([a.low <= 900 <= a.high for a in answers]) >= 0.85
    assert all(a.low > 500 for a in answers), "labels that are there already"
    wider = [stopping.target(N, curve(N) + rng.normal(size=10) * 0.01, float(curve(900)), level=0.99) for _ in range(9)]
    assert np.mean([a.low for a in wider]) < np.mean([a.low for a in answers])


def test_target_says_what_was_reached_and_refuses_what_it_cannot_say():
    rising = 1 - 2 * N**-0.4
    assert stopping.target(N, rising, float(rising[3]))[:3] == (200, 200, 200)
    assert stopping.target(N[:2], [0.9, 0.8], 0.85).labels == 50, "reached is reached, on however short a curve"
    short = stopping.target(N[:5], rising[:5], 0.95)
    assert short.reason == "a curve of 5 points cannot be continued: 6 are needed"
    assert np.isnan(short[:3]).all()
    flat = stopping.target(N, np.minimum(rising, 0.6), 0.9)
    assert flat.reason.startswith("90.0% is out of reach by this curve: 5,000 labels bring 6")
    small = stopping.target(N, rising, float(1 - 2 * 2000**-0.4), most=700)
    assert "700 labels bring" in str(small.reason)
    assert stopping.target(N, rising, float(1 - 2 * 2000**-0.4)).reason is None


@pytest.mark.parametrize(
    ("n", "accuracy", "goal", "what"),
    [
        ([50, 100], [0.5, 0.6], 1.0, "between 0 and 1"),
        ([50, 100], [0.5, 0.6], 93, "goal is 93"),
        ([50, 50], [0.5, 0.6], 0.9, "ascending"),
        ([0, 50], [0.5, 0.6], 0.9, "above 0"),
        ([50, 100], [0.5], 0.9, "one length"),
        ([], [], 0.9, "one length"),
        ([50, 100], [0.5, 60], 0.9, "accuracies between 0 and 1"),
        ([50, 100], [0.5, np.nan], 0.9, "accuracies between 0 and 1"),
    ],
)
def test_what_is_no_curve_is_refused(n, accuracy, goal, what):
    with pytest.raises(DataError, match=what):
        stopping.target(n, accuracy, goal)


def test_forecast_and_gain():
    accuracy = 1 - 2 * N**-0.4
    found = stopping.forecast(N, accuracy, 600)
    assert found.low < 1 - 2 * 600**-0.4 < found.high
    assert found.value == pytest.approx(1 - 2 * 600**-0.4, abs=0.004)
    assert stopping.gain(N, accuracy, 600) == pytest.approx(2 * 500**-0.4 - 2 * 600**-0.4, rel=0.15)
    assert stopping.gain(N, accuracy, 500) == 0


def test_futures_are_the_same_again_and_stay_accuracies():
    accuracy = np.linspace(0.95, 0.999, 10)
    one, other = (futures(N, accuracy, np.array([600.0, 5000.0])) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (2000, 2)
    assert one.min() >= 0
    assert one.max() <= 1
    assert futures(N, accuracy, np.array([600.0]), samples=7, seed=1).shape == (7, 1)
