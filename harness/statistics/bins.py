"""Samples in bins of equal width, by how sure a model is of them: gaps, their noise, and no gaps.

A gap is a bin's share of the samples times (mean confidence - accuracy) in it; the calibration error
of a model is a norm of its gaps.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from harness import metrics
from harness.core.rng import numpy_rng

BinnedKind = Literal["ece", "mce", "rms_calibration_error"]
CLEAR = 2.5  # standard errors from which a gap is real by itself
NULL_DRAWS = 2000
ROUNDING = 1e-9  # relative: equal errors must compare as equal


@dataclass(frozen=True, slots=True)
class Bins:
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

    @property
    def shrunk(self) -> float:
        """How much of the squared gaps is more than noise (James and Stein's factor), in [0, 1]."""
        size = float(np.square(self.gaps / self.error).sum())
        return max(0.0, 1 - len(self.gaps) / size) if size else 1.0

    @property
    def unclear(self) -> tuple[float, float]:
        """By how much the gaps that are not clear exceed noise, all together.

        In standard deviations of their sum of squares, and as a share of it, in [0, 1].
        """
        square = np.square(self.gaps / self.error)
        square = square[square <= CLEAR**2]
        mean, deviation = noise_below(CLEAR)
        size, noise = float(square.sum()), len(square) * mean
        if size <= noise:
            return -math.inf, 0.0
        return (size - noise) / (deviation * math.sqrt(len(square))), 1 - noise / size

    def quiet(self, kind: BinnedKind) -> float:
        """The error less what noise adds to gaps of this size, once their size is rid of noise."""
        if kind != "ece":
            square = float((np.square(self.gaps) / self.share).sum())
            return math.sqrt(max(0.0, square - float((np.square(self.error) / self.share).sum())))
        clear = np.abs(self.gaps) / self.error * math.sqrt(self.shrunk)
        added = 2 * (np.exp(-np.square(clear) / 2) / math.sqrt(2 * math.pi) - clear * special.ndtr(-clear))  # fmt: skip
        return float((np.abs(self.gaps) - added * self.error).sum())

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


def binned(confidence: np.ndarray, right: np.ndarray, bins: int) -> Bins:
    """The bins that hold samples, of so many equal ones.

    Args:
        confidence: (N,) of the top label.
        right: (N,) whether it is right.
        bins: in [0, 1], of equal width.
    """
    index = metrics.bin_index(confidence, bins)
    count = np.bincount(index)
    held = count > 0
    means = np.bincount(index, confidence)[held] / count[held]
    return Bins(len(index), count[held], means, np.bincount(index, right)[held])


def null(confidence: np.ndarray, bins: int) -> np.ndarray:
    """(NULL_DRAWS, B) gaps of a calibrated model, in the bins that hold samples.

    Correctness is drawn from the confidences themselves: the mistakes of a bin are a sum of unequal
    coins, drawn from the binomial distribution that has its mean and its variance.

    Source: Ehm 1991, "Binomial approximation to the Poisson binomial distribution".
    """
    index, n = metrics.bin_index(confidence, bins), len(confidence)
    held = np.bincount(index) > 0
    wrong, square = (np.bincount(index, (1 - confidence) ** power)[held] for power in (1, 2))
    sure = wrong == 0
    coins = np.ceil(wrong**2 / np.where(sure, 1.0, square) * (1 - ROUNDING)).astype(np.int64)
    chance = wrong / np.maximum(coins, 1)
    drawn = numpy_rng(0, "calibrated", n).binomial(coins, chance, (NULL_DRAWS, len(coins)))
    return np.asfortranarray(drawn - wrong) / n


@functools.cache
def noise_below(limit: float) -> tuple[float, float]:
    """Mean and standard deviation of z squared, of standard normal z no larger than a limit.

    >>> [round(number, 3) for number in noise_below(2.5)]
    [0.911, 1.161]
    """
    inside = 2 * float(special.ndtr(limit)) - 1
    height = 2 * math.exp(-(limit**2) / 2) / math.sqrt(2 * math.pi) / inside
    mean, fourth = 1 - limit * height, 3 - (limit**3 + 3 * limit) * height
    return mean, math.sqrt(fourth - mean**2)
