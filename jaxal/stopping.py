"""When to stop labeling: how good the classifier is, and how many labels a goal still needs.

Four rules of arrays alone, for a run that is stored as for labels that come in. T models in a row are meant, each
trained on one batch more than the one before; C classes. `jaxal.experiments.replay` makes the arrays from a results
folder, `jaxal.labeling.progress` from a labeling project.

    stable            the models agree on rows that nobody needs to label
    batch_accuracy    how often the model is right on the next batch, before it is trained on it
    expected_error    how often the model itself expects to be wrong, once its probabilities are put right
    target            how many labels an accuracy needs, by the learning curve so far

No rule is the best everywhere: bench/results/stopping.md tells what each would have cost.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer

from jaxal.errors import DataError
from jaxal.numerics.learning_curve import futures

STABLE, BATCH_ACCURACY, EXPECTED_ERROR = 0.99, 0.9, 0.01  # thresholds of the authors
_STOP_SET = 2000
LEAST_POINTS = 6  # of a learning curve that is continued
_FARTHEST = 10  # times the labels so far: beyond that nothing is forecast
_STEPS = 400  # of that way


class Estimate(NamedTuple):
    """A number and an interval for it; low and high are that number where nothing is uncertain."""

    value: float
    low: float
    high: float


class Answer(NamedTuple):
    """How many labels a goal needs in all: low to high, `labels` most likely. high is infinite where it may take more
    than ten times the labels so far. reason: why it cannot be said, a sentence; the numbers are NaN then.
    """

    labels: float
    low: float
    high: float
    reason: str | None = None


def kappa(one: Integer[np.ndarray, " n"], other: Integer[np.ndarray, " n"]) -> float:
    """Cohen's kappa of two models' classes for the same rows: 1 where they are equal, 0 where they agree by chance.

    (agreed - chance) / (1 - chance), chance = sum_c p_c q_c of the shares p and q of each class. Models that both say
    one and the same class everywhere have kappa 1.
    """
    if np.array_equal(one, other):
        return 1.0
    n_classes = int(max(one.max(), other.max())) + 1
    shares = [np.bincount(classes, minlength=n_classes) / len(classes) for classes in (one, other)]
    chance = float(shares[0] @ shares[1])
    return (float(np.mean(one == other)) - chance) / (1 - chance)


def stable(
    predicted: Integer[np.ndarray, "T n"], *, window: int = 3, threshold: float = STABLE
) -> tuple[Float[np.ndarray, " T"], Bool[np.ndarray, " T"]]:
    """Mean kappa of the last `window` pairs of successive models, and whether it is at least `threshold`.

    predicted: each model's classes for the same n rows, by default up to 2,000 random ones of the pool, labeled or
    not. Returns: (T,) means, NaN where there are fewer pairs than `window`; (T,) whether to stop.
    Cost: O(T n).
    Reference: Bloodgood and Vijay-Shanker, CoNLL 2009: kappa .99 over a window of 3 on a stop set of 2,000 examples.
    """
    pairs = [kappa(one, other) for one, other in pairwise(predicted)]
    means = np.full(len(predicted), np.nan)
    for t in range(window, len(predicted)):
        means[t] = np.mean(pairs[t - window : t])
    return means, means >= threshold


def stop_set(n: int) -> Integer[np.ndarray, " n"]:
    """The rows of a pool of n that `stable` looks at: 2,000 at random, the same ones always; all of a smaller pool."""
    return np.sort(np.random.default_rng(0).permutation(n)[:_STOP_SET])


def wilson(right: float, n: float, level: float = 0.95) -> Estimate:
    """Wilson's score interval of a share that was `right` times in n. n = 0 is from 0 to 1, its value NaN.

    Reference: Wilson, JASA 1927.
    """
    from statistics import NormalDist

    if n == 0:
        return Estimate(np.nan, 0.0, 1.0)
    z, share = NormalDist().inv_cdf((1 + level) / 2), right / n
    middle = share + z * z / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, *(float(np.clip((middle + side * half) / (1 + z * z / n), 0, 1)) for side in (-1, 1)))


def batch_accuracy(predicted: Integer[np.ndarray, " B"], labels: Integer[np.ndarray, " B"], **options) -> Estimate:
    """Accuracy of a model on the batch chosen by it, before it is trained on it, with `wilson`'s interval.

    It costs nothing where labels come in batches. It is an accuracy for rows that a strategy chose: where that prefers
    uncertain rows, the model is better than this on the others. So it is told, and stops nothing by itself; as a rule
    it stops at .9. options: `level`.
    Reference: the criterion "selection accuracy" at .9 in Pullar-Strecker et al., Machine Learning 2022.
    """
    return wilson(int(np.sum(np.asarray(predicted) == np.asarray(labels))), len(labels), **options)


def temperature(logits: Float[np.ndarray, "n C"], labels: Integer[np.ndarray, " n"]) -> float:
    """The T in [.05, 20] at which softmax(logits / T) fits held-out labels best: least mean log loss.

    A label counts as its class with 1 - 1 / (n + 2) and as each other class with an equal part of the rest: a few rows
    that are all right would otherwise make a model certain of everything. Logits of -inf, of classes that had no label
    yet, are left out, as are rows that have such a label. 1 without rows.
    Cost: some 30 passes over the logits; the loss is convex in 1 / T, and a golden section finds it.
    Reference: Guo et al., ICML 2017; Platt, 1999, for the smoothed labels.
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    logits, own = logits[np.isfinite(own)], own[np.isfinite(own)]
    if not len(own):
        return 1.0
    finite, rest = np.isfinite(logits), 1 / (len(own) + 2)
    others = np.where(finite, logits, 0).sum(axis=1) - own
    count = finite.sum(axis=1) - 1
    target = own + rest * np.where(count > 0, others / np.maximum(count, 1) - own, 0)
    best = logits.max(axis=1)

    def loss(log_t: float) -> float:
        beta = np.exp(-log_t)
        terms = np.exp(beta * (logits - best[:, None])).sum(axis=1)
        return float(np.mean(np.log(terms) - beta * (target - best)))

    return float(np.exp(_least(loss, np.log(0.05), np.log(20))))


