"""The words that a reader from outside the field needs, those that this report uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.sections.blocks import Block, Bullets, Paragraph
from harness.sections.story import Story, section

if TYPE_CHECKING:
    from collections.abc import Iterable

FAMILIES = {
    "Large": "a network with more parameters, trained like the baseline.",
    "Ensemble": "several networks from different starts; their probabilities are averaged.",
    "FGSM training": "trained on images that FGSM has attacked; the number is its eps.",
    "PGD training": "trained on images that PGD has attacked; the number is its eps.",
    "CutOut": "trained on images with squares blanked out: how many, and their side in pixels.",
    "MixUp": "trained on blends of two images and their labels; the larger the number, the more even.",
    "Combinations": "both in each step of training, in the order of the name.",
}
ATTACKS = {
    "Attack": "a small change of an image, made to mislead the model. White box: it knows the model. Black box: it sees only its answers.",
    "eps": "the attack's budget: the largest change allowed, with pixels from 0 (black) to 1 (white).",
    "L-inf, L2": "how a change is measured: its largest pixel, or its length over all pixels.",
    "FGSM": "fast gradient sign method, an attack of one step.",
    "PGD": "projected gradient descent, an attack of many small steps.",
    "Void": "a number that a check has found to be wrong, so it is not shown.",
}
SHIFT = {"Corruption": "what cameras, scanners or weather do to images: noise, blur, fog."}
OOD = {
    "OOD": "out of distribution: images of no class that the model knows. Near OOD looks like the training data, far OOD does not.",
    "Detector": "a score of how foreign an image looks to the model.",
    "ROC, AUROC": "OOD images caught against test images flagged by mistake as the threshold moves, and the area under that curve.",
}
CALIBRATION = {
    "Confidence": "the probability that the model gives to its answer.",
    "ECE, RMS error": "the gap between confidence and accuracy, over bins of confidence: mean, and root of the mean square.",
    "Brier, NLL": "squared distance of the probabilities to the truth, and minus the logarithm of the true class's probability.",
    "Temperature scaling": "logits divided by one number, fitted on held-out images, to mend the confidence; answers stay.",
}
ALWAYS = {
    "95 % interval": "where the number would fall, 95 times of 100, had other test images been drawn.",
    "Holm": "a correction for asking many questions at once, so that chance alone rarely marks a difference.",
    "Pareto front": "the models that no other beats in everything at once.",
}
LEDGER = {
    "Lockstep, native": "two libraries with the same start, steps and batches, or each as its users call it.",
    "Envelope": "the strongest outcome over all implementations, image by image.",
}


@section("words", "Words")
def words(story: Story) -> list[Block]:
    """One line a word."""
    present = set(story.families.values())
    axes = {row.axis for row in story.rows}
    families = {
        "Baseline": f"the model that others are compared with, here {story.run['baseline']}."
    }
    families |= {name: text for name, text in FAMILIES.items() if name in present}
    told = [families if len(story.models) > 1 else {}]
    by_axis = {"adversarial": ATTACKS, "shift": SHIFT, "ood": OOD, "calibration": CALIBRATION}
    told += [found for axis, found in by_axis.items() if axis in axes]
    told += [LEDGER] if story.results.ledger else []
    return [_listed(pair for found in (*told, ALWAYS) for pair in found.items())]


def _listed(pairs: Iterable[tuple[str, str]]) -> Bullets:
    return Bullets(tuple(Paragraph(text, f"{word}:") for word, text in pairs))
