"""The metric dictionary: one definition for the code, the tables and the data dictionary."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from harness.core.registry import registry

if TYPE_CHECKING:
    from harness.core.types import Axis, Better

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Metric:
    """What a number of the report is.

    Args:
        name: the `metric` column of a row.
        title: how reports call it.
        unit: "fraction", "nats", "s", ...; "" for a pure number.
        range: smallest and largest possible value.
        better: direction in which a model is better, "none" where there is none.
        axes: where it occurs.
        definition: one line, exact enough to compute it.
        source: paper or file, "" for what needs none.
    """

    name: str
    title: str
    unit: str
    range: tuple[float, float]
    better: Better
    axes: tuple[Axis, ...]
    definition: str
    source: str = ""


SHARE, SIGNED, ANY = (0.0, 1.0), (-1.0, 1.0), (0.0, math.inf)
GUO, NIXON = "Guo et al. 2017, arXiv:1706.04599", "Nixon et al. 2019, arXiv:1904.01685"
HENDRYCKS = "Hendrycks, Mazeika and Dietterich 2019, arXiv:1812.04606"
BINS = "over B = 15 bins of equal width, [a, b), the last closed at 1"

_ALL = (
    # -- what is right
    Metric("accuracy", "Accuracy", "fraction", SHARE, "higher", ("clean", "shift"),
           "Share of the test images that are predicted rightly."),
    Metric("robust_accuracy", "Robust accuracy", "fraction", SHARE, "higher", ("adversarial",),
           "Share of all test images that are right on every point tried in the ball: an upper bound."),
    Metric("robust_gap", "Gap to unseen attacks", "fraction", SIGNED, "lower", ("adversarial",),
           "Robust accuracy under the attack trained on, minus that under the worst of all attacks."),
    Metric("asr", "Attack success rate", "fraction", SHARE, "lower", ("adversarial",),
           "Share made wrong among the images that are right unattacked (not among all images)."),
    Metric("distance", "Smallest perturbation", "pixel units", ANY, "higher", ("adversarial",),
           "Median over images of the smallest perturbation found, in the norm of the case."),
    Metric("relative_error", "Error relative to the baseline", "ratio", ANY, "lower", ("shift",),
           "Mean over corruptions of err(model) / err(baseline).",
           "Hendrycks and Dietterich 2019, arXiv:1903.12261, with our baseline for theirs"),
    # -- out of distribution; OOD is the positive class unless said
    Metric("auroc", "AUROC", "fraction", SHARE, "higher", ("ood",),
           "Probability that an OOD image scores higher than an ID image, ties counting half."),
    Metric("aupr_out", "AUPR-out", "fraction", SHARE, "higher", ("ood",),
           "Average precision with OOD positive, step-wise; depends on the share of OOD images."),
    Metric("aupr_in", "AUPR-in", "fraction", SHARE, "higher", ("ood",),
           "Average precision with ID positive, step-wise; depends on the share of OOD images."),
    Metric("fpr95", "FPR95", "fraction", SHARE, "lower", ("ood",),
           "Share of ID images flagged when at least 95 % of the OOD images are.",
           "OpenOOD v1.5, arXiv:2306.09301"),
    Metric("fpr95_id_positive", "FPR95 (ID positive)", "fraction", SHARE, "lower", ("ood",),
           "Share of OOD images passed when at least 95 % of the ID images are.",
           "ODIN, arXiv:1706.02690"),
    Metric("tied_scores", "Tied scores", "fraction", SHARE, "none", ("ood",),
           "Share of images, ID and OOD together, whose score another image has as well."),
    # -- calibration of the predicted class
    Metric("ece", "ECE", "fraction", SHARE, "lower", ("calibration",),
           f"Sum of n_b / N * |accuracy_b - confidence_b| {BINS}.", GUO),
    Metric("ece_floor", "ECE of a calibrated model", "fraction", SHARE, "none", ("calibration",),
           "Mean ECE over labels drawn from the model's own probabilities; `high` is the 96.5 % quantile."),
    Metric("mce", "MCE", "fraction", SHARE, "lower", ("calibration",),
           f"Largest |accuracy_b - confidence_b| {BINS}.", GUO),
    Metric("rms_calibration_error", "RMS calibration error", "fraction", SHARE, "lower",
           ("calibration",),
           f"Root of the sum of n_b / N * (accuracy_b - confidence_b)^2 {BINS}.", HENDRYCKS),
    Metric("rms_equal_mass", "RMS calibration error, bins of 100", "fraction", SHARE, "lower",
           ("calibration",),
           "As rms_calibration_error, over bins of 100 images in order of confidence.", HENDRYCKS),
    Metric("ace", "ACE (adaptive)", "fraction", SHARE, "lower", ("calibration",),
           "Mean over all K classes of the ECE of that class's probability over 15 bins of equal mass.",
           NIXON),
    Metric("ace_average", "Average calibration error", "fraction", SHARE, "lower",
           ("calibration",),
           f"Unweighted mean of |accuracy_b - confidence_b| {BINS}, empty ones left out.",
           "netcal's ACE"),
    Metric("overconfidence", "Confidence minus accuracy", "fraction", SIGNED, "none",
           ("calibration",),
           "Mean confidence minus accuracy: above 0 over-confident, below 0 under-confident."),
    Metric("saturated", "Saturated confidences", "fraction", SHARE, "none", ("calibration",),
           "Share of confidences that are 1 in float32."),
    Metric("on_edge", "Confidences on an edge", "images", ANY, "none", ("calibration",),
           "Number of confidences that are an inner edge of the 15 bins in float32."),
    Metric("brier", "Brier score", "", (0.0, 2.0), "lower", ("calibration",),
           "Mean squared distance of the probabilities to the one-hot label, summed over classes.",
           "Brier 1950"),
    Metric("nll", "NLL", "nats", ANY, "lower", ("calibration",),
           "Mean of -log of the probability of the true class."),
    Metric("temperature", "Temperature", "", ANY, "none", ("calibration",),
           "What the logits are divided by, fitted to the NLL of the validation images.", GUO),
    # -- cost
    Metric("seconds", "Time", "s", ANY, "lower", ("training", "crosscheck"), "Wall time."),
    Metric("forwards", "Forward passes", "per image", ANY, "lower", ("adversarial", "crosscheck"),
           "Images sent forward through the network, per test image."),
    Metric("backwards", "Gradients", "per image", ANY, "lower", ("adversarial", "crosscheck"),
           "Input gradients taken, per test image."),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric that a row may carry, by name."""


def plug(name: str) -> Callable[[F], F]:
    """Decorator: register a function as the metric `name` of the dictionary.

    Those of the axis "ood" take (id_scores, ood_scores), all others (probs, labels).
    """
    metric = METRICS[name]
    return registry.register(
        "metric", name, better=metric.better, units=metric.unit, axis=metric.axes[0]
    )
