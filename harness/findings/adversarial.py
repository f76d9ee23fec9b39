"""R1 to R4: per image the share of training budgets survived, against the worst attack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.findings.claims import Answer, claim, for_each
from harness.findings.logic import HOLDS, Judged, every, unmeasured
from harness.findings.matrix import CUTOUT, FGSM, MIXUP, Role
from harness.training.health import learnt_only

if TYPE_CHECKING:
    from harness.findings.evidence import Evidence
    from harness.findings.matrix import Matrix


def tiers(matrix: Matrix) -> tuple[Role, Role, Role]:
    """Bottom, middle and top."""
    baseline = (matrix.baseline,) if matrix.baseline else ()
    return (
        Role("the plain and augmented models", baseline + matrix.augmented.models),
        Role("the ensembles and the large model", matrix.ensembles.models + matrix.large.models),
        Role("the purely adversarially trained models", matrix.attacked.models),
    )


@claim(
    "R1",
    "adversarial",
    "Three tiers: plain and augmented models at the bottom; ensembles and the large model in the "
    "middle; all adversarially trained models on top.",
    "Of adjacent tiers, the mean of the upper is better than that of the lower, image by image; "
    "both comparisons must hold",
)
def r1(evidence: Evidence) -> Answer:
    """Tiers against one another, by their means."""
    bottom, middle, top = tiers(evidence.matrix)
    pairs = [(middle, bottom), (top, middle)]
    parts = [_family(evidence, upper, lower) for upper, lower in pairs]
    low = [model for upper, lower in pairs for model in _fallen(evidence, upper, lower)]
    note = f"On their own below a model of the tier beneath: {', '.join(low)}." if low else ""
    return Answer(every(parts), note)


def _family(evidence: Evidence, upper: Role, lower: Role) -> Judged:
    for role in (upper, lower):
        if not len(role):
            reason = f"the suite has no {role.title.removeprefix('the ')}"
            return unmeasured(f"{upper.title} better than {lower.title}", reason)
    return evidence.robust.above(upper, lower)


def _fallen(evidence: Evidence, upper: Role, lower: Role) -> list[str]:
    """Models of a tier that one of the tier beneath beats."""
    robust = evidence.robust
    return [m for m in upper if any(robust.better(o, m).verdict == HOLDS for o in lower)]


@claim(
    "R2",
    "adversarial",
    "CutOut and MixUp alone do worse than the baseline; CutOut loses less than MixUp.",
    "Each augmented model is worse than the baseline, and CutOut's mean is better than MixUp's, "
    "image by image; every comparison must hold",
)
def r2(evidence: Evidence) -> Answer:
    """Augmented models against the baseline, CutOut against MixUp."""
    matrix, robust = evidence.matrix, evidence.robust
    parts = for_each(matrix.augmented, lambda m: [robust.worse(m, matrix.baseline)])
    cutout = matrix.having(matrix.augmented, CUTOUT, "CutOut models")
    mixup = matrix.having(matrix.augmented, MIXUP, "MixUp models")
    return Answer(every([*parts, _family(evidence, cutout, mixup)]))


@claim(
    "R3",
    "adversarial",
    "FGSM and PGD training reach similar robustness.",
    "At each training budget the two are within 5 points of one another; every budget must hold",
)
def r3(evidence: Evidence) -> Answer:
    """FGSM against PGD training at each budget, and whether FGSM training overfitted."""
    matrix = evidence.matrix
    if not matrix.rivals:
        missing = unmeasured("FGSM and PGD training alike", "the suite has no pair at one budget")
        return Answer(every([missing]))
    parts = [evidence.robust.alike(fgsm, pgd) for fgsm, pgd in matrix.rivals]
    single = [model for model in matrix.adversarial if matrix.attack(model) == FGSM]
    return Answer(every(parts), " ".join(filter(None, (_overfit(evidence, m) for m in single))))


def _overfit(evidence: Evidence, model: str) -> str:
    """How a model learnt its own attack and nothing more, or ""."""
    found = evidence.at_own_budget(model)
    if found is None or not learnt_only(*found):
        return ""
    return (
        f"{model} overfitted catastrophically: {100 * found[0]:.1f} % right under FGSM at its own "
        f"budget, {100 * found[1]:.1f} % under the worst attack."
    )


@claim(
    "R4",
    "adversarial",
    "Adversarial training combined with augmentation stays in the top tier.",
    "Each combination is better than every model of the other two tiers; every comparison must hold",
)
def r4(evidence: Evidence) -> Answer:
    """Combinations against everything that is not adversarially trained."""
    bottom, middle, _ = tiers(evidence.matrix)
    others = bottom + middle
    parts = for_each(
        evidence.matrix.combined,
        lambda model: for_each(others, lambda other: [evidence.robust.better(model, other)]),
    )
    return Answer(every(parts))
