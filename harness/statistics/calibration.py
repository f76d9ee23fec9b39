"""Intervals of binned calibration errors, and the floor that a calibrated model shows.

A binned error is a sum of absolute gaps, so noise adds to it, and no bootstrap covers: a resample
has the noise twice (plain percentiles cover 0 % where the true ECE is 0; moved by the bootstrap's
own bias and cut at the floor they still cover 68 to 90 % at 0.005). Here a test is inverted instead:
the gaps of the bins are shrunk, bin by bin and by what they are worth in standard errors, until
labels drawn from the model with such gaps would show an error as large as the one seen in 2.5 % of
cases; the error of these gaps is the lower end. Enlarging them gives the upper one. At the end of the
path stands the calibrated model, so an error below its 97.5 % quantile, the floor, has 0 as lower
end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness import metrics
from harness.core.arrays import top_label
from harness.core.rng import numpy_rng
from harness.statistics.estimates import TAILS, Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

BinnedKind = Literal["ece", "mce", "rms_calibration_error"]
NULL_DRAWS = 200
DRAWS = 1000  # a step of the search
STEPS = 11  # halvings: an end is found within 1/2000 of its range
ROUNDING = 1e-9  # relative: equal errors must compare as equal


@dataclass(frozen=True, slots=True)
class Floor:
    """What a perfectly calibrated model with the same confidences would show.

    Args:
        mean: of the error over labels drawn from the model's own probabilities.
        high: 97.5 % quantile of the same.
    """

    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class _Bins:
    """The bins that hold samples.

    Args:
        n: samples in all.
        count: (B,) samples a bin.
        confidence: (B,) mean confidence.
        right: (B,) how many are right.
    """

    n: int
    count: np.ndarray
    confidence: np.ndarray
    right: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """(B,) share of the samples."""
        return self.count / self.n

    @property
    def gaps(self) -> np.ndarray:
        """(B,) share times (confidence - accuracy)."""
        return self.share * self.confidence - self.right / self.n

    @property
    def error(self) -> np.ndarray:
        """(B,) standard errors of the gaps; half a sample keeps those of unanimous bins above 0."""
        accuracy = (self.right + 0.5) / (self.count + 1)
        return np.sqrt(self.count * accuracy * (1 - accuracy)) / self.n

    def accuracy(self, gaps: np.ndarray) -> np.ndarray:
        """(B,) accuracy of each bin if these were its gaps."""
        return np.clip(self.confidence - gaps / self.share, 0.0, 1.0)

    def measure(self, gaps: np.ndarray, kind: BinnedKind) -> np.ndarray:
        """Error of (..., B) gaps."""
        if kind == "ece":
            return np.abs(gaps).sum(-1)
        if kind == "mce":
            return (np.abs(gaps) / self.share).max(-1)
        return np.sqrt((np.square(gaps) / self.share).sum(-1))


def binned_error(
    probs: np.ndarray, labels: np.ndarray, kind: BinnedKind, *, bins: int = 15
) -> Estimate:
    """A binned calibration error of the top label with its interval.

    The maximum calibration error has none that covers: a bin with one sample decides it.

    Args:
        probs: (N, K) float64 probabilities.
        labels: (N,) true classes.
        kind: which error.
        bins: equal-width bins.

    Source: Chuang and Lai 2000, "Hybrid resampling methods for confidence intervals", for tests
        inverted along a path through the data.
    """
    found = _binned(probs, labels, bins)
    value = float(found.measure(found.gaps, kind))
    if kind == "mce":
        return Estimate(value, None, None, found.n, "no interval covers a maximum over bins")
    search = _Search(found, kind, value, numpy_rng(0, "calibration", kind, found.n))
    low = 0.0 if value <= floor(probs, labels, kind, bins=bins).high else search.low()
    return Estimate(
        value, min(low, value), max(search.high(), value), found.n, "inverted test, null floor"
    )


def floor(
    probs: np.ndarray, labels: np.ndarray, kind: BinnedKind = "ece", *, bins: int = 15
) -> Floor:
    """The error that a calibrated model with the same confidences would show.

    Correctness is drawn NULL_DRAWS times from the confidences themselves.
    """
    confidence = np.sort(top_label(probs, labels)[0])
    found = _binned(probs, labels, bins)
    rng = numpy_rng(0, "calibrated", found.n)
    starts = np.cumsum(found.count) - found.count
    gaps = np.empty((NULL_DRAWS, len(starts)))
    for row in gaps:
        row[:] = np.add.reduceat(confidence - (rng.random(found.n) < confidence), starts)
    null = found.measure(gaps / found.n, kind)
    return Floor(float(null.mean()), float(np.quantile(null, TAILS[1])))


def _binned(probs: np.ndarray, labels: np.ndarray, bins: int) -> _Bins:
    confidence, right = top_label(probs, labels)
    index = metrics.bin_index(confidence, bins)
    count = np.bincount(index)
    held = count > 0
    means = np.bincount(index, confidence)[held] / count[held]
    return _Bins(len(index), count[held], means, np.bincount(index, right)[held])


@dataclass(frozen=True, slots=True)
class _Search:
    """The two ends of the interval, along the two paths from the gaps seen."""

    bins: _Bins
    kind: BinnedKind
    value: float
    rng: np.random.Generator

    def low(self) -> float:
        """Gaps of fewer than `cut` standard errors vanish, the others lose as much."""
        gaps, error = self.bins.gaps, self.bins.error

        def shrunk(cut: float) -> np.ndarray:
            return np.sign(gaps) * np.maximum(np.abs(gaps) - cut * error, 0.0)

        seen = self.value * (1 - ROUNDING)
        cut = _last(
            lambda cut: self._share(shrunk(cut), lambda drawn: drawn >= seen) >= TAILS[0],
            0.0,
            float((np.abs(gaps) / error).max()),
        )
        return self._true(shrunk(cut))

    def high(self) -> float:
        """Gaps grow by their variances; a bin without a mistake grows over-confident."""
        bins = self.bins
        outwards = np.where((bins.gaps >= 0) | (bins.right == bins.count), 1.0, -1.0)
        step = outwards * bins.error**2 / bins.error.max()

        def grown(size: float) -> np.ndarray:
            return bins.gaps + size * step

        seen = self.value * (1 + ROUNDING)

        def accepted(size: float) -> bool:
            return self._share(grown(size), lambda drawn: drawn <= seen) >= TAILS[0]

        far = 0.5
        while accepted(far) and far < 1e9:  # every bin is as wrong as it can be long before
            far *= 2
        return self._true(grown(_last(accepted, 0.0, far)))

    def _true(self, gaps: np.ndarray) -> float:
        """Error of a model with these gaps, as far as accuracies in [0, 1] allow them."""
        possible = self.bins.share * (self.bins.confidence - self.bins.accuracy(gaps))
        return float(self.bins.measure(possible, self.kind))

    def _share(self, gaps: np.ndarray, event: Callable[[np.ndarray], np.ndarray]) -> float:
        """Share of draws from a model with these gaps whose error has the property."""
        bins = self.bins
        right = self.rng.binomial(bins.count, bins.accuracy(gaps), (DRAWS, len(bins.count)))
        drawn = bins.share * bins.confidence - right / bins.n
        return float(event(bins.measure(drawn, self.kind)).mean())


def _last(accepted: Callable[[float], bool], inner: float, outer: float) -> float:
    """About the last point between `inner`, which is accepted, and `outer`, which is not."""
    for _ in range(STEPS):
        middle = (inner + outer) / 2
        if accepted(middle):
            inner = middle
        else:
            outer = middle
    return (inner + outer) / 2
