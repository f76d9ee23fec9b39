"""Random noise as an attack: whom it breaks, and whom it may leave early."""

import math

import numpy as np
import torch
from torch import nn

from harness.attacks.counting import Counted
from harness.checks.trials import BEYOND, DRAWS, FEW, noise_breaks
from harness.core.threat import Threat
from harness.models import freeze

EPS, PIXELS, EACH = 0.1, 28 * 28, 100


class Sum(nn.Module):
    """Two classes by the sign of a level plus a sum of pixels with alternating signs."""

    def __init__(self, level: float) -> None:
        super().__init__()
        pattern = torch.ones(PIXELS)
        pattern[::2] = -1
        self.weight, self.level = nn.Parameter(pattern), nn.Parameter(torch.tensor(level))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lead = x.flatten(1) @ self.weight + self.level
        return torch.stack([lead, torch.zeros_like(lead)], 1)


def broken_share(distance: float, seed: int = 0) -> tuple[float, float]:
    """Share broken of samples that lie `distance` standard deviations of noise from the boundary; passes a sample."""
    spread = EPS * math.sqrt(PIXELS)  # of a sum of independent signs
    model = Counted(freeze(Sum(distance * spread), in_shape=(1, 28, 28)))
    x, y = torch.full((EACH, 1, 28, 28), 0.5), torch.zeros(EACH, dtype=torch.int64)
    found = noise_breaks(model, x, y, Threat("linf", EPS), seed)
    return float(np.mean(found)), model.forwards / EACH


def test_noise_breaks_as_many_as_the_normal_distribution_says() -> None:
    """Catches noise of another size, fewer draws than promised, and samples that leave too early.

    With 100 draws at z standard deviations the share is 1 - (1 - Phi(-z)) ** 100.
    """
    for z in (1.0, 2.0, 2.5, 3.0):
        tail = 0.5 * math.erfc(z / math.sqrt(2))
        expected = 1 - (1 - tail) ** DRAWS
        error = math.sqrt(expected * (1 - expected) / EACH)
        share, _ = broken_share(z)
        assert abs(share - expected) <= 4 * error + 0.01, z


def test_what_no_noise_can_reach_leaves_after_a_few_draws() -> None:
    """Catches a hundred passes for every robust sample, and none at all for one within reach."""
    share, passes = broken_share(3 * BEYOND)
    assert share == 0.0
    assert FEW <= passes <= FEW + 2
    assert broken_share(4.0)[1] >= 0.9 * DRAWS


def test_samples_that_are_wrong_clean_count_as_broken() -> None:
    """Catches noise that is only asked about samples, and forgets those that it did not look at."""
    assert broken_share(-3 * BEYOND)[0] == 1.0
