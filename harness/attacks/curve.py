"""The security curve: robust accuracy over a range of budgets."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from harness.attacks.frontier import Hunt, find
from harness.attacks.gradients import Arithmetic, fastest, search
from harness.attacks.runner import validate_samples
from harness.core.lazy import Lazy
from harness.core.threat import Threat
from harness.core.types import Classifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import nn

    from harness.attacks.frontier import Frontier, Mode
    from harness.attacks.gradients import Search
    from harness.attacks.losses import Loss
    from harness.core.threat import Norm
else:
    torch = Lazy("torch")


TUNED_ON = 256  # samples of the measurement that tune=True makes
TUNED_BLOCKS = (64, 128, 256)


@dataclass(frozen=True, slots=True)
class SecurityCurve:
    """Robust accuracy at each budget, and where each sample fell.

    Args:
        norm: of the budgets.
        budgets: (B,) rising.
        first_broken: (N,) the smallest budget at which a sample fell; 0 if it is wrong clean, inf
            if it never fell.
        robust_accuracy: (B,) share of all samples right on every point tried, an upper bound on
            the truth; higher = safer.
        low: (B,) lower ends of 95 % Wilson intervals: the draw of the samples, given this model and
            this attack.
        high: (B,) upper ends.
        gradients: (N,) gradients taken for each sample.
        forwards: (N,) passes forward besides: judging.
        x_adv: (N, C, H, W) float32, the point that broke a sample at `first_broken`.
        prediction: (N,) label of x_adv.
        arithmetic: in which directions were searched.
    """

    norm: Norm
    budgets: np.ndarray
    first_broken: np.ndarray
    robust_accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    gradients: np.ndarray
    forwards: np.ndarray
    x_adv: np.ndarray
    prediction: np.ndarray
    arithmetic: Arithmetic

    @property
    def clean_accuracy(self) -> float:
        """Share of samples right without any attack."""
        return float((self.first_broken > 0).mean())


def security_curve(
    model: nn.Module | Classifier,
    x: np.ndarray | torch.Tensor,
    y: np.ndarray | torch.Tensor,
    *,
    norm: Norm = "linf",
    budgets: Sequence[float],
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
    loss: Loss = "ce",
    pilot: int = 6,
    mode: Mode = "bisect",
    arithmetic: Arithmetic | None = None,
    rng: int = 0,
    tune: bool = False,
) -> SecurityCurve:
    """Robust accuracy under PGD at each budget; what falls at one counts as fallen at all larger.

    Samples leave when they fall, at any step; those that hold meet all `steps` of all starts, and of
    one random start more where the last ended close to a mistake. A pilot of a few steps, whose
    finds count too, shows where to begin (`frontier`). The model is copied, in evaluation mode, and
    left as it is.

    Args:
        model: (N, C, H, W) in [0, 1] to (N, K) logits; a module or a classifier.
        x: (N, C, H, W) float32 images in [0, 1].
        y: (N,) integer true labels.
        norm: "linf", "l2" or "l1".
        budgets: radii in [0, 1] pixel units, positive, in any order.
        steps: gradient steps a start.
        step_size: in pixel units; 2.5 * eps / steps at each budget if None.
        restarts: r uniform starts in the ball, later ones for those that held; 0 starts at x.
        loss: "ce", "margin" or "dlr".
        pilot: gradients that the pilot has to find a mistake; 0 for PGD alone.
        mode: "exact" attacks every budget. "bisect" supposes that a sample which holds at a budget
            holds at smaller ones: an upper bound that is never below `exact`, and on the published
            LeNet-5 weights at most 0.2 points above it.
        arithmetic: of the search direction, see `gradients`; the processor's rule (`fastest`) if
            None. Success is judged in float32 whatever it is.
        rng: seed of the starts.
        tune: choose arithmetic and block size by a measurement of a second or so; two runs may
            then differ.

    Raises:
        InputError: images outside [0, 1], labels that are no classes, budgets that are not
            positive, an unknown norm or mode.
        ModelError: the module does not turn such images into logits.
    """
    Threat(norm, 0.0)  # refuses an unknown norm, and names the known ones
    classifier = _classifier(model, x)
    device = next((weight.device for weight in classifier.module.parameters()), torch.device("cpu"))
    images = torch.as_tensor(x, device=device).detach()
    labels = torch.as_tensor(y, device=device).long()
    validate_samples(images, labels, classifier.num_classes)
    hunt = Hunt(steps, step_size, restarts, loss, pilot, mode, arithmetic or fastest(device.type))
    radii = sorted({float(eps) for eps in budgets})
    if tune:
        hunt, slopes = _tuned(classifier, images, labels, hunt)
    else:
        slopes = search(classifier, images, hunt.arithmetic)
    found = find(classifier, images, labels, norm, radii, hunt, seed=rng, direction=slopes)
    return _curve(norm, radii, found, hunt.arithmetic)


def _classifier(model: nn.Module | Classifier, x: np.ndarray | torch.Tensor) -> Classifier:
    if isinstance(model, Classifier):
        return model
    from harness.models import freeze

    device = next((str(weight.device) for weight in model.parameters()), "cpu")
    return freeze(model, in_shape=(x.shape[1], x.shape[2], x.shape[3]), device=device)


def _curve(
    norm: Norm, radii: list[float], found: Frontier, arithmetic: Arithmetic
) -> SecurityCurve:
    from harness.statistics import proportion

    stood = [proportion(found.first_broken > eps) for eps in radii]
    return SecurityCurve(
        norm,
        np.array(radii),
        found.first_broken,
        np.array([one.value for one in stood]),
        np.array([one.low for one in stood]),
        np.array([one.high for one in stood]),
        found.gradients,
        found.forwards,
        found.x_adv.cpu().numpy(),
        found.prediction,
        arithmetic,
    )


def _tuned(model: Classifier, x: torch.Tensor, y: torch.Tensor, hunt: Hunt) -> tuple[Hunt, Search]:
    """The fastest of all arithmetics and block sizes on a few samples, by the stopwatch."""
    x, y = x[:TUNED_ON], y[:TUNED_ON]
    choices: list[tuple[float, Arithmetic, Search]] = []
    for arithmetic in get_args(Arithmetic):
        for size in TUNED_BLOCKS:
            slopes = search(model, x, arithmetic, block=size)
            seconds = []
            for _ in range(3):
                began = time.perf_counter()
                slopes(x, y, hunt.loss)
                seconds.append(time.perf_counter() - began)
            choices.append((statistics.median(seconds), arithmetic, slopes))
    _, arithmetic, slopes = min(choices, key=lambda choice: choice[0])
    return replace(hunt, arithmetic=arithmetic), slopes
