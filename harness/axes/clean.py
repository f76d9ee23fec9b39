"""Accuracy on unperturbed test images: what every other number stands beside (check H61)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.axes.view import Measured, View, absent, row, versus
from harness.statistics import paired_proportions, proportion

if TYPE_CHECKING:
    import numpy as np

    from harness.axes.view import Who


def measure(view: View) -> Measured:
    """Clean accuracy of every model, and its paired difference to the baseline."""
    measured = Measured()
    for who in view.everyone():
        _model(view, who, measured)
    return measured


def correct(view: View, who: Who, case: str = "test", member: int = 0) -> np.ndarray | None:
    """(N,) bool: right on each image of a split, or None if there is no record."""
    arrays = view.arrays("predict", who, case, member)
    return None if arrays is None else arrays["logits"].argmax(1) == arrays["labels"]


def _model(view: View, who: Who, measured: Measured) -> None:
    arrays = view.arrays("predict", who, "test")
    if arrays is None:
        record = view.record("predict", who, "test")
        measured.rows.append(absent(view, who, "clean", "accuracy", record))
        return
    prediction = arrays["logits"].argmax(1)
    right = prediction == arrays["labels"]
    job = view.digest("predict", who, "test")
    found = row(view, who, "clean", "accuracy", proportion(right), job=job)
    measured.rows.append(found)
    measured.outcome("clean", who, id=arrays["ids"], label=arrays["labels"], prediction=prediction)
    baseline = view.baseline(who)
    theirs = correct(view, baseline) if baseline else None
    if theirs is not None:
        measured.rows.append(versus(found, paired_proportions(right, theirs)))
