"""Means over images, with the images resampled: losses, shares over several cases, ratios.

The draws are one matrix of multinomial weights a sample size, made once from a named stream: equal
records give equal intervals, and two models are always compared on the same draws.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import stats

from harness.core.rng import numpy_rng
from harness.statistics.estimates import Difference, Estimate

DRAWS = 2000
TAILS = (0.025, 0.975)
CHUNK = 50_000_000  # weights held at a time


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


def mean(values: np.ndarray) -> Estimate:
    """Mean of (N,) values with its percentile bootstrap interval."""
    return Estimate(
        float(values.mean()),
        *_tails(resampled(values - values.mean()), values.mean()),
        len(values),
        "bootstrap",
    )


def mean_over_cases(right: np.ndarray) -> Estimate:
    """Mean of (B, N) outcomes over B cases and N images; the images are resampled, not the outcomes.

    The same image stands in every case: B * N outcomes are not independent.
    """
    return mean(right.mean(0, dtype=np.float64))


def mean_difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """Mean of a minus mean of b over cases, paired by image.

    Args:
        a: (B, N) or (N,) outcomes.
        b: the same shape, the same images.
    """
    if a.shape != b.shape:
        raise ValueError(f"paired outcomes must have one shape, got {a.shape} and {b.shape}")
    per_image = np.atleast_2d(a).mean(0, dtype=np.float64) - np.atleast_2d(b).mean(
        0, dtype=np.float64
    )
    value = float(per_image.mean())
    draws = resampled(per_image - value) + value
    low, high = _tails(draws - value, value)
    wins, losses = int((per_image > 0).sum()), int((per_image < 0).sum())
    return Difference(value, low, high, two_sided(draws), len(per_image), wins, losses, "bootstrap")


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


def two_sided(draws: np.ndarray) -> float:
    """Two-sided bootstrap p value of a difference being 0."""
    below, above = float((draws <= 0).mean()), float((draws >= 0).mean())
    return min(1.0, 2 * max(min(below, above), 1 / (len(draws) + 1)))


def _tails(centred: np.ndarray, value: float) -> tuple[float | None, float | None]:
    """Percentile interval, or None where every sample is equal: nothing was learnt of the spread."""
    if not centred.any():
        return None, None
    low, high = np.quantile(centred.astype(np.float64), TAILS)
    return float(value + low), float(value + high)
