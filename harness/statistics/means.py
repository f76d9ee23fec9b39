"""Means over images: losses, shares over several cases, ratios, and their paired differences.

The same image stands in every case, so a mean over cases is a mean over images of the images' own
means. Few images carry such a mean where most are right, and then the percentile bootstrap falls
short (80 to 90 % at accuracy 0.999); the intervals here correct for skewness and reckon with the
image that was not seen. The ratio to a baseline is bootstrapped: its draws are one matrix of
multinomial weights a sample size, made once from a named stream, so that equal records give equal
intervals.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import special, stats

from harness.core.rng import numpy_rng
from harness.statistics.estimates import TAILS, Difference, Estimate, Z
from harness.statistics.proportions import mcnemar, tango

DRAWS = 2000
CHUNK = 50_000_000  # weights held at a time
FEW = 6.0  # effective samples up to which a gamma distribution alone bounds a mean
FEWER = 4.0  # the same for differences
SURPRISED = math.log(2)  # NLL of a sample whose true class had probability 1/2
SURPRISES = 5  # so many must be expected before the mean of the NLL has an interval that covers


@functools.lru_cache(maxsize=4)
def weights(n: int, draws: int = DRAWS, stream: str = "images") -> np.ndarray:
    """(draws, n) float32 bootstrap weights, each row summing to n; the same for every caller."""
    rng = numpy_rng(0, "bootstrap", stream, n)
    found = np.empty((draws, n), np.float32)
    for row in found:
        row[:] = np.bincount(rng.integers(0, n, n), minlength=n)
    found.setflags(write=False)
    return found


def resampled(values: np.ndarray) -> np.ndarray:
    """(DRAWS,) or (DRAWS, M) means of (N,) or (N, M) values over resampled rows.

    Above 20,000 rows in slices, so that memory stays low.
    """
    n = len(values)
    if n * DRAWS <= CHUNK:
        return weights(n) @ values.astype(np.float32) / np.float32(n)
    rng = numpy_rng(0, "bootstrap", "images", n)
    return np.stack([values[rng.integers(0, n, n)].mean(0) for _ in range(DRAWS)])


# ---------------------------------------------------------------- one mean


def mean(values: np.ndarray, *, largest: float = math.inf) -> Estimate:
    """Mean of values that are >= 0, with a t interval corrected for skewness.

    Nor is it taken beyond the gamma interval, which bounds a weighted sum of rare events as if one more
    sample had the largest value, the one that was not drawn: where a dozen samples carry the mean, the
    correction overshoots (it holds 97.5 %). Where at most FEW do, the gamma interval stands alone.

    Args:
        values: (N,) in [0, largest].
        largest: the largest value possible; if infinite, the largest one seen stands for it.

    Raises:
        ValueError: there are no values, or one lies outside [0, largest].

    Source: Hall 1992, "On the removal of skewness by transformation"; Fay and Feuer 1997,
        "Confidence intervals for directly standardized rates".
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0 or values.ndim != 1 or not ((values >= 0) & (values <= largest)).all():
        raise ValueError(f"values must be (N,) in [0, {largest}], got {values.shape}")
    n, value = len(values), float(values.mean())
    if n == 1:
        return Estimate(value, None, None, n, "one sample")
    if value > largest / 2:
        high, low = (largest - end for end in _ends(largest - values, largest))
    else:
        low, high = _ends(values, largest)
    return Estimate(value, max(low, 0.0), min(high, largest), n, "skewness-corrected t")


def mean_nll(values: np.ndarray) -> Estimate:
    """Mean of (N,) negative log-likelihoods, with the interval of `mean`.

    There is none below SURPRISES expected samples whose true class has less than half of the
    probability: what such an image costs is not bounded, and a few do not show it. They are counted
    as the model's own probabilities expect them, on the samples that did not surprise. To count those
    that did would print intervals for draws with many of them alone (2 % of 500 at 0.3 % errors), and
    these covered 75 %.
    """
    found = mean(values)
    expected = -np.expm1(-values[values <= SURPRISED]).sum()
    if expected >= SURPRISES:
        return found
    return Estimate(found.value, None, None, found.n, f"fewer than {SURPRISES} surprises expected")


def mean_over_cases(right: np.ndarray) -> Estimate:
    """Mean of (B, N) outcomes in [0, 1] over B cases and N images; the images are the sample.

    The same image stands in every case: B * N outcomes are not independent.
    """
    return mean(np.asarray(right).mean(0, dtype=np.float64), largest=1.0)


