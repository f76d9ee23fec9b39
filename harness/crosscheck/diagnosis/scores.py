"""The probable cause of other scores than ours, of the same samples."""

from __future__ import annotations

import numpy as np

RELATIVE = 1e-5  # of the spread of the scores: the same, but for float32
ORDERED = 0.999  # rank correlation of scores on another scale


def scores(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Why a detector's scores are not ours, in words; "" if they are the same or nothing fits.

    Args:
        ours: (N,) scores, higher = more OOD.
        theirs: (N,) scores of the suspect, of the same samples.
    """
    if ours.shape != theirs.shape:
        return (
            f"it has {len(theirs)} scores for {len(ours)} samples: samples are dropped or repeated"
        )
    spread = max(float(np.ptp(ours)), 1e-12)
    if _same(ours, theirs, spread):
        return ""
    if np.ptp(theirs) == 0:
        return "all its scores are equal"
    if _same(-ours, theirs, spread):
        return "the sign of the score is flipped"
    if _same(np.sort(ours), np.sort(theirs), spread):
        return "the scores stand in another order than the samples (shuffled)"
    return _related(ours, theirs)


def _same(a: np.ndarray, b: np.ndarray, spread: float) -> bool:
    return float(np.abs(a - b).max()) <= RELATIVE * spread


def _related(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Scores on another scale, or hardly related."""
    slope, offset = np.polyfit(ours, theirs, 1)
    linear = _same(slope * ours + offset, theirs, float(np.ptp(theirs)))
    if linear:
        flip = ", and the sign of the score is flipped" if slope < 0 else ""
        return f"its scores are {slope:.4g} times ours {'+' if offset >= 0 else '-'} {abs(offset):.4g}: other units or temperature{flip}"
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (ours, theirs)]
    rank = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    if rank > ORDERED:
        return "its scores are in our order on another scale: another function of the same quantity"
    if rank < -ORDERED:
        return "the sign of the score is flipped, on another scale"
    if abs(rank) < 0.2:
        return f"its scores hardly go with ours (rank correlation {rank:.2f}): rows mixed up, or another quantity"
    return f"its scores go with ours only in part (rank correlation {rank:.2f}): other parameters, or fitted on other data"
