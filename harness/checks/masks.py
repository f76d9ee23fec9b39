"""Networks whose gradients are masked on purpose, for check H51. Imported inside functions only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.core.types import Classifier

HOT = 1000.0  # factor on the logits: the softmax of nearly every image is exactly 0 or 1
LEVELS = 8  # of a pixel


class Masked:
    """A classifier behind a layer before it and one after it.

    Args:
        inner: the classifier.
        before: on the images.
        after: on the logits.
    """

    head = None

    def __init__(self, inner: Classifier, before: nn.Module, after: nn.Module) -> None:
        self.num_classes, self.digest = inner.num_classes, inner.digest
        self.module: nn.Module = nn.Sequential(before, inner.module, after).eval()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) logits."""
        return self.module(x)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """None are given: see `head`."""
        raise NotImplementedError


class Quantised(nn.Module):
    """Pixels on a few levels: the gradient is zero wherever there is one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) rounded images."""
        return (x * (LEVELS - 1)).round() / (LEVELS - 1)


class Hot(nn.Module):
    """Logits times a large factor: defensive distillation at its end."""

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """(N, K) logits."""
        return HOT * logits


MASKS: dict[str, Callable[[Classifier], Classifier]] = {
    "a factor of 1000 on the logits": lambda model: Masked(model, nn.Identity(), Hot()),
    "pixels of 8 levels": lambda model: Masked(model, Quantised(), nn.Identity()),
}
"""What was published as a defence, and is none (Papernot et al. 2016; Guo et al. 2018)."""
