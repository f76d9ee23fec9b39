"""The networks of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import nn

from harness.core.errors import ModelError

if TYPE_CHECKING:
    import torch

    from harness.models import Shape


class LeNet5(nn.Module):
    """Two convolutions with max-pooling by 2, one hidden layer, one linear layer to the logits.

    Images come in [0, 1] and are not normalised.

    Args:
        num_classes: K outputs.
        in_shape: (C, H, W) of an image.
        channels: filters of the two convolutions.
        hidden: units of the hidden layer.
        kernel: side of the filters.
        padding: zeros round each convolution's input; 2 rings at 28 x 28 are LeCun's 32 x 32.

    Raises:
        ModelError: a size is not positive, or nothing is left of such small images.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", of which
        the two pooled 5x5 convolutions are kept.
    """

    def __init__(
        self,
        num_classes: int,
        in_shape: Shape,
        *,
        channels: tuple[int, int],
        hidden: int,
        kernel: int = 5,
        padding: int = 0,
    ) -> None:
        super().__init__()
        depth, *size = in_shape
        first, second = _pair(channels)
        _check_positive(num_classes=num_classes, channels=min(first, second), hidden=hidden)
        height, width = (_pooled_twice(side, kernel, padding) for side in size)
        self.in_shape, self.num_classes = tuple(in_shape), num_classes
        self.conv1 = nn.Conv2d(depth, first, kernel, padding=padding)
        self.conv2 = nn.Conv2d(first, second, kernel, padding=padding)
        self.linear1 = nn.Linear(second * height * width, hidden)
        self.linear2 = nn.Linear(hidden, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) logits."""
        # ReLU after pooling is the same function, and touches a quarter of the values.
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        return self.linear2(F.relu(self.linear1(x.flatten(1))))


def _pair(channels: tuple[int, int]) -> tuple[int, int]:
    if len(channels) != 2:
        raise ModelError(
            f"channels are those of two convolutions, for example [16, 32], got {channels}"
        )
    return channels[0], channels[1]


def _check_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ModelError(f"{name} must be at least 1, got {size}")


def _pooled_twice(side: int, kernel: int, padding: int) -> int:
    left = side
    for _ in range(2):
        left = (left + 2 * padding - kernel + 1) // 2
    if left < 1:
        raise ModelError(f"images of {side} pixels a side are too small for this network")
    return left
