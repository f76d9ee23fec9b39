"""The probable cause of another number than ours from the same arrays.

Our own metric is given the arrays with one fault at a time, and its value is put in other units:
what then equals the suspect's number is named.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.core.registry import registry
from harness.metrics import fit_temperature, fpr_at_tpr, softmax

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Metric = Callable[..., float]

RELATIVE = 1e-6  # the same number, but for float32
FITTED = 1e-3  # of a temperature, which two optimisers stop near
WRONG_AXIS = "the softmax is taken over samples, not classes: the wrong axis"
BATCHES = (16, 32, 50, 64, 100, 128, 200, 250, 256, 500, 512, 1000, 1024)
CLOSED_RIGHT, CLOSED_LEFT = "right", "left"
CUTS = tuple(10.0**-power for power in range(1, 13))  # of probabilities, from below
BINNED = ("ece", "mce", "rms_calibration_error", "ace_average")


def calibration(
    concept: str, value: float, probs: np.ndarray, labels: np.ndarray, *, bins: int = 15
) -> str:
    """Why a calibration metric is not ours, in words; "" if nothing reproduces it.

    Args:
        concept: "ece", "mce", "rms_calibration_error", "brier", "nll", ...
        value: what the suspect says.
        probs: (N, K) float64 probabilities.
        labels: (N,) integers.
        bins: that were asked for.
    """
    if concept == "temperature":
        return _temperature(value, fit_temperature(np.log(probs.clip(1e-300)), labels))
    if concept not in registry.names("metric"):
        return ""  # we have none to vary
    metric = registry.get("metric", concept).function
    binned = any(one.name == "bins" for one in registry.get("metric", concept).parameters)
    given = {"bins": bins} if binned else {}
    units = _units(len(labels), probs.shape[1])
    if found := _in_units(value, metric(probs, labels, **given), units):
        return found
    for name, changed, truth in _altered(probs, labels):
        if _equal(value, _try(metric, changed, truth, **given)):
            return name
    for name, found in _by_class(concept, probs, labels):
        if _equal(value, found):
            return name
    return _by_bins(concept, value, probs, labels, bins) if binned else ""


def _temperature(value: float, ours: float) -> str:
    """What a fitted temperature is a function of."""
    for name, found in {
        "1 / T: the factor on the logits, not what they are divided by": 1 / ours,
        "the temperature is applied twice: T squared": ours**2,
        "the logarithm of T": math.log(ours),
        "the root of T": math.sqrt(ours),
        "T was not fitted: it stays at 1": 1.0,
    }.items():
        if math.isclose(value, found, rel_tol=FITTED) and not math.isclose(
            found, ours, rel_tol=FITTED
        ):
            return name
    return ""


def _by_class(concept: str, probs: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, float]]:
    """Scores of probabilities that look at other classes than they should."""
    apart = (probs - np.eye(probs.shape[1])[labels]) ** 2
    if concept == "nll":
        best, own = probs.max(1).clip(1e-300), probs[np.arange(len(labels)), labels]
        yield "of the predicted class, not of the label", float(-np.log(best).mean())
        yield "of all classes, not of the label", float(-np.log(probs.clip(1e-300)).mean())
        yield "the median over samples, not the mean", float(np.median(-np.log(own.clip(1e-300))))
        for least in CUTS:
            found = float(-np.log(own.clip(least)).mean())
            yield f"probabilities below {least:g} are counted as {least:g}", found
    if concept == "brier":
        yield "the first class is left out", float(apart[:, 1:].sum(1).mean())
        yield "the last class is left out", float(apart[:, :-1].sum(1).mean())
        own = apart[np.arange(len(labels)), labels]
        yield "of the label's probability alone", float(own.mean())
        top = probs.max(1) - (probs.argmax(1) == labels)
        yield "of the top label's confidence alone", float((top**2).mean())
        yield "absolute distances, not squares", float(np.sqrt(apart).sum(1).mean())


def ranking(concept: str, value: float, id_scores: np.ndarray, ood_scores: np.ndarray) -> str:
    """Why a ranking metric is not ours, in words; "" if nothing reproduces it.

    Args:
        concept: "auroc", "aupr_out", "fpr95", ...
        value: what the suspect says.
        id_scores: (N,) higher = more OOD.
        ood_scores: (M,) higher = more OOD.
    """
    if concept not in registry.names("metric"):
        return ""
    metric = registry.get("metric", concept).function
    ours = metric(id_scores, ood_scores)
    units = {"in percent": 100.0, "as a fraction, where ours is": 0.01}
    for name, inside, outside in _ranked(id_scores, ood_scores):
        if _equal(value, _try(metric, inside, outside)):
            return name
    for name, found in _variants(concept, id_scores, ood_scores):
        if _equal(value, found):
            return name
    return _in_units(value, ours, units) or (
        "one minus the value: the positive class or the sign of the score is swapped"
        if _equal(value, 1 - ours)
        else ""
    )


def _ranked(
    inside: np.ndarray, outside: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    yield (
        "the wrong positive class: ID counts as positive where OOD should (or the sign of the score is flipped)",
        outside,
        inside,
    )
    yield "the sign of the score is flipped", -inside, -outside
    yield "the wrong positive class, and the sign of the score flipped", -outside, -inside
    yield "scores are compared in float32: more of them tie", _single(inside), _single(outside)
    for size in BATCHES:
        kept = [values[: len(values) - len(values) % size] for values in (inside, outside)]
        yield f"the last batch is dropped (batches of {size})", kept[0], kept[1]
    yield "the last sample is dropped", inside[:-1], outside[:-1]


def _variants(concept: str, inside: np.ndarray, outside: np.ndarray) -> Iterator[tuple[str, float]]:
    """Numbers that bear the same name."""
    if concept == "auroc":
        below = np.searchsorted(np.sort(inside), outside, "left").mean() / len(inside)
        upto = np.searchsorted(np.sort(inside), outside, "right").mean() / len(inside)
        yield "ties count as wins, not half", float(upto)
        yield "ties count as losses, not half", float(below)
        yield "2 AUROC - 1 (Gini's coefficient), not AUROC", float(below + upto - 1)
        both = np.concatenate([inside, outside])
        for count in (10, 50, 100, 200, 500, 1000):
            edges = np.linspace(both.min(), both.max(), count)
            some = [np.digitize(scores, edges).astype(float) for scores in (inside, outside)]
            metric = registry.get("metric", concept).function
            yield f"at {count} thresholds only, not at every score", float(metric(*some))
    if concept == "fpr95":
        for share in (0.8, 0.9, 0.98, 0.99, 0.05):
            found = fpr_at_tpr(inside, outside, tpr=share)
            yield f"at {100 * share:g} % instead of 95 % of the OOD images", found
        least = np.quantile(outside, 0.05, method="lower")
        yield (
            "ties count for the detector: only scores above the threshold are flagged",
            float((inside > least).mean()),
        )
        yield (
            "the threshold is interpolated between two scores",
            float((inside >= np.quantile(outside, 0.05)).mean()),
        )
    trapezoid = f"{concept}_trapezoid"
    for plug in registry.plugs("metric"):
        if plug.concept == trapezoid and (plug.library is None or plug.library.installed):
            yield (
                "the trapezoid under the curve, not average precision",
                float(plug.function(inside, outside)),
            )


def _single(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


# ---------------------------------------------------------------- other units


def _units(n: int, classes: int) -> dict[str, float]:
    return {
        "with the sign turned round": -1.0,
        "in percent": 100.0,
        "as a sum over samples, not a mean": float(n),
        "divided by the number of samples once more": 1 / n,
        "as a mean over classes, not a sum": 1 / classes,
        "as a sum over classes, not a mean": float(classes),
        "twice": 2.0,
        "halved": 0.5,
        "in bits, not nats": 1 / math.log(2),
    }


def _in_units(value: float, ours: float, units: dict[str, float]) -> str:
    """How the suspect's number is a function of ours."""
    for name, factor in units.items():
        if _equal(value, factor * ours):
            return f"the same number {name}"
    if _equal(value, ours**2):
        return "the same number squared: the root is missing"
    if ours >= 0 and _equal(value, math.sqrt(ours)):
        return "the root of our number"
    return ""


