"""How far differences between models could be off: everything is drawn once for all models.

A paired difference of two models is a weighted sum over models, and so is that of two families; so
one set of resampled images, one covariance matrix, or two bounds and a centre a model, serve every
comparison that is ever made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import special, stats

from harness.core.rng import numpy_rng
from harness.statistics import paired_proportions
from harness.statistics.estimates import Z
from harness.statistics.means import CHUNK, DRAWS, TAILS, weights

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = 100  # draws at a time
ROUNDING = 1e-12  # below it a difference of shares is that of two orders of summation


@dataclass(frozen=True, slots=True)
class Gap:
    """A paired difference.

    Args:
        value: the difference.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided p value.
    """

    value: float
    low: float
    high: float
    p: float


class Spread(Protocol):
    """The joint uncertainty of one number over M models, images being drawn again."""

    def gap(self, value: float, weights: np.ndarray) -> Gap:
        """The weighted sum over models `value`, with its interval; `weights` is (M,)."""
        ...


@dataclass(frozen=True, slots=True)
class Draws:
    """Bootstrap over images, the same draws for all models; percentile intervals.

    Args:
        draws: (R, M) the number of each model on each resample.
    """

    draws: np.ndarray

    def gap(self, value: float, weights: np.ndarray) -> Gap:
        """See `Spread`."""
        drawn = self.draws @ weights
        low, high = _percentiles(drawn)
        return _settled(value, min(low, value), max(high, value), _p(value, float(drawn.std())))


@dataclass(frozen=True, slots=True)
class Bounded:
    """Errors that are never below 0 and that noise makes larger, each with bounds of its own.

    Square-and-add: how far each error may lie from its centre, on the side that matters, stands in
    place of its standard error. Where the lower bound is 0 it is not an estimate and has no noise to
    be averaged with that of others: such a distance is added whole.

    Args:
        centre: (T,) each error less what noise has added, between its bounds; the terms are those of
            M models on one seed after another.
        low: (T,) lower bound of each.
        high: (T,) upper bound of each.
        correlation: (T, T) of the noise.
        same: (T,) the first term with the same outcomes: they differ by 0, whatever the bounds.

    Source: Zou and Donner 2008, "Construction of confidence limits about effect measures: a general
        approach", for sums of estimates with intervals of their own.
    """

    centre: np.ndarray
    low: np.ndarray
    high: np.ndarray
    correlation: np.ndarray
    same: np.ndarray

    def gap(self, value: float, weights: np.ndarray) -> Gap:
        """See `Spread`; the interval is stretched to hold `value`."""
        seeds = len(self.same) // len(weights)
        weights = np.bincount(self.same, np.tile(weights / seeds, seeds), len(self.same))
        if np.abs(weights).max() < ROUNDING:
            return _settled(value, min(value, 0.0), max(value, 0.0), 1.0)
        centre = float(weights @ self.centre)
        (fixed_down, down), (fixed_up, up) = self._reach(weights), self._reach(-weights)
        fixed, error = (fixed_down, down) if centre > 0 else (fixed_up, up)
        # Where noise alone turns the difference round, nothing is shown.
        p = _p(max(0.0, abs(centre) - fixed), error / Z) if value * centre > 0 else 1.0
        low, high = centre - fixed_down - down, centre + fixed_up + up
        return _settled(value, min(low, value), max(high, value), p)

    def _reach(self, weights: np.ndarray) -> tuple[float, float]:
        """How far the sum may lie below its centre: what is added whole, and the root of squares."""
        arms = np.where(weights > 0, self.centre - self.low, self.high - self.centre) * weights
        whole = (weights > 0) & (self.low <= 0)
        noisy = np.where(whole, 0.0, arms)
        square = float(noisy @ self.correlation @ noisy)
        return float(arms[whole].sum()), math.sqrt(max(0.0, square))


@dataclass(frozen=True, slots=True)
class Proportions:
    """Shares of images, two at a time: Newcombe's interval and the exact McNemar test.

    Args:
        hits: (M, N) bool.
    """

    hits: np.ndarray

    def gap(self, value: float, weights: np.ndarray) -> Gap:
        """See `Spread`; `weights` compares two models.

        Raises:
            ValueError: `weights` is anything but a multiple of one model minus another.
        """
        size = float(weights.max())
        first, second = np.flatnonzero(weights == size), np.flatnonzero(weights == -size)
        if size <= 0 or len(first) != 1 or len(second) != 1 or np.count_nonzero(weights) != 2:
            raise ValueError(f"two proportions are compared, not {weights}")
        found = paired_proportions(self.hits[first[0]], self.hits[second[0]])
        low, high, p = found.low, found.high, found.p
        assert low is not None, "Newcombe's interval is always there"
        assert high is not None
        assert p is not None
        return Gap(value, size * low, size * high, p)


@dataclass(frozen=True, slots=True)
class Covariance:
    """Normal approximation.

    Args:
        matrix: (M, M) covariance of the estimates.
    """

    matrix: np.ndarray

    def gap(self, value: float, weights: np.ndarray) -> Gap:
        """See `Spread`."""
        error = math.sqrt(max(0.0, float(weights @ self.matrix @ weights)))
        return _settled(value, value - Z * error, value + Z * error, _p(value, error))


def _percentiles(drawn: np.ndarray) -> tuple[float, float]:
    """As np.quantile has them, at a fifth of its overhead: claims ask thousands of times."""
    places = np.array(TAILS) * (len(drawn) - 1)
    below = np.floor(places).astype(int)
    ordered = np.partition(drawn, [*below, *(below + 1)])
    low, high = ordered[below] + (places - below) * (ordered[below + 1] - ordered[below])
    return float(low), float(high)


def _p(value: float, error: float) -> float:
    if error < ROUNDING:
        return float(abs(value) < ROUNDING)
    return float(2 * special.ndtr(-abs(value) / error))


def _settled(value: float, low: float, high: float, p: float) -> Gap:
    """Equal outcomes differ by exactly 0, whatever order their sums were taken in."""
    value, low, high = (0.0 if abs(end) < ROUNDING else end for end in (value, low, high))
    return Gap(value, low, high, p)


def over_seeds(gap: Gap, single: np.ndarray) -> Gap:
    """`gap` with the wider of its interval and the t interval of the differences of single seeds.

    Below three seeds the interval speaks of these checkpoints and is left as it is.
    """
    if len(single) < 3:
        return gap
    error = float(single.std(ddof=1)) / math.sqrt(len(single))
    half = float(stats.t.ppf(TAILS[1], len(single) - 1)) * error
    p = 2 * float(stats.t.sf(abs(gap.value) / error, len(single) - 1)) if error else gap.p
    low, high = min(gap.low, gap.value - half), max(gap.high, gap.value + half)
    return Gap(gap.value, low, high, max(gap.p, p))


def on_logits(gap: Gap) -> Gap:
    """The interval of a share or an AUROC taken to the logit scale, so that it stays in (0, 1).

    A value of 0 or 1 keeps its interval: it has no logit.
    """
    if not 0 < gap.value < 1:
        return gap
    scale = gap.value * (1 - gap.value)
    centre = special.logit(gap.value)
    low = special.expit(centre - (gap.value - gap.low) / scale)
    high = special.expit(centre + (gap.high - gap.value) / scale)
    return Gap(gap.value, float(low), float(high), gap.p)


# ---------------------------------------------------------------- what is drawn


def resampled(columns: np.ndarray) -> np.ndarray:
    """Means of each column over images drawn with replacement, in float64: equal columns stay equal.

    Args:
        columns: (N, Q) values per image.

    Returns:
        (DRAWS, Q) means, on the draws of `harness.statistics.weights`.
    """
    drawn = [weights @ columns for weights in _weights(len(columns))]
    return np.concatenate(drawn) / len(columns)


def _weights(images: int) -> Iterator[np.ndarray]:
    """(STEP, N) how often each image is drawn; memory stays low whatever N is."""
    if images * DRAWS <= CHUNK:
        whole = weights(images)
        yield from (whole[at : at + STEP].astype(np.float64) for at in range(0, DRAWS, STEP))
        return
    rng = numpy_rng(0, "bootstrap", "images", images)
    for _ in range(0, DRAWS, STEP):
        rows = (rng.integers(0, images, images) for _ in range(STEP))
        yield np.stack([np.bincount(row, minlength=images) for row in rows]).astype(np.float64)


def mean_draws(values: np.ndarray) -> Draws:
    """Means over images; `values` is (M, N)."""
    return Draws(resampled(values.T))


def mean_covariance(values: np.ndarray) -> Covariance:
    """Covariance of M means over the same images; `values` is (M, N)."""
    return Covariance(_covariance(values))


def placement_covariance(inside: np.ndarray, outside: np.ndarray) -> Covariance:
    """Covariance of the AUROCs of M models on the same images.

    Args:
        inside: (M, N) placements of the ID images, see `placements`.
        outside: (M, K) placements of the OOD images.

    Source: DeLong, DeLong and Clarke-Pearson 1988.
    """
    return Covariance(_covariance(inside) + _covariance(outside))


def _covariance(values: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(values)) / values.shape[1]


def placements(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each image, the share of the other set that it is ranked rightly against; ties half.

    Args:
        inside: (N,) scores of ID images, higher = more OOD.
        outside: (K,) scores of OOD images.

    Returns:
        (N,) and (K,); the mean of either is the AUROC.
    """
    mine, theirs = np.sort(inside), np.sort(outside)
    below = np.searchsorted(mine, outside, "left") + np.searchsorted(mine, outside, "right")
    above = np.searchsorted(theirs, inside, "left") + np.searchsorted(theirs, inside, "right")
    return 1 - above / (2 * len(outside)), below / (2 * len(inside))
