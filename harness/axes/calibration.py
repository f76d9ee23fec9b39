"""Whether confidence means what it says: before and after temperature scaling."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness import metrics, statistics
from harness.axes.view import Measured, View, absent, row, versus

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.axes.view import Who
    from harness.core.types import Row

NONE, TEMPERATURE = "none", "temperature"
BINNED: tuple[statistics.BinnedKind, ...] = ("ece", "mce", "rms_calibration_error")
INTERVALS = {
    "brier": functools.partial(statistics.mean, largest=2.0),
    "nll": statistics.mean_nll,
}
PLAIN = ("ace", "rms_equal_mass")  # no interval of ours covers for these


def measure(view: View) -> Measured:
    """Rows of every calibration metric, for every model, without and with temperature scaling."""
    measured = Measured()
    calibration = view.suite.calibration
    if calibration is None:
        return measured
    for who in view.everyone():
        for scaling in (NONE, TEMPERATURE):
            _scaling(view, who, scaling, calibration.bins, measured)
    return measured


def temperature(view: View, who: Who) -> float | None:
    """Temperature fitted on the validation split, or None if there is no record, or of no logits."""
    arrays = view.arrays("predict", who, "val")
    if arrays is None or metrics.are_probabilities(arrays["logits"]):
        return None
    return metrics.fit_temperature(arrays["logits"], arrays["labels"])


def probabilities(view: View, who: Who, scaling: str) -> tuple[np.ndarray, np.ndarray] | None:
    """(N, K) probabilities in float64 and (N,) labels of the test split, or None."""
    arrays = view.arrays("predict", who, "test")
    scale = temperature(view, who) if scaling == TEMPERATURE else 1.0
    if arrays is None or scale is None:
        return None
    return metrics.softmax(arrays["logits"].astype(np.float64) / scale), arrays["labels"]


def _scaling(view: View, who: Who, scaling: str, bins: int, measured: Measured) -> None:
    found = probabilities(view, who, scaling)
    if found is None:
        record = view.record("predict", who, "test")
        missing = absent(view, who, "calibration", "ece", record, scaling=scaling)
        if record is not None and record.status == "ok":
            missing = _without_scaling(view, who, missing)
        measured.rows.append(missing)
        return
    probs, labels = found
    tell = functools.partial(
        row, view, who, "calibration", job=view.digest("predict", who, "test"), scaling=scaling
    )
    for kind in BINNED:
        measured.rows.append(tell(kind, statistics.binned_error(probs, labels, kind, bins=bins)))
    for name in PLAIN:
        value = getattr(metrics, name)(probs, labels)
        measured.rows.append(tell(name, _bare(value, len(labels))))
    floor = statistics.floor(probs, labels, bins=bins)
    measured.rows.append(
        tell(
            "ece_floor",
            statistics.Estimate(floor.mean, None, floor.high, len(labels), "calibrated null"),
        )
    )
    right = (probs.argmax(1) == labels).astype(np.float64)
    gap = statistics.mean_difference(probs.max(1), right, largest=1.0)
    measured.rows.append(tell("overconfidence", gap.estimate))
    _proper(view, who, scaling, probs, labels, tell, measured)
    _witnesses(view, who, scaling, tell, measured)
    _exhibit(view, who, scaling, probs, labels, bins, measured)


def _without_scaling(view: View, who: Who, missing: Row) -> Row:
    """The row says why there is no temperature: no validation split, or no predictions on it."""
    record = view.record("predict", who, "val")
    why = "the data set has no validation split" if record is None else record.reason
    why = why or "the model returns probabilities for logits"
    return replace(missing, note=f"no temperature: {why}")


def _bare(value: float, n: int) -> statistics.Estimate:
    """A number whose interval would not cover, without one."""
    return statistics.Estimate(value, None, None, n, "none")


def _proper(
    view: View,
    who: Who,
    scaling: str,
    probs: np.ndarray,
    labels: np.ndarray,
    tell: Callable[..., Row],
    measured: Measured,
) -> None:
    """Brier score and NLL, what models are ranked by, and their differences to the baseline."""
    samples = {
        "brier": metrics.sample_brier(probs, labels),
        "nll": metrics.sample_nll(probs, labels),
    }
    baseline = view.baseline(who)
    theirs = probabilities(view, baseline, scaling) if baseline else None
    for name, values in samples.items():
        found = tell(name, INTERVALS[name](values))
        measured.rows.append(found)
        if theirs is not None:
            other = getattr(metrics, f"sample_{name}")(*theirs)
            measured.rows.append(versus(found, statistics.mean_difference(values, other)))
    arrays = view.arrays("predict", who, "test") or {}
    measured.outcome(
        "calibration", who, scaling=scaling, id=arrays["ids"], confidence=probs.max(1),
        correct=probs.argmax(1) == labels, brier=samples["brier"], nll=samples["nll"],
    )  # fmt: skip


def _witnesses(
    view: View, who: Who, scaling: str, tell: Callable[..., Row], measured: Measured
) -> None:
    """What the libraries say, beside ours."""
    record = view.record("witness", who)
    if record is None or record.status != "ok":
        return
    for name, found in record.facts["witnesses"][scaling].items():
        library, _, metric = name.partition("/")
        if metric in metrics.METRICS and "value" in found:
            estimate = _bare(found["value"], record.facts["n"])
            measured.rows.append(tell(metric, estimate, implementation=library))


def _exhibit(
    view: View,
    who: Who,
    scaling: str,
    probs: np.ndarray,
    labels: np.ndarray,
    bins: int,
    measured: Measured,
) -> None:
    curve = metrics.reliability_curve(probs, labels, bins=bins)
    scale = (temperature(view, who) or 1.0) if scaling == TEMPERATURE else 1.0
    if scaling == TEMPERATURE:
        found = row(
            view, who, "calibration", "temperature", _bare(scale, len(labels)),
            job=view.digest("predict", who, "val"), scaling=scaling,
        )  # fmt: skip
        measured.rows.append(found)
    measured.exhibit(
        "reliability", who, scaling=scaling, temperature=float(f"{scale:.6g}"),
        confidence=_shown(curve.confidence), accuracy=_shown(curve.accuracy), count=curve.count.tolist(),
    )  # fmt: skip


def _shown(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.6g}") for value in values]