def _ends(values: np.ndarray, largest: float) -> tuple[float, float]:
    low, high = _hall(values)
    total, square = float(values.sum()), float(np.square(values).sum())
    worst = largest if math.isfinite(largest) else float(values.max())
    least = _gamma(total, square, TAILS[0]) / len(values)
    most = _gamma(total + worst, square + worst**2, TAILS[1]) / len(values)
    if total**2 <= FEW * square:
        return least, most
    return max(low, least), min(high, most)


def _gamma(total: float, square: float, q: float) -> float:
    """Quantile of a gamma variable with this mean and variance."""
    if square == 0:
        return 0.0
    return float(special.gammaincinv(total**2 / square, q)) * square / total


def _hall(values: np.ndarray) -> tuple[float, float]:
    """Ends of the t interval after Hall's cubic transformation."""
    n, value, spread = len(values), float(values.mean()), float(values.std(ddof=1))
    if spread <= 1e-12 * abs(value):
        return value, value
    skew = float(np.mean(((values - value) / spread) ** 3))
    if abs(skew) < 1e-6:
        half = Z * spread / math.sqrt(n)
        return value - half, value + half
    cubes = 1 + skew * (np.array([Z, -Z]) / math.sqrt(n) - skew / (6 * n))
    low, high = value - spread * (np.cbrt(cubes) - 1) * 3 / skew
    return float(low), float(high)


# ---------------------------------------------------------------- two means


def mean_difference(a: np.ndarray, b: np.ndarray, *, largest: float = math.inf) -> Difference:
    """Mean of a minus mean of b over cases, paired by image: proportions of unequal images.

    The differences of the images are taken as effective counts: as many wins and losses of one size
    as have the same sum and the same sum of squares. On these stand the score interval and the
    exact test of `paired_proportions`, which is the special case of outcomes that are 0 or 1. Where
    fewer than FEWER count, one more image that differs by `largest` is reckoned with.

    Args:
        a: (B, N) or (N,) outcomes.
        b: the same shape, the same images.
        largest: the largest difference possible; if infinite, the largest one seen stands for it.
    """
    if a.shape != b.shape or a.shape[-1] == 0:
        raise ValueError(f"paired outcomes must have one shape, got {a.shape} and {b.shape}")
    gaps = np.atleast_2d(a).mean(0, dtype=np.float64) - np.atleast_2d(b).mean(0, dtype=np.float64)
    n, size, square = len(gaps), float(np.abs(gaps).sum()), float(np.square(gaps).sum())
    wins, losses = int((gaps > 0).sum()), int((gaps < 0).sum())
    if size == 0:
        return Difference(0.0, *_unseen(n, largest), 1.0, n, 0, 0, "tango on effective counts")
    unit, value = square / size, float(gaps.mean())
    ahead, behind = float(gaps[gaps > 0].sum()) / unit, float(-gaps[gaps < 0].sum()) / unit
    low, high = (unit * end for end in tango(ahead, behind, n))
    if ahead + behind < FEWER:
        worst = largest if math.isfinite(largest) else float(np.abs(gaps).max())
        half = Z * math.sqrt(square + worst**2) / n
        low, high = min(low, value - half), max(high, value + half)
    p = mcnemar(ahead, behind)
    return Difference(value, low, high, p, n, wins, losses, "tango on effective counts")


def _unseen(n: int, largest: float) -> tuple[float, float]:
    """Interval of a difference of which nothing was seen."""
    low, high = tango(0, 0, n)
    scale = largest if math.isfinite(largest) else 0.0
    return scale * low, scale * high


# ---------------------------------------------------------------- ratios and seeds


def relative_error(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Mean over cases of err(a) / err(b); images are resampled together.

    Args:
        a: (B, N) bool, right or not: the model.
        b: (B, N) bool: the baseline.

    Returns:
        None as interval where the baseline makes no error in some case or some draw.
    """
    errors = np.stack([~a.astype(bool), ~b.astype(bool)]).astype(np.float32)
    whole = errors.mean(2, dtype=np.float64)
    n = a.shape[1]
    if (whole[1] == 0).any():
        return Estimate(
            float("inf") if (whole[0] > 0).any() else 1.0, None, None, n, "baseline without error"
        )
    value = float((whole[0] / whole[1]).mean())
    mine, theirs = resampled(errors[0].T), resampled(errors[1].T)
    if (theirs == 0).any():
        return Estimate(value, None, None, n, "baseline without error in some draws")
    ratios = (mine / theirs).mean(1, dtype=np.float64)
    low, high = np.quantile(ratios, TAILS)
    return Estimate(value, float(low), float(high), n, "bootstrap")


def over_seeds(values: np.ndarray) -> Estimate:
    """Mean over seeds with a t interval; None as interval for one seed."""
    n, value = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(value, None, None, n, "one seed")
    half = float(stats.t.ppf(TAILS[1], n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Estimate(value, value - half, value + half, n, "t")
