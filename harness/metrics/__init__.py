"""What a number of the report means, and how it is computed.

    METRICS["ece"].better                               the metric dictionary
    ece(softmax(logits), labels)                        calibration: (N, K) probabilities, (N,) labels
    auroc(id_scores, ood_scores)                        OOD: higher scores = more OOD, OOD positive
    fit_temperature(logits, labels)                     on validation images

Intervals are those of `harness.statistics`; both rooms stand on NumPy and SciPy alone.
"""

from harness.metrics.binned import (
    Reliability,
    ace,
    ace_average,
    bin_edges,
    bin_index,
    ece,
    mce,
    on_edge,
    overconfidence,
    reliability_curve,
    rms_calibration_error,
    rms_equal_mass,
    saturated,
)
from harness.metrics.dictionary import METRICS, Metric
from harness.metrics.probabilities import (
    accuracy,
    brier,
    log_softmax,
    nll,
    sample_brier,
    sample_nll,
    softmax,
)
from harness.metrics.ranking import (
    aupr_in,
    aupr_out,
    auroc,
    average_precision,
    fpr95,
    fpr95_id_positive,
    fpr_at_tpr,
    tied_scores,
)
from harness.metrics.temperature import are_probabilities, fit_temperature

__all__ = [
    "METRICS",
    "Metric",
    "Reliability",
    "accuracy",
    "ace",
    "ace_average",
    "are_probabilities",
    "aupr_in",
    "aupr_out",
    "auroc",
    "average_precision",
    "bin_edges",
    "bin_index",
    "brier",
    "ece",
    "fit_temperature",
    "fpr95",
    "fpr95_id_positive",
    "fpr_at_tpr",
    "log_softmax",
    "mce",
    "nll",
    "on_edge",
    "overconfidence",
    "reliability_curve",
    "rms_calibration_error",
    "rms_equal_mass",
    "sample_brier",
    "sample_nll",
    "saturated",
    "softmax",
    "tied_scores",
]
