"""Calibration errors over bins: does a confidence of 0.8 mean 80 % right?

Bins of equal width are [a, b), the last closed at 1, with one float64 array of edges, so that a
confidence on an edge falls into the bin above. Bins of equal mass keep tied confidences together,
so that no result depends on the order of the samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.core.arrays import checked_probs, top_label
from harness.metrics.dictionary import plug

BIN_SIZE = 100  # images a bin in Hendrycks' RMS calibration error


@dataclass(frozen=True, slots=True)
class Reliability:
    """A reliability diagram.

    Args:
        edges: (B + 1,) edges of the bins, 0 to 1.
        count: (B,) samples a bin.
        confidence: (B,) mean confidence, NaN where the bin is empty.
        accuracy: (B,) share that is right, NaN where the bin is empty.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def bin_edges(bins: int) -> np.ndarray:
    """(B + 1,) float64 edges of equal width from 0 to 1.

    Raises:
        ValueError: `bins` is not a whole number >= 1.
    """
    if isinstance(bins, bool) or int(bins) != bins or bins < 1:
        raise ValueError(f"bins must be a whole number >= 1, got {bins!r}")
    return np.linspace(0.0, 1.0, int(bins) + 1)


def bin_index(confidence: np.ndarray, bins: int = 15) -> np.ndarray:
    """(N,) bin in [0, bins) of each confidence, bins of equal width [a, b), the last closed.

    >>> bin_index(np.array([0.0, 0.5, 1.0]), bins=2)
    array([0, 1, 1])
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    above = np.searchsorted(bin_edges(bins), confidence, side="right")
    return np.minimum(above, int(bins)) - 1


def mass_index(values: np.ndarray, bins: int) -> np.ndarray:
    """(N,) bin in [0, bins) of each value, bins of equal mass, tied values in one bin.

    A value's place is the share of samples below it; bins that ties leave no sample stay empty.
    """
    below = np.searchsorted(np.sort(values), values, side="left")
    return below * bins // len(values)


def reliability_curve(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> Reliability:
    """Mean confidence, accuracy and count of the predicted class, a bin.

    Args:
        probs: (N, K) probabilities.
        labels: (N,) integers in [0, K).
        bins: how many, of equal width.
    """
    confidence, correct = top_label(probs, labels)
    index, edges = bin_index(confidence, bins), bin_edges(bins)
    count = np.bincount(index, minlength=len(edges) - 1)
    total = np.where(count > 0, count, np.nan)
    means = [np.bincount(index, v, minlength=len(count)) / total for v in (confidence, correct)]
    return Reliability(edges, count, *means)


def _gaps(values: np.ndarray, hits: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the samples and mean of value - hit, a bin that holds samples."""
    count = np.bincount(index)
    held = count > 0
    gap = np.bincount(index, values - hits)[held] / count[held]
    return count[held] / len(values), gap


def _top_gaps(probs: np.ndarray, labels: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    confidence, correct = top_label(probs, labels)
    return _gaps(confidence, correct, bin_index(confidence, bins))


@plug("ece")
def ece(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Expected calibration error of the predicted class, in [0, 1], lower is better.

    Biased upwards: a calibrated model shows more than 0. See `harness.statistics` for its floor.

    Args:
        probs: (N, K) probabilities.
        labels: (N,) integers in [0, K).
        bins: how many, of equal width.

    Source: Guo et al. 2017, arXiv:1706.04599.

    >>> ece(np.array([[0.1, 0.9], [0.1, 0.9]]), np.array([1, 0]), bins=10)
    0.4
    """
    share, gap = _top_gaps(probs, labels, bins)
    return float(share @ np.abs(gap))


@plug("mce")
def mce(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Maximum calibration error over the bins that hold samples, in [0, 1], lower is better.

    A bin with one sample counts as much as any other.

    Source: Guo et al. 2017, arXiv:1706.04599.
    """
    return float(np.abs(_top_gaps(probs, labels, bins)[1]).max())


@plug("rms_calibration_error")
def rms_calibration_error(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Root mean square calibration error over bins of equal width, in [0, 1], lower is better.

    Hendrycks' own code takes bins of 100 samples: that is `rms_equal_mass`.
    """
    return _root(*_top_gaps(probs, labels, bins))


@plug("rms_equal_mass")
def rms_equal_mass(probs: np.ndarray, labels: np.ndarray, *, bin_size: int = BIN_SIZE) -> float:
    """Root mean square calibration error over bins of 100 samples in order of confidence.

    The last bin takes the remainder, and counts (the authors' loop leaves it out). In [0, 1], lower
    is better.

    Args:
        probs: (N, K) probabilities.
        labels: (N,) integers in [0, K).
        bin_size: samples a bin, >= 1.

    Source: Hendrycks, Mazeika and Dietterich 2019, arXiv:1812.04606.
    """
    if bin_size < 1:
        raise ValueError(f"bin_size must be >= 1, got {bin_size}")
    confidence, correct = top_label(probs, labels)
    below = np.searchsorted(np.sort(confidence), confidence, side="left")
    last = max(1, len(confidence) // bin_size) - 1
    return _root(*_gaps(confidence, correct, np.minimum(below // bin_size, last)))


def _root(share: np.ndarray, gap: np.ndarray) -> float:
    return float(np.sqrt(share @ np.square(gap)))


@plug("ace")
def ace(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Adaptive calibration error: all classes, bins of equal mass, in [0, 1], lower is better.

    Each bin counts by its samples: 1 / bins each, unless ties fill one and empty another.

    Args:
        probs: (N, K) probabilities.
        labels: (N,) integers in [0, K).
        bins: how many, of equal mass, a class.

    Source: Nixon et al. 2019, arXiv:1904.01685.
    """
    bin_edges(bins)  # refuses what is no number of bins
    probs, labels = checked_probs(probs, labels)
    errors = []
    for k, values in enumerate(probs.T):
        share, gap = _gaps(values, labels == k, mass_index(values, bins))
        errors.append(share @ np.abs(gap))
    return float(np.mean(errors))


@plug("ace_average")
def ace_average(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Average calibration error: unweighted mean over the bins that hold samples.

    What netcal calls ACE; not the adaptive one. In [0, 1], lower is better.
    """
    return float(np.abs(_top_gaps(probs, labels, bins)[1]).mean())


@plug("overconfidence")
def overconfidence(probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean confidence minus accuracy, in [-1, 1]: above 0 over-, below 0 under-confident."""
    confidence, correct = top_label(probs, labels)
    return float(confidence.mean() - correct.mean())


def on_edge(confidence: np.ndarray, bins: int = 15) -> int:
    """How many confidences equal an inner edge in float32, where libraries bin differently.

    >>> on_edge(np.array([0.2, 0.25, 1.0]), bins=5)
    1
    """
    inner = bin_edges(bins)[1:-1].astype(np.float32)
    return int(np.isin(np.asarray(confidence).astype(np.float32), inner).sum())


def saturated(confidence: np.ndarray) -> float:
    """Share of confidences that are 1 in float32, in [0, 1]."""
    return float((np.asarray(confidence).astype(np.float32) == 1).mean())
