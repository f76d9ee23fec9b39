"""What networks that differ in the seed alone have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from harness.core.errors import DataError
from harness.core.rng import numpy_rng
from harness.training.health import PATIENCE

if TYPE_CHECKING:
    from harness.core.types import Split
    from harness.recipes import Recipe
    from harness.training.types import Settings

PROBE_IMAGES, PROBES = 500, 10  # held-out images that PGD attacks, and how often at most


@dataclass(frozen=True, slots=True)
class Course:
    """What networks that differ in the seed alone have in common.

    Args:
        recipe: what happens to a batch.
        settings: how long and how fast.
        x: (N, C, H, W) images.
        y: (N, K) one-hot labels.
        val_x: (V, C, H, W) held-out images.
        val_y: (V,) their labels.
        probe: (P,) which of these PGD attacks.
    """

    recipe: Recipe
    settings: Settings
    x: torch.Tensor
    y: torch.Tensor
    val_x: torch.Tensor
    val_y: torch.Tensor
    probe: torch.Tensor

    @classmethod
    def of(
        cls, data: Split, held_out: Split, recipe: Recipe, settings: Settings, device: str
    ) -> Course:
        """The course on two splits.

        Raises:
            DataError: a split has no images or no labels.
        """
        x, y = _tensors(data, device)
        val_x, val_y = _tensors(held_out, device)
        classes = max(len(data.classes), int(y.max()) + 1)
        some = numpy_rng(0, "probe").permutation(len(val_x))[:PROBE_IMAGES]
        probe = torch.from_numpy(np.sort(some)).to(device)
        return cls(recipe, settings, x, F.one_hot(y, classes).to(x), val_x, val_y, probe)

    @property
    def classes(self) -> int:
        """K."""
        return self.y.shape[1]

    @property
    def steps(self) -> int:
        """Steps of the optimiser in the whole training."""
        return self.settings.epochs * math.ceil(len(self.x) / self.settings.batch_size)

    def probes(self, epoch: int) -> bool:
        """Whether the network is probed after `epoch`, counted from 1: ten times at most."""
        every = math.ceil(self.settings.epochs / PROBES)
        return epoch == self.settings.epochs or epoch % every == 0

    def judged_from(self, pace: float) -> float:
        """The step from which a loss at chance is a collapse."""
        return max(PATIENCE, self.steps / 5, self.steps * self.recipe.ramp / pace)


def _tensors(split: Split, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    if split.y is None or len(split) == 0:
        raise DataError(f"{split.name} has no {'images' if split.y is not None else 'labels'}")
    return torch.from_numpy(split.x).to(device), torch.from_numpy(split.y).to(device)
