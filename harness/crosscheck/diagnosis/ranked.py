"""Faults of ranking metrics: each in words, beside the function of two sets of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.core.registry import registry
from harness.crosscheck.diagnosis.reproduced import (
    BATCHES,
    UNITS,
    batched,
    composed,
    means_of_batches,
    other_metrics,
    sampled,
)
from harness.metrics import auroc, average_precision, fpr95, fpr_at_tpr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.crosscheck.diagnosis.reproduced import Hypothesis, Metric, Rows

    Change = Callable[[np.ndarray], np.ndarray]
    Alteration = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

SWAPPED = "the wrong positive class: ID counts as positive where OOD should (or the sign of the score is flipped)"
SHARES = (0.8, 0.9, 0.98, 0.99, 0.05, 0.5, 0.85, 0.91, 0.92, 0.93, 0.94, 0.955, 0.96, 0.97, 0.975, 0.995, 0.999)  # fmt: skip
TINY = 1e-300
LIMITS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)  # of the false positives, of a partial AUROC
THRESHOLDS = (10, 50, 100, 200, 500, 1000)


def hypotheses(concept: str, n: int) -> Iterator[Hypothesis]:
    """Every fault of a registered metric, most likely first.

    Args:
        concept: "auroc", "aupr_out", "fpr95", ...
        n: samples of the smaller set.
    """
    metric = registry.get("metric", concept).function
    for words, alteration in _altered():
        yield words, _after(alteration, metric)
    yield from VARIANTS.get(concept, ())
    yield from _trapezoids(concept)
    for words, outer in UNITS:
        yield words, composed(outer, metric)
    yield (
        "one minus the value: the share that is left alone, not the one that is flagged",
        composed(lambda v: 1 - v, metric),
    )
    yield from other_metrics(concept)
    yield from means_of_batches(metric, n)


def _after(alteration: Alteration, metric: Metric) -> Metric:
    return lambda inside, outside: float(metric(*alteration(inside, outside)))


# ---------------------------------------------------------------- other scores


def standardised(scores: np.ndarray) -> np.ndarray:
    """Scores in standard deviations from their own mean."""
    return (scores - scores.mean()) / scores.std()


def _to_unit(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.min()) / np.ptp(scores)


def _by_batch(size: int) -> Change:
    def change(scores: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [standardised(scores[at : at + size]) for at in range(0, len(scores), size)]
        )

    return change


def _rounded(decimals: int) -> Change:
    return lambda scores: scores.round(decimals)


# What is done to the scores of either set by itself.
CHANGES: tuple[tuple[str, Change], ...] = (
    ("the sign of the score is flipped", np.negative),
    ("scores are compared in float32: more of them tie", lambda s: s.astype(np.float32).astype(float)),
    ("scores are rounded to half precision: more of them tie", lambda s: s.astype(np.float16).astype(float)),
    ("the absolute value of the score", np.abs),
    ("each set's scores are scaled to [0, 1] by themselves", _to_unit),
    ("each set's scores are standardised by themselves", standardised),
    ("scores are cut to [0, 1]", lambda s: s.clip(0, 1)),
    ("negative scores are cut to 0", lambda s: s.clip(0)),
    ("scores are cut to whole numbers", np.trunc),
    ("scores that are equal are counted once", np.unique),
    ("scores are made 0 or 1 at 0.5: one point of the curve", lambda s: (s > 0.5).astype(float)),
    ("scores are made 0 or 1 at 0: one point of the curve", lambda s: (s > 0).astype(float)),
    *((f"scores are rounded to {10.0**-count:g}: more of them tie", _rounded(count)) for count in range(7)),
    *((f"scores are standardised batch by batch (batches of {size})", _by_batch(size)) for size in BATCHES),
)  # fmt: skip


def _at(threshold: Callable[[np.ndarray], float]) -> Alteration:
    """Zeros and ones at a threshold that both sets have a part in."""

    def change(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cut = threshold(np.concatenate([inside, outside]))
        return (inside > cut).astype(float), (outside > cut).astype(float)

    return change


# What is done to both sets together.
TOGETHER: tuple[tuple[str, Alteration], ...] = (
    (SWAPPED, lambda a, b: (b, a)),
    ("the wrong positive class, and the sign of the score flipped", lambda a, b: (-b, -a)),
    ("the OOD set is contained in the ID set", lambda a, b: (np.concatenate([a, b]), b)),
    ("the ID set is contained in the OOD set", lambda a, b: (a, np.concatenate([a, b]))),
    ("the larger set is cut to as many samples as the smaller", lambda a, b: (a[: len(b)], b[: len(a)])),
    ("the sets are divided in the middle, not where the one ends", lambda a, b: _halved(np.concatenate([a, b]))),
    ("scores are made 0 or 1 at the median of both sets: one point of the curve", _at(np.median)),
    ("scores are made 0 or 1 at the mean of both sets: one point of the curve", _at(np.mean)),
    ("the sign of the OOD scores alone is flipped", lambda a, b: (a, -b)),
    ("the sign of the ID scores alone is flipped", lambda a, b: (-a, b)),
)  # fmt: skip


def _halved(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return scores[: len(scores) // 2], scores[len(scores) // 2 :]


def _altered() -> Iterator[tuple[str, Alteration]]:
    yield from TOGETHER
    for words, change in CHANGES:
        yield words, _each(change)
    for words, rows in (*batched(), *sampled()):
        yield words, _taken(rows)


def _each(change: Change) -> Alteration:
    return lambda inside, outside: (change(inside), change(outside))


def _taken(rows: Rows) -> Alteration:
    return lambda inside, outside: (inside[rows(len(inside))], outside[rows(len(outside))])


# ---------------------------------------------------------------- other numbers of the same name


def _wins(side: str) -> Metric:
    """AUROC with ties on one side."""

    def area(inside: np.ndarray, outside: np.ndarray) -> float:
        order = np.sort(inside)
        lower = order.searchsorted(outside, "right" if side == "wins" else "left")
        return float(lower.mean() / len(inside))

    return area


def _at_thresholds(count: int) -> Metric:
    def area(inside: np.ndarray, outside: np.ndarray) -> float:
        both = np.concatenate([inside, outside])
        edges = np.linspace(both.min(), both.max(), count)
        return auroc(*(np.digitize(one, edges).astype(float) for one in (inside, outside)))

    return area


def _roc(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates, from no sample to all."""
    cuts = np.unique(np.concatenate([inside, outside]))[::-1]
    rates = [1 - np.sort(one).searchsorted(cuts, "left") / len(one) for one in (inside, outside)]
    return np.append(0, rates[0]), np.append(0, rates[1])


