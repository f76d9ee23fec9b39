"""Checks on training: H90 to H93."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.checks.catalogue import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.checks.catalogue import Finding

    Facts = Mapping[str, Any]


@check(
    "H90", "training collapsed", "FAIL", "training",
    raised_if="after a fifth of the steps and the ramp of the budget, the loss is within 2 % of ln K or accuracy below 2/K.",
    explanation="Adversarial training can sit at chance from the start: the attack is too strong before anything is learnt.",
    what_to_do="A second attempt with another seed and a slower ramp is recorded beside it; the table shows the first. Lower the budget's ramp.",
)  # fmt: skip
def collapsed(facts: Facts) -> Iterator[Finding]:
    """Training sat at chance."""
    if "H90" in facts["flags"]:
        yield f"Training collapsed: {facts['flags']['H90']}."


@check(
    "H91", "catastrophic overfitting", "WARN", "training",
    raised_if="PGD accuracy on validation images drops by more than 20 points between epochs while training accuracy is high, or ends far below it.",
    explanation="A network trained on one-step attacks can learn to blind them: FGSM accuracy near 100 %, PGD near 0 %. That is a correct result, not a fault of the evaluation.",
    what_to_do="Use a random start, fewer epochs or PGD training. The last epoch's weights are kept, as always.",
)  # fmt: skip
def overfitted(facts: Facts) -> Iterator[Finding]:
    """It learnt its own attack and nothing more."""
    if "H91" in facts["flags"]:
        yield f"Training overfitted catastrophically: {facts['flags']['H91']}."


@check(
    "H92", "spread over seeds", "INFO", "training",
    raised_if="an adversarially trained model was trained with fewer than three seeds.",
    explanation="Adversarial training spreads widely over seeds (Madry et al.: most get 93 %, some 90 %).",
    what_to_do="Give three seeds or more before speaking of the method.",
)  # fmt: skip
def seeds(facts: Facts) -> Iterator[Finding]:
    """Too few seeds to speak of a method."""
    if facts["adversarial"] and facts["seeds"] < 3:
        yield f"n = {facts['seeds']} seed{'s' if facts['seeds'] > 1 else ''}: the number speaks of this checkpoint."


@check(
    "H93", "evaluated on cross-entropy only", "WARN", "training",
    raised_if="an adversarially trained model met no attack on another loss than cross-entropy.",
    explanation="A claimed 74 % was 0 % under AutoAttack, because only cross-entropy PGD had been run.",
    what_to_do="Add margin-loss PGD or AutoAttack (H28, H48).",
)  # fmt: skip
def cross_entropy_only(facts: Facts) -> Iterator[Finding]:
    """Only cross-entropy attacks were run."""
    if facts["adversarial"] and facts["losses"] and set(facts["losses"]) == {"ce"}:
        yield "Only cross-entropy attacks were run: a margin loss may find far more."
