"""Checks between the attacks on one model: H40 to H53. They cost no further pass.

Facts are per-sample vectors: see `Relations`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.checks.catalogue import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.checks.catalogue import Finding

POINT = 0.01
SMALL, FEW = 1000, 2  # samples below which a difference is counted in samples, and how many count
ROUNDING = 1e-9  # of a mean of zeros and ones
MASK_GAP = 0.1  # of the images, that a mask may save from attacks of a few hundred queries
STRANGE = 0.005  # of the images, whose labels rounding may change between batches of other sizes
TENTHS = 0.002  # of accuracy, by which Square may beat white-box attacks; as AutoAttack's flags


@dataclass(frozen=True)
class Relations:
    """What the attacks on one model did, per sample.

    Args:
        n: samples.
        clean: (n,) bool, right without attack.
        eps: budget at which the attacks below are compared.
        broken: attack -> (n,) bool, wrong at `eps`.
        kinds: attack -> "gradient", "margin", "score", "transfer".
        trained_on: name of the attack that the model was trained on, or "".
        overfitted: whether training overfitted catastrophically (H91).
        monotone: accuracies of independent attacks at ascending budgets, or ().
        whole_box: share still right under an attack in the whole box, or None.
        stubborn: ids of samples still right there.
        classes: K.
        square: (n,) bool, broken by Square; False where it did not look, None without.
        square_rows: (n,) bool, where it looked.
        noise: (n,) bool, broken by random points of the ball; None without.
        transfer: (n,) bool, broken by images made for other models; None without.
        plain: whether the model is the suite's undefended one.
        known_broken: mask -> (share that our attacks leave right of a network whose gradients are
            masked on purpose, share of the same network without the mask); empty but on the plain
            model.
        strangers: attack -> images that its own clean pass judges otherwise than the prediction of
            the clean test set does.
        headlines: norm and eps -> (robust accuracy of the worst case, smallest of one attack).
        mnist_03: share of the plain model's samples that an iterative L-inf attack at 0.3 leaves
            right on MNIST, by attack; empty elsewhere.
    """

    n: int
    clean: np.ndarray
    eps: float
    broken: Mapping[str, np.ndarray]
    kinds: Mapping[str, str]
    classes: int
    trained_on: str = ""
    overfitted: bool = False
    monotone: tuple[float, ...] = ()
    whole_box: float | None = None
    stubborn: tuple[int, ...] = ()
    square: np.ndarray | None = None
    square_rows: np.ndarray | None = None
    noise: np.ndarray | None = None
    transfer: np.ndarray | None = None
    plain: bool = False
    known_broken: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    strangers: Mapping[str, int] = field(default_factory=dict[str, int])
    headlines: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    mnist_03: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def white_box(self) -> np.ndarray:
        """(n,) bool: broken by any attack that uses the model's gradients."""
        vectors = [
            self.broken[name]
            for name, kind in self.kinds.items()
            if kind in ("gradient", "margin") and name in self.broken
        ]
        return np.logical_or.reduce(vectors) if vectors else ~self.clean


@check(
    "H40", "iterative at least as strong as one step", "FAIL", "relation",
    raised_if="PGD breaks fewer samples than FGSM at the same budget (WARN: FGSM alone breaks more than 1 %).",
    explanation="PGD takes FGSM's step many times over. If it finds less, its gradients mislead it (masking) or it has too few steps.",
    what_to_do="Look at H04, H23 and H27; raise the steps. A model trained on FGSM that overfitted catastrophically shows the reverse and is no fault.",
)  # fmt: skip
def iterative(facts: Relations) -> Iterator[Finding]:
    """FGSM beats PGD."""
    fgsm, pgd = facts.broken.get("fgsm"), facts.broken.get("pgd")
    if fgsm is None or pgd is None:
        return
    alone = int((fgsm & ~pgd).sum())
    if fgsm.sum() > pgd.sum() + 2 * np.sqrt(alone + (pgd & ~fgsm).sum()):
        yield f"FGSM breaks {int(fgsm.sum())} samples, PGD {int(pgd.sum())}: gradient masking, or too few steps."
    elif alone > POINT * facts.n:
        yield "WARN", f"FGSM breaks {alone} samples that PGD does not."


