"""How well scores tell OOD from ID images: OOD is the positive class, higher = more OOD.

With ties, a threshold takes all samples of one score or none: AUROC counts them half, average
precision and FPR95 move past them in one step, and nothing is interpolated.
"""

from __future__ import annotations

import math

import numpy as np

from harness.core.arrays import checked_scores
from harness.metrics.dictionary import plug

TPR = 0.95


def _checked(id_scores: np.ndarray, ood_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, outside = checked_scores(id_scores, ood_scores)
    return scores[~outside], scores[outside]


@plug("auroc")
def auroc(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Area under the ROC curve, OOD positive, ties counting half; in [0, 1], higher is better.

    Args:
        id_scores: (N,) scores of ID images, higher = more OOD.
        ood_scores: (M,) scores of OOD images.

    >>> auroc(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.875
    """
    inside, outside = _checked(id_scores, ood_scores)
    inside = np.sort(inside)
    halves = sum(int(np.searchsorted(inside, outside, side).sum()) for side in ("left", "right"))
    return halves / (2 * len(inside) * len(outside))  # whole numbers up to here: exact


def average_precision(negative: np.ndarray, positive: np.ndarray) -> float:
    """Sum over thresholds of precision times the step in recall; in [0, 1], higher is better.

    The trapezoid under the precision-recall curve is another number, far above this one with ties.

    Args:
        negative: (N,) scores of the negative class.
        positive: (M,) scores of the positive class, meant to be higher.
    """
    negative, positive = _checked(negative, positive)
    thresholds, count = np.unique(positive, return_counts=True)
    caught = np.cumsum(count[::-1])[::-1]
    wrong = len(negative) - np.searchsorted(np.sort(negative), thresholds, "left")
    return float(count @ (caught / (caught + wrong)) / len(positive))


@plug("aupr_out")
def aupr_out(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Average precision, OOD positive; depends on the share of OOD images.

    Args:
        id_scores: (N,) scores of ID images, higher = more OOD.
        ood_scores: (M,) scores of OOD images.
    """
    return average_precision(id_scores, ood_scores)


@plug("aupr_in")
def aupr_in(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Average precision, ID positive (its score is the negative); depends on the share of OOD."""
    return average_precision(-np.asarray(ood_scores), -np.asarray(id_scores))


def fpr_at_tpr(id_scores: np.ndarray, ood_scores: np.ndarray, *, tpr: float = TPR) -> float:
    """False-positive rate on ID images when at least `tpr` of the OOD images are caught.

    Positive = OOD; flagged is what scores at least the threshold. For ID positive call
    `fpr_at_tpr(-ood_scores, -id_scores)`.

    Args:
        id_scores: (N,) scores of ID images, higher = more OOD.
        ood_scores: (M,) scores of OOD images.
        tpr: fraction of OOD images to catch, in (0, 1].

    Returns:
        Fraction in [0, 1], lower is better. The largest threshold that reaches `tpr` is used,
        without interpolation; ties count against the detector.

    Raises:
        ValueError: an array is empty or not finite, or `tpr` is outside (0, 1].

    >>> fpr_at_tpr(np.array([0.1, 0.2, 0.3, 0.9]), np.array([0.4, 0.5, 0.8]))
    0.25
    """
    if not 0 < tpr <= 1:
        raise ValueError(f"tpr must be in (0, 1], got {tpr}")
    inside, outside = _checked(id_scores, ood_scores)
    rank = math.ceil(tpr * len(outside) - 1e-9)  # 0.55 * 100 is 55.00000000000001
    threshold = np.sort(outside)[len(outside) - rank]
    return float((inside >= threshold).mean())


@plug("fpr95")
def fpr95(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Share of ID images flagged when at least 95 % of the OOD images are; lower is better.

    Source: OpenOOD v1.5, arXiv:2306.09301 (OOD positive, see Jingkang50/OpenOOD#206).
    """
    return fpr_at_tpr(id_scores, ood_scores)


@plug("fpr95_id_positive")
def fpr95_id_positive(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Share of OOD images passed when at least 95 % of the ID images are; lower is better.

    Source: ODIN, arXiv:1706.02690.
    """
    return fpr_at_tpr(-np.asarray(ood_scores), -np.asarray(id_scores))


def tied_scores(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Share of all images whose score another image has as well, in [0, 1].

    >>> tied_scores(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.5
    """
    scores = np.concatenate(_checked(id_scores, ood_scores))
    count = np.unique(scores, return_counts=True)[1]
    return float(count[count > 1].sum() / len(scores))
