"""Whether a training is healthy: checks H90 (collapse) and H91 (catastrophic overfitting)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Epoch = dict[str, float]
"""epoch, loss, accuracy, val_accuracy and, against an attack, probe_accuracy."""

WINDOW, PATIENCE = 50, 200  # steps: judged at a time, and before anything is judged
NEAR_CHANCE = 0.02  # of ln K, to which a loss stuck at chance is this near
DROP, GAP, HIGH = 0.2, 0.5, 0.8  # of probe accuracy, between it and training's, and of the latter


def chance(loss: float, accuracy: float, classes: int) -> str:
    """Why a training sits at chance (check H90), or "".

    Args:
        loss: mean training loss of the last steps, in nats.
        accuracy: mean training accuracy of the same steps.
        classes: K.
    """
    level = math.log(classes)
    if not math.isfinite(loss):
        return "the training loss is not finite"
    if abs(loss - level) <= NEAR_CHANCE * level:
        return f"the training loss sits at {loss:.3f}, chance is ln {classes} = {level:.3f}"
    if accuracy < 2 / classes:
        return f"the training accuracy sits at {accuracy:.3f}, chance is {1 / classes:.3f}"
    return ""


def catastrophe(history: Sequence[Epoch]) -> str:
    """How a network learnt its own attack and nothing more (check H91), or "".

    PGD accuracy on held-out images falls by more than 20 points below what it had been, or ends
    more than 50 points below the training accuracy, while that is high.
    """
    probed = [epoch for epoch in history if "probe_accuracy" in epoch]
    best = 0.0
    for epoch in probed:
        now = epoch["probe_accuracy"]
        if best - now > DROP and epoch["accuracy"] >= HIGH:
            return f"PGD accuracy on held-out images fell from {best:.3f} to {now:.3f} in epoch {epoch['epoch']:.0f}"
        best = max(best, now)
    if probed and probed[-1]["accuracy"] >= HIGH:
        gap = probed[-1]["accuracy"] - probed[-1]["probe_accuracy"]
        if gap > GAP:
            return f"PGD accuracy on held-out images ends {100 * gap:.0f} points below the training accuracy"
    return ""
