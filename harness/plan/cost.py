"""Expected seconds of a job on one core: to start the longest first, and to say how long it takes.

The unit is the pass: one 28 x 28 image through LeNet-5 with 16 and 32 filters and 128 hidden units
(2.2 MFLOP), forward and back. The few constants below were taken from the times that 2,000 jobs of
suites/full.yaml on MNIST and digits recorded, on two cores of an AMD EPYC (AVX-512 with bfloat16)
that other work shared. A job costs its passes times a constant; on another machine all move
together, so that the order stays right. No digest knows of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.attacks.gradients import fastest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.suite import ModelSpec

MACHINE = "server cores with AVX-512"

PASS = 1.5e-4  # seconds: forward and backward in float32, in training, attack or detector
QUICK_PASS = 1.15e-4  # seconds: the same two in mixed precision, for what is learnt from
FORWARD = 5e-5  # seconds: forward alone, with reading the image and keeping logits and features
SEARCH_PASS = 5.5e-5  # the same two in an attack's own arithmetic; the mean over images of which
SEARCH_QUERY = 3e-5  # many fall early and leave the batch
JUDGED = 2 * FORWARD  # seconds an image and budget: before an attack and after it
LARGE = 2.5  # small networks in the time of the large one: 1.8 in attacks, 3.2 in training
DETECTOR = {"pytorch_ood/knn": 1.5e-4, "pytorch_ood/odin": PASS + JUDGED}  # seconds an image
OTHER_DETECTOR = 1e-5  # of stored features and logits


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


def training(spec: ModelSpec, images: int, arithmetic: str = "float32") -> float:
    """Seconds to train a network: a pass an image and epoch, and one for each step of an attack."""
    passes = QUICK_PASS if arithmetic == "bfloat16" else PASS
    for use in spec.train:
        if "eps" in use.params:
            portion = float(use.params.get("portion", 1.0))
            passes += PASS * portion * int(use.params.get("steps", 5 if use.name == "pgd" else 1))
    return spec.training.epochs * images * passes * _width(spec)


def forward(spec: ModelSpec, images: int) -> float:
    """Seconds to predict."""
    return images * FORWARD * _width(spec)


def attack(spec: ModelSpec, use: Mapping[str, Any], budgets: int, images: int) -> float:
    """Seconds to attack at a list of budgets.

    One gradient serves a single step at every budget; a longer search bisects, and looks at log2
    of them.
    """
    restarts = max(1, int(use.get("restarts") or 1))
    fast = use.get("arithmetic") not in (None, "plain")
    if queries := use.get("queries"):
        each = int(queries) * (SEARCH_QUERY if fast else FORWARD)
    else:
        each = int(use.get("steps") or 0) * (SEARCH_PASS if fast else PASS)
    looks = math.log2(budgets + 1) if each else budgets
    return images * (PASS + looks * (JUDGED + restarts * each)) * _width(spec)


def detector(spec: ModelSpec, name: str, images: int) -> float:
    """Seconds to fit a detector and score; what it needs of the network is stored or costs passes."""
    return images * DETECTOR.get(name, OTHER_DETECTOR) * _width(spec)