def _partial(limit: float, *, kind: str) -> Metric:
    """The area under the ROC curve up to a false positive rate, as it is, or put on another scale."""

    def area(inside: np.ndarray, outside: np.ndarray) -> float:
        false, true = _roc(inside, outside)
        kept = false <= limit + 1e-12
        x = np.append(false[kept], limit)
        y = np.append(true[kept], np.interp(limit, false, true))
        found = float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())
        if kind == "standardised":
            return 0.5 * (1 + (found - limit**2 / 2) / (limit - limit**2 / 2))
        return found / limit if kind == "scaled" else found

    return area


def _better(inside: np.ndarray, outside: np.ndarray) -> float:
    return max(auroc(inside, outside), auroc(outside, inside))


AREAS: tuple[Hypothesis, ...] = (
    ("ties count as wins, not half", _wins("wins")),
    ("ties count as losses, not half", _wins("losses")),
    ("2 AUROC - 1 (Gini's coefficient), not AUROC", lambda a, b: 2 * auroc(a, b) - 1),
    ("the larger of AUROC and 1 - AUROC: it never says below chance", _better),
    *((f"at {count} thresholds only, not at every score", _at_thresholds(count)) for count in THRESHOLDS),
    *((f"a partial AUROC up to FPR {limit:g} (standardised)", _partial(limit, kind="standardised")) for limit in LIMITS),
    *((f"a partial AUROC up to FPR {limit:g} (as it is)", _partial(limit, kind="plain")) for limit in LIMITS),
    *((f"a partial AUROC up to FPR {limit:g} (divided by it)", _partial(limit, kind="scaled")) for limit in LIMITS),
)  # fmt: skip


def _flagged(
    threshold: Callable[[np.ndarray, np.ndarray], float], *, strict: bool = False
) -> Metric:
    """The share of the ID images at or above a threshold."""

    def share(inside: np.ndarray, outside: np.ndarray) -> float:
        cut = threshold(inside, outside)
        return float((inside > cut if strict else inside >= cut).mean())

    return share


def _at_share(share: float) -> Metric:
    return lambda inside, outside: fpr_at_tpr(inside, outside, tpr=share)


