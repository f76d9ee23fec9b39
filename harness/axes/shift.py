"""Accuracy under distribution shift: each corruption, their mean, the error against the baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.axes.clean import correct
from harness.axes.view import Measured, View, absent, row, versus
from harness.statistics import (
    mean_difference,
    mean_over_cases,
    paired_proportions,
    proportion,
    relative_error,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.axes.view import Who

MEAN = "mean"


def measure(view: View, corruptions: Sequence[str]) -> Measured:
    """Rows per corruption and over all, for every model."""
    measured = Measured()
    for who in view.everyone():
        right = {name: correct(view, who, name) for name in corruptions}
        baseline = view.baseline(who)
        theirs = {name: correct(view, baseline, name) if baseline else None for name in corruptions}
        for name in corruptions:
            _corruption(view, who, name, right[name], theirs[name], measured)
        _mean(view, who, right, theirs, measured)
    return measured


def _corruption(
    view: View,
    who: Who,
    name: str,
    right: np.ndarray | None,
    theirs: np.ndarray | None,
    measured: Measured,
) -> None:
    if right is None:
        record = view.record("predict", who, name)
        measured.rows.append(absent(view, who, "shift", "accuracy", record, corruption=name))
        return
    arrays = view.arrays("predict", who, name) or {}
    job = view.digest("predict", who, name)
    found = row(view, who, "shift", "accuracy", proportion(right), job=job, corruption=name)
    measured.rows.append(found)
    measured.outcome("shift", who, corruption=name, id=arrays["ids"], correct=right)
    if theirs is not None:
        measured.rows.append(versus(found, paired_proportions(right, theirs)))


def _mean(
    view: View,
    who: Who,
    right: dict[str, np.ndarray | None],
    theirs: dict[str, np.ndarray | None],
    measured: Measured,
) -> None:
    """The same images under every corruption: intervals resample images, never predictions."""
    mine = [values for values in right.values() if values is not None]
    if not mine or len(mine) < len(right):
        missing = [name for name, values in right.items() if values is None]
        record = view.record("predict", who, missing[0]) if missing else None
        measured.rows.append(absent(view, who, "shift", "accuracy", record, corruption=MEAN))
        return
    job = view.digest("predict", who, next(iter(right)))
    found = row(
        view,
        who,
        "shift",
        "accuracy",
        mean_over_cases(np.stack(mine)),
        job=job,
        corruption=MEAN,
    )
    measured.rows.append(found)
    base = [values for values in theirs.values() if values is not None]
    if len(base) < len(mine):
        return
    a, b = np.stack(mine), np.stack(base)
    measured.rows.append(versus(found, mean_difference(a, b)))
    relative = row(
        view, who, "shift", "relative_error", relative_error(a, b), job=job, corruption=MEAN
    )
    measured.rows.append(relative)
