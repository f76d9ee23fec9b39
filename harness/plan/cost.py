"""Expected seconds of a job on one core: to start the longest first, and to say how long it takes.

Rough on purpose. The constants were measured with LeNet-5 (16-32-128 channels, 28 x 28) on one core
of a server processor; they order jobs well and are within a factor of two elsewhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.attacks.gradients import fastest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.suite import ModelSpec

TRAIN_STEP = 6e-5  # seconds an image: forward, backward and update
GRADIENT = 4e-5  # seconds an image: forward and backward with respect to the input
FORWARD = 1.5e-5  # seconds an image
LARGE = 4.0  # the large network against the small one
DETECTOR = {"pytorch_ood/knn": 6e-4, "pytorch_ood/odin": 1e-4}  # seconds an image
OTHER_DETECTOR = 2e-5


def numerics(device: str) -> dict[str, Any]:
    """The fixed rules of batch size, threads and precision that enter every digest.

    Never from a stopwatch, so that two runs agree. A power of two as the batch size keeps the mean
    and the sum of a loss apart by an exact factor, so that libraries can agree bit for bit.
    """
    return {
        "device": device,
        "threads": 1,
        "predict_batch": 500,
        "attack_batch": 256,
        "search": fastest(device),
    }


def _width(spec: ModelSpec) -> float:
    size = float(spec.size or 1)
    large = spec.network is not None and "large" in spec.network.name
    return size * (LARGE if large else 1.0)


def training(spec: ModelSpec, images: int) -> float:
    """Seconds to train a network."""
    step = TRAIN_STEP
    for use in spec.train:
        if "eps" in use.params:
            portion = float(use.params.get("portion", 1.0))
            steps = int(use.params.get("steps", 5 if use.name == "pgd" else 1))
            step += GRADIENT * steps * portion
    return spec.training.epochs * images * step * _width(spec)


def forward(spec: ModelSpec, images: int) -> float:
    """Seconds to predict."""
    return images * FORWARD * _width(spec)


def attack(spec: ModelSpec, use: Mapping[str, Any], budgets: int, images: int) -> float:
    """Seconds to attack at a list of budgets; bisection looks at log2 of them."""
    searches = math.log2(budgets + 1)
    steps = use.get("steps") or use.get("queries") or 1
    restarts = max(1, int(use.get("restarts") or 1))
    return images * searches * float(steps) * restarts * GRADIENT * _width(spec)


def detector(spec: ModelSpec, name: str, images: int) -> float:
    """Seconds to fit a detector and score."""
    return images * (FORWARD + DETECTOR.get(name, OTHER_DETECTOR)) * _width(spec)
