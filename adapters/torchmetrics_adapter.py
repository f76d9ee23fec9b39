"""torchmetrics: calibration errors of the top label, and rankings.

The binary metrics are used: the multiclass path casts to float32. Confidences of exactly 1 are moved
to the float64 just below, since torchmetrics gives them a bin of their own; scores are handed over
as ranks in (0, 1), since anything outside [0, 1] is taken for logits and put through a sigmoid,
where large scores become equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.core.arrays import checked_scores, top_label
from harness.core.lazy import Lazy
from harness.core.registry import Library, registry

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    Metric = Callable[..., float]
else:
    torch = Lazy("torch")

TORCHMETRICS = registry.library(
    Library("torchmetrics", "torchmetrics", "torchmetrics", "1.9.0", extra="torchmetrics")
)
BELOW_ONE = float(np.nextafter(1.0, 0.0))

Norm = Literal["l1", "l2", "max"]


def _native(norm: Norm) -> Metric:
    """How the library's users call it: the model's own float32 probabilities, and labels."""

    def native(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
        from torchmetrics.functional.classification import multiclass_calibration_error

        return float(
            multiclass_calibration_error(
                torch.from_numpy(probs),
                torch.from_numpy(labels),
                num_classes=probs.shape[1],
                n_bins=bins,
                norm=norm,
            )
        )

    return native


def _register(name: str, norm: Norm) -> Callable[[Metric], Metric]:
    return registry.register(
        "metric",
        f"torchmetrics/{name}",
        library=TORCHMETRICS,
        native=_native(norm),
        better="lower",
        units="fraction",
        axis="calibration",
    )


def _calibration(probs: np.ndarray, labels: np.ndarray, bins: int, norm: Norm) -> float:
    from torchmetrics.functional.classification import binary_calibration_error

    conf, correct = top_label(probs, labels)
    conf = torch.from_numpy(np.minimum(conf, BELOW_ONE))
    return float(
        binary_calibration_error(conf, torch.from_numpy(correct), n_bins=int(bins), norm=norm)
    )


@_register("ece", "l1")
def ece(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Expected calibration error by torchmetrics; bins [a, b), the last closed."""
    return _calibration(probs, labels, bins, "l1")


@_register("mce", "max")
def mce(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Maximum calibration error by torchmetrics; bins [a, b), the last closed."""
    return _calibration(probs, labels, bins, "max")


@_register("rms_calibration_error", "l2")
def rms_calibration_error(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Root mean square calibration error by torchmetrics, over bins of equal width."""
    return _calibration(probs, labels, bins, "l2")


def _ranking(name: str) -> Callable[[Metric], Metric]:
    return registry.register(
        "metric",
        f"torchmetrics/{name}",
        library=TORCHMETRICS,
        better="higher",
        units="fraction",
        axis="ood",
    )


def _ranked(scores: np.ndarray, positive: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores as ranks in (0, 1), in the same order and with the same ties."""
    values, places = np.unique(scores, return_inverse=True)
    ranks = (places + 0.5) / len(values)
    return torch.from_numpy(ranks), torch.from_numpy(positive.astype(np.int64))


@_ranking("auroc")
def auroc(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Area under the ROC curve by torchmetrics, OOD positive; its curves are float32."""
    from torchmetrics.functional.classification import binary_auroc

    return float(binary_auroc(*_ranked(*checked_scores(id_scores, ood_scores))))


@_ranking("aupr_out")
def aupr_out(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Average precision by torchmetrics, OOD positive; its curves are float32."""
    from torchmetrics.functional.classification import binary_average_precision

    return float(binary_average_precision(*_ranked(*checked_scores(id_scores, ood_scores))))


@_ranking("aupr_in")
def aupr_in(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Average precision by torchmetrics, ID positive; its curves are float32."""
    from torchmetrics.functional.classification import binary_average_precision

    scores, outside = checked_scores(id_scores, ood_scores)
    return float(binary_average_precision(*_ranked(-scores, ~outside)))