@check(
    "H41", "more budget, less accuracy", "FAIL", "relation",
    raised_if="on a probe attacked independently at every budget, accuracy rises with eps by more than two points.",
    explanation="A larger ball holds the smaller one: whatever was found there is still there.",
    what_to_do="Look at the step size (does it grow with eps?) and at H23.",
)  # fmt: skip
def monotone(facts: Relations) -> Iterator[Finding]:
    """Accuracy rises with the budget."""
    values = np.array(facts.monotone)
    if len(values) > 1:
        rise = float((values - np.minimum.accumulate(values)).max())
        if rise > 2 * POINT:
            yield f"Accuracy rises by {rise:.1%} with eps: the attack is failing at the larger budget."


@check(
    "H42", "an unbounded attack succeeds", "FAIL", "relation",
    raised_if="with eps = 1 (the whole box) more than 1/K of the samples stay right (WARN: any).",
    explanation="In the whole box any image can be turned into any other. Where that fails, the attack fails and the model is not robust.",
    what_to_do="Look at H03, H04 and H05: the gradients do not lead anywhere.",
)  # fmt: skip
def unbounded(facts: Relations) -> Iterator[Finding]:
    """Samples survive in the whole box."""
    left = facts.whole_box
    if left:
        level = "FAIL" if left > 1 / facts.classes else "WARN"
        yield (
            level,
            f"Even an unbounded attack leaves {left:.1%} correct: the attack is failing, not the model robust.",
        )


@check(
    "H43", "every sample falls in the end", "WARN", "relation",
    raised_if="a sample that was right stays right in the whole box.",
    explanation="The same as H42, sample by sample: these never moved or walked in circles.",
    what_to_do="Look at these samples' gradients (H04).",
)  # fmt: skip
def stubborn(facts: Relations) -> Iterator[Finding]:
    """Which samples survive in the whole box."""
    if facts.stubborn:
        shown = ", ".join(str(one) for one in facts.stubborn[:5])
        yield f"{len(facts.stubborn)} samples never fall, whatever the budget (ids {shown})."


@check(
    "H44", "white box at least as strong as black box", "FAIL", "relation",
    raised_if="Square breaks samples that no white-box attack did: two or more of 200, or more than 0.2 points of 1,000 and more.",
    explanation="An attack that knows only scores cannot do better than one that knows the gradient, unless the gradient lies.",
    what_to_do="Take the robust accuracy with Square counted in; suspect masked gradients and use stronger white-box attacks.",
)  # fmt: skip
def black_box(facts: Relations) -> Iterator[Finding]:
    """Square finds what gradients did not."""
    if facts.square is None:
        return
    more = int((facts.square & ~facts.white_box).sum())
    n = int(facts.square_rows.sum()) if facts.square_rows is not None else len(facts.square)
    if more >= FEW if n < SMALL else more > TENTHS * n:
        yield f"Square broke {more} of {n} samples that white-box attacks did not ({more / n:.1%}): robustness is overestimated."


@check(
    "H45", "white box at least as strong as transfer", "FAIL", "relation",
    raised_if="images made for the other models break two or more samples that the model's own white-box attacks did not.",
    explanation="Images made for another model cannot be stronger than those made for this one, unless the gradient lies (DEEPSEC issue 1).",
    what_to_do="As for H44.",
)  # fmt: skip
def transfer(facts: Relations) -> Iterator[Finding]:
    """Other models' images find what gradients did not."""
    if facts.transfer is not None:
        more = int((facts.transfer & ~facts.white_box).sum())
        if more >= FEW:
            yield f"Images made for other models broke {more} of {len(facts.transfer)} samples that its own white-box attacks did not."


@check(
    "H46", "stronger than random noise", "FAIL", "relation",
    raised_if="a random point of the ball breaks a sample that PGD did not.",
    explanation="Noise is the weakest search there is.",
    what_to_do="The attack is broken for this model: look at H04 and H05.",
)  # fmt: skip
def random_noise(facts: Relations) -> Iterator[Finding]:
    """Noise finds what PGD did not."""
    if facts.noise is not None:
        more = int((facts.noise & ~facts.white_box).sum())
        if more:
            yield f"Random noise broke {more} samples that no white-box attack did."


