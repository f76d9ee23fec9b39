"""scikit-learn as a witness: proper scores, and rankings from its ROC and precision-recall curves."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from harness.core.arrays import checked_probs, checked_scores
from harness.core.registry import Library, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from harness.core.types import Better

    Metric = Callable[..., float]

SKLEARN = registry.library(Library("sklearn", "sklearn", "scikit-learn", "1.9.1"))


def _proper(name: str, *, units: str, native: Metric) -> Callable[[Metric], Metric]:
    return registry.register(
        "metric",
        f"sklearn/{name}",
        library=SKLEARN,
        native=native,
        better="lower",
        units=units,
        axis="calibration",
    )


def _ranking(name: str, *, better: Better = "higher") -> Callable[[Metric], Metric]:
    return registry.register(
        "metric", f"sklearn/{name}", library=SKLEARN, better=better, units="fraction", axis="ood"
    )


@contextmanager
def _sums_were_checked() -> Generator[None]:
    """Silence one warning: the sums are checked, with the tolerance that float32 needs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The y_prob values do not sum to one", UserWarning)
        yield


def _native_brier(probs: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import brier_score_loss

    with _sums_were_checked():
        return float(brier_score_loss(labels, probs, labels=range(probs.shape[1])))


def _log_loss(probs: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import log_loss

    with _sums_were_checked():
        return float(log_loss(labels, probs, labels=range(probs.shape[1])))


@_proper("brier", units="", native=_native_brier)
def brier(probs: np.ndarray, labels: np.ndarray) -> float:
    """Brier score by scikit-learn, the sum over all classes: in [0, 2], also for two of them."""
    from sklearn.metrics import brier_score_loss

    probs, labels = checked_probs(probs, labels)
    with _sums_were_checked():
        whole = False  # not halved; annotated as text, documented as text or bool
        classes = range(probs.shape[1])
        return float(
            brier_score_loss(labels, probs, labels=classes, scale_by_half=whole)  # pyright: ignore[reportArgumentType]
        )


@_proper("nll", units="nats", native=_log_loss)
def nll(probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood by scikit-learn, which clips probabilities at 2.2e-16."""
    return _log_loss(*checked_probs(probs, labels))


@_ranking("auroc")
def auroc(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Area under the ROC curve by scikit-learn, OOD positive; ties count half."""
    from sklearn.metrics import roc_auc_score

    scores, outside = checked_scores(id_scores, ood_scores)
    return float(roc_auc_score(outside, scores))


@_ranking("aupr_out")
def aupr_out(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Average precision by scikit-learn, OOD positive; step-wise."""
    from sklearn.metrics import average_precision_score

    scores, outside = checked_scores(id_scores, ood_scores)
    return float(average_precision_score(outside, scores))


@_ranking("aupr_in")
def aupr_in(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Average precision by scikit-learn, ID positive; step-wise."""
    from sklearn.metrics import average_precision_score

    scores, outside = checked_scores(id_scores, ood_scores)
    return float(average_precision_score(~outside, -scores))


def _fpr95(scores: np.ndarray, positive: np.ndarray) -> float:
    """False-positive rate at the first point of the ROC curve that catches 95 % of the positives."""
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(positive, scores, drop_intermediate=False)
    return float(fpr[np.argmax(tpr >= 0.95)])


@_ranking("fpr95", better="lower")
def fpr95(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Fraction of ID flagged when at least 95 % of OOD is caught, on scikit-learn's ROC curve."""
    return _fpr95(*checked_scores(id_scores, ood_scores))


@_ranking("fpr95_id_positive", better="lower")
def fpr95_id_positive(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Fraction of OOD passed when at least 95 % of ID is kept, on scikit-learn's ROC curve."""
    scores, outside = checked_scores(id_scores, ood_scores)
    return _fpr95(-scores, ~outside)


def _trapezoid(scores: np.ndarray, positive: np.ndarray) -> float:
    from sklearn.metrics import auc, precision_recall_curve

    precision, recall, _ = precision_recall_curve(positive, scores)
    return float(auc(recall, precision))


@_ranking("aupr_out_trapezoid")
def aupr_out_trapezoid(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Trapezoid under scikit-learn's precision-recall curve, OOD positive."""
    return _trapezoid(*checked_scores(id_scores, ood_scores))


@_ranking("aupr_in_trapezoid")
def aupr_in_trapezoid(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Trapezoid under scikit-learn's precision-recall curve, ID positive."""
    scores, outside = checked_scores(id_scores, ood_scores)
    return _trapezoid(-scores, ~outside)
