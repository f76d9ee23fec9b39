"""Faults of calibration metrics: each in words, beside the function of the arrays that it makes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize

from harness.core.registry import registry
from harness.crosscheck.diagnosis.reproduced import (
    CHOSEN,
    UNITS,
    applied,
    batched,
    composed,
    means_of_batches,
    other_metrics,
    sampled,
)
from harness.metrics import bin_edges, bin_index, softmax

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.crosscheck.diagnosis.reproduced import Hypothesis, Metric, Rows

    Alteration = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    Index = Callable[[np.ndarray, int, int], np.ndarray]
    Gaps = tuple[np.ndarray, np.ndarray]

BINNED = ("ece", "mce", "rms_calibration_error", "ace_average")
RANGES = {**dict.fromkeys(BINNED, 1.0), "brier": 2.0}
WRONG_AXIS = "the softmax is taken over samples, not classes: the wrong axis"
TINY = 1e-300
CUTS = (0.1, 0.05, *(10.0**-power for power in range(2, 13)))  # of probabilities, from below
SMOOTHED = (0.01, 0.05, 0.1, 0.2)
FEW = range(5, 105, 5)  # samples, below which a bin might be left out
COUNTS = range(2, 101)
GRID = np.geomspace(0.02, 50, 121)


def hypotheses(concept: str, probs: np.ndarray, bins: int) -> Iterator[Hypothesis]:
    """Every fault of a registered metric, most likely first.

    Args:
        concept: "ece", "brier", "nll", ...
        probs: (N, K), of which the size is looked at.
        bins: that were asked for.
    """
    metric = plain(concept, bins)
    n = len(probs)
    yield from _other_units(metric)
    for words, alteration in altered():
        yield words, _after(alteration, metric)
    for words, rows in batched():
        yield words, _after(_taken(rows), metric)
    yield from {"nll": LIKELIHOODS, "brier": BRIERS}.get(concept, ())
    if concept in BINNED:
        yield from _other_counts(concept, bins)
        yield from _binnings(concept, bins)
    yield from other_metrics(concept, bins)
    yield from means_of_batches(metric, n)


def plain(concept: str, bins: int) -> Metric:
    """Our own metric of probabilities and labels."""
    plug = registry.get("metric", concept)
    binned = any(one.name == "bins" for one in plug.parameters)
    return applied(plug.function, **({"bins": bins} if binned else {}))


def _after(alteration: Alteration, metric: Metric) -> Metric:
    return lambda probs, labels: metric(*alteration(probs, labels))


def _hit(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (probs.argmax(1) == labels).astype(float)


def _own(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return probs[np.arange(len(labels)), labels]


def _one_hot(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.eye(probs.shape[1])[labels]


def logs(probs: np.ndarray) -> np.ndarray:
    """The logits, but for a constant in each row."""
    return np.log(probs.clip(TINY))


# ---------------------------------------------------------------- the number and the arrays


def _other_units(metric: Metric) -> Iterator[Hypothesis]:
    for words, outer in UNITS:
        yield words, composed(outer, metric)
    yield "the same number as a sum over samples, not a mean", lambda p, y: len(y) * metric(p, y)
    yield (
        "the same number divided by the number of samples once more",
        lambda p, y: metric(p, y) / len(y),
    )
    yield (
        "the same number as a mean over classes, not a sum",
        lambda p, y: metric(p, y) / p.shape[1],
    )
    yield (
        "the same number as a sum over classes, not a mean",
        lambda p, y: metric(p, y) * p.shape[1],
    )
    yield "the same number times the accuracy", lambda p, y: metric(p, y) * _hit(p, y).mean()
    yield (
        "the same number of every class by itself, and their mean: classes count alike",
        lambda p, y: float(np.mean([metric(p[y == k], y[y == k]) for k in np.unique(y)])),
    )


ALTERED: tuple[tuple[str, Alteration], ...] = (
    ("labels are counted from one", lambda p, y: (p, (y + 1) % p.shape[1])),
    ("labels are one too low", lambda p, y: (p, (y - 1) % p.shape[1])),
    ("labels stand in another order of classes", lambda p, y: (p[:, ::-1], y)),
    ("labels belong to the row before: rows and labels do not match", lambda p, y: (p, np.roll(y, 1))),
    ("labels belong to the row after: rows and labels do not match", lambda p, y: (p, np.roll(y, -1))),
    ("rows are in reversed order: rows and labels do not match", lambda p, y: (p[::-1], y)),
    ("the softmax is taken twice: probabilities are fed as logits", lambda p, y: (softmax(p), y)),
    (WRONG_AXIS, lambda p, y: (_scaled_rows(softmax(logs(p).T).T), y)),
    ("probabilities are rounded to half precision", lambda p, y: (_scaled_rows(p.astype(np.float16).astype(float)), y)),
    ("only misclassified samples are counted", lambda p, y: (p[_hit(p, y) == 0], y[_hit(p, y) == 0])),
    ("only samples that are right are counted", lambda p, y: (p[_hit(p, y) == 1], y[_hit(p, y) == 1])),
    ("the first class is left out", lambda p, y: (_scaled_rows(p[y > 0, 1:]), y[y > 0] - 1)),
    ("samples of the last class are left out", lambda p, y: (p[y < p.shape[1] - 1], y[y < p.shape[1] - 1])),
)  # fmt: skip


def altered() -> Iterator[tuple[str, Alteration]]:
    """Arrays with one fault, batches aside."""
    yield from ALTERED
    for factor in (0.5, 2.0, 10.0, 100.0, 0.1):
        yield f"the logits are multiplied by {factor:g}: a temperature", _cooled(factor)
    for words, rows in sampled():
        yield words, _taken(rows)
    for share in SMOOTHED:
        yield f"probabilities are smoothed by {share:g}", _smoothed(share)


def _scaled_rows(probs: np.ndarray) -> np.ndarray:
    return probs / probs.sum(1, keepdims=True)


def _cooled(factor: float) -> Alteration:
    return lambda p, y: (softmax(factor * logs(p)), y)


def _taken(rows: Rows) -> Alteration:
    return lambda p, y: (p[rows(len(y))], y[rows(len(y))])


def _smoothed(share: float) -> Alteration:
    return lambda p, y: ((1 - share) * p + share / p.shape[1], y)


def one_temperature(
    concept: str, value: float, probs: np.ndarray, labels: np.ndarray, bins: int, *, chosen: bool
) -> Iterator[Hypothesis]:
    """Temperatures at which our metric is `value`: some temperature always meets one number.

    Args:
        concept: of the metric.
        value: of the suspect.
        probs: (N, K).
        labels: (N,).
        bins: of the binned metrics.
        chosen: only round ones, as people choose; those that are fitted have to be confirmed.
    """
    metric = plain(concept, bins)
    for t in CHOSEN:
        yield _divided(t), _after(_cooled(1 / t), metric)
    if chosen:
        return

    def off(t: float) -> float:
        return metric(softmax(logs(probs) / t), labels) - value

    gaps = np.array([off(t) for t in GRID])
    for at in np.flatnonzero(gaps[:-1] * gaps[1:] < 0):
        t = float(optimize.brentq(off, GRID[at], GRID[at + 1], xtol=1e-12))  # pyright: ignore[reportArgumentType]
        yield _divided(t), _after(_cooled(1 / t), metric)


def _divided(t: float) -> str:
    return f"the logits are divided by {t:.4g}: a temperature"


def outside_range(concept: str, value: float) -> str:
    """What a number says by itself that no probabilities give."""
    most = RANGES.get(concept, math.inf)
    if 0 <= value <= most:
        return ""
    where = f"[0, {most:g}]" if math.isfinite(most) else "the numbers from 0 on"
    return f"it lies outside {where}: it is not one of probabilities (logits?)"


# ---------------------------------------------------------------- likelihood and Brier score


def _mean_log(change: Callable[[np.ndarray], np.ndarray]) -> Metric:
    return lambda p, y: -np.log(change(_own(p, y)).clip(TINY)).mean()


def _cut(least: float) -> Metric:
    return _mean_log(lambda own: own.clip(least))


def _offset(little: float) -> Metric:
    return _mean_log(lambda own: own + little)


def _nll(probs: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(_own(probs, labels).clip(TINY)).mean())


def _smoothed_nll(share: float) -> Metric:
    return lambda p, y: (1 - share) * _nll(p, y) - share * logs(p).mean()


def _smoothed_brier(share: float) -> Metric:
    return lambda p, y: ((p - (1 - share) * _one_hot(p, y) - share / p.shape[1]) ** 2).sum(1).mean()


def _apart(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (probs - _one_hot(probs, labels)) ** 2


def _skill(probs: np.ndarray, labels: np.ndarray, rates: np.ndarray | float) -> float:
    """One minus the Brier score over that of a forecast that knows only rates."""
    known = np.broadcast_to(rates, probs.shape)
    return float(1 - _apart(probs, labels).sum() / _apart(known, labels).sum())


LIKELIHOODS: tuple[Hypothesis, ...] = (
    ("the same number in bits, not nats", lambda p, y: _nll(p, y) / math.log(2)),
    ("the same number in decimal logarithms, not nats", lambda p, y: _nll(p, y) / math.log(10)),
    ("exp of the same number (perplexity)", lambda p, y: math.exp(_nll(p, y))),
    ("the geometric mean of the label's probability: exp of minus the number", lambda p, y: math.exp(-_nll(p, y))),
    ("of the predicted class, not of the label", lambda p, y: -np.log(p.max(1)).mean()),
    ("of all classes, not of the label", lambda p, y: -logs(p).mean()),
    ("of all classes, summed, not of the label", lambda p, y: -logs(p).sum(1).mean()),
    ("the median over samples, not the mean", lambda p, y: np.median(-np.log(_own(p, y).clip(TINY)))),
    ("the entropy of the prediction: it does not look at the label", lambda p, y: -(p * logs(p)).sum(1).mean()),
    ("the logarithm of the mean, not the mean of logarithms", lambda p, y: -math.log(_own(p, y).mean())),
    ("log(1 + p), not log(p)", lambda p, y: -np.log1p(_own(p, y)).mean()),
    ("minus the probability, not its logarithm", lambda p, y: -_own(p, y).mean()),
    ("binary cross-entropy of every class, summed", lambda p, y: -np.log((1 - np.abs(_one_hot(p, y) - p)).clip(TINY)).sum(1).mean()),
    ("binary cross-entropy of every class, averaged", lambda p, y: -np.log((1 - np.abs(_one_hot(p, y) - p)).clip(TINY)).mean()),
    ("focal loss (gamma 2)", lambda p, y: -((1 - _own(p, y)) ** 2 * np.log(_own(p, y).clip(TINY))).mean()),
    *((f"probabilities below {least:g} are counted as {least:g}", _cut(least)) for least in CUTS),
    *((f"log(p + {little:g}), not log(p): probabilities are offset", _offset(little)) for little in CUTS),
    *((f"labels are smoothed by {share:g}", _smoothed_nll(share)) for share in SMOOTHED),
)  # fmt: skip
BRIERS: tuple[Hypothesis, ...] = (
    ("the first class is left out", lambda p, y: _apart(p, y)[:, 1:].sum(1).mean()),
    ("the last class is left out", lambda p, y: _apart(p, y)[:, :-1].sum(1).mean()),
    ("of the label's probability alone", lambda p, y: _own(_apart(p, y), y).mean()),
    ("of the top label's confidence alone", lambda p, y: ((p.max(1) - _hit(p, y)) ** 2).mean()),
    ("absolute distances, not squares", lambda p, y: np.abs(p - _one_hot(p, y)).sum(1).mean()),
    ("the root of each sample's distance, and their mean", lambda p, y: np.sqrt(_apart(p, y).sum(1)).mean()),
    ("the mean over classes, and its root (RMSE)", lambda p, y: math.sqrt(_apart(p, y).mean())),
    ("the predicted class is taken for the label", lambda p, y: _apart(p, p.argmax(1)).sum(1).mean()),
    ("the skill: one minus the score over that of equal probabilities", lambda p, y: _skill(p, y, 1 / p.shape[1])),
    ("the skill: one minus the score over that of the classes' rates", lambda p, y: _skill(p, y, _one_hot(p, y).mean(0))),
    ("log-probabilities are taken for probabilities", lambda p, y: _apart(logs(p), y).sum(1).mean()),
    ("the sum of squared probabilities alone: it does not look at the label", lambda p, y: (p**2).sum(1).mean()),
    *((f"labels are smoothed by {share:g}", _smoothed_brier(share)) for share in SMOOTHED),
)  # fmt: skip


# ---------------------------------------------------------------- bins


def _top_k(count: int) -> Alteration:
    return lambda p, y: (p.max(1), (np.argsort(-p, 1)[:, :count] == y[:, None]).any(1).astype(float))  # fmt: skip


def _kept_apart(least: float) -> Alteration:
    return lambda p, y: (p.max(1).clip(least, 1 - least), _hit(p, y))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-logits))).max(1)


# Confidences and hits, where ours are the largest probability and whether its class is the label.
CONFIDENCES: tuple[tuple[str, Alteration], ...] = (
    ("the label's probability for a confidence", lambda p, y: (_own(p, y), _hit(p, y))),
    ("the second largest probability for a confidence", lambda p, y: (np.sort(p, 1)[:, -2], _hit(p, y))),
    ("the margin of the two largest probabilities for a confidence", lambda p, y: (np.diff(np.sort(p, 1)[:, -2:])[:, 0], _hit(p, y))),
    ("mistakes are counted where hits should be", lambda p, y: (p.max(1), 1 - _hit(p, y))),
    ("one minus the confidence", lambda p, y: (1 - p.max(1), _hit(p, y))),
    ("confidences are rounded to half precision", lambda p, y: (p.max(1).astype(np.float16).astype(float), _hit(p, y))),
    ("the probabilities of all classes are flattened and counted, not the predicted one's", lambda p, y: (p.ravel(), _one_hot(p, y).ravel())),
    ("the least likely class is taken for the prediction", lambda p, y: (p.max(1), (p.argmin(1) == y).astype(float))),
    ("the last class is left out", lambda p, y: (p[:, :-1].max(1), _hit(p[:, :-1], y))),
    ("the first class is left out", lambda p, y: (p[:, 1:].max(1), _hit(p[:, 1:], y - 1))),
    ("the sigmoid of the logits for a confidence, not the softmax", lambda p, y: (_sigmoid(logs(p) - logs(p).mean(1, keepdims=True)), _hit(p, y))),
    ("the sigmoid of log-probabilities for a confidence", lambda p, y: (_sigmoid(logs(p)), _hit(p, y))),
    (WRONG_AXIS, lambda p, y: (softmax(logs(p).T).T.max(1), _hit(softmax(logs(p).T).T, y))),
    *((f"a hit is a label among the top {count}", _top_k(count)) for count in (2, 3, 5)),
    *((f"confidences are cut to [{least:g}, {1 - least:g}]", _kept_apart(least)) for least in CUTS[:6]),
)  # fmt: skip


def _digitized(confidence: np.ndarray, edges: np.ndarray, *, right: bool = False) -> np.ndarray:
    return np.digitize(confidence, edges[1:-1], right=right)


def _by_mass(confidence: np.ndarray, bins: int) -> np.ndarray:
    order, index = np.argsort(confidence, kind="stable"), np.empty(len(confidence), int)
    index[order] = np.repeat(np.arange(bins), [len(one) for one in np.array_split(order, bins)])
    return index


# The bin of each confidence of so many bins and classes; -1 where it is left out, but counted.
INDICES: tuple[tuple[str, Index], ...] = (
    ("the last bin is dropped", lambda c, b, k: np.where(bin_index(c, b) == b - 1, -1, bin_index(c, b))),
    ("the first bin that holds samples is dropped", lambda c, b, k: np.where(bin_index(c, b) == bin_index(c, b).min(), -1, bin_index(c, b))),
    ("confidences of exactly 1 fall out of the last bin", lambda c, b, k: np.where(c >= 1, -1, bin_index(c, b))),
    ("bins are closed on the right, not on the left", lambda c, b, k: _digitized(c, bin_edges(b), right=True)),
    ("confidences are shifted by a bin: off by one", lambda c, b, k: np.minimum(bin_index(c, b) + 1, b - 1)),
    ("edges in float32", lambda c, b, k: _digitized(c.astype(np.float32), bin_edges(b).astype(np.float32))),
    ("bins of equal mass, not of equal width", lambda c, b, k: _by_mass(c, b)),
    ("bins of equal mass, not of equal width (quantiles)", lambda c, b, k: _digitized(c, np.quantile(c, bin_edges(b)), right=True)),
    ("bins go from 1 / K to 1, not from 0", lambda c, b, k: _digitized(c, np.linspace(1 / k, 1, b + 1))),
    ("bins go from the smallest confidence to the largest, not from 0 to 1", lambda c, b, k: _digitized(c, np.linspace(c.min(), c.max(), b + 1), right=True)),
    ("confidences are rounded to the nearest edge, not sorted into bins", lambda c, b, k: np.round(c * b).astype(int)),
)  # fmt: skip


def _held(confidence: np.ndarray, hits: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, Gaps]:
    """Number of samples of each bin that holds any; its share of all, and its gap with sign."""
    kept = index >= 0
    count = np.bincount(index[kept])
    held = count > 0
    gaps = np.bincount(index[kept], (confidence - hits)[kept])[held] / count[held]
    return count[held], (count[held] / len(index), gaps)


def _total(concept: str, weights: np.ndarray, gaps: np.ndarray) -> float:
    """The binned error of weighted gaps."""
    if concept == "mce":
        return float(np.abs(gaps).max())
    if concept == "ace_average":
        return float(np.abs(gaps).mean())
    if concept == "rms_calibration_error":
        return float(np.sqrt(weights @ gaps**2))
    return float(weights @ np.abs(gaps))


# What becomes of shares and gaps before they are added up.
WEIGHED: tuple[tuple[str, Callable[[np.ndarray, np.ndarray], Gaps]], ...] = (
    ("bins are averaged without their weights", lambda w, g: (np.full(len(g), 1 / len(g)), g)),
    ("bins are summed without their weights", lambda w, g: (np.ones(len(g)), g)),
    ("the weights of bins are squared", lambda w, g: (w**2, g)),
    ("gaps are weighted before the power or the maximum is taken", lambda w, g: (np.ones(len(g)), w * g)),
    ("only over-confidence is counted", lambda w, g: (w, np.maximum(g, 0))),
    ("only under-confidence is counted", lambda w, g: (w, np.minimum(g, 0))),
    ("differences are not taken as absolute values", lambda w, g: (np.ones(1), np.array([w @ g]))),
    ("the smallest gap of a bin", lambda w, g: (np.ones(1), np.abs(g).min(keepdims=True))),
    ("the largest gap of a bin, not the mean", lambda w, g: (np.ones(1), np.abs(g).max(keepdims=True))),
    ("the median gap of bins", lambda w, g: (np.ones(1), np.median(np.abs(g), keepdims=True))),
)  # fmt: skip


def _other_counts(concept: str, bins: int) -> Iterator[Hypothesis]:
    common = (bins - 1, bins + 1, 10, 15, 20, 100)
    for count in dict.fromkeys((*common, *COUNTS)):
        if count > 0 and count != bins:
            off = ": off by one" if abs(count - bins) == 1 else ""
            yield f"{count} bins instead of {bins}{off}", plain(concept, count)


def _binnings(concept: str, bins: int) -> Iterator[Hypothesis]:
    """Binned errors with a fault in the confidences, in the bins, or in how they are added up."""

    def usual(confidence: np.ndarray, hits: np.ndarray) -> float:
        return _total(concept, *_held(confidence, hits, bin_index(confidence, bins))[1])

    for words, view in CONFIDENCES:
        yield words, _after(view, usual)
    for words, index in INDICES:
        yield words, _with_index(concept, bins, index)
    for words, weigh in WEIGHED:
        yield words, _with_weights(concept, bins, weigh)
    yield (
        "the last bin is dropped, and its samples are not counted",
        _after(lambda p, y: _below(p, y, 1 - 1 / bins), usual),
    )
    yield "bins are averaged without their weights, empty ones counted", _over_all(concept, bins)
    for words, shift in (("the centre", 0.5), ("the lower edge", 0.0), ("the upper edge", 1.0)):
        yield f"{words} of a bin for the mean confidence in it", _with_points(concept, bins, shift)
    yield "of every class by itself, and their mean (class-wise)", lambda p, y: float(np.mean(_by_class(usual, p, y)))  # fmt: skip
    yield (
        "of every class by itself, and their sum",
        lambda p, y: float(np.sum(_by_class(usual, p, y))),
    )
    for least in FEW:
        words = f"bins with few samples are left out (below {least})"
        yield words, _with_full_bins(concept, bins, least)


def _below(probs: np.ndarray, labels: np.ndarray, edge: float) -> tuple[np.ndarray, np.ndarray]:
    kept = probs.max(1) < edge
    return probs.max(1)[kept], _hit(probs, labels)[kept]


def _by_class(error: Metric, probs: np.ndarray, labels: np.ndarray) -> list[float]:
    return [error(of_one, (labels == k).astype(float)) for k, of_one in enumerate(probs.T)]


def _with_index(concept: str, bins: int, index: Index) -> Metric:
    return lambda p, y: _total(concept, *_held(p.max(1), _hit(p, y), index(p.max(1), bins, p.shape[1]))[1])  # fmt: skip


def _with_weights(
    concept: str, bins: int, weigh: Callable[[np.ndarray, np.ndarray], Gaps]
) -> Metric:
    return lambda p, y: _total(concept, *weigh(*_held(p.max(1), _hit(p, y), bin_index(p.max(1), bins))[1]))  # fmt: skip


def _over_all(concept: str, bins: int) -> Metric:
    def error(probs: np.ndarray, labels: np.ndarray) -> float:
        gaps = _held(probs.max(1), _hit(probs, labels), bin_index(probs.max(1), bins))[1][1]
        return _total("ece" if concept == "ace_average" else concept, np.full(len(gaps), 1 / bins), gaps)  # fmt: skip

    return error


def _with_points(concept: str, bins: int, shift: float) -> Metric:
    def error(probs: np.ndarray, labels: np.ndarray) -> float:
        index = bin_index(probs.max(1), bins)
        return _total(concept, *_held((index + shift) / bins, _hit(probs, labels), index)[1])

    return error


def _with_full_bins(concept: str, bins: int, least: int) -> Metric:
    def error(probs: np.ndarray, labels: np.ndarray) -> float:
        count, (weights, gaps) = _held(
            probs.max(1), _hit(probs, labels), bin_index(probs.max(1), bins)
        )
        return _total(concept, weights[count >= least], gaps[count >= least])

    return error
