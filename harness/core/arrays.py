"""Inputs of metrics, checked once: most libraries compute something from anything.

netcal and torchmetrics accept NaN, logits and probabilities above 1 and return a number, so every
adapter of a metric hands over only what has passed here.
"""

from __future__ import annotations

import numpy as np

ROUNDING = 1e-5
"""How far a row of float32 probabilities may be from a sum of 1."""


def checked_probs(probs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities as float64 and labels as int64, once both are what they should be.

    Args:
        probs: (N, K) with K >= 2, finite, in [0, 1], each row with sum 1 up to float32 rounding.
        labels: (N,) integers in [0, K).

    Raises:
        ValueError: a shape, a value or a sum is not as above, or there are no samples.
    """
    probs, labels = np.asarray(probs, dtype=np.float64), np.asarray(labels)
    if probs.ndim != 2 or probs.shape[1] < 2 or len(probs) == 0:
        raise ValueError(f"probs must be (N, K) with N >= 1 and K >= 2, got {probs.shape}")
    if labels.shape != probs.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be {len(probs)} integers, got {labels.dtype}{labels.shape}")
    if not np.isfinite(probs).all() or probs.min() < 0 or probs.max() > 1:
        raise ValueError(
            f"probs must lie in [0, 1] (logits go through softmax first), got [{probs.min()}, {probs.max()}]"
        )
    worst = float(np.abs(probs.sum(1) - 1).max())
    if worst > ROUNDING:
        raise ValueError(f"rows of probs must have sum 1, one is {worst:.1e} off")
    if labels.min() < 0 or labels.max() >= probs.shape[1]:
        raise ValueError(
            f"labels must lie in [0, {probs.shape[1]}), got [{labels.min()}, {labels.max()}]"
        )
    return probs, labels.astype(np.int64)


def top_label(probs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and correctness of the prediction; of tied classes the first is predicted.

    Args:
        probs: (N, K) as in `checked_probs`.
        labels: (N,) as in `checked_probs`.

    Returns:
        (N,) float64 confidences and (N,) int64, 1 where the prediction is right.

    >>> top_label(np.array([[0.25, 0.75], [0.5, 0.5]]), np.array([1, 1]))
    (array([0.75, 0.5 ]), array([1, 0]))
    """
    probs, labels = checked_probs(probs, labels)
    return probs.max(1), (probs.argmax(1) == labels).astype(np.int64)


def checked_scores(id_scores: np.ndarray, ood_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All scores, and which of them are OOD.

    Args:
        id_scores: (N,) finite, higher = more OOD.
        ood_scores: (M,) finite, same scale.

    Returns:
        (N + M,) float64 scores, ID first, and (N + M,) bool, True for OOD.

    Raises:
        ValueError: a set is empty, not one-dimensional or not finite.
    """
    both = [np.asarray(scores, dtype=np.float64) for scores in (id_scores, ood_scores)]
    for name, scores in zip(("id_scores", "ood_scores"), both, strict=True):
        if scores.ndim != 1 or scores.size == 0 or not np.isfinite(scores).all():
            raise ValueError(
                f"{name} must be a non-empty (N,) of finite numbers, got {scores.shape}"
            )
    return np.concatenate(both), np.repeat([False, True], [len(scores) for scores in both])
