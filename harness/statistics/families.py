"""Many comparisons at once, what n can show, and gates."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import optimize, stats

Gate = Literal["no regression", "regression", "undecided"]


def holm(p: np.ndarray) -> np.ndarray:
    """P values after Holm's step-down correction, in the order given; NaN stays NaN.

    Source: Holm 1979.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.arange(len(order), 0, -1) * p[order]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps)) if len(order) else steps
    return adjusted


def detectable_difference(
    n: int, discordance: float, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest paired difference of two proportions that n samples show with the given power.

    Args:
        n: pairs.
        discordance: share of pairs in which the two differ.
        power: probability of seeing it.
        alpha: two-sided level.

    Returns:
        A share in (0, discordance], or `discordance` where even that is not enough.

    Source: Connor 1987, "Sample size for testing differences in proportions for the paired-sample
        design" (without continuity correction).
    """
    z_level, z_power = stats.norm.ppf(1 - alpha / 2), stats.norm.ppf(power)

    def lacking(gap: float) -> float:
        spread = max(discordance - gap**2, 0.0)
        return z_level * np.sqrt(discordance) + z_power * np.sqrt(spread) - gap * np.sqrt(n)

    if lacking(discordance) > 0:
        return discordance
    found: float = optimize.brentq(lacking, 0.0, discordance)  # pyright: ignore[reportAssignmentType]
    return float(found)


def gate(low: float, high: float, margin: float) -> Gate:
    """Whether a change (new minus old, higher is better) is a regression beyond `margin`.

    >>> gate(-0.005, 0.01, 0.01), gate(-0.05, -0.02, 0.01), gate(-0.02, 0.01, 0.01)
    ('no regression', 'regression', 'undecided')
    """
    if low > -margin:
        return "no regression"
    return "regression" if high < -margin else "undecided"
