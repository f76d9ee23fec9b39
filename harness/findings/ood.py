"""O1 to O5: AUROC of the maximum softmax, each OOD set a part; the maximum logit beside it.

On MNIST the near set is KMNIST and the far set Fashion-MNIST; elsewhere theirs stand for them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from harness.findings.claims import Answer, claim, count_text, for_each
from harness.findings.evidence import LOGIT, SOFTMAX
from harness.findings.logic import MOST, Judged, every, needed, share, told, unmeasured
from harness.findings.matrix import CUTOUT, MIXUP, Role
from harness.findings.shift import ladder

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.findings.evidence import Evidence
    from harness.findings.measure import Measure

GOOD = 0.90
NEAR, FAR = ("kmnist",), ("fashion-mnist",)


def both_detectors(decide: Callable[[Evidence, str], Answer]) -> Callable[[Evidence], Answer]:
    """Decide by the maximum softmax, and tell what the maximum logit would have said."""

    @functools.wraps(decide)
    def decided(evidence: Evidence) -> Answer:
        if not evidence.sets(SOFTMAX):
            return Answer(unmeasured("AUROC of the maximum softmax", "the suite has no OOD set"))
        answer = decide(evidence, SOFTMAX)
        notes = [answer.note, _beside(decide(evidence, LOGIT).judged), _stand_ins(evidence)]
        return Answer(answer.judged, " ".join(filter(None, notes)))

    return decided


def _beside(found: Judged) -> str:
    part = found.part
    if part.effect is None:
        return "By the maximum logit: not measured."
    interval = f"{part.effect:.4f} [{part.low:.4f}, {part.high:.4f}]"
    return f"By the maximum logit: {found.verdict}, {interval}."


def _stand_ins(evidence: Evidence) -> str:
    ood = evidence.suite.ood
    if ood is None or (ood.near, ood.far) == (NEAR, FAR):
        return ""
    near, far = (", ".join(names) or "nothing" for names in (ood.near, ood.far))
    return f"Here {near} stands for KMNIST and {far} for Fashion-MNIST."


@claim(
    "O1",
    "ood",
    "Most models reach an AUROC of at least 0.90 on both sets.",
    "A model counts if the lower bound of its AUROC is at least 0.90 on every set; 75 % of the "
    "models must",
)
@both_detectors
def o1(evidence: Evidence, detector: str) -> Answer:
    """Per model the AUROC of its weaker set."""
    models = [
        told(
            every([area.at_least(model, GOOD) for area in evidence.sets(detector)]),
            f"{model}: AUROC of at least {GOOD:.2f} on every set, the weaker",
        )
        for model in evidence.matrix.everyone
    ]
    return Answer(share(models, MOST), count_text(models, needed(MOST, len(models))))


@claim(
    "O2",
    "ood",
    "Every ensemble beats the baseline, more with size.",
    "On each set, each ensemble is better than the baseline, and each than the next smaller; every "
    "comparison must hold",
)
@both_detectors
def o2(evidence: Evidence, detector: str) -> Answer:
    """Ensembles against the baseline and one another."""
    return Answer(every(ladder(evidence, evidence.sets(detector))))


@claim(
    "O3",
    "ood",
    "The large model is comparable on KMNIST and clearly worse on Fashion-MNIST.",
    "Within 0.01 of the baseline on the near set, worse by more than 0.01 on the far set; both must "
    "hold",
)
@both_detectors
def o3(evidence: Evidence, detector: str) -> Answer:
    """The large model against the baseline."""
    baseline = evidence.matrix.baseline
    near, far = evidence.near(detector), evidence.far(detector)
    return Answer(
        every(
            for_each(
                evidence.matrix.large,
                lambda model: [
                    *_on("near", near, lambda area: area.alike(model, baseline)),
                    *_on("far", far, lambda area: area.far_worse(model, baseline)),
                ],
            )
        )
    )


def _on(which: str, areas: tuple[Measure, ...], judge: Callable[[Measure], Judged]) -> list[Judged]:
    if not areas:
        return [unmeasured(f"AUROC on a {which} set", "the suite has none")]
    return [judge(area) for area in areas]


@claim(
    "O4",
    "ood",
    "Purely adversarially trained models are about as good as the baseline.",
    "On each set, each such model is within 0.01 of the baseline; every comparison must hold",
)
@both_detectors
def o4(evidence: Evidence, detector: str) -> Answer:
    """Adversarially trained models against the baseline."""
    matrix, areas = evidence.matrix, evidence.sets(detector)
    parts = for_each(matrix.attacked, lambda m: [area.alike(m, matrix.baseline) for area in areas])
    return Answer(every(parts))


@claim(
    "O5",
    "ood",
    "MixUp is worse than the baseline; CutOut, alone or combined, is better.",
    "On each set, each model trained on MixUp alone is worse than the baseline, and each trained with "
    "CutOut is better; every comparison must hold",
)
@both_detectors
def o5(evidence: Evidence, detector: str) -> Answer:
    """MixUp and CutOut against the baseline."""
    matrix, areas = evidence.matrix, evidence.sets(detector)
    mixup = matrix.having(matrix.augmented, MIXUP, "models trained on MixUp alone")
    alone = matrix.having(matrix.augmented, CUTOUT, "models trained on CutOut alone")
    combined = matrix.having(matrix.combined, CUTOUT, "combinations with CutOut")
    parts = for_each(mixup, lambda m: [area.worse(m, matrix.baseline) for area in areas])
    for role in (alone, combined):
        parts += _better(role, matrix.baseline, areas)
    return Answer(every(parts))


def _better(role: Role, baseline: str, areas: tuple[Measure, ...]) -> list[Judged]:
    return for_each(role, lambda model: [area.better(model, baseline) for area in areas])
