"""What each stopping rule would have cost or saved on stored curves, and whether `target` kept its word there."""

import numpy as np
import pandas as pd

from jaxal import stopping

PRICES = (10, 50, 250)  # labels that one point of accuracy is worth
POINTS, GAINS = (6, 8, 10, 14), (0.01, 0.02, 0.03, 0.05)  # where `target` is asked, and for how much more


def regrets(seen: pd.DataFrame, prices=PRICES) -> pd.DataFrame:
    """One row a (price, rule, run, seed): where the rule stopped, and what that cost against the best cycle.

    With a price of p labels a point of accuracy, a cycle costs n_labeled - 100 p accuracy labels, and the best cycle is
    the cheapest one, which nobody knows beforehand. A rule that never fires goes on to the end.

    seen: the columns `experiments.replay.COLUMNS`.
    Returns: price, rule, strategy, seed, fired, regret (in labels), and labels and accuracy of the stop minus those of
        the best cycle.
    Cost: a continued learning curve for each cycle of each seed: .02 s each.
    """
    records = []
    for (_, strategy, seed), curve in seen.groupby(["run_id", "strategy", "seed"], sort=False):
        curve = curve.sort_values("cycle")
        n, accuracy = curve["n_labeled"].to_numpy(float), curve["accuracy"].to_numpy()
        gains = _next_gains(n, accuracy)
        for price in prices:
            cost = n - 100 * price * accuracy
            best = int(np.argmin(cost))
            for rule, fires in _rules(curve, gains, price).items():
                stop = int(np.argmax(fires)) if fires.any() else len(n) - 1
                differences = cost[stop] - cost[best], n[stop] - n[best], accuracy[stop] - accuracy[best]
                records.append((price, rule, strategy, seed, bool(fires.any()), *differences))
    names = ["price", "rule", "strategy", "seed", "fired", "regret", "labels", "accuracy"]
    return pd.DataFrame(records, columns=names)


def _rules(curve: pd.DataFrame, gains: np.ndarray, price: float) -> dict[str, np.ndarray]:
    """Rule -> (T,) whether it says stop after each cycle."""
    n = curve["n_labeled"].to_numpy(float)
    last = np.arange(len(n)) == len(n) - 1
    return {
        "label everything": last,
        "stable": curve["agreement"].to_numpy() >= stopping.STABLE,
        "batch_accuracy": curve["batch_accuracy"].to_numpy() >= stopping.BATCH_ACCURACY,
        "expected_error": (curve["expected_error"].to_numpy() <= stopping.EXPECTED_ERROR),
        # the curve of `target`: stop when the next batch is worth less than its labels
        "curve": 100 * price * gains < np.diff(n, append=n[-1] + (n[-1] - n[-2])),
    }


def _next_gains(n: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """The accuracy that the next batch is expected to add at each cycle, (T,); infinite where no curve can say."""
    gains = np.full(len(n), np.inf)
    for t in range(stopping.LEAST_POINTS - 1, len(n)):
        step = n[t] - n[t - 1]
        gains[t] = stopping.gain(n[: t + 1], accuracy[: t + 1], n[t] + step)
    return gains


def kept(seen: pd.DataFrame, points=POINTS, gains=GAINS) -> pd.DataFrame:
    """One row a (run, seed, points, gain): what `target` said after `points` cycles of the goal `gain` above the best
    accuracy so far, and what came.

    Returns: strategy, seed, points, gain, refused, labels, low, high, truth (labels at which the goal was first
    measured; infinite if it never was), covered. The goal was reached between two measurements: the interval covers if
    it meets that stretch; and, of a goal that was not reached, if it goes beyond the last one.
    """
    records = []
    for (_, strategy, seed), curve in seen.groupby(["run_id", "strategy", "seed"], sort=False):
        curve = curve.sort_values("cycle")
        n, accuracy = curve["n_labeled"].to_numpy(float), curve["accuracy"].to_numpy()
        for t in (t for t in points if t < len(n)):
            for gain in gains:
                goal = accuracy[:t].max() + gain
                if goal >= 1:
                    continue
                answer = stopping.target(n[:t], accuracy[:t], goal)
                there = np.flatnonzero(accuracy >= goal)
                before, truth = (n[there[0] - 1], n[there[0]]) if len(there) else (n[-1], np.inf)
                covered = answer.reason is None and answer.low <= truth and answer.high > before
                records.append((strategy, seed, t, gain, answer.reason is not None, *answer[:3], truth, covered))
    names = ["strategy", "seed", "points", "gain", "refused", "labels", "low", "high", "truth", "covered"]
    return pd.DataFrame(records, columns=names)


def table(stops: pd.DataFrame) -> str:
    """What `regrets` found as text, a line a price and rule: means over all curves."""
    lines = [f"{'labels a point':<16}{'rule':<18}{'fired':>6}{'regret':>9}{'labels':>9}{'points':>8}"]
    for (price, rule), found in stops.groupby(["price", "rule"], sort=False):
        mean = found[["fired", "regret", "labels", "accuracy"]].mean()
        lines.append(
            f"{price:<16}{rule:<18}{mean['fired']:>6.0%}{mean['regret']:>9,.0f}{mean['labels']:>+9,.0f}"
            f"{100 * mean['accuracy']:>+8.1f}"
        )
    return "\n".join(lines)
