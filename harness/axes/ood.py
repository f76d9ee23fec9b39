"""Telling inputs that are out of distribution: AUROC, AUPR and FPR95 of every detector on every set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness import statistics
from harness.axes.view import Measured, View, absent, row, versus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.axes.view import Who
    from harness.core.types import Row

BINS, POINTS = 40, 60  # of an exhibit's histogram and ROC curve
KEPT = ("msp", "mls")  # detectors whose scores are kept per sample: those of the study
METRICS = ("auroc", "aupr_out", "aupr_in", "fpr95")


def measure(view: View) -> Measured:
    """Rows of every detector on every OOD set, for every model."""
    measured = Measured()
    ood = view.suite.ood
    if ood is None:
        return measured
    for who in view.everyone():
        for detector in ood.detectors:
            _detector(view, who, detector.name, ood.sets, measured)
    return measured


def _detector(
    view: View, who: Who, detector: str, sets: tuple[str, ...], measured: Measured
) -> None:
    scores = view.arrays("score", who, detector)
    if scores is None:
        record = view.record("score", who, detector)
        for name in sets:
            measured.rows.append(
                absent(view, who, "ood", "auroc", record, set=name, detector=detector)
            )
        return
    for name in sets:
        _set(view, who, detector, name, scores, measured)
    _exhibits(who, detector, sets, scores, measured)
    if detector in KEPT:
        for name in ("id", *sets):
            ids = np.arange(len(scores[name]))
            measured.outcome("ood", who, detector=detector, set=name, id=ids, score=scores[name])


def _set(
    view: View,
    who: Who,
    detector: str,
    name: str,
    scores: Mapping[str, np.ndarray],
    measured: Measured,
) -> None:
    inside, outside = scores["id"], scores[name]
    job = view.digest("score", who, detector)
    estimates = {
        "auroc": statistics.auroc_interval(inside, outside),
        **statistics.ranking_intervals(inside, outside),
    }
    for metric in METRICS:
        found = row(
            view, who, "ood", metric, estimates[metric], job=job, set=name, detector=detector
        )
        measured.rows.append(found)
        if metric == "auroc":
            _versus(view, who, found, detector, name, scores, measured)


def _versus(
    view: View,
    who: Who,
    found: Row,
    detector: str,
    name: str,
    scores: Mapping[str, np.ndarray],
    measured: Measured,
) -> None:
    baseline = view.baseline(who)
    theirs = view.arrays("score", baseline, detector) if baseline else None
    if theirs is not None:
        difference = statistics.auroc_difference(
            scores["id"], scores[name], theirs["id"], theirs[name]
        )
        measured.rows.append(versus(found, difference))


def _exhibits(
    who: Who,
    detector: str,
    sets: tuple[str, ...],
    scores: Mapping[str, np.ndarray],
    measured: Measured,
) -> None:
    """Histograms over common edges, and ROC curves thinned to a few points."""
    every = np.concatenate([scores[name] for name in ("id", *sets)])
    low, high = np.quantile(every, [0.001, 0.999])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    for name in ("id", *sets):
        count = np.histogram(np.clip(scores[name], edges[0], edges[-1]), edges)[0]
        measured.exhibit(
            "histograms",
            who,
            detector=detector,
            set=name,
            edges=_short(edges),
            count=count.tolist(),
        )
    for name in sets:
        fpr, tpr = roc_points(scores["id"], scores[name])
        measured.exhibit("roc", who, detector=detector, set=name, fpr=_short(fpr), tpr=_short(tpr))


def roc_points(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most POINTS points of the ROC curve (OOD positive), ascending, ends included.

    Returns:
        False- and true-positive rates.
    """
    thresholds = np.unique(np.concatenate([inside, outside]))
    places = np.linspace(0, len(thresholds) - 1, min(POINTS - 2, len(thresholds))).astype(int)
    chosen = thresholds[np.unique(places)][::-1]
    ascending, positive = np.sort(inside), np.sort(outside)
    fpr = 1 - np.searchsorted(ascending, chosen, "left") / len(inside)
    tpr = 1 - np.searchsorted(positive, chosen, "left") / len(outside)
    return np.concatenate([[0.0], fpr, [1.0]]), np.concatenate([[0.0], tpr, [1.0]])


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
