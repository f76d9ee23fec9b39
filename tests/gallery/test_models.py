"""Planted faults in models: the probe's checks name the right cause before any attack is believed."""

import functools
from types import SimpleNamespace

import pytest
import small_nets
import torch
import torch.nn.functional as F
from gallery import faulty
from torch import nn

from harness.checks import probes, raised
from harness.core.rng import global_state
from harness.core.types import Artifact
from harness.flags import models as flags

K = 256


class Layered(nn.Module):
    """A network with a layer before it and one after it."""

    def __init__(self, inner, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.inner, self.before, self.after = inner, before, after

    def forward(self, x):
        return self.after(self.inner(self.before(x)))


class Straight(torch.autograd.Function):
    """Rounding whose gradient pretends to be the identity's."""

    @staticmethod
    def forward(ctx, x):
        return (x * 7).round() / 7

    @staticmethod
    def backward(ctx, gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient


def through_batch(x):
    """Renormalised by the statistics of the batch."""
    return (x - x.mean()) / x.std() * 0.35 + 0.2


def noisy():
    rng = torch.Generator().manual_seed(0)
    return lambda x: x + 0.2 * torch.randn(x.shape, generator=rng)


PLANTED = {
    "softmax inside": ({"after": lambda z: z.softmax(1)}, "H03", "probabilities, not logits"),
    "quantised input": ({"before": lambda x: (x * 7).round() / 7}, "H04", "input is quantised"),
    "straight through": ({"before": Straight.apply}, "H05", "input is quantised"),
    "gradient detached": ({"before": lambda x: x.detach()}, "H05", "No gradient path"),
    "gradient of a part": (
        {"before": lambda x: 0.9 * x.detach() + 0.1 * x},
        "H05",
        "detached or its gradient replaced",
    ),
    "gradient zeroed": ({"before": lambda x: x.detach() + 0 * x}, "H04", "gradients are masked"),
    "saturated": ({"after": lambda z: 1000 * z}, "H04", "the softmax saturates"),
    "temperature": ({"after": lambda z: z / 1000}, "H13", "a temperature on the logits"),
    "normalised twice": ({"before": lambda x: (x - 0.5) / 0.25}, "H07", "done twice"),
    "expects 0-255": ({"before": lambda x: x / 255}, "H07", "x 255"),
    "mirrored": ({"before": lambda x: x.flip(3)}, "H07", "pixels mirrored"),
    "labels one-based": ({"after": lambda z: z.roll(1, 1)}, "H12", "counted from one"),
    "randomised": ({"before": noisy()}, "H02", "vary between identical calls"),
    "batch statistics": ({"before": through_batch}, "H09", "depend on the batch"),
}


def complaints(module, *, mode=False):
    net = small_nets.Net(module.train(mode).requires_grad_(False))
    x, y = small_nets.held_out(K)
    facts = probes.probe(net, x, y, seed=0)
    return {one.check: one for one in raised("model", facts) if one.level != "INFO"}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_named(fault):
    """Catches a check whose message speaks of another cause."""
    layers, check, words = PLANTED[fault]
    found = complaints(Layered(small_nets.standard().module, **layers))
    assert check in found, found
    assert words in found[check].message


def test_training_mode():
    """Catches a model that nobody told to evaluate."""
    found = complaints(faulty.Dropping(small_nets.standard().module), mode=True)
    assert "training mode" in found["H01"].message


@pytest.mark.parametrize("make", [small_nets.standard, small_nets.robust])
def test_no_alarm_on_a_sound_model(make):
    """Catches thresholds that every network trips."""
    assert complaints(make().module) == {}


@functools.cache
def overfitted():
    """Trained on FGSM at eps 0.4: right on what FGSM makes, wrong under PGD and on many clean images."""
    x, y = small_nets.digits()
    with global_state(2), torch.enable_grad():
        net = small_nets.cnn()
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        for step in range(400):
            rows = torch.randint(0, 1300, (64,))
            eps = 0.4 * min(1, step / 150)
            points = small_nets.pgd(net, x[rows], y[rows], eps, eps, 1)
            optimiser.zero_grad()
            F.cross_entropy(net(points), y[rows]).backward()
            optimiser.step()
    return net.eval().requires_grad_(False)


def as_flagged(before, trained):
    """Model checks raised on a network behind `before`, whose training ended at an accuracy."""
    module = Layered(overfitted(), before=before).eval()
    x, y = small_nets.held_out(497)
    facts = {"model": probes.probe(small_nets.Net(module), x[::2], y[::2], seed=0)}
    history = {"attempts": [{"history": [{"val_accuracy": trained}]}]}
    records = {
        "probe": Artifact("p", "ok", facts=facts),
        "train": Artifact("t", "ok", facts=history),
    }
    view = SimpleNamespace(
        record=lambda kind, who: records.get(kind), suite=SimpleNamespace(attacks=())
    )
    found = flags.model(view, SimpleNamespace(name="overfitted"))  # pyright: ignore[reportArgumentType]
    return {one.check: one.message for one in found if one.level != "INFO"}


def test_catastrophic_overfitting_is_no_fault_of_the_preparation():
    """Catches H07 where contrast alone helps a network whose pixels are those that it learnt from."""
    x, y = small_nets.held_out(497)
    net = overfitted()
    attacked = small_nets.pgd(net, x, y, 0.4, 0.04, 20)
    assert small_nets.robust_accuracy(net, attacked, y) < 0.01
    validation = small_nets.robust_accuracy(net, x[1::2], y[1::2])
    facts = probes.probe(small_nets.Net(net), x[::2], y[::2], seed=0)
    assert max(facts["scalings"].values()) > facts["clean"] + 0.1  # another scaling does help
    assert as_flagged(lambda z: z, validation) == {}
    said = as_flagged(lambda z: z / 255, validation)  # the same network behind a second division
    assert "normalisation is missing or done twice" in said["H07"]
