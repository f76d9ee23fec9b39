"""Checks on one run of one attack: H20 to H29. Facts are stored by the attack and probe jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.checks.catalogue import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.checks.catalogue import Finding

    Facts = Mapping[str, Any]

FAR, SLIGHTLY = 9.0, 1.05  # times eps: beyond what missing projection explains; hardly at all
MORE = 3  # further samples broken by a longer or repeated attack that are no accident
MOVING, MOVING_SHARE = 0.05, 0.05  # of the loss over the last ten steps; of the samples
STRONGER = 0.005  # of the samples, by which another loss may beat the configured one


@check(
    "H20", "ball and box", "FAIL", "attack",
    raised_if="measured in float64, an image leaves [0, 1] by more than 1e-6 or the ball by more than 1e-6 (relative and absolute).",
    explanation="A larger perturbation than stated finds more than it may. The images are projected back and judged again; the number is then right, and the attack's claim was not.",
    what_to_do="Look at the library's unit of eps, at its norm and at its projection.",
)  # fmt: skip
def ball_and_box(facts: Facts) -> Iterator[Finding]:
    """Images outside the threat."""
    if facts.get("violations"):
        yield f"{facts['violations']} images left ball or box, by up to {facts['worst_violation']:.3g} ({_outside(facts)}); they were projected and judged again."


def _outside(facts: Facts) -> str:
    """The probable cause of images outside the threat."""
    count, reach = facts["violations"], facts.get("reach", 1.0)
    if facts.get("astray", 0) > count / 2:
        return "probable cause: rows in another order, or projected round other images"
    if facts.get("unboxed", 0) > count / 2 and reach < SLIGHTLY:
        return "probable cause: not clipped to the box [0, 1]"
    if reach > FAR:
        return f"{reach:.3g} times eps; probable cause: eps or step read in units of 0-255, or other images returned than asked (perturbations, another range)"
    return f"{reach:.3g} times eps; probable cause: no projection, another norm, or round another point"


@check(
    "H21", "success judged again", "WARN", "attack",
    raised_if="a library's claim of success differs from our own forward pass on the images it returned.",
    explanation="Claims rest on other images (before clipping), another mode or another definition (prediction changed, not wrong).",
    what_to_do="Nothing: only our own judgement counts.",
)  # fmt: skip
def judged_again(facts: Facts) -> Iterator[Finding]:
    """Claimed success is not so."""
    if facts.get("claimed_wrongly"):
        yield f"{facts['claimed_wrongly']} samples were claimed as successes and are not."


@check(
    "H22", "success lost again", "WARN", "attack",
    raised_if="a sample was wrong at an earlier step and right at the last one.",
    explanation="The last iterate is not the strongest point that the attack saw.",
    what_to_do="Keep the best iterate; ours do so in a suite.",
)  # fmt: skip
def lost_again(facts: Facts) -> Iterator[Finding]:
    """Earlier iterates were stronger."""
    if facts.get("lost"):
        yield f"{facts['lost']} of {facts['k']} samples were adversarial at an earlier step and lost again: robust accuracy is lower when the best step is kept."


@check(
    "H23", "loss still moving", "WARN", "attack",
    raised_if="on more than 5 % of the samples the best loss so far, scaled to [0, 1], still moved by more than 0.05 over the last ten steps.",
    explanation="The attack had not converged when it stopped (Pintor et al. 2022).",
    what_to_do="Raise the steps.",
)  # fmt: skip
def still_moving(facts: Facts) -> Iterator[Finding]:
    """The optimisation was cut short."""
    if facts.get("moving", 0.0) > MOVING_SHARE:
        yield f"The loss is still moving on {facts['moving']:.0%} of the samples in the last ten steps: raise steps (try {2 * facts['steps']})."


@check(
    "H24", "twice the steps", "WARN", "attack",
    raised_if="doubling the steps breaks three or more further samples of the probe.",
    explanation="More steps should change nothing once an attack has converged (Carlini et al. 2019).",
    what_to_do="Raise the steps.",
)  # fmt: skip
def doubled(facts: Facts) -> Iterator[Finding]:
    """Twice the steps find more."""
    if facts.get("doubled", 0) >= MORE:
        yield f"Doubling steps from {facts['steps']} to {2 * facts['steps']} broke {facts['doubled']} of {facts['standing']} more samples."


@check(
    "H25", "another restart", "WARN", "attack",
    raised_if="a further random start breaks three or more further samples of the probe.",
    explanation="The loss has many maxima: one start is not enough (on Madry's model 50 restarts lower 92.5 % to 89.6 %).",
    what_to_do="Raise restarts, and report the worst over them.",
)  # fmt: skip
def restarted(facts: Facts) -> Iterator[Finding]:
    """A further start finds more."""
    if facts.get("restarted", 0) >= MORE:
        yield f"One more restart broke {facts['restarted']} of {facts['standing']} samples that had stood."


@check(
    "H26", "step size and steps", "FAIL", "attack",
    raised_if="step size times steps is less than eps, so that the attack cannot cross the ball (WARN: one step is longer than eps).",
    explanation="Points at the far side are then out of reach (or every step jumps over the ball).",
    what_to_do="Use step_size = 2.5 eps / steps, the default.",
)  # fmt: skip
def step_size(facts: Facts) -> Iterator[Finding]:
    """The ball cannot be crossed."""
    step, steps, eps = facts.get("step_size"), facts.get("steps"), facts.get("eps")
    if step is None or steps is None or eps is None:
        return
    if step * steps < eps * (1 - 1e-9):
        yield f"{steps} steps of {step:g} cannot cross a ball of radius {eps:g}."
    elif steps > 1 and step > eps:
        yield "WARN", f"A step of {step:g} is longer than the radius {eps:g}."


@check(
    "H28", "the right loss", "WARN", "attack",
    raised_if="another loss (cross-entropy, margin, DLR) breaks more than half a point of the probe more at the same budget, and at least three samples.",
    explanation="Where the softmax saturates, cross-entropy gives no direction although the margin has one (a claimed 51 % was 0 % under AutoAttack).",
    what_to_do="Use the union of the losses; the headline does.",
)  # fmt: skip
def right_loss(facts: Facts) -> Iterator[Finding]:
    """Another loss finds more."""
    for name, more in facts.get("losses", {}).items():
        if more >= MORE and more > STRONGER * facts["k"]:
            yield f"{name} breaks {more} of {facts['k']} samples more than the configured {facts['loss']}: use the union."


@check(
    "H29", "the images were attacked", "FAIL", "attack",
    raised_if="an attack at a fixed budget broke nothing and returned every image as it came.",
    explanation="An attack that crashes behind its own back, or finds no gradient, returns clean images; counted as survivors they make a model look robust (OpenOOD, ART and torchattacks did so).",
    what_to_do="Look at the attack's log and at H04 and H05. A failed attack is no number.",
)  # fmt: skip
def attacked(facts: Facts) -> Iterator[Finding]:
    """Clean images came back."""
    if facts.get("unmoved") and facts["unmoved"] == facts.get("n") and not facts["broke"]:
        yield f"All {facts['n']} images came back as they were, and none broke: the attack returned clean images (it crashed silently, or had no gradient)."
