"""C1 to C3: ECE, RMS calibration error and Brier score, each a part; before temperature scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.findings.claims import Answer, claim, count_text, for_each
from harness.findings.logic import NEARLY_ALL, every, needed, share, unmeasured
from harness.findings.shift import sizes

if TYPE_CHECKING:
    from harness.findings.evidence import Evidence
    from harness.findings.logic import Judged


@claim(
    "C1",
    "calibration",
    "Models trained with MixUp first and adversarial training second are by far the worst on all "
    "three metrics.",
    "Each of them is worse than each other model by more than 0.005 (ECE), 0.01 (RMS) and 0.005 "
    "(Brier); every comparison must hold",
)
def c1(evidence: Evidence) -> Answer:
    """MixUp first and an attack second, against everyone else."""
    worst = evidence.matrix.mixup_first
    others = evidence.matrix.everyone.without(worst)
    parts = for_each(
        worst,
        lambda model: for_each(
            others, lambda other: [m.far_worse(model, other) for m in evidence.calibration]
        ),
    )
    return Answer(every(parts))


@claim(
    "C2",
    "calibration",
    "Ensembles are the best, better with size.",
    "On each metric, every ensemble is better than every other model, and than the next smaller "
    "ensemble; every comparison must hold",
)
def c2(evidence: Evidence) -> Answer:
    """Ensembles against everyone else and one another."""
    matrix = evidence.matrix
    others = matrix.everyone.without(matrix.ensembles)
    parts = for_each(
        matrix.ensembles,
        lambda model: for_each(
            others, lambda other: [m.better(model, other) for m in evidence.calibration]
        ),
    )
    return Answer(every(parts + sizes(evidence, evidence.calibration)))


@claim(
    "C3",
    "calibration",
    "Nearly all others are worse than the baseline.",
    "A model counts if it is worse than the baseline on all three metrics; 90 % of the large model "
    "and those trained with attacks or augmentation must, but for those that C1 names",
)
def c3(evidence: Evidence) -> Answer:
    """Everyone that C1 and C2 do not name against the baseline."""
    matrix = evidence.matrix
    named = {*matrix.mixup_first, *matrix.ensembles, matrix.baseline}
    trained = (*matrix.large, *matrix.adversarial, *matrix.augmented)
    models = [model for model in matrix.everyone if model in trained and model not in named]
    if not models:
        return Answer(unmeasured("worse than the baseline", "the suite has no other models"))
    groups = [_all_worse(evidence, model) for model in models]
    note = count_text(groups, needed(NEARLY_ALL, len(groups)))
    return Answer(share(groups, NEARLY_ALL), note)


def _all_worse(evidence: Evidence, model: str) -> Judged:
    return every([m.worse(model, evidence.matrix.baseline) for m in evidence.calibration])
