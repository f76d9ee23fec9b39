"""Intervals of binned calibration errors, and the floor that a calibrated model shows.

A binned error is a sum of absolute gaps, so noise adds to it, and no bootstrap covers: a resample
has the noise twice (plain percentiles cover 0 % where the true ECE is 0; moved by the bootstrap's
own bias and cut at the floor they still cover 68 to 90 % at 0.005). Here a test is inverted instead:
the gaps of the bins are shrunk, bin by bin and by what they are worth in standard errors, until
labels drawn from the model with such gaps would show an error as large as the one seen in LOWER of
the cases; the error of these gaps is the lower end. Enlarging them gives the upper one. At the end of
the path stands the calibrated model, so an error below its 96.5 % quantile, the floor, has 0 as lower
end.

The tails are not equal. Noise only adds, so that the upper end of a small error hardly ever lies
below the truth, and all misses are those of the lower end: two tails of 2.5 % would hold such errors
in 97.5 to 98 % of samples. Nor do they add up to 5 %: no path is the least favourable one for all
errors, so that each tail misses fewer than it is allowed to. What they hold together is measured by
tests/simulations.

Where a calibrated model would show more than RESOLVED, the noise of many thin bins outweighs what is
asked for, and the search, which cannot tell gaps from noise bin by bin, holds too much (98 to 99 %).
Such errors have no interval. The rule looks at confidences and n alone, never at the labels, so that
the intervals that are printed are not a selection of their own kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness import metrics
from harness.core.arrays import top_label
from harness.core.rng import numpy_rng
from harness.statistics.estimates import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

BinnedKind = Literal["ece", "mce", "rms_calibration_error"]
CLEAR = 2.0  # standard errors below which the lower end takes a gap for noise
RESOLVED = 0.02  # mean ECE of a calibrated model up to which there is an interval
LOWER, UPPER = 0.035, 0.02  # tails beyond the two ends
NULL_DRAWS = 1000
DRAWS = 500  # a step of the search
STEPS = 9  # halvings: an end is found within 1/1000 of its range
ROUNDING = 1e-9  # relative: equal errors must compare as equal


@dataclass(frozen=True, slots=True)
class Floor:
    """What a perfectly calibrated model with the same confidences would show.

    Args:
        mean: of the error over labels drawn from the model's own probabilities.
        high: 96.5 % quantile of the same.
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

    The maximum calibration error has none that covers: a bin with one sample decides it. Neither have
    the others where a calibrated model with these confidences would show an ECE above RESOLVED.

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
    null = _null(probs, labels, bins)
    if found.measure(null, "ece").mean() > RESOLVED:
        why = f"a calibrated model would show more than {RESOLVED}"
        return Estimate(value, None, None, found.n, why)
    search = _Search(found, kind, value, numpy_rng(0, "calibration", kind, found.n))
    low = 0.0 if value <= _floor(found.measure(null, kind)).high else search.low()
    high = search.high()
    return Estimate(value, min(low, value), max(high, value), found.n, "inverted test, null floor")


def floor(
    probs: np.ndarray, labels: np.ndarray, kind: BinnedKind = "ece", *, bins: int = 15
) -> Floor:
    """The error that a calibrated model with the same confidences would show."""
    return _floor(_binned(probs, labels, bins).measure(_null(probs, labels, bins), kind))


def _floor(null: np.ndarray) -> Floor:
    return Floor(float(null.mean()), float(np.quantile(null, 1 - LOWER)))


def _null(probs: np.ndarray, labels: np.ndarray, bins: int) -> np.ndarray:
    """(NULL_DRAWS, B) gaps of a calibrated model, in the bins that hold samples.

    Correctness is drawn from the confidences themselves: the mistakes of a bin are a sum of unequal
    coins, drawn from the binomial distribution that has its mean and its variance.

    Source: Ehm 1991, "Binomial approximation to the Poisson binomial distribution".
    """
    confidence, _ = top_label(probs, labels)
    index, n = metrics.bin_index(confidence, bins), len(confidence)
    held = np.bincount(index) > 0
    wrong, square = (np.bincount(index, (1 - confidence) ** power)[held] for power in (1, 2))
    sure = wrong == 0
    coins = np.ceil(wrong**2 / np.where(sure, 1.0, square) * (1 - ROUNDING)).astype(np.int64)
    chance = wrong / np.maximum(coins, 1)
    drawn = numpy_rng(0, "calibrated", n).binomial(coins, chance, (NULL_DRAWS, len(coins)))
    return (drawn - wrong) / n


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
        """Gaps that are not CLEAR vanish, those that are lose `cut` standard errors."""
        error = self.bins.error
        gaps = np.where(np.abs(self.bins.gaps) > CLEAR * error, self.bins.gaps, 0.0)

        def shrunk(cut: float) -> np.ndarray:
            return np.sign(gaps) * np.maximum(np.abs(gaps) - cut * error, 0.0)

        seen = self.value * (1 - ROUNDING)
        cut = _last(
            lambda cut: self._share(shrunk(cut), lambda drawn: drawn >= seen) >= LOWER,
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
            return self._share(grown(size), lambda drawn: drawn <= seen) >= UPPER

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
