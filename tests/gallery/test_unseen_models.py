"""Faults of models that no list had, planted by somebody who had not written the checks.

Each is named by one check alone: a second finding would send the reader after a cause that is none.
"""

import copy

import pytest
import small_nets
import torch
from gallery.test_models import Layered, complaints
from torch import nn


class Noisy(torch.autograd.Function):
    """The identity, whose gradient is blurred by noise of a fifth of its size."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        noise = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1))
        return gradient + 0.2 * gradient.std() * noise


class HalfDetached(nn.Module):
    """The mean of two networks, of which one lets no gradient through."""

    def __init__(self, inner):
        super().__init__()
        self.one, self.other = inner, copy.deepcopy(small_nets.robust().module)

    def forward(self, x):
        return (self.one(x) + self.other(x).detach()) / 2


class OfBatch(nn.Module):
    """Normalised by the batch at hand, also in evaluation."""

    def __init__(self, inner):
        super().__init__()
        self.norm = nn.BatchNorm2d(1, affine=False, track_running_stats=False)
        self.inner = inner

    def forward(self, x):
        return self.inner(self.norm(x))


def bright_to_nan(x):
    return torch.where(x.mean((1, 2, 3), keepdim=True) > 0.33, torch.nan, x)


def labels(z):
    return nn.functional.one_hot(z.argmax(1), 10).float() + 0 * z


def unloaded(inner):
    del inner
    return small_nets.untrained().eval().requires_grad_(requires_grad=False)


def around(**layers):
    return lambda inner: Layered(inner, **layers)


COPY = [0, 1, 2, 3, 4, 5, 6, 7, 8, 4]
PLANTED = {
    "clamped": (around(after=lambda z: z.clamp(-5, 5)), "H16", "cut off"),
    "ReLU on logits": (around(after=lambda z: z.relu()), "H16", "cut off"),
    "tanh on logits": (around(after=lambda z: z.tanh()), "H16", "no slope there"),
    "wide tanh on logits": (around(after=lambda z: 10 * (z / 2).tanh()), "H16", "are bounded"),
    "softmax times 20": (around(after=lambda z: 20 * z.softmax(1)), "H03", "times a factor"),
    "softmax, slightly off": (around(after=lambda z: 1.0001 * z.softmax(1)), "H03", "times a factor"),
    "log of softmax plus": (around(after=lambda z: (z.softmax(1) + 1e-3).log()), "H03", "something added"),
    "answers of the batch": (OfBatch, "H09", "depend on the batch"),
    "answers of the row before": (around(after=lambda z: z.roll(1, 0)), "H09", "depend on the batch"),
    "negated": (around(after=lambda z: -z), "H12", "sign is flipped"),
    "background class": (around(after=lambda z: torch.cat([torch.full_like(z[:, :1], -50), z], 1)), "H12", "another order"),
    "NaN for bright images": (around(before=bright_to_nan), "H15", "NaN or infinite outputs"),
    "weights not loaded": (unloaded, "H17", "were the weights loaded"),
    "an output copied": (around(after=lambda z: z[:, COPY]), "H17", "Outputs 4 and 9 are the same"),
    "a branch detached": (HalfDetached, "H05", "a part of it is lost"),
    "gradient with noise": (around(before=Noisy.apply), "H05", "a part of it is lost"),
    "8 bits, straight through": (around(before=lambda x: ((x * 255).floor() / 255 - x).detach() + x), "H05", "input is quantised"),
    "shifted": (around(before=lambda x: x.roll(3, 3)), "H07", "pixels shifted left"),
    "turned by half": (around(before=lambda x: x.flip(2, 3)), "H07", "turned by half"),
}  # fmt: skip


@pytest.mark.parametrize("fault", PLANTED)
def test_a_model(fault):
    """Catches a fault that is not seen, one that gets another name, and one that gets two."""
    make, check, words = PLANTED[fault]
    found = complaints(make(copy.deepcopy(small_nets.standard().module)))
    assert list(found) == [check], found
    assert words in found[check].message, found


def test_labels_for_logits_and_bits_for_pixels_name_their_cause():
    """Catches "probabilities" for labels, and "masked" where pixels are made integers."""
    inner = small_nets.standard().module
    assert "one-hot labels" in complaints(Layered(inner, after=labels))["H03"].message
    whole = Layered(inner, before=lambda x: (x * 255).to(torch.uint8).float() / 255 + 0 * x)
    assert "input is quantised" in complaints(whole)["H04"].message
    rounded = Layered(inner, after=lambda z: ((z * 4).round() / 4 - z).detach() + z)
    assert "outputs are rounded" in complaints(rounded)["H05"].message


SOUND = {
    "less the largest": lambda z: z - z.amax(1, keepdim=True),
    "log-probabilities": lambda z: z.log_softmax(1),
    "less the mean": lambda z: z - z.mean(1, keepdim=True),
    "a dead class beside": lambda z: torch.cat([z, torch.full_like(z[:, :1], -50)], 1),
}


@pytest.mark.parametrize("way", SOUND)
def test_a_sound_way_to_write_logits_raises_nothing(way):
    """Catches a bound seen in a shift that changes no difference, and one in an unused class."""
    assert complaints(Layered(small_nets.standard().module, after=SOUND[way])) == {}