def _caught(inside: np.ndarray, outside: np.ndarray) -> float:
    """The share of the OOD images above the threshold that 5 % of the ID images pass."""
    return float((outside >= np.quantile(inside, 0.95)).mean())


def _least_error(inside: np.ndarray, outside: np.ndarray) -> float:
    false, true = _roc(inside, outside)
    return float((false + 1 - true).min() / 2)


def _pooled(share: float) -> Metric:
    return _flagged(lambda a, b: float(np.quantile(np.concatenate([a, b]), share)))


def _below_mean(deviations: float) -> Metric:
    return _flagged(lambda a, b: float(b.mean() - deviations * b.std()))


RATES: tuple[Hypothesis, ...] = (
    *((f"at {100 * share:g} % instead of 95 % of the OOD images", _at_share(share)) for share in SHARES),
    ("ties count for the detector: only scores above the threshold are flagged", _flagged(lambda a, b: float(np.quantile(b, 0.05, method="lower")), strict=True)),
    ("the threshold is interpolated between two scores", _flagged(lambda a, b: float(np.quantile(b, 0.05)))),
    ("the TPR at an FPR of 5 %: the two rates are swapped", _caught),
    ("one minus the TPR at an FPR of 5 %: the two rates are swapped", composed(lambda v: 1 - v, _caught)),
    ("the threshold is a quantile of both sets, not of the OOD set", _pooled(0.05)),
    ("the threshold is the wrong quantile of both sets", _pooled(0.95)),
    ("the threshold is the wrong quantile of the ID set", _flagged(lambda a, b: float(np.quantile(a, 0.05)))),
    ("the detection error: the mean of 5 % and FPR95", lambda a, b: 0.025 + fpr95(a, b) / 2),
    ("the least detection error of any threshold", _least_error),
    *((f"the threshold is the mean less some standard deviations, as if scores were normal ({count:g} of them)", _below_mean(count)) for count in (1, 1.64, 1.645, 1.96, 2, 3)),
)  # fmt: skip


def _precision_recall(negative: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at each score of the positive class, from all of it to none."""
    cuts = np.unique(np.concatenate([negative, positive]))
    caught = len(positive) - np.sort(positive).searchsorted(cuts, "left")
    wrong = len(negative) - np.sort(negative).searchsorted(cuts, "left")
    return np.append(caught / (caught + wrong), 1.0), np.append(caught / len(positive), 0.0)


def _interpolated(negative: np.ndarray, positive: np.ndarray) -> float:
    precision, recall = _precision_recall(negative, positive)
    return float(-np.diff(recall) @ np.maximum.accumulate(precision)[:-1])


def _best_f1(negative: np.ndarray, positive: np.ndarray) -> float:
    precision, recall = _precision_recall(negative, positive)
    return float((2 * precision * recall / np.maximum(precision + recall, TINY)).max())


def _above_chance(negative: np.ndarray, positive: np.ndarray) -> float:
    rate = len(positive) / (len(positive) + len(negative))
    return (average_precision(negative, positive) - rate) / (1 - rate)


def _of_equal_size(negative: np.ndarray, positive: np.ndarray) -> float:
    """Average precision of both sets with equal weight, whatever their sizes."""
    cuts = np.unique(positive)[::-1]
    caught, wrong = (1 - np.sort(one).searchsorted(cuts, "left") / len(one) for one in (positive, negative))  # fmt: skip
    return float(np.diff(caught, prepend=0) @ (caught / (caught + wrong)))


PRECISIONS: tuple[Hypothesis, ...] = (
    ("precision is interpolated: the largest at this recall or above", _interpolated),
    ("the best F1, not the area", _best_f1),
    ("the area above that of chance, as a share of what is left", _above_chance),
    ("both sets are weighted as if they were of one size", _of_equal_size),
)


def _of_id(metric: Metric) -> Metric:
    return lambda inside, outside: metric(-outside, -inside)


VARIANTS: dict[str, tuple[Hypothesis, ...]] = {
    "auroc": AREAS,
    "fpr95": RATES,
    "fpr95_id_positive": tuple((words, _of_id(metric)) for words, metric in RATES),
    "aupr_out": PRECISIONS,
    "aupr_in": tuple((words, _of_id(metric)) for words, metric in PRECISIONS),
}


def _trapezoids(concept: str) -> Iterator[Hypothesis]:
    for plug in registry.plugs("metric"):
        if plug.concept == f"{concept}_trapezoid" and plug.library and plug.library.installed:
            yield "the trapezoid under the curve, not average precision", plug.function
