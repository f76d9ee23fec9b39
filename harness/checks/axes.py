"""Checks on shift, OOD detection and calibration: H80 to H86."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.checks.catalogue import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.checks.catalogue import Finding

    Facts = Mapping[str, Any]

TIED = SATURATED = 0.01
SURE = 3  # standard errors
FEW_SCORES = 100  # where nobody says how many there are
SEEN = 0.01  # of a test set, that a training set may hold again: published sets have a few twins
NEIGHBOURS = 1e-3  # of the spread of the scores; float32 products differ by less between batches
BY_DESIGN = ("gradnorm", "gradient_uncertainty", "she", "dice")
"""Detectors that reward large activations, as their papers say: noise may score below real images."""


@check(
    "H80", "the identity changes nothing", "FAIL", "axis",
    raised_if="accuracy under the corruption `identity` is not exactly the clean accuracy, or a corrupted set has other labels, another order or another number of images than the test set.",
    explanation="Then the corrupted images differ from the clean ones by more than the corruption: in order, scale or labels.",
    what_to_do="Look at how the corrupted set is read.",
)  # fmt: skip
def identity(facts: Facts) -> Iterator[Finding]:
    """The identity changes accuracy."""
    if "identity" in facts and facts["identity"] != facts["clean"]:
        yield f"Accuracy under `identity` is {facts['identity']:.4f}, clean it is {facts['clean']:.4f}: labels or images are mixed up."
    for name in facts.get("disordered", ()):
        yield f"Corruption {name} has other labels, another order or fewer images than the test set: labels or images are mixed up."


@check(
    "H81", "direction of the score", "FAIL", "axis",
    raised_if="uniform noise scores as more in-distribution than test images do, beyond three standard errors, and so does every OOD set, one of them at least as surely (WARN if noise alone does).",
    explanation="Higher must mean more out of distribution; a flipped sign turns a good detector into a bad one (pytorch-ood pull request 143), and it turns every set at once. Where noise alone looks familiar, the sign is right and the detector blind to noise.",
    what_to_do="Flip the sign, unless the method rewards large activations by design.",
)  # fmt: skip
def direction(facts: Facts) -> Iterator[Finding]:
    """The sign of the score is wrong."""
    noise, sets = facts.get("noise_auroc"), facts.get("auroc", {})
    if noise is None or facts["detector"].rpartition("/")[2] in BY_DESIGN:
        return
    n = facts.get("n", {})
    if not _reversed(noise, n, "noise"):
        return
    best = max(sets.values(), default=1.0)
    if best < 0.5 and any(_reversed(value, n, name) for name, value in sets.items()):
        yield f"Uniform noise has AUROC {noise:.3f}, the best OOD set {best:.3f}: the score's sign is flipped."
    else:
        yield (
            "WARN",
            f"Uniform noise has AUROC {noise:.3f}: it looks familiar to the detector, although other sets do not.",
        )


def _reversed(auroc: float, n: Mapping[str, int], name: str) -> bool:
    """Whether an AUROC is below chance by more than chance: Mann and Whitney's standard error."""
    inside, outside = n.get("id", FEW_SCORES), n.get(name, FEW_SCORES)
    error = ((inside + outside + 1) / (12 * inside * outside)) ** 0.5
    return auroc < 0.5 - SURE * error


@check(
    "H82", "OOD data prepared as ID data", "FAIL", "axis",
    raised_if="the range of an OOD set differs from that of the test set, or a detector was fitted on images of the test set or of an OOD set.",
    explanation="Unscaled OOD images alone give an AUROC of 1: anything tells them apart. And a detector that has seen what it is tested on remembers instead of detecting.",
    what_to_do="Prepare both alike (`harness` brings OOD sets to the shape and the [0, 1] range of the data), and fit on training images only.",
)  # fmt: skip
def preparation(facts: Facts) -> Iterator[Finding]:
    """OOD images come in another range, or were seen before."""
    for name, (low, high) in facts.get("ranges", {}).items():
        if low < 0 or high > 1 or high <= 2 / 255:
            yield f"{name} spans [{low:.3g}, {high:.3g}] where images are in [0, 1]: it is told apart by its scale."
    for name, share in facts.get("seen", {}).items():
        if share > SEEN:
            yield f"{share:.1%} of {name} are among the images that the detector was fitted on: test data leaked into it."


@check(
    "H86", "a score is one image's own", "FAIL", "axis",
    raised_if="a detector scores an image otherwise when other images stand beside it, or when it is asked again.",
    explanation="Scores that depend on the rest of the batch (its mean, its order, what was scored before) are fitted on test data, and no deployment has them.",
    what_to_do="Fit on training data once; score each image by itself.",
)  # fmt: skip
def own_score(facts: Facts) -> Iterator[Finding]:
    """Scores depend on their neighbours."""
    if facts.get("neighbours", 0.0) > NEIGHBOURS:
        yield f"Scores move by {facts['neighbours']:.2g} of their spread with the images beside them: the detector is fitted on test data, or mixes up rows."


@check(
    "H83", "calibration error above its floor", "INFO", "axis",
    raised_if="the interval of the ECE begins at 0.",
    explanation="The binned error of a perfectly calibrated model is not 0 but depends on n and the confidences: 96.5 % of the time it stays below the floor that is told. The interval asks more than whether the ECE is above its floor: gaps that are small but all of one sign show below it, and gaps above it may still be noise that happened to pile up, so that this check follows the interval.",
    what_to_do="Read such a value as: not distinguishable from calibrated. Rank by Brier and NLL.",
)  # fmt: skip
def floor(facts: Facts) -> Iterator[Finding]:
    """The error is within the noise."""
    if facts.get("ece_low") == 0:
        yield f"ECE {facts['ece']:.4f} with an interval from 0: not distinguishable from calibrated (such a model may show {facts['floor']:.4f})."


@check(
    "H84", "confidences of exactly 1", "INFO", "axis",
    raised_if="more than 1 % of the float32 confidences equal 1.",
    explanation="torchmetrics puts them into a bin of their own (catalogue: C2), and detectors on them tie.",
    what_to_do="Nothing: probabilities are computed in float64 here.",
)  # fmt: skip
def exactly_one(facts: Facts) -> Iterator[Finding]:
    """float32 confidences saturate."""
    if facts.get("ones", 0.0) > SATURATED:
        yield f"{facts['ones']:.1%} of the float32 confidences are exactly 1; float64 is used."


@check(
    "H85", "tied scores", "WARN", "axis",
    raised_if="more than 1 % of a detector's scores are tied.",
    explanation="Ties count half in AUROC and against the detector in FPR95; a saturated softmax makes them.",
    what_to_do="Use scores from logits, or float64.",
)  # fmt: skip
def ties(facts: Facts) -> Iterator[Finding]:
    """Scores tie."""
    if facts.get("tied", 0.0) > TIED:
        yield f"{facts['tied']:.1%} of the scores are tied: AUROC and FPR95 depend on how ties count."
