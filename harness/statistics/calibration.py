"""Intervals of binned calibration errors, and the floor that a calibrated model shows.

The plain percentile bootstrap of a binned error does not cover (0 % where the true ECE is 0): it
adds its own bias to the estimate's. Here it is moved by that bias and cut at 0, and an estimate
that a calibrated model would show as well gets 0 as its lower end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness import metrics
from harness.core.rng import numpy_rng
from harness.statistics.estimates import Estimate
from harness.statistics.means import TAILS, resampled

BinnedKind = Literal["ece", "mce", "rms_calibration_error"]
NULL_DRAWS = 200


@dataclass(frozen=True, slots=True)
class Floor:
    """What a perfectly calibrated model with the same confidences would show.

    Args:
        mean: of the error over labels drawn from the model's own probabilities.
        high: 97.5 % quantile of the same.
    """

    mean: float
    high: float


def binned_error(
    probs: np.ndarray, labels: np.ndarray, kind: BinnedKind, *, bins: int = 15
) -> Estimate:
    """A binned calibration error of the top label with its interval.

    Args:
        probs: (N, K) float64 probabilities.
        labels: (N,) true classes.
        kind: which error.
        bins: equal-width bins.
    """
    confidence, right, index = _parts(probs, labels, bins)
    sums = _sums(confidence, right, index, bins)
    value = float(_error(sums, kind))
    null = _null(confidence, index, bins, kind)
    draws = _error(resampled(_columns(confidence, right, index, bins)).astype(np.float64), kind)
    bias = float(draws.mean()) - value
    low, high = np.quantile(draws, TAILS) - bias
    above = value >= np.quantile(null, TAILS[1])
    low = max(0.0, float(low)) if above else 0.0
    upper = float(max(high, value))
    return Estimate(
        value, min(low, value), upper, len(labels), "bias-shifted bootstrap, null floor"
    )


def floor(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> Floor:
    """The ECE that a calibrated model with the same confidences would show."""
    confidence, _, index = _parts(probs, labels, bins)
    null = _null(confidence, index, bins, "ece")
    return Floor(float(null.mean()), float(np.quantile(null, TAILS[1])))


def _parts(
    probs: np.ndarray, labels: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    confidence = probs.max(1).astype(np.float64)
    right = (probs.argmax(1) == labels).astype(np.float64)
    return confidence, right, metrics.bin_index(confidence, bins)


def _columns(confidence: np.ndarray, right: np.ndarray, index: np.ndarray, bins: int) -> np.ndarray:
    """(N, 2 * bins): gap and presence of each sample in its bin, so that means over rows suffice."""
    columns = np.zeros((len(index), 2 * bins), np.float32)
    rows = np.arange(len(index))
    columns[rows, index] = right - confidence
    columns[rows, bins + index] = 1
    return columns


def _sums(confidence: np.ndarray, right: np.ndarray, index: np.ndarray, bins: int) -> np.ndarray:
    gap = np.bincount(index, right - confidence, minlength=bins)
    count = np.bincount(index, minlength=bins)
    return np.concatenate([gap, count]) / len(index)


def _error(sums: np.ndarray, kind: BinnedKind) -> np.ndarray:
    """Error from (..., 2 * bins) mean gaps and shares of the bins."""
    gap, share = np.split(np.asarray(sums, np.float64), 2, axis=-1)
    held = np.where(share > 0, share, 1.0)
    inside = np.where(share > 0, np.abs(gap) / held, 0.0)
    if kind == "ece":
        return np.abs(gap).sum(-1)
    if kind == "mce":
        return inside.max(-1)
    return np.sqrt((share * inside**2).sum(-1))


def _null(confidence: np.ndarray, index: np.ndarray, bins: int, kind: BinnedKind) -> np.ndarray:
    """(NULL_DRAWS,) errors with correctness drawn from the confidences themselves."""
    rng = numpy_rng(0, "calibrated", len(confidence))
    found = np.empty(NULL_DRAWS)
    for draw in range(NULL_DRAWS):
        right = (rng.random(len(confidence)) < confidence).astype(np.float64)
        found[draw] = _error(_sums(confidence, right, index, bins), kind)
    return found
