"""Shares of right answers, and paired differences of two of them."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from harness.statistics.estimates import Difference, Estimate, Z


def wilson(hits: float, n: int) -> tuple[float, float]:
    """Score interval of a proportion.

    Args:
        hits: successes, in [0, n].
        n: trials, >= 1.

    Source: Wilson 1927; recommended by Brown, Cai and DasGupta 2001.

    >>> [round(end, 4) for end in wilson(9900, 10000)]
    [0.9879, 0.9918]
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"hits must lie in [0, n] and n be positive, got {hits} of {n}")
    share, spread = hits / n, Z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    low = 0.0 if hits == 0 else centre - half
    return low, 1.0 if hits == n else centre + half


def proportion(right: np.ndarray) -> Estimate:
    """Share of True in (N,) bool, with Wilson's interval.

    Raises:
        ValueError: the array is empty.
    """
    n, hits = len(right), int(np.count_nonzero(right))
    low, high = wilson(hits, n)
    return Estimate(hits / n, low, high, n, "wilson")


def paired_proportions(a: np.ndarray, b: np.ndarray) -> Difference:
    """Share of True in a minus share in b, over the same samples.

    Interval: Newcombe's score interval for paired proportions; p: exact McNemar, the binomial test
    on the pairs that differ.

    Args:
        a: (N,) bool.
        b: (N,) bool, the same samples in the same order.

    Source: Newcombe 1998, "Improved confidence intervals for the difference between binomial
        proportions based on paired data", method 10; McNemar 1947 in its exact form.
    """
    if a.shape != b.shape or len(a) == 0:
        raise ValueError(
            f"paired samples must have one shape and be there, got {a.shape} and {b.shape}"
        )
    a, b = a.astype(bool), b.astype(bool)
    n, wins, losses = len(a), int((a & ~b).sum()), int((b & ~a).sum())
    low, high = _newcombe(int((a & b).sum()), wins, losses, n)
    p = 1.0 if wins + losses == 0 else float(stats.binomtest(wins, wins + losses).pvalue)
    return Difference((wins - losses) / n, low, high, p, n, wins, losses, "newcombe, mcnemar")


def _newcombe(both: int, wins: int, losses: int, n: int) -> tuple[float, float]:
    neither = n - both - wins - losses
    share_a, share_b = (both + wins) / n, (both + losses) / n
    low_a, high_a = wilson(both + wins, n)
    low_b, high_b = wilson(both + losses, n)
    phi = _correlation(both, wins, losses, neither, n)
    down = (share_a - low_a, high_b - share_b)
    up = (high_a - share_a, share_b - low_b)
    gap = share_a - share_b
    return gap - _length(*down, phi), gap + _length(*up, phi)


def _length(x: float, y: float, phi: float) -> float:
    return math.sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))


def _correlation(both: int, wins: int, losses: int, neither: int, n: int) -> float:
    """Phi of the 2 x 2 table, with Newcombe's continuity correction where it is positive."""
    margins = (both + wins) * (losses + neither) * (both + losses) * (wins + neither)
    if margins == 0:
        return 0.0
    cross = both * neither - wins * losses
    corrected = max(cross - n / 2, 0) if cross > 0 else cross
    return corrected / math.sqrt(margins)
