"""Facts about shift, OOD detection and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness import metrics
from harness.axes.clean import correct
from harness.checks import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.axes.view import View, Who
    from harness.checks import Complaint
    from harness.core.types import Row


def shift(view: View, who: Who) -> list[Complaint]:
    """Whether the corrupted sets are the test set, corrupted (H80)."""
    test = view.arrays("predict", who, "test")
    same, right = correct(view, who, "identity"), correct(view, who)
    found: list[Complaint] = []
    if same is not None and right is not None:
        found += CHECKS["H80"]({"identity": same.mean(), "clean": right.mean()}, who.name)
    for name in () if test is None else _disordered(view, who, test):
        found += CHECKS["H80"]({"disordered": [name]}, who.name, f"corruption={name}")
    return found


def _disordered(view: View, who: Who, test: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Corruptions whose labels, in their order, are not those of the test set."""
    for name in view.corruptions:
        arrays = view.arrays("predict", who, name)
        if arrays is not None and not np.array_equal(arrays["labels"], test["labels"]):
            yield name


def ood(view: View, who: Who) -> list[Complaint]:
    """Every detector's scores: direction, ties, what they rest on."""
    asked = view.suite.ood
    found: list[Complaint] = []
    for detector in asked.detectors if asked else ():
        record = view.record("score", who, detector.name)
        if record is None or record.status != "ok" or asked is None:
            continue
        scores = record.arrays
        outside = np.concatenate([scores[name] for name in asked.sets])
        facts = {
            **record.facts,
            "detector": detector.name,
            "tied": metrics.tied_scores(scores["id"], outside),
            "auroc": {name: metrics.auroc(scores["id"], scores[name]) for name in asked.sets},
            "noise_auroc": metrics.auroc(scores["id"], scores["noise"]),
        }
        for check in ("H81", "H82", "H85", "H86"):
            found += CHECKS[check](facts, who.name, f"detector={detector.name}")
    return found


def confidences(view: View, who: Who) -> list[Complaint]:
    """How many confidences are exactly 1 in float32, as a library would compute them (H84)."""
    test = view.arrays("predict", who, "test")
    if test is None:
        return []
    logits = test["logits"].astype(np.float32)
    logits = logits - logits.max(1, keepdims=True)
    rest = np.exp(logits, dtype=np.float32).sum(1, dtype=np.float32)
    ones = float((np.float32(1) / rest == 1).mean())
    return CHECKS["H84"]({"ones": ones}, who.name, "")


def calibration(rows: Sequence[Row]) -> list[Complaint]:
    """Whether a calibration error is more than a calibrated model may show (H83)."""
    floors = {
        (row.model, row.seed, row.case): row.high for row in rows if row.metric == "ece_floor"
    }
    found: list[Complaint] = []
    for row in rows:
        floor = floors.get((row.model, row.seed, row.case))
        if row.metric == "ece" and row.implementation == "harness" and floor is not None:
            facts = {"ece": row.value, "ece_low": row.low, "floor": floor}
            found += CHECKS["H83"](facts, row.model, row.case)
    return found
