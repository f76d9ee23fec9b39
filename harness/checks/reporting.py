"""Checks on the finished report: H60 to H68. Facts are what the suite asked and the rows say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.checks.catalogue import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.checks.catalogue import Finding

    Facts = Mapping[str, Any]

ENOUGH = 1000
BROKEN = 0.01


@check(
    "H60", "threat model stated", "FAIL", "report",
    raised_if="an attack lacks norm, eps, knowledge or goal.",
    explanation="A robust accuracy without its threat model says nothing.",
    what_to_do="State the budget; a suite without it is refused before it runs.",
)  # fmt: skip
def threat_stated(facts: Facts) -> Iterator[Finding]:
    """A field of the threat model is missing."""
    for attack in facts["attacks"]:
        missing = [key for key in ("norm", "budgets", "knowledge", "goal") if not attack.get(key)]
        if missing:
            yield f"{attack['name']}: {', '.join(missing)} not stated."


@check(
    "H61", "clean accuracy beside robust accuracy", "FAIL", "report",
    raised_if="a model has a robust accuracy and no clean accuracy.",
    explanation="A model that is wrong on everything cannot be attacked.",
    what_to_do="Look at why the clean prediction failed.",
)  # fmt: skip
def clean_beside(facts: Facts) -> Iterator[Finding]:
    """Robust accuracy stands alone."""
    for name in sorted(facts["robust_models"] - facts["clean_models"]):
        yield f"{name} has a robust accuracy and no clean accuracy."


@check(
    "H62", "the curve reaches the ground", "WARN", "report",
    raised_if="at the largest budget a model keeps more than chance (and more than 1 %) under the headline attacks.",
    explanation="A curve that stops early hides where the model breaks.",
    what_to_do="Add larger budgets.",
)  # fmt: skip
def curve_ends(facts: Facts) -> Iterator[Finding]:
    """The x axis stops before the model is broken."""
    for (name, norm), left in sorted(facts["curve_ends"].items()):
        if left > max(BROKEN, 1 / facts["classes"]):
            yield f"The {norm} curve of {name} stops at {left:.1%}: add larger budgets."


@check(
    "H64", "enough samples", "WARN", "report",
    raised_if="an attack met fewer than 1,000 images (INFO where the whole test split is smaller).",
    explanation="The interval of a proportion at 500 images is 4 points wide: models closer than that cannot be told apart unless paired.",
    what_to_do="Raise attack_images. A subset is a seeded draw stratified by class, never the first n.",
)  # fmt: skip
def enough(facts: Facts) -> Iterator[Finding]:
    """Few images."""
    n, whole = facts["attack_images"], facts["test_images"]
    if n and n < ENOUGH:
        width = 1.96 * (0.25 / n) ** 0.5
        yield (
            ("INFO" if whole < ENOUGH else "WARN"),
            f"{n} attacked images: up to +-{100 * width:.1f} points.",
        )


@check(
    "H67", "a broader threat model", "WARN", "report",
    raised_if="the suite has no shift axis.",
    explanation="Robustness in a small ball says nothing of rotations, noise or fog.",
    what_to_do="Add `shift: {corruptions: all}`.",
)  # fmt: skip
def broader(facts: Facts) -> Iterator[Finding]:
    """No shift axis."""
    if facts["attacks"] and not facts["has_shift"]:
        yield "The suite has no shift axis."