def _least(f, low: float, high: float) -> float:
    """Where a function with one valley is least, to 1e-4: golden section."""
    ratio = (np.sqrt(5) - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    fa, fb = f(a), f(b)
    while high - low > 1e-4:
        if fa <= fb:
            high, b, fb = b, a, fa
            a = high - ratio * (high - low)
            fa = f(a)
        else:
            low, a, fa = a, b, fb
            b = low + ratio * (high - low)
            fb = f(b)
    return (low + high) / 2


def expected_error(logits: Float[np.ndarray, "n C"], temperature: float = 1.0) -> float:
    """The share of rows that the model expects to get wrong: mean of 1 - max softmax(logits / temperature).

    logits: of the rows still unlabeled. temperature: of `temperature` on labels the model was not trained on; without
    it a classifier with C = 1 says far too much. As a rule it stops at .01.
    Reference: minimum expected error, Zhu, Wang and Hovy 2008; at .01 in Pullar-Strecker et al. 2022.
    """
    with np.errstate(invalid="ignore"):
        below = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    return float(np.mean(1 - 1 / below.sum(axis=1)))


def forecast(n_labeled, accuracy, ahead: float, *, standard_error: float = 0.0, level: float = 0.9) -> Estimate:
    """Accuracy at `ahead` labels in all, by the curve of `target`, whose arguments these are. Raises DataError."""
    n, accuracy = _curve(n_labeled, accuracy)
    found = futures(n, accuracy, np.array([float(ahead)]), standard_error=standard_error)[:, 0]
    return Estimate(*(float(q) for q in np.quantile(found, [0.5, (1 - level) / 2, (1 + level) / 2])))


def gain(n_labeled, accuracy, ahead: float) -> float:
    """The accuracy that labels up to `ahead` in all are expected to add, by the curve of `target`. Raises DataError."""
    n, accuracy = _curve(n_labeled, accuracy)
    now, then = futures(n, accuracy, np.array([n[-1], float(ahead)])).mean(axis=0)
    return float(then - now)


def target(
    n_labeled, accuracy, goal: float, *, standard_error: float = 0.0, level: float = 0.9, most: float = np.inf
) -> Answer:
    """How many labels in all bring an accuracy of `goal`: where the continued learning curve first reaches it.

    Args: n_labeled, accuracy: (T,) the curve so far, labels ascending. goal: between 0 and 1. standard_error: what
        the accuracies have in common; 0 asks for the accuracy that will be measured on the same rows. level: of the
        interval. most: labels there can be, the pool.
    Returns: `Answer`; the labels so far where the goal was reached already. Refused below six points, where the curve
        more likely than not levels off below the goal, and where it more likely needs more than `most` labels, or ten
        times those so far.
    Raises: DataError for a curve that is none, or a goal that is no share.
    Cost: .1 s. Reference and definition: `jaxal.numerics.learning_curve`.
    Differs from PALM's code, which gives the best fit of one family, an accuracy without noise.
    """
    n, accuracy = _curve(n_labeled, accuracy)
    if not 0 < goal < 1:
        raise DataError(f"the goal is {goal}: an accuracy is between 0 and 1, such as .93")
    reached = np.flatnonzero(accuracy >= goal)
    if len(reached):
        labels = float(n[reached[0]])
        return Answer(labels, labels, labels)
    if len(n) < LEAST_POINTS:
        return _refused(f"a curve of {len(n)} points cannot be continued: {LEAST_POINTS} are needed")
    ahead = n[-1] * (1 + (_FARTHEST - 1) * np.linspace(0, 1, _STEPS + 1)[1:] ** 2)  # finer near by
    there = futures(n, accuracy, ahead, standard_error=standard_error) >= goal
    first = np.where(there.any(axis=1), ahead[there.argmax(axis=1)], np.inf)
    middle, low, high = np.quantile(first, [0.5, (1 - level) / 2, (1 + level) / 2], method="nearest")
    if middle > min(most, ahead[-1]):
        end = min(most, ahead[-1])
        there = forecast(n, accuracy, end, standard_error=standard_error, level=level)
        return _refused(
            f"{goal:.1%} is out of reach by this curve: {end:,.0f} labels bring {there.value:.1%} "
            f"({there.low:.1%} to {there.high:.1%})"
        )
    return Answer(float(middle), float(low), float(high))


def _curve(n_labeled, accuracy) -> tuple[np.ndarray, np.ndarray]:
    n, accuracy = np.asarray(n_labeled, float), np.asarray(accuracy, float)
    if n.ndim != 1 or n.shape != accuracy.shape or not len(n) or n[0] <= 0 or (np.diff(n) <= 0).any():
        raise DataError("a learning curve is two vectors of one length: labels, ascending and above 0, and accuracies")
    if not ((accuracy >= 0) & (accuracy <= 1)).all():
        raise DataError("a learning curve has accuracies between 0 and 1")
    return n, accuracy


def _refused(reason: str) -> Answer:
    return Answer(np.nan, np.nan, np.nan, reason)
