"""Calibration errors of several models, to be compared: bounds a model, correlations over images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.pairing.number import Number
from harness.pairing.spread import Bounded
from harness.statistics import binned_term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.pairing.number import Aligned
    from harness.statistics import BinnedKind, Term

ROUNDED = 1e-5  # confidences of one network in float32 differ by less between machines


def binned_number(title: str, kind: BinnedKind, aligned: Aligned, bins: int) -> Number:
    """A binned calibration error of the top label.

    Args:
        title: for people.
        kind: which error; a maximum over bins has no bounds.
        aligned: columns `confidence` and `correct`.
        bins: equal-width bins of the confidence.
    """
    if not aligned.keys:
        return Number(title, "lower")
    confidence, right = aligned.columns["confidence"], aligned.columns["correct"]
    seeds, models, images = confidence.shape
    outcomes = np.stack([confidence, right]).reshape(2, -1, images).swapaxes(0, 1)
    same = _same(outcomes)
    terms = {
        first: binned_term(outcomes[first, 0], outcomes[first, 1], kind, bins=bins)
        for first in dict.fromkeys(same)
    }
    every = [terms[first] for first in same]
    single = np.array([term.value for term in every]).reshape(seeds, models)
    return Number(title, "lower", aligned.keys, single, _bounded(every, same), images)


def _same(outcomes: np.ndarray) -> list[int]:
    """For each of (T, ...) terms the first with the same outcomes, as another machine rounds them."""
    firsts: list[int] = []
    for place, one in enumerate(outcomes):
        alike = (first for first in set(firsts) if np.abs(outcomes[first] - one).max() <= ROUNDED)
        firsts.append(min(alike, default=place))
    return firsts


def _bounded(terms: Sequence[Term], same: Sequence[int]) -> Bounded:
    centre, low, high = (
        np.array([getattr(term, name) for term in terms]) for name in ("centre", "low", "high")
    )
    return Bounded(
        centre, low, high, _correlation(np.stack([t.pull for t in terms])), np.array(same)
    )


def _correlation(pulls: np.ndarray) -> np.ndarray:
    """(T, T) of (T, N) pulls; an error that no image moves goes with no other."""
    centred = pulls - pulls.mean(1, keepdims=True)
    size = np.sqrt(np.square(centred).sum(1, keepdims=True))
    unit = centred / np.where(size > 0, size, 1)
    return unit @ unit.T
