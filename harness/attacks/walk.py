"""Samples of one batch on their way, each in a ball of its own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from harness.core.lazy import Lazy
from harness.core.threat import Balls, per_row

if TYPE_CHECKING:
    import torch

    from harness.core.threat import Norm
else:
    torch = Lazy("torch")


@dataclass(slots=True)
class Walk:
    """A samples under way.

    Args:
        rows: (A,) who they are.
        x: (A, C, H, W) images, the centres of the balls.
        y: (A,) labels.
        z: (A, C, H, W) where they are.
        eps: (A,) radii.
        size: (A,) length of a step.
        levels: (A,) positions of the radii among the budgets.
        left: (A,) steps to go.
    """

    rows: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    z: torch.Tensor
    eps: torch.Tensor
    size: torch.Tensor
    levels: torch.Tensor
    left: torch.Tensor

    def joined(self, other: Walk) -> Walk:
        """These samples and others."""
        if len(other.rows) == 0:
            return self
        pairs = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return Walk(*map(torch.cat, pairs))

    def take(self, some: torch.Tensor) -> Walk:
        """Only the samples of a mask."""
        if bool(some.all()):
            return self
        return Walk(*(getattr(self, field.name)[some] for field in fields(self)))

    def move(self, direction: torch.Tensor, norm: Norm) -> None:
        """One step and its projection."""
        moved = self.z + per_row(self.size, self.z) * direction
        self.z = Balls(norm, self.eps).project(self.x, moved)
