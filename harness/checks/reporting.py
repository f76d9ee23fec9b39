"""Checks on the finished report: H52 and H60 to H68. Facts are what the suite asked and the rows say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.checks.catalogue import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.checks.catalogue import Finding

    Facts = Mapping[str, Any]

ENOUGH = 1000
BROKEN = 0.01
GOALS = ("untargeted", "targeted")


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


@check(
    "H52", "libraries agree", "WARN", "report",
    raised_if="a row of the ledger is different or failed: in lockstep by its tolerance, natively by the paired interval after Holm over the ledger, and no known deviation predicts it.",
    explanation="Two implementations of one thing give different numbers for an unknown reason. One of them is wrong, or they are not the same thing.",
    what_to_do="Read the row's explanation; ask the envelope which of the two found more.",
)  # fmt: skip
def libraries_agree(facts: Facts) -> Iterator[Finding]:
    """The ledger has an unexplained difference."""
    for row in facts["disagreements"]:
        yield f"{row['what']} on {row['model'] or 'arrays'}: {row['a']} and {row['b']} are {row['verdict']} ({row['explanation']})."


@check(
    "H63", "hyper-parameters printed", "FAIL", "report",
    raised_if="the run record lacks a parameter that an attack or detector ran with.",
    explanation="An attack is its parameters: steps, step size, restarts and loss decide what its number means (DEEPSEC issue 12). They are read from the record, none is typed by hand.",
    what_to_do="Look at run.json, under attacks and detectors.",
)  # fmt: skip
def parameters_printed(facts: Facts) -> Iterator[Finding]:
    """A parameter is not in the record."""
    for name, missing in facts["unprinted"].items():
        yield f"{name} ran with {', '.join(missing)}, which the record does not hold."


@check(
    "H65", "targeted or untargeted", "FAIL", "report",
    raised_if="an attack does not say which, or the headline counts targeted and untargeted attacks together.",
    explanation="A targeted success is harder: robust accuracy against targeted attacks looks higher and is another quantity.",
    what_to_do="State the goal; keep targeted attacks out of an untargeted headline.",
)  # fmt: skip
def goal_stated(facts: Facts) -> Iterator[Finding]:
    """The goals are unknown or mixed."""
    for attack in facts["attacks"]:
        if attack.get("goal") not in GOALS:
            yield f"{attack['name']} is neither targeted nor untargeted by its record."
    counted = {attack.get("goal") for attack in facts["attacks"] if attack.get("headline")}
    if set(GOALS) <= counted:
        yield "The headline counts targeted and untargeted attacks together."


@check(
    "H66", "artefacts", "WARN", "report",
    raised_if="a model's weights or a data set have no digest, a job no line that runs it again (INFO: the code has no revision, as in an installed package).",
    explanation="Others can check a number only if they can make it again from the same weights, data and code.",
    what_to_do="Release run.json with the report: digests, revision and command stand there, keyed by job.",
)  # fmt: skip
def artefacts(facts: Facts) -> Iterator[Finding]:
    """A number could not be made again."""
    for what, names in facts["unsigned"].items():
        if names:
            yield f"Without {what}: {', '.join(names[:5])}."
    if not facts["revision"]:
        yield "INFO", "The code has no revision: it does not lie in a git checkout."


@check(
    "H68", "models that abstain", "WARN", "report",
    raised_if="a model has more outputs than the data has classes.",
    explanation="A further output is a way to say 'none of these'. For such a model success means a wrong label that is accepted, and its clean numbers need a rate of rejection and an ROC beside them.",
    what_to_do="Evaluate model and detector together, or leave the further output out.",
)  # fmt: skip
def abstaining(facts: Facts) -> Iterator[Finding]:
    """More outputs than classes."""
    for name, outputs in facts["outputs"].items():
        if outputs > facts["classes"]:
            yield f"{name} has {outputs} outputs for {facts['classes']} classes: a rejection is counted as an error here."
