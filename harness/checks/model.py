"""Checks on a model, before any attack: H01 to H14 and H27. Facts come from `probes.probe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.checks.catalogue import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.checks.catalogue import Finding

    Facts = Mapping[str, Any]

ROUNDING = 1e-5  # of sums of float32 probabilities
RANDOM = 1e-4  # of L2-normalised logits between identical passes; as AutoAttack's flags
ZERO_SHARE = 0.05
BETTER_SCALING = 0.02
NOISY = 0.1
WRONG_SLOPE = 0.5
WRONG_SIDE = 0.1  # true gradients stay below 0.05
OTHER_ORDER = 0.1  # of accuracy, by which another order of the outputs may be right more often
MENDED = 0.5  # of the mistakes, that are left once a fault of the preparation is undone
AT_MOST = 0.25  # of the images, whose largest output is as large as any
AT_LEAST = 0.05  # of the outputs, that are exactly as small as any
SURE = 3  # standard errors of an accuracy
FLAT = 0.5  # of the images, whose logits do not notice a small change
LEADS = (0.05, 500.0)  # of the best logit over the second: a network as it was trained lies between
SCALES = (
    "x 255",
    "/ 255",
    "standardised",
    "2x - 1",
    "(x + 1) / 2",
    "scaled back from standardised",
)
DEPENDS = 1e-3  # of the spread of the logits, by which they may change with the batch


@check(
    "H01", "evaluation mode", "FAIL", "model",
    raised_if="any part of the network is in training mode.",
    explanation="Dropout and batch normalisation then change from call to call, and statistics of attacked batches leak into the model.",
    what_to_do="Call eval() before evaluating. `harness` freezes models that it trains or loads; a wrapper that calls train() undoes it.",
)  # fmt: skip
def evaluation_mode(facts: Facts) -> Iterator[Finding]:
    """Some part is in training mode."""
    if facts["training"]:
        named = ", ".join(facts["training"][:3])
        yield f"The model is in training mode ({named}): numbers would change from call to call. Call eval()."


@check(
    "H02", "randomised outputs", "WARN", "model",
    raised_if="five identical passes differ in the number of correct labels, or by more than 1e-4 in normalised logits.",
    explanation="A single gradient of a randomised model is noise: attacks that do not average over the randomness overestimate robustness (Athalye et al. 2018).",
    what_to_do="Attack the expectation (EoT, or AutoAttack's version 'rand'), and report the mean over draws.",
)  # fmt: skip
def randomised(facts: Facts) -> Iterator[Finding]:
    """Identical calls give different outputs."""
    if facts["right_min"] != facts["right_max"] or facts["random_gap"] > RANDOM:
        message = f"Outputs vary between identical calls (largest normalised difference {facts['random_gap']:.1e}): use EoT."
        yield ("WARN" if facts.get("eot") else "FAIL"), message


@check(
    "H03", "probabilities for logits", "FAIL", "model",
    raised_if="all outputs lie in [0, 1], and each row or each column sums to 1 (WARN if neither does).",
    explanation="A softmax inside the model makes the loss take it twice: gradients vanish and attacks fail (DEEPSEC issue 3: 30 % instead of 61 %). Log-probabilities are harmless to attacks, but make the energy score constant.",
    what_to_do="Return the values before the softmax.",
)  # fmt: skip
def probabilities(facts: Facts) -> Iterator[Finding]:
    """The outputs are probabilities, or log-probabilities."""
    inside = facts["logit_max"] < 1 + ROUNDING and facts["logit_min"] > -ROUNDING
    if inside and facts["at_least"] > 1 - 1.5 / facts["classes"]:
        yield "The model returns one-hot labels, not logits: they have no slope. Return the values before the argmax."
    elif inside and facts["row_sum_gap"] < ROUNDING:
        yield "The model returns probabilities, not logits: cross-entropy gradients vanish numerically. Remove the softmax."
    elif inside and facts.get("column_sum_gap", 1.0) < ROUNDING * facts["k"]:
        yield "The model returns probabilities over the batch, not logits: its softmax is taken over the wrong axis."
    elif facts["classes"] > 1 and facts["logit_min"] > -ROUNDING and facts["sum_spread"] < ROUNDING:
        yield "The model returns probabilities times a factor, not logits: each row sums to the same. Remove the softmax."
    elif inside and facts["classes"] > 1:
        yield (
            "WARN",
            "All outputs lie in [0, 1] and do not sum to 1: a sigmoid, or something else that squashes, stands where logits should.",
        )
    elif facts["logit_max"] <= 0 and facts["logsumexp_gap"] < ROUNDING:
        yield (
            "INFO",
            "The model returns log-probabilities: attacks are unaffected, the energy score is the constant 0.",
        )
    elif facts["logsumexp_spread"] < ROUNDING:
        yield (
            "WARN",
            "The model returns log-probabilities with something added: their exponentials sum to the same for all images. What is added to small probabilities hides their gradients.",
        )


@check(
    "H04", "zero or bad gradients", "WARN", "model",
    raised_if="an image has an all-zero gradient of the cross-entropy (FAIL above 5 % of the images), or a gradient is NaN or infinite.",
    explanation="The sign of zero is zero: such images never move and look robust. If float64 or the margin loss has a gradient where cross-entropy has none, the softmax saturates; if nothing has, gradients are masked.",
    what_to_do="Look at the margin-loss column and at Square. Saturated logits: attack with the margin or DLR loss, or in float64.",
)  # fmt: skip
def zero_gradients(facts: Facts) -> Iterator[Finding]:
    """Rows whose gradient cannot be used."""
    if facts["graph"]:
        return
    if facts["not_finite"]:
        yield (
            "FAIL",
            f"{facts['not_finite']} of {facts['k']} inputs have a NaN or infinite gradient.",
        )
    zero = facts["zero_ce"]
    if zero > facts["not_finite_outputs"]:  # H15 speaks of those
        precise = facts["zero_ce_float64"]
        extra = "" if precise is None else f", {precise} in float64"
        level = "FAIL" if zero > ZERO_SHARE * facts["k"] else "WARN"
        yield (
            level,
            f"{zero} of {facts['k']} inputs have exactly zero cross-entropy gradient ({facts['zero_margin']} with the margin loss{extra}): {_cause(facts)}.",
        )


def _cause(facts: Facts) -> str:
    if facts["flat"] > FLAT:
        return (
            f"{_stepped(facts)} inside the model; a score-based attack such as Square is required"
        )
    precise = facts["zero_ce_float64"]
    if facts["zero_margin"] < facts["zero_ce"] or (
        precise is not None and precise < facts["zero_ce"]
    ):
        return "the softmax saturates; use the margin loss"
    return "gradients are masked; gradient attacks cannot move there and Square is required"


def _stepped(facts: Facts) -> str:
    """Why small changes of the pixels leave every bit of the outputs as it is."""
    return "the outputs are rounded" if facts.get("rounded") else "the input is quantised"


@check(
    "H05", "broken graph", "FAIL", "model",
    raised_if="the gradient of the logits with respect to the images cannot be computed, or does not predict how the logits change along it, or in random directions.",
    explanation="A step that cannot be differentiated (rounding, detach, NumPy) or whose gradient is replaced leaves gradient attacks without a direction. Half a gradient still predicts the change along itself; random directions show what it lacks.",
    what_to_do="Use BPDA for that step, or attacks that need only scores.",
)  # fmt: skip
def broken_graph(facts: Facts) -> Iterator[Finding]:
    """No gradient path, or a gradient of something else."""
    if facts["graph"]:
        yield f"No gradient path from logits to input ({facts['graph']}): use BPDA or score-based attacks."
    elif facts["random_gap"] > RANDOM or facts["gap_alone"] > DEPENDS:
        return  # H02 and H09 speak of what no gradient of one image in one pass can predict
    elif facts["slope_error"] > WRONG_SLOPE:
        flat = facts["flat"] > FLAT
        why = _stepped(facts) if flat else "a step is detached or its gradient replaced"
        yield f"The gradient does not predict the change of the logits (median error {facts['slope_error']:.0%}): {why}."
    elif facts["side_error"] > WRONG_SIDE:
        why = (
            _stepped(facts)
            if facts["flat"] > FLAT
            else "a part of it is lost or rescaled on the way to the pixels"
        )
        yield f"The gradient keeps its promise along itself, but not in other directions (median error {facts['side_error']:.0%}): {why}."


@check(
    "H06", "test-time optimisation", "WARN", "model",
    raised_if="the forward pass calls autograd itself.",
    explanation="A model that optimises at test time answers each attack anew: a fixed gradient is not the right one.",
    what_to_do="Use an adaptive attack that differentiates through the optimisation; read the number as an upper bound.",
)  # fmt: skip
def test_time_optimisation(facts: Facts) -> Iterator[Finding]:
    """The forward pass asks for gradients."""
    if facts["autograd_calls"]:
        yield f"The model calls autograd {facts['autograd_calls']} times during inference: adaptive attacks are needed; the number is an upper bound only."


@check(
    "H07", "input range and normalisation", "FAIL", "model",
    raised_if="inputs leave [0, 1], or inputs scaled, inverted, mirrored, turned, shifted or with channels reversed beat those declared by more than two points of accuracy and three standard errors, with half the mistakes; not where the network is as accurate on those declared as it was when its training here ended.",
    explanation="A budget is stated for pixels in [0, 1]. If the model expects 0-255 or standardised pixels, eps means something else; normalising twice costs accuracy and robustness. A network that does as well as in training has the pixels that it learnt from, even if others suit it better: one that overfitted one-step attacks (H91) is often better with more contrast.",
    what_to_do="Put the normalisation inside the model as its first layer, once, and feed it pixels in [0, 1].",
)  # fmt: skip
def scaling(facts: Facts) -> Iterator[Finding]:
    """The model wants its inputs scaled otherwise."""
    low, high = facts["input_min"], facts["input_max"]
    if low < 0 or high > 1:
        yield f"Inputs span [{low:.3g}, {high:.3g}], but eps is stated for [0, 1]."
    name, best = max(facts["scalings"].items(), key=lambda item: item[1])
    better = best - facts["clean"] > max(BETTER_SCALING, _sure(facts)) and _mended(facts, best)
    flipped = _mended(facts, facts["negated"])  # H12 speaks of the outputs
    if better and not flipped and not _as_trained(facts):
        what = (
            "normalisation is missing or done twice"
            if name in SCALES
            else "the images are prepared otherwise than in training"
        )
        yield f"Accuracy is {facts['clean']:.1%} on pixels in [0, 1], and {best:.1%} on pixels {name}: {what}."


def _as_trained(facts: Facts) -> bool:
    """Whether the pixels declared are those that the network learnt from, as its training tells.

    Better accuracy elsewhere then says something of the network, and nothing of the preparation.
    """
    trained = facts.get("trained")
    return trained is not None and facts["clean"] > trained - max(BETTER_SCALING, _sure(facts))


def _mended(facts: Facts, accuracy: float) -> bool:
    """Whether it is about that of a network that nothing is wrong with: a broken one gains little."""
    half = 1 - accuracy <= MENDED * (1 - facts["clean"])
    return half or _as_trained({**facts, "clean": accuracy})


def _sure(facts: Facts) -> float:
    """A difference of accuracy that is no accident of the draw."""
    share = min(max(facts["clean"], 1 / facts["k"]), 1 - 1 / facts["k"])
    return SURE * (share * (1 - share) / facts["k"]) ** 0.5


@check(
    "H08", "the library sees the same model", "FAIL", "model",
    raised_if="a library's wrapper changes a label, a logit by more than 1e-4, or the sign of more than 0.1 % of the gradient's entries.",
    explanation="ART, for one, ignores the forward method of subclasses of nn.Sequential; its attacks then attack another network.",
    what_to_do="Do not compare that library's attacks on this model until its wrapper agrees.",
)  # fmt: skip
def parity(facts: Facts) -> Iterator[Finding]:
    """A wrapper computes something else."""
    for name, seen in facts.get("parity", {}).items():
        if "error" in seen:
            yield f"Backend {name} could not be asked: {seen['error']}"
        elif seen["labels"] or seen["logits"] > 1e-4 or seen["signs"] < 0.999:
            yield f"Backend {name} does not see the same model ({seen['labels']} labels differ, logits by {seen['logits']:.1e}, {seen['signs']:.1%} of gradient signs agree): its attacks are not comparable."


@check(
    "H09", "batch invariance", "WARN", "model",
    raised_if="a sample's label changes when it is looked at alone, or its logits do by more than a thousandth of their spread.",
    explanation="Then success depends on which samples share a batch (batch statistics, or rounding near the boundary).",
    what_to_do="Judging always uses one fixed batch size here; if more than a few labels flip, look for batch normalisation in training mode.",
)  # fmt: skip
def batch_invariance(facts: Facts) -> Iterator[Finding]:
    """Labels depend on the batch."""
    if facts.get("earlier", 0.0) > FLAT:
        yield f"{facts['earlier']:.0%} of the answers are those of an earlier batch, whatever the images: a stale cache in the model."
    elif facts["flips_alone"] or facts["gap_alone"] > DEPENDS:
        yield f"{facts['flips_alone']} of {facts['k']} labels change when the sample is looked at alone, logits by {facts['gap_alone']:.2g} of their spread: they depend on the batch."


@check(
    "H10", "few classes", "INFO", "model",
    raised_if="there are fewer than four classes.",
    explanation="The DLR loss needs three classes, its targeted form four.",
    what_to_do="Nothing: targeted DLR is left out.",
)  # fmt: skip
def few_classes(facts: Facts) -> Iterator[Finding]:
    """Too few classes for targeted DLR."""
    if facts["classes"] < 4:
        yield f"{facts['classes']} classes: targeted DLR is left out."


@check(
    "H11", "nothing happens at eps 0", "FAIL", "model",
    raised_if="an attack with eps 0 changes a prediction.",
    explanation="Mode, rounding or preprocessing then differs between attack and evaluation (torchattacks issue 124).",
    what_to_do="Look for train() calls, quantisation or normalisation inside the attack's wrapper.",
)  # fmt: skip
def eps_zero(facts: Facts) -> Iterator[Finding]:
    """An empty ball holds another image."""
    if facts.get("eps_zero_changed"):
        yield f"An attack at eps 0 changes {facts['eps_zero_changed']} predictions: mode, rounding or preprocessing differs between attack and evaluation."


@check(
    "H12", "outputs in the order of the labels", "FAIL", "model",
    raised_if="another matching of outputs to labels, or the smallest output, is right on ten points more of the images, beyond three standard errors, and makes half the mistakes.",
    explanation="Labels counted from one, sorted as text or taken from another list of classes make a good network look like a bad one, and every attack on it succeed.",
    what_to_do="Look at the list of classes that the network was trained with.",
)  # fmt: skip
def label_order(facts: Facts) -> Iterator[Finding]:
    """The outputs stand in another order."""
    gain = max(OTHER_ORDER, _sure(facts))
    if facts["negated"] - facts["clean"] > gain and _mended(facts, facts["negated"]):
        yield f"Accuracy is {facts['clean']:.1%}, and {facts['negated']:.1%} by the smallest output: their sign is flipped."
    elif facts["matched"] - facts["clean"] > gain and _mended(facts, facts["matched"]):
        yield f"Accuracy is {facts['clean']:.1%}, and {facts['matched']:.1%} with the outputs in another order: labels and outputs do not match (counted from one? sorted otherwise?)."


@check(
    "H13", "scale of the logits", "WARN", "model",
    raised_if="a network that is right on most images leads with its best logit by less than 0.05 or more than 500, in the median.",
    explanation="A temperature on the logits changes no label and no ranking of one image's classes, but it flattens or saturates the softmax: cross-entropy attacks fail, confidences and the energy score lose their meaning.",
    what_to_do="Return the logits as trained, without a temperature or another factor.",
)  # fmt: skip
def logit_scale(facts: Facts) -> Iterator[Finding]:
    """A factor on the logits."""
    low, high = LEADS
    probable = facts["logit_min"] >= 0 and facts["sum_spread"] < ROUNDING
    silent = probable or facts["not_finite_outputs"] or any(_bounds(facts))  # others speak of these
    if facts["clean"] > 0.5 and not low <= facts["lead"] <= high and not silent:
        yield f"The best logit leads the second by {facts['lead']:.2g} in the median, on a network that is right on {facts['clean']:.0%}: a temperature on the logits?"


@check(
    "H14", "precision of the outputs", "WARN", "model",
    raised_if="all outputs are exact in float16 or bfloat16, or have no more than three decimals.",
    explanation="Small differences between logits are then lost, and with them small gradients: attacks see steps where the model has slopes, and scores tie.",
    what_to_do="Return the logits in float32, as they were computed.",
)  # fmt: skip
def output_precision(facts: Facts) -> Iterator[Finding]:
    """Outputs on a grid."""
    if facts.get("rounded"):
        yield f"The outputs are rounded to {facts['rounded']}: small gradients and differences between scores are lost."


@check(
    "H15", "finite outputs", "FAIL", "model",
    raised_if="an output is NaN or infinite.",
    explanation="A NaN is neither right nor wrong, and its gradient leads nowhere: such images count as mistakes or look robust, as the library has it.",
    what_to_do="Look for divisions by zero, logarithms of zero and numbers beyond float16 in the forward pass.",
)  # fmt: skip
def finite_outputs(facts: Facts) -> Iterator[Finding]:
    """Numbers that are none."""
    if facts["not_finite_outputs"]:
        yield f"{facts['not_finite_outputs']} of {facts['k']} images have NaN or infinite outputs."


@check(
    "H16", "bounded outputs", "WARN", "model",
    raised_if="the largest output of a quarter of the images is as large as any, or a twentieth of all outputs is exactly as small as any.",
    explanation="Outputs that are cut off (clamp, ReLU) or squashed (tanh) have no slope where they end: images whose outputs lie there look robust to attacks by gradients.",
    what_to_do="Return the logits as the last layer gives them; else believe Square more than PGD.",
)  # fmt: skip
def bounded_outputs(facts: Facts) -> Iterator[Finding]:
    """A ceiling or a floor."""
    above, below = _bounds(facts)
    if above:
        yield f"The largest output of {facts['at_most']:.0%} of the images is {facts['logit_max']:.4g}: the outputs are bounded (clamped, squashed), and have no slope at their bound."
    if below:
        yield f"{facts['at_least']:.0%} of all outputs are exactly {facts['logit_min']:.4g}: the outputs are cut off (clamp, ReLU), and have no slope there."


def _bounds(facts: Facts) -> tuple[bool, bool]:
    """Whether the outputs end above and below; not of probabilities, whose logarithm does by nature."""
    like_probabilities = facts["logsumexp_spread"] < ROUNDING or facts["sum_spread"] < ROUNDING
    several = facts["classes"] > 1 and not like_probabilities
    shifted = (
        facts["at_most"] == 1 and facts["logit_max"] == 0
    )  # each row less its largest: harmless
    return several and facts["at_most"] > AT_MOST and not shifted, several and facts[
        "at_least"
    ] > AT_LEAST


@check(
    "H17", "better than chance", "WARN", "model",
    raised_if="the accuracy does not exceed that of a guess by three standard errors, or two outputs are the same for all images.",
    explanation="A network that knows nothing has no robustness to lose: weights that were not loaded, or another data set's, look like this. An output that copies another cannot tell their classes apart.",
    what_to_do="Look at the weights file, at the names of its tensors, and at how the last layer was built.",
)  # fmt: skip
def chance(facts: Facts) -> Iterator[Finding]:
    """A guess would do as well."""
    classes = facts["classes"]
    guess = {**facts, "clean": 1 / classes}
    ordered = max(facts["matched"], facts["negated"]) - facts["clean"] > OTHER_ORDER  # H12 speaks
    if classes > 1 and facts["clean"] <= guess["clean"] + _sure(guess) and not ordered:
        yield f"Accuracy is {facts['clean']:.1%}, no better than a guess among {classes}: were the weights loaded?"
    if facts["twins"]:
        yield f"Outputs {facts['twins']} are the same for all images: one copies the other."


@check(
    "H27", "noisy loss around the samples", "WARN", "model",
    raised_if="the loss changes by more than 10 % on average within a box of 4/255.",
    explanation="A gradient then says little about the next step; attacks need to average it (Pintor et al. 2022).",
    what_to_do="Smooth the gradient over noise (EoT), and compare with Square.",
)  # fmt: skip
def noisy_loss(facts: Facts) -> Iterator[Finding]:
    """The loss landscape is rough."""
    if facts["landscape"] > facts.get("noisy", NOISY) and facts["random_gap"] > RANDOM:
        yield f"The loss is noisy around the samples (index {facts['landscape']:.2f}): smooth gradients (EoT)."
