"""Accuracy, macro-F1 and balanced accuracy of many predictions at once, as scikit-learn defines them."""

import numpy as np

METRICS = ("accuracy", "macro_f1", "balanced_accuracy")


def evaluate(predicted: np.ndarray, truth: np.ndarray, n_classes: int) -> np.ndarray:
    """Predictions (S, M) against truth (M,), both 0..C-1; returns (S, 3) float64 in the order of `METRICS`.

    macro-F1 is the mean over classes that are in the truth or predicted, balanced accuracy the mean recall over
    classes that are in the truth.
    """
    offset = np.arange(len(predicted))[:, None] * n_classes**2
    counts = np.bincount((offset + truth * n_classes + predicted).ravel(), minlength=len(predicted) * n_classes**2)
    confusion = counts.reshape(-1, n_classes, n_classes)
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    true, claimed = confusion.sum(axis=2), confusion.sum(axis=1)
    recall = hits / np.maximum(true, 1)
    f1 = 2 * hits / np.maximum(true + claimed, 1)
    return np.stack(
        [
            hits.sum(axis=1) / len(truth),
            f1.sum(axis=1) / (true + claimed > 0).sum(axis=1),
            recall.sum(axis=1) / (true > 0).sum(axis=1),
        ],
        axis=1,
    )
