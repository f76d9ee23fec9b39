"""Many comparisons at once, what n can show, and gates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import optimize, special, stats

from harness.statistics.proportions import mcnemar

if TYPE_CHECKING:
    import numpy.typing as npt

Gate = Literal["no regression", "regression", "undecided"]


def holm(p: npt.ArrayLike) -> np.ndarray:
    """P values after Holm's step-down correction, in the order given; NaN stays NaN.

    Source: Holm 1979.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.arange(len(order), 0, -1) * p[order]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def detectable_difference(
    n: int, discordance: float, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest paired difference that n samples show with the given power, by exact McNemar.

    Args:
        n: pairs.
        discordance: share of pairs in which the two differ, in (0, 1].
        power: probability of seeing it.
        alpha: two-sided level.

    Returns:
        A share in (0, discordance], or infinity where no difference could be seen: at most five
        discordant pairs, for example, show nothing at the level of 0.05.

    >>> round(detectable_difference(1000, 0.05), 3)
    0.02
    """
    pairs = np.arange(n + 1)
    chance = stats.binom.pmf(pairs, n, discordance)
    likely = chance > 1e-9
    pairs, chance = pairs[likely], chance[likely]
    needed = np.array([_needed(int(m), alpha) for m in pairs])

    def lacking(gap: float) -> float:
        wins = (1 + gap / discordance) / 2
        seen = stats.binom.sf(needed - 1, pairs, wins) + stats.binom.cdf(
            pairs - needed, pairs, wins
        )
        return power - float(chance @ seen)

    if lacking(discordance) > 0:
        return math.inf
    found = optimize.brentq(lacking, 0.0, discordance)
    return float(found)  # pyright: ignore[reportArgumentType] -- a float unless full_output


def least_samples(discordance: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Fewest pairs of which n show any difference at all: where `detectable_difference` gets finite.

    Even if the one is right wherever the two differ, the pairs that differ must be enough of a sweep.

    Args:
        discordance: share of pairs in which the two differ, in (0, 1].
        power: probability of seeing it.
        alpha: two-sided level.

    >>> least_samples(1.0), least_samples(0.5)
    (6, 15)
    """
    sweep = _sweep(alpha)
    return sweep + int(stats.nbinom.ppf(power, sweep, discordance))


def least_discordance(n: int, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest share of pairs that differ for n pairs to show any difference; infinity if none does.

    Args:
        n: pairs.
        power: probability of seeing it.
        alpha: two-sided level.

    >>> round(least_discordance(15), 3), least_discordance(5)
    (0.476, inf)
    """
    sweep = _sweep(alpha)
    return float(special.betaincinv(sweep, n - sweep + 1, power)) if n >= sweep else math.inf


def _sweep(alpha: float) -> int:
    """Fewest discordant pairs that are significant if all go the same way: 6 at 0.05."""
    return math.ceil(1 - math.log2(alpha))


def _needed(pairs: int, alpha: float) -> int:
    """Fewest wins of so many discordant pairs that are significant; one too many if none are."""
    wins = int(stats.binom.isf(alpha / 2, pairs, 0.5))
    while wins <= pairs and mcnemar(wins, pairs - wins) > alpha:
        wins += 1
    return wins


def gate(low: float | None, high: float | None, margin: float) -> Gate:
    """Whether a change (new minus old, higher is better) is a regression beyond `margin`.

    A change without an interval is undecided.

    >>> gate(-0.005, 0.01, 0.01), gate(-0.05, -0.02, 0.01), gate(-0.02, 0.01, 0.01)
    ('no regression', 'regression', 'undecided')
    """
    if low is None or high is None:
        return "undecided"
    if low > -margin:
        return "no regression"
    return "regression" if high < -margin else "undecided"
