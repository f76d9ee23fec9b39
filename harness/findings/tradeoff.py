"""T1 and T2: all four axes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.findings.claims import Answer, claim, count_text, for_each
from harness.findings.logic import MANY, Judged, every, needed, share, some, told, unmeasured

if TYPE_CHECKING:
    from harness.findings.evidence import Evidence
    from harness.findings.measure import Measure

FAR_AHEAD = 0.50


@claim(
    "T1",
    "trade-off",
    "Ensembles beat the baseline on all four axes.",
    "Every ensemble is better than the baseline in robust accuracy, accuracy under shift, AUROC on "
    "each set, ECE, RMS and Brier; every comparison must hold",
)
def t1(evidence: Evidence) -> Answer:
    """Ensembles against the baseline on every number."""
    matrix = evidence.matrix
    numbers = (evidence.robust, *_elsewhere(evidence))
    parts = for_each(
        matrix.ensembles, lambda model: [n.better(model, matrix.baseline) for n in numbers]
    )
    return Answer(every(parts))


def _elsewhere(evidence: Evidence) -> tuple[Measure, ...]:
    """All numbers but robust accuracy."""
    return (evidence.shift, *evidence.sets(), *evidence.calibration)


@claim(
    "T2",
    "trade-off",
    "No model is best on every axis; many adversarially trained models beat every ensemble by more "
    "than 50 points of adversarial accuracy and lose elsewhere.",
    "For each model another is better on some number (after Holm over that model's comparisons); "
    "and 50 % of the adversarially trained models are more than 50 points above every ensemble in "
    "robust accuracy and worse than the largest on some other number (after Holm over those)",
)
def t2(evidence: Evidence) -> Answer:
    """Nobody is best everywhere, and what robustness costs."""
    beaten = [_beaten(evidence, model) for model in evidence.matrix.everyone]
    priced = for_each(evidence.matrix.adversarial, lambda m: [_priced(evidence, m)])
    note = "Robust at a price: " + count_text(priced, needed(MANY, len(priced)))
    return Answer(every([every(beaten), share(priced, MANY)]), note)


def _beaten(evidence: Evidence, model: str) -> Judged:
    """Some number on which another model is better."""
    others = [other for other in evidence.matrix.everyone if other != model]
    numbers = (evidence.robust, *_elsewhere(evidence))
    if not others:
        return unmeasured(f"another model better than {model}", "the suite has no other")
    found = some([number.better(other, model) for number in numbers for other in others])
    return told(found, f"{model} is beaten: {found.part.what}")


def _priced(evidence: Evidence, model: str) -> Judged:
    """Far more robust than every ensemble, and worse than the largest elsewhere."""
    ensembles = evidence.matrix.ensembles
    ahead = every(
        for_each(ensembles, lambda other: [evidence.robust.better(model, other, by=FAR_AHEAD)])
    )
    largest = ensembles.models[-1] if len(ensembles) else ""
    behind = some([number.worse(model, largest) for number in _elsewhere(evidence)])
    both = every([ahead, behind])
    return told(both, f"{model} robust at a price: {both.part.what}")
