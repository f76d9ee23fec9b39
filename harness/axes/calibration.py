"""Whether confidence means what it says: before and after temperature scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness import metrics
from harness.axes.view import Measured, View, absent

if TYPE_CHECKING:
    from harness.axes.view import Who

NONE, TEMPERATURE = "none", "temperature"
BINNED = ("ece", "mce", "rms_calibration_error")
PROPER = ("brier", "nll")


def measure(view: View) -> Measured:
    """Rows of every calibration metric, for every model, without and with temperature scaling."""
    measured = Measured()
    if view.suite.calibration is None:
        return measured
    for who in view.everyone():
        _model(view, who, measured)
    return measured


def temperature(view: View, who: Who) -> float | None:
    """Temperature fitted on the validation split, or None if there is no record."""
    arrays = view.arrays("predict", who, "val")
    return None if arrays is None else metrics.fit_temperature(arrays["logits"], arrays["labels"])


def probabilities(view: View, who: Who, scaling: str) -> tuple[np.ndarray, np.ndarray] | None:
    """(N, K) probabilities in float64 and (N,) labels of the test split, or None."""
    arrays = view.arrays("predict", who, "test")
    scale = temperature(view, who) if scaling == TEMPERATURE else 1.0
    if arrays is None or scale is None:
        return None
    return metrics.softmax(arrays["logits"].astype(np.float64) / scale), arrays["labels"]


def _model(view: View, who: Who, measured: Measured) -> None:
    for scaling in (NONE, TEMPERATURE):
        found = probabilities(view, who, scaling)
        if found is None:
            record = view.record("predict", who, "test")
            measured.rows.append(absent(view, who, "calibration", "ece", record, scaling=scaling))
            continue
        _scaling(view, who, scaling, *found, measured)
