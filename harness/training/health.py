"""Whether a training is healthy: checks H90 (collapse) and H91 (catastrophic overfitting)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Epoch = dict[str, float]
"""epoch; loss and accuracy on what was learnt from; val_accuracy on held-out images; and, where the
recipe attacks, their accuracy under its own attack (attack_accuracy) and ten steps of PGD
(probe_accuracy), both at the full budget."""

WINDOW, PATIENCE = 50, 200  # steps: judged at a time, and before anything is judged
NEAR_CHANCE = 0.02  # of ln K, to which a loss stuck at chance is this near
DROP, GAP = 0.2, 0.2  # of the accuracy under PGD: between epochs, and below the own attack's
HIGH = 0.8  # training accuracy that looks well


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

    Accuracy under PGD on held-out images falls by more than 20 points below what it had been while
    the training accuracy is high, or ends more than 20 points below that under the own attack.
    """
    probed = [epoch for epoch in history if "probe_accuracy" in epoch]
    best = 0.0
    for epoch in probed:
        now = epoch["probe_accuracy"]
        if best - now > DROP and epoch["accuracy"] >= HIGH:
            return f"accuracy under PGD fell from {best:.3f} to {now:.3f} by epoch {epoch['epoch']}"
        best = max(best, now)
    if not probed:
        return ""
    own, pgd = probed[-1]["attack_accuracy"], probed[-1]["probe_accuracy"]
    if learnt_only(own, pgd):
        return f"its own attack leaves {own:.3f} of the held-out images right, PGD {pgd:.3f}"
    return ""


def learnt_only(own: float, stronger: float) -> bool:
    """Whether a network stands against its own attack and not against a stronger one.

    Args:
        own: accuracy under the attack that it was trained on, at its training budget.
        stronger: accuracy under PGD, or the worst of several attacks, at the same budget.
    """
    return own - stronger > GAP