def _equal(a: float, b: float | None) -> bool:
    return b is not None and math.isclose(a, b, rel_tol=RELATIVE, abs_tol=1e-12)


def _try(metric: Metric, *arrays: np.ndarray, **given: int) -> float | None:
    try:
        return float(metric(*arrays, **given))
    except (ValueError, IndexError, ZeroDivisionError):
        return None


# ---------------------------------------------------------------- other arrays


def _altered(probs: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Arrays with one fault."""
    n, classes = probs.shape
    logs = np.log(probs.clip(1e-300))
    yield "labels are counted from one", probs, (labels + 1) % classes
    yield "labels are one too low", probs, (labels - 1) % classes
    yield "labels stand in another order of classes", probs[:, ::-1], labels
    yield "labels belong to the row before: rows and labels do not match", probs, np.roll(labels, 1)
    yield "labels belong to the row after: rows and labels do not match", probs, np.roll(labels, -1)
    yield "rows are in reversed order: rows and labels do not match", probs[::-1], labels
    yield "the softmax is taken twice: probabilities are fed as logits", softmax(probs), labels
    over = softmax(logs.T).T
    yield WRONG_AXIS, over / over.sum(1, keepdims=True), labels
    for factor in (0.5, 2.0, 10.0, 100.0, 0.1):
        yield (
            f"the logits are multiplied by {factor:g}: a temperature",
            softmax(factor * logs),
            labels,
        )
    for size in BATCHES:
        kept = n - n % size
        yield f"the last batch is dropped (batches of {size})", probs[:kept], labels[:kept]
    yield "the last sample is dropped", probs[:-1], labels[:-1]
    yield "the first sample is dropped", probs[1:], labels[1:]
    half = probs.astype(np.float16).astype(np.float64)
    yield "probabilities are rounded to half precision", half / half.sum(1, keepdims=True), labels
    right = probs.argmax(1) == labels
    yield "only misclassified samples are counted", probs[~right], labels[~right]
    yield "only samples that are right are counted", probs[right], labels[right]
    yield "only every second sample is counted", probs[::2], labels[::2]
    yield "only the first half of the samples is counted", probs[: n // 2], labels[: n // 2]


# ---------------------------------------------------------------- other bins


def _by_bins(concept: str, value: float, probs: np.ndarray, labels: np.ndarray, bins: int) -> str:
    """Which other binning gives the number."""
    metric = registry.get("metric", concept).function
    for count in (bins - 1, bins + 1, 10, 15, 20, 100):
        if count > 0 and count != bins and _equal(value, _try(metric, probs, labels, bins=count)):
            off = ": off by one" if abs(count - bins) == 1 else ""
            return f"{count} bins instead of {bins}{off}"
    confidence, right = probs.max(1), (probs.argmax(1) == labels).astype(float)
    for name, found in (
        *_binnings(concept, confidence, right, bins),
        *_confidences(concept, probs, labels, bins),
    ):
        if _equal(value, found):
            return name
    over = softmax(np.log(probs.clip(1e-300)).T).T  # its rows do not sum to 1: no metric takes them
    confidence, right = over.max(1), (over.argmax(1) == labels).astype(float)
    index = np.clip(np.digitize(confidence, np.linspace(0, 1, bins + 1)) - 1, 0, bins - 1)
    return (
        WRONG_AXIS if _equal(value, _error(concept, index, confidence, right, len(labels))) else ""
    )


def _confidences(
    concept: str, probs: np.ndarray, labels: np.ndarray, bins: int
) -> Iterator[tuple[str, float]]:
    """Binned errors of something else than the top label's confidence and its hits."""
    top, right = probs.max(1), (probs.argmax(1) == labels).astype(float)
    inner = np.linspace(0, 1, bins + 1)[1:-1]

    def error(confidence: np.ndarray, hits: np.ndarray) -> float:
        index = np.digitize(confidence, inner, right=True)
        return _error(concept, index, confidence, hits, len(labels))

    yield "the label's probability for a confidence", error(probs[np.arange(len(labels)), labels], right)  # fmt: skip
    yield "the second largest probability for a confidence", error(np.sort(probs, 1)[:, -2], right)
    yield "mistakes are counted where hits should be", error(top, 1 - right)
    yield "one minus the confidence", error(1 - top, right)
    yield "confidences are rounded to half precision", error(top.astype(np.float16).astype(float), right)  # fmt: skip
    by_class = [error(of_one, labels == k) for k, of_one in enumerate(probs.T)]
    yield "of every class by itself, and their mean (class-wise)", float(np.mean(by_class))
    index = np.digitize(top, inner, right=True)
    for other, name in {
        "rms_calibration_error": "the root mean square of the gaps",
        "ece": "the mean of the gaps",
    }.items():
        if other != concept:
            yield f"{name}: another error of the same bins", _error(other, index, top, right, len(labels))  # fmt: skip


def _binnings(
    concept: str, confidence: np.ndarray, right: np.ndarray, bins: int
) -> Iterator[tuple[str, float]]:
    """Binned errors with a fault in the binning."""
    edges = np.linspace(0, 1, bins + 1)
    inner = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, bins - 1)
    last, whole = inner == bins - 1, np.ones(len(inner), bool)
    n = len(inner)
    for name, index, kept, total in (
        ("the last bin is dropped", inner, ~last, n),
        ("the last bin is dropped, and its samples are not counted", inner, ~last, int((~last).sum())),
        ("the first bin that holds samples is dropped", inner, inner != inner.min(), n),
        ("confidences of exactly 1 fall out of the last bin", inner, confidence < 1, n),
        ("bins are closed on the left, not on the right", np.clip(np.digitize(confidence, edges) - 1, 0, bins - 1), whole, n),
        ("confidences are shifted by a bin: off by one", np.clip(inner + 1, 0, bins - 1), whole, n),
        ("edges in float32", np.clip(np.digitize(confidence.astype(np.float32), edges.astype(np.float32)[1:-1], right=True), 0, bins - 1), whole, n),
    ):  # fmt: skip
        yield name, _error(concept, index[kept], confidence[kept], right[kept], total)
    centre = ((edges[:-1] + edges[1:]) / 2)[inner]
    yield (
        "the centre of a bin for the mean confidence in it",
        _error(concept, inner, centre, right, n),
    )
    order = np.argsort(confidence, kind="stable")
    mass = np.empty(n, int)
    mass[order] = np.repeat(np.arange(bins), [len(part) for part in np.array_split(order, bins)])
    yield "bins of equal mass, not of equal width", _error(concept, mass, confidence, right, n)
    quantiles = np.quantile(confidence, edges)
    by_rank = np.clip(np.digitize(confidence, quantiles[1:-1], right=True), 0, bins - 1)
    yield "bins of equal mass, not of equal width", _error(concept, by_rank, confidence, right, n)
    equal = np.unique(inner)
    gaps = [abs(float((confidence - right)[inner == one].mean())) for one in equal]
    yield "bins are averaged without their weights", float(np.mean(gaps))
    yield "bins are averaged without their weights, empty ones counted", float(np.sum(gaps) / bins)
    yield "the largest gap of a bin, not the mean", float(np.max(gaps))
    yield "differences are not taken as absolute values", abs(float((confidence - right).mean()))


def _error(
    concept: str, index: np.ndarray, confidence: np.ndarray, right: np.ndarray, total: int
) -> float:
    """The binned error of samples in given bins."""
    if not len(index):
        return 0.0
    weights = np.bincount(index) / max(total, 1)
    sums = np.bincount(index, confidence - right)
    gaps = np.abs(sums) / np.maximum(np.bincount(index), 1)
    if concept == "mce":
        return float(gaps.max())
    if concept.startswith("rms"):
        return float(np.sqrt((weights * gaps**2).sum()))
    return float((weights * gaps).sum())
