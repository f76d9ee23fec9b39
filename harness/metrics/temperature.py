"""Temperature scaling: one number, fitted on validation images, that divides all logits."""

from __future__ import annotations

import numpy as np
from scipy import optimize, special

from harness.core.arrays import ROUNDING
from harness.metrics.probabilities import checked_logits

WIDTH = float(np.log(1e6))
"""T is sought within a factor of a million of the mean range of a row of logits, on either side."""


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Temperature T > 0 that minimises the NLL of logits / T; T > 1 cools an over-confident model.

    In float64 on log-probabilities, so that saturated logits keep their gradient; the NLL is convex
    in 1 / T, so there is one minimum. Where every prediction is right, or all logits are equal,
    there is no finite one and T is 1: the images say nothing about confidence.

    Args:
        logits: (N, K) validation logits, never probabilities.
        labels: (N,) integers in [0, K).

    Raises:
        ValueError: a shape or a label is wrong, or every row is a distribution already.

    Source: Guo et al. 2017, arXiv:1706.04599.
    """
    logits = _checked(logits, labels)
    true = logits[np.arange(len(logits)), labels]
    right = (logits.argmax(1) == labels).all()
    scale = float(np.ptp(logits, axis=1).mean())
    if right or scale == 0:
        return 1.0

    def nll(log_t: float) -> float:
        t = np.exp(log_t)
        return float((special.logsumexp(logits / t, axis=1) - true / t).mean())

    middle = np.log(scale)
    found = optimize.minimize_scalar(
        nll,
        bounds=(middle - WIDTH, middle + WIDTH),
        method="bounded",
        options={"xatol": 1e-9, "maxiter": 200},
    )
    return float(np.exp(found.x))


def are_probabilities(outputs: np.ndarray) -> bool:
    """Whether (N, K) outputs are probabilities and not logits: there is no temperature of those."""
    return bool((outputs >= 0).all() and (np.abs(outputs.sum(1) - 1) <= ROUNDING).all())


def _checked(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    logits, labels = checked_logits(logits), np.asarray(labels)
    if labels.shape != logits.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be {len(logits)} integers, got {labels.dtype}{labels.shape}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"labels must lie in [0, {logits.shape[1]}), got [{labels.min()}, {labels.max()}]"
        )
    if are_probabilities(logits):
        raise ValueError("these are probabilities (rows >= 0 with sum 1): hand over the logits")
    return logits
