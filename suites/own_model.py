"""The factory that own-model.yaml names: the LeNet-5 of the weights published with AdverTorch."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def lenet5(num_classes: int) -> nn.Module:
    """(N, 1, 28, 28) images in [0, 1] to (N, num_classes) logits; names as in the weights file."""
    from torch import nn

    layers = OrderedDict[str, nn.Module]()
    layers["conv1"] = nn.Conv2d(1, 32, 3, padding=1)
    layers["relu1"] = nn.ReLU()
    layers["pool1"] = nn.MaxPool2d(2)
    layers["conv2"] = nn.Conv2d(32, 64, 3, padding=1)
    layers["relu2"] = nn.ReLU()
    layers["pool2"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["linear1"] = nn.Linear(64 * 7 * 7, 200)
    layers["relu3"] = nn.ReLU()
    layers["linear2"] = nn.Linear(200, num_classes)
    return nn.Sequential(layers)
