"""Adam with decoupled weight decay, without the compiler that PyTorch's class brings along."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.optim.adamw import adamw

if TYPE_CHECKING:
    from collections.abc import Iterable

BETAS = (0.9, 0.99)  # so few steps leave no time to average over a thousand
TINY = 1e-8  # added to the root of the mean square, PyTorch's default


class AdamW:
    """The kernel of `torch.optim.AdamW(fused=True)` and its bits, with plain lists for a state.

    The class itself imports torch's compiler where it is made: 870 modules, 150 MB and a second and
    a half in every process that trains.

    Args:
        weights: what is learnt; those without a gradient stay as they are in a step.
        decay: share of the learning rate by which weights shrink in a step.

    Source: Loshchilov and Hutter, arXiv:1711.05101.
    """

    def __init__(self, weights: Iterable[torch.Tensor], decay: float) -> None:
        self.decay = decay
        self.moments = [_Moments.fresh(weight) for weight in weights]

    def forget(self) -> None:
        """Drop all gradients."""
        for known in self.moments:
            known.weight.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Take one step at a learning rate, down the gradients that the weights hold."""
        moved = [known for known in self.moments if known.weight.grad is not None]
        adamw(
            [known.weight for known in moved],
            [known.weight.grad for known in moved if known.weight.grad is not None],
            [known.mean for known in moved],
            [known.square for known in moved],
            [],
            [known.steps for known in moved],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=rate,
            weight_decay=self.decay,
            eps=TINY,
            maximize=False,
        )


class _Moments(NamedTuple):
    """A weight, the running means of its gradient and of that squared, and the steps it took."""

    weight: torch.Tensor
    mean: torch.Tensor
    square: torch.Tensor
    steps: torch.Tensor

    @classmethod
    def fresh(cls, weight: torch.Tensor) -> _Moments:
        mean, square = (torch.zeros_like(weight, requires_grad=False) for _ in range(2))
        return cls(weight, mean, square, torch.zeros((), device=weight.device))