@check(
    "H47", "worst case, not average", "FAIL", "relation",
    raised_if="the robust accuracy in the headline is larger than that under one of its attacks at the same budget.",
    explanation="A model is broken by the attack that breaks it: the headline counts, per sample, the strongest attack of the threat model. Averages over attacks or norms hide it (DEEPSEC issues 2 and 5).",
    what_to_do="Take the per-sample minimum over attacks; `harness` prints no averages over attacks.",
)  # fmt: skip
def worst_case(facts: Relations) -> Iterator[Finding]:
    """The headline is not the worst case."""
    for budget, (headline, least) in facts.headlines.items():
        if headline > least + ROUNDING:
            yield f"At {budget} the headline says {headline:.4f}, one attack alone leaves {least:.4f}: it is no worst case."


@check(
    "H48", "diverse attacks", "WARN", "relation",
    raised_if="one of these is missing: a gradient attack on cross-entropy, one on a margin or DLR loss, one that needs only scores.",
    explanation="Each kind fails on another kind of defence; a set that lacks one can be fooled.",
    what_to_do="Add the missing kind to the suite.",
)  # fmt: skip
def diverse(facts: Relations) -> Iterator[Finding]:
    """A kind of attack is missing."""
    missing = {"gradient", "margin", "score"} - set(facts.kinds.values())
    if missing and facts.kinds:
        yield f"The attack set is not diverse (missing: {', '.join(sorted(missing))})."


@check(
    "H49", "an attack it was not trained on", "WARN", "relation",
    raised_if="the only evaluation attack is the one that the model was trained on.",
    explanation="Robustness to one attack does not carry over to others: the study regrets just this.",
    what_to_do="Add margin-loss PGD and Square.",
)  # fmt: skip
def unseen(facts: Relations) -> Iterator[Finding]:
    """Only the attack it was trained on."""
    if facts.trained_on and set(facts.kinds) == {facts.trained_on}:
        yield f"The model was trained on {facts.trained_on}, and met nothing else."


@check(
    "H50", "the undefended model falls", "FAIL", "relation",
    raised_if="on MNIST an iterative L-inf attack at 0.3 leaves more than 1 % of the plain model's samples right.",
    explanation="On an undefended LeNet-5 every working attack reaches 100 % there: what does not is broken, for every model.",
    what_to_do="Mend the attack before reading any of its numbers.",
)  # fmt: skip
def undefended(facts: Relations) -> Iterator[Finding]:
    """An attack cannot break the plain model."""
    if facts.plain:
        for name, left in facts.mnist_03.items():
            if left > POINT:
                yield f"{name} leaves {left:.1%} of the undefended model's samples right at 0.3: the attack is broken."


@check(
    "H51", "known-broken defences break", "FAIL", "relation",
    raised_if="a mask on the plain model (a factor of 1000 on its logits, pixels of 8 levels) saves ten points more of the images from margin PGD and Square.",
    explanation="Both were published as defences and are none: a suite of attacks that they stop would be stopped by any masked gradient.",
    what_to_do="The attacks of this installation are broken: run `harness doctor`.",
)  # fmt: skip
def masks_break(facts: Relations) -> Iterator[Finding]:
    """Our attacks are stopped by a mask."""
    for name, (left, without) in facts.known_broken.items():
        if left > without + MASK_GAP:
            yield f"Behind {name} our attacks leave {left:.1%} right, without it {without:.1%}: they are stopped by masked gradients."


@check(
    "H53", "one model behind all numbers", "FAIL", "relation",
    raised_if="on clean images, an attack's own forward pass and the prediction of the test set disagree on more than 0.5 % of the images, and at least two.",
    explanation="Then the two were made by different weights, images or modes: a stale cache, a mixed-up file, batch statistics.",
    what_to_do="Remove the records of this model from the store and run again.",
)  # fmt: skip
def one_model(facts: Relations) -> Iterator[Finding]:
    """Records of another model."""
    for name, count in facts.strangers.items():
        if count >= FEW and count > STRANGE * facts.n:
            yield f"{count} of {facts.n} clean images are judged otherwise by {name} than by the prediction job: they did not see the same model (stale cache?)."
