"""Which way every detector's score points, on a world where it is known what is out of distribution.

On real data a score may rank noise below digits by design (O6); here nothing is left to design: a
class is four bright pixels, and what is OOD has one. A detector whose sign was flipped scores an
AUROC near 0 in place of 1.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from harness.core.lazy import Lazy
from harness.core.registry import registry
from harness.core.rng import numpy_rng, torch_rng
from harness.core.types import Evidence
from harness.crosscheck.comparison import Answer, Comparison, Question, ask, compare
from harness.metrics import auroc

if TYPE_CHECKING:
    import torch

    from harness.core.registry import Plug
    from harness.core.types import Classifier
else:
    torch = Lazy("torch")

CLASSES, PIXELS, SHAPE = 3, 12, (1, 3, 4)
FITTED, INSIDE, OUTSIDE = 300, 90, 60
PLANTED = "planted"  # who says that the AUROC is 1
NEAR = 0.05  # of the AUROC; a flipped sign is off by almost 1


def comparisons() -> list[Comparison]:
    """The AUROC of every detector on the planted world, beside the 1 that it has by construction."""
    model = planted()
    seen = _inside(model, FITTED, "fit"), _inside(model, INSIDE, "id"), _outside(model)
    truth = Answer(PLANTED, 1.0)
    return [
        compare(
            Question(f"direction of {plug.concept}", "ood", f"direction of {plug.concept}", "lockstep", INSIDE + OUTSIDE, NEAR, {}),
            truth,
            ask(plug, partial(_auroc, plug, model, *seen)),
        )
        for plug in registry.plugs("detector")
    ]  # fmt: skip


def planted() -> Classifier:
    """Twelve pixels, four for each of three classes, a hidden unit for each pixel."""
    from torch import nn

    from harness import models

    rng = numpy_rng(0, "planted", "weights")
    hidden = 4 * np.eye(PIXELS) + rng.normal(0, 0.05, (PIXELS, PIXELS))
    bright = np.kron(np.eye(CLASSES), np.ones(4))
    head = 1.3 * bright - 0.3 + rng.normal(0, 0.05, (CLASSES, PIXELS))
    layers = _linear(hidden, 0.1), nn.ReLU(), _linear(head, 0.0)
    return models.freeze(nn.Sequential(nn.Flatten(), *layers), in_shape=SHAPE)


def _linear(weight: np.ndarray, bias: float) -> torch.nn.Linear:
    outputs, inputs = weight.shape
    made = torch.nn.utils.skip_init(torch.nn.Linear, inputs, outputs)
    layer = cast("torch.nn.Linear", made)  # without a draw from the global generator
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.fill_(bias)
    return layer


def _inside(model: Classifier, n: int, name: str) -> Evidence:
    """Four bright pixels; each pixel has noise of its own size, so that no two eigenvalues meet."""
    rng, labels = numpy_rng(0, "planted", name), np.arange(n) % CLASSES
    bright = 0.6 * np.kron(np.eye(CLASSES), np.ones(4))[labels]
    return _seen(model, bright + np.linspace(0.05, 0.3, PIXELS) * rng.random((n, PIXELS)), labels)


def _outside(model: Classifier) -> Evidence:
    """One bright pixel in place of four, and not one of the noisiest."""
    noise = 0.05 * numpy_rng(0, "planted", "ood").random((OUTSIDE, PIXELS))
    return _seen(model, noise + 0.6 * np.eye(PIXELS)[np.arange(OUTSIDE) % 8], None)


def _seen(model: Classifier, pixels: np.ndarray, labels: np.ndarray | None) -> Evidence:
    x = pixels.astype(np.float32).reshape(-1, *SHAPE)
    with torch.no_grad():
        logits, features = model(torch.from_numpy(x)), model.features(torch.from_numpy(x))
    return Evidence(logits.numpy(), features.numpy(), x, labels)


def _auroc(
    plug: Plug, model: Classifier, fit: Evidence, inside: Evidence, outside: Evidence
) -> float:
    rng = torch_rng(0, "planted", plug.name)
    scorer = plug.function(fit, model=model, **plug.complete({}), rng=rng)
    return auroc(scorer(inside), scorer(outside))
