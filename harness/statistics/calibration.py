"""Intervals of binned calibration errors, and the floor that a calibrated model shows.

A binned error is a sum of absolute gaps, so noise adds to it, and no bootstrap covers: a resample
has the noise twice (plain percentiles cover 0 % where the true ECE is 0; moved by the bootstrap's
own bias and cut at the floor they still cover 68 to 90 % at 0.005). Here tests are inverted instead.

Lower end of the ECE: it is the largest of all signed sums of the gaps, so that the largest of a few
of them bounds it from below, and the fewer there are, the less has noise to choose from. Two such
sums are looked at: that of all gaps, |mean confidence - accuracy|, and the largest of those whose
sign changes at most twice from the lowest bin to the highest. From each is taken what a calibrated
model usually shows of it; the larger rest is the statistic of a single test, so that looking twice
costs nothing. The real ones among the gaps that add to it are made smaller, all in proportion, until
labels drawn from a model with such gaps would show a statistic as large in LOWER of the cases. Real is
a gap that is clear by itself; where the others together are more than noise, that share of them is real
as well: a single wrong bin and an error that is spread over all of them both keep their ends. The full
sum of absolute values would be a statistic, too, but what noise adds to it depends on how the gaps are
spread over the bins, which the data do not tell: it misses between 0 and 12 %.

Upper end: from the gaps that are seen, less what noise has made of them on the whole (James and
Stein's factor), all bins move outwards by the same number of standard errors until labels would show
an error as small in UPPER of the cases. Gaps spread so evenly leave noise the least to add, so that
this end errs on the far side. Where a model expects hardly any mistakes, those that it makes all the
same may be the ones that were not drawn; its end is not below that of the mean gap, which is exact.

The tails are not equal. Noise only adds, so that the upper end of a small error hardly ever lies
below the truth, and all misses are those of the lower end. Which worlds hold what stands in
tests/simulations: too much where the error is far below its noise, since there the interval begins at
0 and the value lies above the truth.
The RMS error has one lower bound, from the error itself; with hardly any mistakes a single one in a
thin bin decides it, and it then takes the ECE's end, which it is never below.

A difference between models is not tested along a path of its own: it is made of `Term`s, one a model,
by square-and-add (`harness.pairing.spread.Bounded`), so that thousands of comparisons cost one search a
model. The tails of terms are nearly equal, since an upper end of one stands against a lower end of the other.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from harness import metrics
from harness.core.arrays import top_label
from harness.core.rng import numpy_rng
from harness.statistics.bins import CLEAR, ROUNDING, BinnedKind, Bins, binned, null
from harness.statistics.estimates import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

MORE = 1.645  # standard deviations by which unclear gaps together must exceed noise to be real
FEW = 5  # mistakes that a model expects: with fewer, one in a thin bin decides the RMS error
CHANGES = 2  # of sign from bin to bin, that the lower end reckons with
FLOOR = 0.965  # quantile of the calibrated null that is told beside an ECE
DRAWS = 2000
STEPS = 9  # halvings: an end is found within 1/1000 of its range


class Tails(NamedTuple):
    """Chances to miss: of each lower bound, and beyond the upper end."""

    lower: float
    upper: float


ALONE = {"ece": Tails(0.04, 0.02), "rms_calibration_error": Tails(0.025, 0.02)}
PAIRED = {"ece": Tails(0.03, 0.025), "rms_calibration_error": Tails(0.025, 0.025)}


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
class Term:
    """A binned error as one term of differences between models.

    Args:
        value: as measured.
        centre: the same less what noise has added to it, within the bounds.
        low: 97.5 % lower bound (RMS: 98.25 %); 0 where nothing shows that there is an error.
        high: 97.5 % upper bound.
        pull: (N,) which way each image moves the error, for correlations.
    """

    value: float
    centre: float
    low: float
    high: float
    pull: np.ndarray


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
    confidence, right = top_label(probs, labels)
    found = binned(confidence, right, bins)
    value = float(found.measure(found.gaps, kind))
    if kind == "mce":
        return Estimate(value, None, None, found.n, "no interval covers a maximum over bins")
    low, high = _Search(found, kind, null(confidence, bins), ALONE[kind]).ends()
    return Estimate(value, low, high, found.n, "inverted tests")


def binned_term(
    confidence: np.ndarray, right: np.ndarray, kind: BinnedKind, *, bins: int = 15
) -> Term:
    """A binned calibration error as a term of differences, see `harness.pairing.spread.Bounded`.

    Args:
        confidence: (N,) of the top label.
        right: (N,) whether it is right.
        kind: which error; there is no bound of a maximum.
        bins: equal-width bins.
    """
    found = binned(confidence, right, bins)
    low, high = _Search(found, kind, null(confidence, bins), PAIRED[kind]).ends()
    place = np.unique(metrics.bin_index(confidence, bins), return_inverse=True)[1]
    missed = confidence - right
    if kind == "ece":  # the sign of a gap, as far as it is known: the slope of E|gap + noise|
        pull = special.erf(found.gaps / found.error / math.sqrt(2))[place] * missed
    else:
        mean = (found.gaps / found.share)[place]
        pull = mean * (missed - mean / 2)
    value = float(found.measure(found.gaps, kind))
    return Term(value, min(max(found.quiet(kind), low), high), low, high, pull)


def floor(
    probs: np.ndarray, labels: np.ndarray, kind: BinnedKind = "ece", *, bins: int = 15
) -> Floor:
    """The error that a calibrated model with the same confidences would show."""
    confidence, right = top_label(probs, labels)
    errors = binned(confidence, right, bins).measure(null(confidence, bins), kind)
    return Floor(float(errors.mean()), float(np.quantile(errors, FLOOR)))


def _sums(gaps: np.ndarray) -> np.ndarray:
    """(..., 2) the largest sum of (..., B) gaps, up to its sign: as they are, and over `CHANGES` of sign.

    Signs that change twice at most turn one run of bins round.

    >>> _sums(np.array([1.0, -2.0, -3.0, 4.0])).tolist()
    [0.0, 10.0]
    """
    whole = low = high = most = least = np.zeros(gaps.shape[:-1])
    for gap in np.moveaxis(gaps, -1, 0):
        whole = whole + gap
        most, least = np.maximum(most, whole - low), np.minimum(least, whole - high)
        low, high = np.minimum(low, whole), np.maximum(high, whole)
    turned = np.maximum(np.abs(whole - 2 * most), np.abs(whole - 2 * least))
    return np.stack([np.abs(whole), turned], -1)


@functools.cache
def _patterns(bins: int, changes: int) -> np.ndarray:
    """(P, bins) signs that change at most so many times, each pattern or its negative once.

    >>> _patterns(3, 1).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, -1.0], [1.0, -1.0, -1.0]]
    """
    places = itertools.chain.from_iterable(
        itertools.combinations(range(1, bins), many) for many in range(changes + 1)
    )
    flips = [np.isin(np.arange(bins), place) for place in places]
    found = 1.0 - 2 * (np.cumsum(flips, axis=1) % 2)
    return found[np.lexsort(-found.T[::-1])]


@dataclass(frozen=True, slots=True)
class _Search:
    """The two ends of the interval, along paths from the gaps seen."""

    bins: Bins
    kind: BinnedKind
    null: np.ndarray
    tails: Tails

    def ends(self) -> tuple[float, float]:
        """Both ends, about the value."""
        value = float(self.bins.measure(self.bins.gaps, self.kind))
        return min(self.low(), value), max(self.high(value), value)

    def low(self) -> float:
        """By signed sums; for the root mean square from itself.

        With hardly any mistakes it is not above that of the ECE, which the RMS error is never below.
        """
        if self.kind == "ece":
            return self._signed()
        own = self._bound(self.bins.gaps, functools.partial(self.bins.measure, kind=self.kind))
        return min(own, replace(self, kind="ece").low()) if self._few else own

    def _signed(self) -> float:
        """From two sums of gaps, with few changes of sign and with none: whichever is less usual.

        Noise adds to either, so that what is usual is taken off, not divided by.
        """
        usual = np.median(_sums(self.null), axis=0)
        decides = int((_sums(self.bins.gaps) - usual).argmax())
        signs = _patterns(len(self.bins.count), CHANGES if decides else 0)
        best = signs[np.abs(signs @ self.bins.gaps).argmax()]
        forward = np.where(self.bins.gaps * best * (best @ self.bins.gaps) > 0, self.bins.gaps, 0.0)
        above = float(usual.max())  # so that all are positive

        def measure(gaps: np.ndarray) -> np.ndarray:
            return (_sums(gaps) - usual).max(-1) + above

        return self._bound(forward, measure)

    def _bound(self, gaps: np.ndarray, measure: Callable[[np.ndarray], np.ndarray]) -> float:
        """Of these gaps the real ones shrink."""
        seen = float(measure(self.bins.gaps)) * (1 - ROUNDING)
        if seen <= np.quantile(measure(self.null), 1 - self.tails.lower):
            return 0.0
        shape = self._real(gaps)
        cut = _last(
            lambda cut: (
                float((measure(self._drawn((1 - cut) * shape)) >= seen).mean()) >= self.tails.lower
            ),
            0.0,
            1.0,
        )
        return self._true((1 - cut) * shape)

    def _real(self, gaps: np.ndarray) -> np.ndarray:
        """The clear ones, or all where none is; where the others together are more than noise, also these.

        Of the others as much is kept as is more than noise (James and Stein's factor).
        """
        clear = np.abs(gaps) > CLEAR * self.bins.error
        if not clear.any():
            return gaps
        excess, share = self.bins.unclear
        return np.where(clear, gaps, share * gaps if excess > MORE else 0.0)

    def high(self, value: float) -> float:
        """Gaps grow evenly, in standard errors; a bin without a mistake grows over-confident."""
        bins = self.bins
        outwards = np.where((bins.gaps >= 0) | (bins.right == bins.count), 1.0, -1.0)
        inner = bins.gaps * bins.shrunk

        def grown(size: float) -> np.ndarray:
            return inner + size * outwards * bins.error

        seen = value * (1 + ROUNDING)

        def accepted(size: float) -> bool:
            drawn = bins.measure(self._drawn(grown(size)), self.kind)
            return float((drawn <= seen).mean()) >= self.tails.upper

        far = 1.0
        while accepted(far) and far < 1e9:  # every bin is as wrong as it can be long before
            far *= 2
        end = self._true(grown(_last(accepted, 0.0, far)))
        return max(end, self._mean_gap()) if self._few else end

    @property
    def _few(self) -> bool:
        """Whether the model expects hardly any mistakes."""
        return float((self.bins.count * (1 - self.bins.confidence)).sum()) < FEW

    def _mean_gap(self) -> float:
        """Upper bound of |mean confidence - accuracy|, which neither error is below.

        Source: Clopper and Pearson 1934, of the accuracy.
        """
        bins, tail = self.bins, self.tails.upper
        right, mean = float(bins.right.sum()), float(bins.share @ bins.confidence)
        wrong = bins.n - right
        low = special.betaincinv(right, wrong + 1, tail) if right else 0.0
        high = special.betaincinv(right + 1, wrong, 1 - tail) if wrong else 1.0
        return float(max(mean - low, high - mean))

    def _true(self, gaps: np.ndarray) -> float:
        """Error of a model with these gaps, as far as accuracies in [0, 1] allow them."""
        possible = self.bins.share * (self.bins.confidence - self.bins.accuracy(gaps))
        return float(self.bins.measure(possible, self.kind))

    def _drawn(self, gaps: np.ndarray) -> np.ndarray:
        """(DRAWS, B) gaps of labels drawn from a model that has these.

        Binomial counts by their first three moments, on the same noise wherever the search looks.
        """
        bins, accuracy = self.bins, self.bins.accuracy(gaps)
        noise = _noise(len(gaps))
        spread = np.sqrt(bins.count * accuracy * (1 - accuracy))
        skew = (1 - 2 * accuracy) / np.maximum(spread, ROUNDING) / 6
        right = np.rint(bins.count * accuracy + spread * (noise + skew * (noise**2 - 1)))
        return bins.share * bins.confidence - np.clip(right, 0, bins.count) / bins.n


@functools.cache
def _noise(bins: int) -> np.ndarray:
    """(DRAWS, bins) standard normal numbers: the same quantiles in each column, and all negatives."""
    quantiles = special.ndtri((np.arange(DRAWS // 2) + 0.5) / (DRAWS // 2))
    rng = numpy_rng(0, "calibration", bins)
    half = rng.permuted(np.tile(quantiles, (bins, 1)), axis=1).T
    found = np.asfortranarray(np.concatenate([half, -half]))  # sums over bins are then fast
    found.setflags(write=False)
    return found


def _last(accepted: Callable[[float], bool], inner: float, outer: float) -> float:
    """About the last point between `inner`, which is accepted, and `outer`, which is not."""
    for _ in range(STEPS):
        middle = (inner + outer) / 2
        if accepted(middle):
            inner = middle
        else:
            outer = middle
    return (inner + outer) / 2
