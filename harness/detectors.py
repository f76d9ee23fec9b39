"""Detectors of inputs that are out of distribution (OOD): our own, and what holds for all of them.

A detector is fitted on a model's view of training data and returns a scorer; higher = more OOD.
Those of pytorch-ood come from its adapter. Scores are computed in float64 from the logits: in
float32 the largest softmax of a confident model is exactly 1 on most inputs, and those tie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from harness.core.registry import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from harness.core.types import Classifier, Evidence, Scorer


@registry.register("detector", "msp", supplied=("model", "rng"), needs="logits")
def msp(
    fit: Evidence,
    *,
    model: Classifier,
    temperature: float = 1.0,
    rng: torch.Generator | None = None,
) -> Scorer:
    """Maximum softmax probability, negated.

    Args:
        fit: not looked at.
        model: not looked at.
        temperature: positive; the logits are divided by it.
        rng: not used.

    Returns:
        Scorer with values in [-1, -1/K].

    Raises:
        ValueError: the temperature is not positive.

    Source:
        Hendrycks and Gimpel 2017, arXiv:1610.02136.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    return lambda seen: -softmax(seen.logits.astype(np.float64) / temperature, axis=1).max(1)


@registry.register("detector", "mls", supplied=("model", "rng"), needs="logits")
def mls(fit: Evidence, *, model: Classifier, rng: torch.Generator | None = None) -> Scorer:
    """Maximum logit, negated.

    Args:
        fit: not looked at.
        model: not looked at.
        rng: not used.

    Returns:
        Scorer with values in logit units.

    Source:
        Hendrycks et al. 2022, arXiv:1911.11132.
    """
    return lambda seen: -seen.logits.max(1).astype(np.float64)


def combine_members(fit_scores: Sequence[np.ndarray], scores: Sequence[np.ndarray]) -> np.ndarray:
    """An ensemble's scores: the mean of its members' standardised scores.

    A member's scores are centred and scaled by the mean and standard deviation of its scores on
    its own training data, so that a member with larger logits does not outvote the others. (On
    the logarithm of mean probabilities energy would be constant, and the maximum logit would rank
    as the maximum softmax does.)

    Args:
        fit_scores: a member each, (N,) scores of the data that its detector was fitted on.
        scores: a member each, (M,) scores of the split in question, same order.

    Returns:
        (M,) in standard deviations above the training scores, higher = more OOD.

    Raises:
        ValueError: no members, not as many of one as of the other, or a member whose training
            scores are all equal.

    >>> combine_members([np.array([0.0, 2.0]), np.array([0.0, 20.0])], [np.array([3.0])] * 2)
    array([0.65])
    """
    if not fit_scores or len(fit_scores) != len(scores):
        raise ValueError(f"need a member's scores each, got {len(fit_scores)} and {len(scores)}")
    spreads = [np.std(member) for member in fit_scores]
    if min(spreads) == 0:
        raise ValueError(
            f"member {int(np.argmin(spreads))} has constant scores on its training data"
        )
    standardised = [
        (member - np.mean(fitted)) / spread
        for fitted, spread, member in zip(fit_scores, spreads, scores, strict=True)
    ]
    return np.mean(standardised, axis=0)


def direction(
    scorer: Scorer,
    inside: Evidence,
    look: Callable[[np.ndarray], Evidence],
    *,
    rng: np.random.Generator,
    count: int = 1000,
) -> float:
    """AUROC of uniform noise against `inside`: below 0.5 the score points the wrong way (H81).

    Some methods reward large activations by design and may score noise as more ordinary than
    digits (SHE and DICE, on some networks); a low value calls for reading the method, not for
    flipping its sign.

    Args:
        scorer: of a fitted detector.
        inside: in-distribution samples that it was not fitted on.
        look: (N, C, H, W) images -> the model's view of them.
        rng: draws the noise.
        count: images of noise.

    Returns:
        Probability in [0, 1] that noise scores higher than an in-distribution sample, ties half.
    """
    noise = look(rng.random((count, *inside.x.shape[1:]), dtype=np.float32))
    ascending, outside = np.sort(scorer(inside)), scorer(noise)
    below = np.searchsorted(ascending, outside, "left")
    not_above = np.searchsorted(ascending, outside, "right")
    return float((below + not_above).mean() / (2 * len(ascending)))
