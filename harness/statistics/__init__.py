"""How sure a number is: intervals, paired tests, corrections. Pure functions of NumPy arrays.

Every interval is a nominal 95 % one and covers the draw of images, given a model and an attack; not
the weakness of the attack, not the seed of the training. Where none covers, the ends are None.
"""

from harness.statistics.bins import BinnedKind
from harness.statistics.calibration import Floor, Term, binned_error, binned_term, floor
from harness.statistics.estimates import Difference, Estimate
from harness.statistics.families import (
    detectable_difference,
    gate,
    holm,
    least_discordance,
    least_samples,
)
from harness.statistics.means import (
    mean,
    mean_difference,
    mean_nll,
    mean_over_cases,
    over_seeds,
    relative_error,
)
from harness.statistics.proportions import paired_proportions, proportion, wilson
from harness.statistics.ranking import auroc_difference, auroc_interval, ranking_intervals

__all__ = [
    "BinnedKind",
    "Difference",
    "Estimate",
    "Floor",
    "Term",
    "auroc_difference",
    "auroc_interval",
    "binned_error",
    "binned_term",
    "detectable_difference",
    "floor",
    "gate",
    "holm",
    "least_discordance",
    "least_samples",
    "mean",
    "mean_difference",
    "mean_nll",
    "mean_over_cases",
    "over_seeds",
    "paired_proportions",
    "proportion",
    "ranking_intervals",
    "relative_error",
    "wilson",
]
