"""How far differences between models could be off: everything is drawn once for all models.

A paired difference of two models is a weighted sum over models, and so is that of two families; so
one set of resampled images, or one covariance matrix, serves every comparison that is ever made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from scipy import special, stats

from harness.core.rng import numpy_rng
from harness.statistics import paired_proportions

DRAWS = 2000
CHUNK = 100  # draws at a time, to keep memory low
QUANTILES = (0.025, 0.975)
ROUNDING = 1e-12  # below it a difference of shares is that of two orders of summation
Z = float(special.ndtri(QUANTILES[1]))


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
    """Bootstrap over images, the same draws for all models.

    The percentile interval is moved by the bootstrap's own estimate of bias, which matters for
    binned calibration errors, and stretched to hold the estimate.

    Args:
        centre: (M,) the number of each model on the images as they are.
        draws: (R, M) on each resample.
    """

    centre: np.ndarray
    draws: np.ndarray

    def gap(self, value: float, weights: np.ndarray) -> Gap:
        """See `Spread`."""
        drawn = self.draws @ weights
        bias = float(drawn.mean() - self.centre @ weights)
        low, high = (end - bias for end in _percentiles(drawn))
        p = _p(value - bias, float(drawn.std()))
        return _settled(value, min(low, value), max(high, value), p)


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
        return Gap(value, size * found.low, size * found.high, found.p)


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
    places = np.array(QUANTILES) * (len(drawn) - 1)
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
    half = float(stats.t.ppf(QUANTILES[1], len(single) - 1)) * error
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


@lru_cache(maxsize=4)
def _counts(images: int) -> np.ndarray:
    """(DRAWS, N) uint8: how often each image is drawn, the same for every number of N images."""
    rng = numpy_rng(0, "pairing", images)
    rows = np.arange(CHUNK)[:, None] * images
    chunks = [
        np.bincount((rng.integers(0, images, (CHUNK, images)) + rows).ravel(), None, CHUNK * images)
        for _ in range(DRAWS // CHUNK)
    ]
    return np.concatenate(chunks).astype(np.uint8).reshape(DRAWS, images)


def resampled(columns: np.ndarray) -> np.ndarray:
    """Sums of each column over images drawn with replacement.

    Args:
        columns: (N, Q) values per image.

    Returns:
        (DRAWS, Q) sums; the draws are the same in every call with as many images.
    """
    counts = _counts(len(columns))
    parts = [counts[at : at + CHUNK] @ columns for at in range(0, DRAWS, CHUNK)]
    return np.concatenate(parts)


def mean_draws(values: np.ndarray) -> Draws:
    """Means over images; `values` is (M, N)."""
    return Draws(values.mean(1), resampled(values.T) / values.shape[1])


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
