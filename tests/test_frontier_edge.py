"""Shards in which no sample is left to attack."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from harness import security_curve


class Constant(nn.Module):
    """Always the same class: nothing that is right can fall, whatever is wrong is wrong clean."""

    in_shape = (1, 4, 4)

    def __init__(self, hopeless: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 16))
        self.bias = nn.Parameter(torch.tensor([0.0, 0.0, 5.0] if hopeless else [5.0, 0.0, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x.flatten(1), self.weight, self.bias)


def curve(hopeless: bool):
    x = np.full((5, 1, 4, 4), 0.5, np.float32)
    return security_curve(Constant(hopeless), x, np.zeros(5, np.int64), budgets=[0.1, 0.2], steps=3)


def test_a_model_that_is_wrong_on_every_image():
    """Catches a search that cannot do without survivors."""
    assert curve(hopeless=True).first_broken.tolist() == [0.0] * 5


def test_a_model_that_no_step_moves():
    assert np.isinf(curve(hopeless=False).first_broken).all()
