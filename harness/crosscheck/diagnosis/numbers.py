"""The probable cause of another number than ours from the same arrays.

Our own metric is given the arrays with one fault at a time, and its value is put in other units:
what then equals the suspect's number, on parts of the arrays too, is named.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.core.registry import registry
from harness.crosscheck.diagnosis import calibrated, ranked
from harness.crosscheck.diagnosis.reproduced import (
    Others,
    attempt,
    composed,
    in_random_order,
    library_that_says,
    named,
)
from harness.metrics import fit_temperature, softmax

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.crosscheck.diagnosis.reproduced import Arrays, Hypothesis, Metric

FITTED = 1e-3  # of a temperature, which two optimisers stop near
AIMS = (("ece", "the ECE", 0.1), ("brier", "the Brier score", 1e-3))
"""Errors that T may minimise, and the share of what our T is above the least one that a grid misses."""
GRID = (*np.linspace(0.5, 5, 91), *np.geomspace(0.02, 0.45, 15), *np.geomspace(5.5, 100, 15))
ENOUGH = 32  # samples, of which parts still say something


def calibration(
    concept: str,
    value: float,
    probs: np.ndarray,
    labels: np.ndarray,
    *,
    bins: int = 15,
    again: Metric | None = None,
) -> str:
    """Why a calibration metric is not ours, in words; "" if nothing reproduces it.

    Args:
        concept: "ece", "mce", "rms_calibration_error", "brier", "nll", "temperature", ...
        value: what the suspect says.
        probs: (N, K) float64 probabilities.
        labels: (N,) integers.
        bins: that were asked for.
        again: the suspect, to be asked of parts of the arrays; if it is None, the library that says
            `value` is looked for.
    """
    arrays, others = (probs, labels), _others(probs, labels)
    if concept == "temperature":
        again = again or library_that_says(concept, value, arrays, {})
        return _temperature(value, arrays, others, again)
    if concept not in registry.names("metric"):
        return ""  # we have none to vary
    metric = calibrated.plain(concept, bins)
    again = again or library_that_says(concept, value, arrays, {"bins": bins})
    ours = attempt(metric, *arrays)
    faults = calibrated.hypotheses(concept, probs, bins)
    if found := named(value, ours, arrays, faults, others, again=again):
        return found
    fitted = calibrated.one_temperature(concept, value, probs, labels, bins, chosen=again is None)
    if found := named(value, ours, arrays, fitted, others, again=again):
        return found
    if in_random_order(value, metric, arrays, _relabelled, others, again):
        return "as large as with labels in random order: rows and labels do not match"
    return calibrated.outside_range(concept, value)


def _relabelled(rng: np.random.Generator, arrays: Arrays) -> Arrays:
    return arrays[0], rng.permutation(arrays[1])


def _others(probs: np.ndarray, labels: np.ndarray) -> Others:
    """All samples with less confidence, or with more and fewer mistakes; some of them, and others."""
    n, logits = len(labels), calibrated.logs(probs)
    righter = np.where(np.arange(n) % 3 == 0, probs.argmax(1), labels)
    same = (softmax(logits / 2), labels), (softmax(2 * logits), righter)
    some, rest = slice(5 * n // 8), slice(1, None, 2)
    fewer = (probs[some], labels[some]), (probs[rest], labels[rest])
    return Others(same, fewer if n >= ENOUGH else ())


def ranking(
    concept: str,
    value: float,
    id_scores: np.ndarray,
    ood_scores: np.ndarray,
    *,
    again: Metric | None = None,
) -> str:
    """Why a ranking metric is not ours, in words; "" if nothing reproduces it.

    Args:
        concept: "auroc", "aupr_out", "fpr95", ...
        value: what the suspect says.
        id_scores: (N,) higher = more OOD.
        ood_scores: (M,) higher = more OOD.
        again: the suspect, to be asked of parts of the arrays; if it is None, the library that says
            `value` is looked for.
    """
    if concept not in registry.names("metric"):
        return ""
    arrays = (id_scores, ood_scores)
    again = again or library_that_says(concept, value, arrays, {})
    metric = registry.get("metric", concept).function
    ours = attempt(metric, *arrays)
    faults = ranked.hypotheses(concept, min(len(one) for one in arrays))
    others = _other_scores(*arrays)
    if found := named(value, ours, arrays, faults, others, again=again):
        return found
    if in_random_order(value, metric, arrays, _mixed, others, again):
        return "as large as with scores in random order: the sets are mixed up"
    return ""


def _mixed(rng: np.random.Generator, arrays: Arrays) -> Arrays:
    scores = rng.permutation(np.concatenate(arrays))
    return scores[: len(arrays[0])], scores[len(arrays[0]) :]


def _other_scores(inside: np.ndarray, outside: np.ndarray) -> Others:
    """The OOD scores moved a little, and to the other side of the ID scores; some of both."""
    gap = float(outside.mean() - inside.mean())
    same = (inside, outside + inside.std() / 4), (inside, outside - 2 * gap)
    some = inside[: 5 * len(inside) // 8], outside[: 5 * len(outside) // 8]
    few = min(len(inside), len(outside)) < ENOUGH
    return Others(same, () if few else (some, (inside[1::2], outside[1::2])))


# ---------------------------------------------------------------- temperature


def _fitted(probs: np.ndarray, labels: np.ndarray) -> float:
    return fit_temperature(calibrated.logs(probs), labels)


def _temperature(value: float, arrays: Arrays, others: Others, again: Metric | None) -> str:
    """What a fitted temperature is a function of."""
    faults = _temperatures(value, asked_again=again is not None)
    ours = _fitted(*arrays)
    found = named(value, ours, arrays, faults, others, again=again, within=FITTED)
    if (again is None) != bool(found):  # without a second answer it is no cause, only a doubt
        return found
    aim = _other_aim(value, arrays, others, again)
    return ", or ".join(one for one in (found, aim) if one)


def _temperatures(value: float, *, asked_again: bool) -> Iterator[Hypothesis]:
    yield "1 / T: the factor on the logits, not what they are divided by", composed(lambda t: 1 / t, _fitted)  # fmt: skip
    yield "the temperature is applied twice: T squared", composed(lambda t: t**2, _fitted)
    yield "the logarithm of T", composed(math.log, _fitted)
    yield "the root of T", composed(math.sqrt, _fitted)
    yield "T was not fitted: it stays at 1", lambda *_: 1.0
    if asked_again:  # any number is a constant as long as it is asked once
        yield f"T was not fitted: it is {value:.4g} whatever the samples", lambda *_: value
    for words, change in calibrated.altered():  # a batch more or less is no matter to a fit
        yield words, _fitted_after(change)


def _fitted_after(change: calibrated.Alteration) -> Metric:
    return lambda probs, labels: _fitted(*change(probs, labels))


def _other_aim(value: float, arrays: Arrays, others: Others, again: Metric | None) -> str:
    """Which other error the suspect's temperatures make least, here and on every part."""
    parts = () if again is None else (*others.same, *others.fewer)
    said = [(arrays, value), *((part, attempt(again, *part)) for part in parts if again)]
    for concept, title, missed in AIMS:
        metric = calibrated.plain(concept, 15)
        if all(t is not None and t > 0 and _least(metric, t, missed, *part) for part, t in said):
            return f"T minimises {title}, not the NLL"
    return ""


def _least(
    metric: Metric, temperature: float, missed: float, probs: np.ndarray, labels: np.ndarray
) -> bool:
    """Whether the metric is least at a temperature, and not at ours."""
    logits = calibrated.logs(probs)
    theirs, ours, *grid = (
        metric(softmax(logits / t), labels) for t in (temperature, _fitted(probs, labels), *GRID)
    )
    least = min(theirs, *grid)
    return theirs - least < missed * (ours - least)
