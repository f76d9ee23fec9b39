"""Probabilities from logits, and what is asked of them without bins: accuracy, NLL, Brier.

No function guesses whether it was given logits or probabilities: each says which it takes, and
refuses what cannot be that.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from harness.core.arrays import checked_probs, top_label
from harness.metrics.dictionary import plug

SMALLEST = float(np.nextafter(0.0, 1.0))
"""A probability that underflowed to 0 counts as the smallest float64, which is 744 nats."""


def checked_logits(logits: np.ndarray) -> np.ndarray:
    """Logits as float64.

    Args:
        logits: (N, K) finite, K >= 2, any scale.

    Raises:
        ValueError: the shape is another, or a value is not finite.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or logits.shape[1] < 2 or len(logits) == 0:
        raise ValueError(f"logits must be (N, K) with N >= 1 and K >= 2, got {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("logits must be finite; log-probabilities of -inf have to be clipped")
    return logits


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities in float64, whatever the logits are stored in.

    In float32 the confidences of a well-trained network round to exactly 1 and tie.

    Args:
        logits: (N, K), never probabilities.

    Returns:
        (N, K) in [0, 1], rows with sum 1.
    """
    return special.softmax(checked_logits(logits), axis=1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """(N, K) log-probabilities in float64: exact where `softmax` underflows to 0."""
    return special.log_softmax(checked_logits(logits), axis=1)


@plug("accuracy")
def accuracy(probs: np.ndarray, labels: np.ndarray) -> float:
    """Share predicted rightly, in [0, 1]; of tied classes the first is predicted."""
    return float(top_label(probs, labels)[1].mean())


def sample_nll(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) -log of the probability of the true class, in nats, in [0, 744.44]."""
    probs, labels = checked_probs(probs, labels)
    return -np.log(np.maximum(probs[np.arange(len(labels)), labels], SMALLEST))


def sample_brier(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) squared distance of the probabilities to the one-hot label, in [0, 2]."""
    probs, labels = checked_probs(probs, labels)
    return np.square(probs - np.eye(probs.shape[1])[labels]).sum(1)


@plug("nll")
def nll(probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats, >= 0, lower is better; proper.

    >>> round(nll(np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 1])), 4)
    0.4904
    """
    return float(sample_nll(probs, labels).mean())


@plug("brier")
def brier(probs: np.ndarray, labels: np.ndarray) -> float:
    """Brier score, the sum over all classes: in [0, 2], lower is better; proper.

    Half of it, or the square of one class alone, goes by the same name elsewhere.

    Source: Brier 1950.

    >>> brier(np.array([[0.0, 1.0]]), np.array([0]))
    2.0
    """
    return float(sample_brier(probs, labels).mean())
