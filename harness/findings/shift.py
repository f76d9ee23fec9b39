"""S1 to S6: accuracy under corruption, mean over the corruptions of each image."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from harness.findings.claims import Answer, claim, count_text, for_each
from harness.findings.logic import MANY, Judged, every, needed, share, some, told, unmeasured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.findings.evidence import Evidence
    from harness.findings.measure import Measure

STEEPEST = ("fog", "impulse_noise")


@claim(
    "S1",
    "shift",
    "Fog and impulse noise cause the steepest falls, for many models.",
    "A model counts if it falls further under fog and under impulse noise than under any third "
    "corruption; 50 % of the models must",
)
def s1(evidence: Evidence) -> Answer:
    """Per model, both corruptions against the worst of the others."""
    absent = [name for name in STEEPEST if name not in evidence.corruptions]
    if absent or len(evidence.corruptions) <= len(STEEPEST):
        reason = f"the run lacks {' and '.join(absent) or 'a third corruption'}"
        return Answer(unmeasured("the falls under fog and impulse noise", reason))
    models = [_steepest(evidence, model) for model in evidence.matrix.everyone]
    note = count_text(models, needed(MANY, len(models)))
    return Answer(share(models, MANY), note)


def _steepest(evidence: Evidence, model: str) -> Judged:
    """Both falls against the third largest; the clean accuracy that all fall from cancels."""
    across = evidence.across(model)
    others = [name for name in evidence.corruptions if name not in STEEPEST]
    what = f"{model}: fog and impulse noise fall furthest"
    if set(across.models) != set(evidence.corruptions):
        return unmeasured(what, evidence.shift.why(model))
    third = min(others, key=across.number.value)
    both = every([across.worse(name, third) for name in STEEPEST])
    return told(both, f"{what}, third is {third}")


@claim(
    "S2",
    "shift",
    "Every ensemble slightly beats the baseline, larger ones more.",
    "Each ensemble is better than the baseline, and each than the next smaller; every comparison "
    "must hold",
)
def s2(evidence: Evidence) -> Answer:
    """Ensembles against the baseline and one another."""
    return Answer(every(ladder(evidence, [evidence.shift])))


def ladder(evidence: Evidence, measures: Sequence[Measure]) -> list[Judged]:
    """Every ensemble better than the baseline, larger ones better than smaller ones."""
    matrix = evidence.matrix
    beats = for_each(
        matrix.ensembles, lambda model: [m.better(model, matrix.baseline) for m in measures]
    )
    return beats + sizes(evidence, measures)


def sizes(evidence: Evidence, measures: Sequence[Measure]) -> list[Judged]:
    """Each ensemble better than the next smaller."""
    steps = list(itertools.pairwise(evidence.matrix.ensembles))
    if not steps:
        return [
            unmeasured("larger ensembles better than smaller ones", "the suite has no two sizes")
        ]
    return [m.better(larger, smaller) for smaller, larger in steps for m in measures]


@claim(
    "S3",
    "shift",
    "The large model is worse than the baseline.",
    "It is worse than the baseline beyond the interval",
)
def s3(evidence: Evidence) -> Answer:
    """The large model against the baseline."""
    matrix = evidence.matrix
    return Answer(
        every(for_each(matrix.large, lambda m: [evidence.shift.worse(m, matrix.baseline)]))
    )


@claim(
    "S4",
    "shift",
    "Every purely adversarially trained model is worse than the baseline on average; larger budgets "
    "are worse.",
    "Each such model is worse than the baseline, and each than the one trained at the next smaller "
    "budget of the same attack; every comparison must hold",
)
def s4(evidence: Evidence) -> Answer:
    """Adversarially trained models against the baseline, and budget against budget."""
    matrix, shift = evidence.matrix, evidence.shift
    parts = for_each(matrix.attacked, lambda m: [shift.worse(m, matrix.baseline)])
    steps = [pair for rungs in matrix.ladders for pair in itertools.pairwise(rungs)]
    parts += [shift.worse(larger, smaller) for smaller, larger in steps]
    if not steps:
        parts.append(
            unmeasured("larger budgets worse", "the suite has no two budgets of one attack")
        )
    return Answer(every(parts))


@claim(
    "S5",
    "shift",
    "Adversarial training helps on some single corruptions.",
    "One purely adversarially trained model is better than the baseline under one corruption, after "
    "Holm over all of them",
)
def s5(evidence: Evidence) -> Answer:
    """Adversarially trained models against the baseline under each corruption."""
    matrix = evidence.matrix
    under = [evidence.under(name) for name in evidence.corruptions]
    if not under:
        return Answer(unmeasured("single corruptions", "the run has none"))
    parts = for_each(matrix.attacked, lambda m: [one.better(m, matrix.baseline) for one in under])
    return Answer(some(parts))


@claim(
    "S6",
    "shift",
    "The order of augmentation and attack makes little difference.",
    "The two orders of the same steps are within 1 point of one another; every pair must hold",
)
def s6(evidence: Evidence) -> Answer:
    """Augment then attack, against attack then augment."""
    pairs = evidence.matrix.orders
    if not pairs:
        return Answer(unmeasured("two orders alike", "the suite has no steps in two orders"))
    return Answer(every([evidence.shift.alike(*pair) for pair in pairs]))
