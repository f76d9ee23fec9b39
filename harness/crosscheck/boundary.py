"""Boundary cases: small arrays on which implementations of a metric have something to differ about.

They belong to no model. Probabilities are float32, as a network gives them; the lockstep protocol
hands the same values to all as float64.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from harness.core.rng import numpy_rng
from harness.crosscheck import calibration, ood
from harness.metrics import softmax

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from harness.crosscheck.catalogue import Protocol
    from harness.crosscheck.comparison import Comparison

    Labelled = tuple[np.ndarray, np.ndarray]
    Pair = tuple[np.ndarray, np.ndarray]

BINS = 10  # of which 0.7 and 0.9 are edges that float32 misses (C1)
MANY = 300_000  # more than float32 counts or sums without loss (C4b)
SLOW = ("temperature",)  # fitted, not binned: a boundary case has nothing to say of it


def _rows(confidences: np.ndarray, classes: int) -> np.ndarray:
    """(N, K) float32 rows with a given confidence in class 0, the rest shared evenly."""
    rest = (1 - confidences) / (classes - 1)
    return np.column_stack([confidences, *[rest] * (classes - 1)]).astype(np.float32)


def _alternating(n: int, classes: int = 10) -> np.ndarray:
    """(N,) labels: three of four are class 0."""
    return np.where(np.arange(n) % 4 < 3, 0, np.arange(n) % classes).astype(np.int64)


def _zero_and_one() -> Labelled:
    certain = np.eye(10, dtype=np.float32)[np.arange(100) % 10]
    return np.concatenate([certain, _rows(np.full(100, 0.95), 10)]), _alternating(200)


def _chance() -> Labelled:
    return np.full((200, 10), 0.1, np.float32), np.arange(200) % 10


def _on_edges() -> Labelled:
    """Every bin has right samples on its lower edge and wrong ones within."""
    edges = np.arange(2, 10) / 10
    confidences = np.concatenate([edges, edges + 0.05]).repeat(12)
    return _rows(confidences, 10), (np.arange(len(confidences)) >= len(confidences) // 2) * 1


def _empty_bins() -> Labelled:
    return _rows(np.linspace(0.51, 0.54, 200), 3), _alternating(200, 3)


def _drawn(n: int, classes: int) -> Labelled:
    rng = numpy_rng(0, "boundary", n, classes)
    probs = softmax(2 * rng.normal(size=(n, classes)))
    labels = (np.cumsum(probs, 1) < rng.random((n, 1))).sum(1).clip(max=classes - 1)
    return probs.astype(np.float32), labels.astype(np.int64)


CALIBRATION: Mapping[str, Callable[[], Labelled]] = {
    "probabilities exactly 0 and 1": _zero_and_one,
    "confidence exactly 1/K": _chance,
    "confidence on a bin edge": _on_edges,
    "empty bins": _empty_bins,
    "two classes": partial(_drawn, 200, 2),
    "one sample": partial(_drawn, 1, 10),
    f"n = {MANY:,}": partial(_drawn, MANY, 3),
}
"""Case -> (N, K) float32 probabilities and (N,) labels."""


def _normal(decimals: int) -> Pair:
    rng = numpy_rng(0, "boundary", "scores")
    inside, outside = rng.normal(size=300), 1 + rng.normal(size=200)
    return inside.round(decimals), outside.round(decimals)


def _saturated() -> Pair:
    inside, outside = _normal(15)
    return tuple(-(1 / (1 + np.exp(-9 * (2 - s)))).astype(np.float32).astype(np.float64) for s in (inside, outside))  # type: ignore[return-value]  # fmt: skip


def _flipped() -> Pair:
    inside, outside = _normal(15)
    return -inside, -outside


RANKING: Mapping[str, Callable[[], Pair]] = {
    "tied scores": partial(_normal, 0),
    "constant scores": lambda: (np.full(60, 0.25), np.full(40, 0.25)),
    "maximum softmax at -1 in float32": _saturated,
    "OOD scores below ID": _flipped,
}
"""Case -> (N,) ID and (M,) OOD scores, higher = more OOD."""


def comparisons(
    case: str, protocols: Collection[Protocol] = ("lockstep", "native")
) -> list[Comparison]:
    """Each pair of implementations of each metric on one boundary case.

    Args:
        case: a key of CALIBRATION or RANKING; the title of each comparison ends in it.
        protocols: those that are asked for; rankings have lockstep only.
    """
    if case in RANKING:
        lines = ood.metric_comparisons(*RANKING[case]())
    else:
        probs, labels = CALIBRATION[case]()
        exact = probs.astype(np.float64)
        lines = calibration.comparisons(
            exact, labels, native=probs, bins=BINS, protocols=protocols, without=SLOW
        )
    return [replace(one, what=f"{one.what}: {case}") for one in lines]
