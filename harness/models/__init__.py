"""Networks by name, frozen classifiers, ensembles, and models that the user brings.

    from harness import models

    network = models.build(Use("lenet5"), num_classes=10, in_shape=(1, 28, 28), seed=0)
    model = models.freeze(network)
    theirs = models.brought("package.module:function", "weights.pt", num_classes=10, in_shape=(1, 28, 28))

A plug of kind "network" is `(num_classes, in_shape, *, <parameters>) -> nn.Module`. This file
registers ours and imports no torch; the names below come from its chapters at first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness.core.registry import registry

if TYPE_CHECKING:
    from torch import nn

    from harness.models.building import Builder as Builder
    from harness.models.building import build as build
    from harness.models.building import builder as builder
    from harness.models.building import describe as describe
    from harness.models.classifiers import Ensemble as Ensemble
    from harness.models.classifiers import Frozen as Frozen
    from harness.models.classifiers import freeze as freeze
    from harness.models.classifiers import log_mean_softmax as log_mean_softmax
    from harness.models.convolution import thin as thin
    from harness.models.factories import brought as brought
    from harness.models.layout import channels_last as channels_last
    from harness.models.weights import fit_weights as fit_weights
    from harness.models.weights import load_weights as load_weights
    from harness.models.weights import save_weights as save_weights
    from harness.models.weights import weights_bytes as weights_bytes

Shape = tuple[int, int, int]

_CHAPTERS = {
    "factories": ("brought",),
    "building": ("Builder", "build", "builder", "describe"),
    "classifiers": ("Ensemble", "Frozen", "freeze", "log_mean_softmax"),
    "convolution": ("thin",),
    "layout": ("channels_last",),
    "weights": ("fit_weights", "load_weights", "save_weights", "weights_bytes"),
}
_HOMES = {name: chapter for chapter, names in _CHAPTERS.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- whatever the chapter holds
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


@registry.register("network", "lenet5", supplied=())
def lenet5(
    num_classes: int,
    in_shape: Shape,
    *,
    channels: tuple[int, int] = (16, 32),
    hidden: int = 128,
) -> nn.Module:
    """LeNet-5 with ReLU and max-pooling: two 5x5 convolutions, one hidden layer.

    Args:
        num_classes: K outputs.
        in_shape: (C, H, W) of an image, at least 16 x 16.
        channels: filters of the two convolutions.
        hidden: units of the hidden layer.
    """
    from harness.models.networks import LeNet5

    return LeNet5(num_classes, in_shape, channels=channels, hidden=hidden)


@registry.register("network", "lenet5-large", supplied=())
def lenet5_large(
    num_classes: int,
    in_shape: Shape,
    *,
    channels: tuple[int, int] = (32, 64),
    hidden: int = 512,
) -> nn.Module:
    """LeNet-5 at twice the filters and four times the hidden units; see `lenet5`."""
    from harness.models.networks import LeNet5

    return LeNet5(num_classes, in_shape, channels=channels, hidden=hidden)


@registry.register("network", "advertorch-lenet5", supplied=())
def advertorch_lenet5(
    num_classes: int,
    in_shape: Shape,
    *,
    channels: tuple[int, int] = (32, 64),
    hidden: int = 200,
) -> nn.Module:
    """Network of the weights published with AdverTorch: 3x3 convolutions that keep the size."""
    from harness.models.networks import LeNet5

    return LeNet5(num_classes, in_shape, channels=channels, hidden=hidden, kernel=3, padding=1)
