"""The gradient of a loss with respect to the images, and to nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.attacks.losses import LOSSES
from harness.core.lazy import Lazy

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from harness.attacks.losses import Loss
else:
    torch = Lazy("torch")

Reduction = Literal["sum", "mean"]


class Slope(NamedTuple):
    """What one pass forward and back gives at a batch of points."""

    loss: torch.Tensor  # (N,)
    logits: torch.Tensor  # (N, K)
    gradient: torch.Tensor  # shaped as the images


def slope(
    model: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    loss: Loss,
    divisor: int = 1,
) -> Slope:
    """Loss, logits and input gradient of (sum of losses) / divisor; parameters get no gradient.

    Args:
        model: images to logits.
        x: (N, C, H, W).
        y: (N,) labels.
        loss: which of `losses.LOSSES`.
        divisor: N for a mean over the batch. Rows that saturate then underflow sooner, and no
            result but the scale of the gradient depends on it otherwise.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        logits = model(point)
        values = LOSSES[loss](logits, y)
        total = values.sum() if divisor == 1 else values.sum() / divisor
        (gradient,) = torch.autograd.grad(total, point)
    return Slope(values.detach(), logits.detach(), gradient)
