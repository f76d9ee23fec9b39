"""Known deviations of Foolbox 3.3.4, each shown on a minimal case by running the library.

A version that mends one of them fails its test: then mend the catalogue.
"""

import inspect
import os
import subprocess
import sys
import warnings
from unittest import mock

import pytest
import torch
from small_nets import (
    Counting,
    gradient,
    held_out,
    pgd,
    robust,
    robust_accuracy,
    standard,
    untrained,
)
from torch import nn

from harness.core.rng import global_state
from harness.core.threat import Threat

with mock.patch.dict(os.environ, {"GIT_PYTHON_REFRESH": "quiet"}), warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # F8
    foolbox = pytest.importorskip("foolbox")
attacks = foolbox.attacks


@pytest.fixture(autouse=True)
def _seeded():
    """The library draws from the global generator of torch."""
    with global_state(0):
        yield


def model(module):
    return foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")


def test_f1_cw_says_failure_by_black_images_and_may_count_them_as_success():
    x, y = held_out(16)
    net = standard()
    attack = attacks.L2CarliniWagnerAttack(binary_search_steps=1, steps=2)
    raw, clipped, success = attack(model(net.module), x, y, epsilons=None)
    with torch.no_grad():
        right = net(x).argmax(1) == y
    raw, clipped, success, x, y = raw[right], clipped[right], success[right], x[right], y[right]
    assert (raw == 0).all()
    assert torch.equal(raw, clipped)
    with torch.no_grad():
        black = int(net(torch.zeros_like(x[:1])).argmax())
    assert torch.equal(success, y != black)
    assert success.sum() > 8
    assert not attack(model(net.module), x, y, epsilons=0.5)[2].any()


def test_f2_linf_mifgsm_sums_signs_instead_of_normalised_gradients():
    x, y = held_out(48)
    net, eps, step, steps = robust(), 0.15, 0.015, 10

    def ours(normalise):
        z, momentum = x.clone(), torch.zeros_like(x)
        for _ in range(steps):
            momentum = momentum + normalise(gradient(net, z, y))
            z = z + step * momentum.sign()
            z = (x + (z - x).clamp(-eps, eps)).clamp(0, 1)
        return z

    attack = attacks.LinfMomentumIterativeFastGradientMethod(abs_stepsize=step, steps=steps)
    found = attack(model(net.module), x, y, epsilons=eps)[1]
    paper = ours(lambda g: g / g.abs().sum((1, 2, 3), keepdim=True))
    assert torch.equal(found, ours(torch.sign))
    assert (found != paper).flatten(1).any(1).all()
    torchattacks = pytest.importorskip("torchattacks")
    theirs = torchattacks.MIFGSM(net.module, eps=eps, alpha=step, steps=steps)(x, y)
    differ = (theirs != paper).flatten(1).any(1)  # mean for sum, and mean loss for summed: rounding
    assert differ.sum() < 24
    assert robust_accuracy(net, found, y) >= robust_accuracy(net, paper, y)


def test_f3_the_import_fails_without_a_git_binary():
    code = "import warnings; warnings.simplefilter('ignore'); import foolbox"
    bare = {k: v for k, v in os.environ.items() if k not in ("PATH", "GIT_PYTHON_REFRESH")}
    for quiet, fails in (({}, True), ({"GIT_PYTHON_REFRESH": "quiet"}, False)):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**bare, **quiet, "PATH": "/nowhere"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ("Bad git executable" in done.stderr) == fails
        assert (done.returncode != 0) == fails


def test_f4_inputs_outside_the_bounds_raise_an_assertion_without_a_word():
    x, y = held_out(2)
    with pytest.raises(AssertionError) as error:
        attacks.LinfFastGradientAttack()(
            model(standard().module), x + 1e-7 + (x == 1) * 1e-6, y, epsilons=0.1
        )
    assert str(error.value) == ""


def _l2(net, x, y, eps, step, steps, *, foolbox_way):
    z = x.clone()
    for _ in range(steps):
        slope = gradient(net, z, y)
        length = (
            slope.flatten(1).square().sum(1).sqrt() if foolbox_way else slope.flatten(1).norm(dim=1)
        )
        unit = (
            slope * (1 / length).view(-1, 1, 1, 1)
            if foolbox_way
            else slope / (length + 1e-10).view(-1, 1, 1, 1)
        )
        z = z + step * unit
        delta = z - x
        length = (
            delta.flatten(1).square().sum(1).sqrt() if foolbox_way else delta.flatten(1).norm(dim=1)
        )
        factor = (eps / length).clamp(max=1)
        z = (x + delta * factor.view(-1, 1, 1, 1)).clamp(0, 1)
    return z


def test_f5_l2_pgd_rounds_its_norms_in_another_way():
    """Norm as sqrt(sum(square)) and multiplication by 1/norm: ulps, amplified on few rows."""
    x, y = held_out(48)
    net, eps, step, steps = robust(), 1.5, 0.15, 20
    attack = attacks.L2PGD(abs_stepsize=step, steps=steps, random_start=False)
    found = attack(model(net.module), x, y, epsilons=eps)[1]
    same = _l2(net, x, y, eps, step, steps, foolbox_way=True)
    other = _l2(net, x, y, eps, step, steps, foolbox_way=False)
    gaps = [(found - z).abs().flatten(1).amax(1) for z in (same, other)]
    assert gaps[0].median() < 1e-6
    assert gaps[1].median() < 1e-4
    assert gaps[1].max() > 0
    assert (found != other).flatten(1).any(1).sum() > (found != same).flatten(1).any(1).sum()
    assert robust_accuracy(net, found, y) == pytest.approx(robust_accuracy(net, other, y), abs=0.03)


def test_f5b_its_random_start_differs_from_that_of_torchattacks_by_an_ulp():
    x, y = held_out(8)
    torchattacks = pytest.importorskip("torchattacks")
    with global_state(4):
        attack = attacks.LinfPGD(abs_stepsize=0.0, rel_stepsize=0.0, steps=0)
        ours = attack.run(model(standard().module), x, y, epsilon=0.3)
    with global_state(4):
        theirs = torchattacks.PGD(standard().module, eps=0.3, steps=0)(x, y)
    assert 0 < (ours - theirs).abs().max() < 1e-7


def test_f6_gradients_are_left_in_the_parameters_and_modes_are_not_touched():
    inner = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.BatchNorm1d(10)).train()
    with pytest.warns(UserWarning, match="training mode"):
        seen = model(inner)
    before = inner[2].running_mean.clone()
    attacks.LinfPGD(steps=2)(seen, *held_out(8), epsilons=0.1)
    assert inner.training
    assert not torch.equal(inner[2].running_mean, before)
    assert inner[1].weight.grad is not None


def test_f7_each_radius_of_a_list_starts_again():
    x, y = held_out(8)
    counting = Counting(robust().module).eval()
    found = attacks.LinfPGD(steps=10)(model(counting), x, y, epsilons=[0.1, 0.1, 0.1])[0]
    assert counting.forwards == 33
    assert not torch.equal(found[0], found[1])
    with pytest.raises(NotImplementedError, match="None in epsilons"):
        attacks.LinfPGD(steps=1)(model(robust().module), x, y, epsilons=None)
    counting.forwards = 0
    attacks.L2DeepFoolAttack(steps=3)(model(counting), x, y, epsilons=[0.1, 0.2, 0.3])
    once = counting.forwards
    counting.forwards = 0
    attacks.L2DeepFoolAttack(steps=3)(model(counting), x, y, epsilons=0.1)
    assert once == counting.forwards + 2


def test_f8_it_imports_from_a_namespace_that_scipy_will_remove():
    code = "import warnings; warnings.simplefilter('error', DeprecationWarning); import foolbox.attacks.blur"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GIT_PYTHON_REFRESH": "quiet"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "scipy.ndimage.filters" in done.stderr
    assert done.returncode != 0


def test_f9_an_l1_step_follows_the_gradient_instead_of_its_largest_entry():
    x, y = held_out(4)
    attack = attacks.L1PGD(abs_stepsize=1.0, steps=1, random_start=False)
    delta = attack(model(standard().module), x * 0.5 + 0.25, y, epsilons=1.0)[0] - (x * 0.5 + 0.25)
    assert ((delta.abs() > 1e-6).flatten(1).sum(1) > 100).all()
    assert torch.allclose(delta.abs().flatten(1).sum(1), torch.ones(4), atol=1e-3)
    steepest = Threat("l1", 1.0).steepest(gradient(standard(), x * 0.5 + 0.25, y))
    assert ((steepest != 0).flatten(1).sum(1) == 1).all()


def test_f10_cw_gives_a_constant_up_for_the_whole_batch():
    x, y = held_out(12)
    net = standard()

    def cw(a, b):
        attack = attacks.L2CarliniWagnerAttack(
            binary_search_steps=1, steps=60, stepsize=0.3, initial_const=10.0
        )
        return attack(model(net.module), a, b, epsilons=None)[0]

    together = cw(x, y)
    alone = torch.cat([cw(x[i : i + 1], y[i : i + 1]) for i in range(12)])
    assert ((together - alone).abs().flatten(1).amax(1) > 1e-3).sum() >= 2


class Halfspace(nn.Module):
    """Two classes, divided by a plane at a known distance."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 784), requires_grad=False)

    def forward(self, x):
        height = x.flatten(1) @ self.weight + 3.0
        return torch.stack([height, -height], 1)


def test_f16_deepfool_goes_a_little_further_than_the_boundary():
    """1e-4 is added to every distance, and then the overshoot."""
    net = Halfspace().eval()
    x = torch.full((1, 1, 28, 28), 0.5)
    exact = 3.0 / net.weight.norm()
    found = attacks.L2DeepFoolAttack(overshoot=0.0)(
        model(net), x, torch.tensor([0]), epsilons=None
    )[0]
    assert float((found - x).norm() - exact) == pytest.approx(1e-4, rel=0.05)


def test_f11_labels_are_required():
    with pytest.raises((ValueError, TypeError)):
        attacks.LinfFastGradientAttack()(
            model(standard().module), held_out(2)[0], None, epsilons=0.1
        )


def test_f12_the_loss_is_summed_and_the_final_check_costs_a_pass():
    x, y = held_out(16)
    counting = Counting(robust().module).eval()
    found = attacks.LinfPGD(abs_stepsize=0.02, steps=10, random_start=False)(
        model(counting), x, y, epsilons=0.1
    )
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[1], pgd(robust(), x, y, 0.1, 0.02, 10))
    assert (counting.forwards, counting.backwards) == (11, 10)


def test_f13_defaults_of_the_ascents():
    """A step relative to eps and a random start: what a spec must overrule."""

    def defaults(kind):
        return {n: p.default for n, p in inspect.signature(kind).parameters.items()}

    assert defaults(attacks.LinfPGD) == {
        "rel_stepsize": pytest.approx(0.01 / 0.3),
        "abs_stepsize": None,
        "steps": 40,
        "random_start": True,
    }
    assert defaults(attacks.L2PGD)["rel_stepsize"] == 0.025
    assert defaults(attacks.L2PGD)["steps"] == 50
    assert defaults(attacks.LinfBasicIterativeAttack)["random_start"] is False


def test_f14_misclassified_rows_are_attacked_but_not_by_minimum_norm_attacks():
    x, y = held_out(128)
    with torch.no_grad():
        wrong = standard()(x).argmax(1) != y
    x, y = x[wrong][:6], y[wrong][:6]
    seen = model(standard().module)
    assert (attacks.LinfPGD(steps=2)(seen, x, y, epsilons=0.1)[0] != x).flatten(1).any(1).all()
    assert torch.equal(attacks.L2DeepFoolAttack()(seen, x, y, epsilons=None)[0], x)
    near = attacks.L2CarliniWagnerAttack(steps=3, binary_search_steps=1)(seen, x, y, epsilons=None)[
        0
    ]
    assert (near - x).abs().max() < 1e-4


def test_f15_the_start_in_l2_is_uniform_in_the_ball():
    """Against T9: nearly all mass of a ball in 784 dimensions is at its surface."""
    x, y = torch.full((128, 1, 28, 28), 0.5), torch.zeros(128, dtype=torch.long)
    start = attacks.L2PGD(steps=0).run(model(untrained().eval()), x, y, epsilon=1.0)
    assert (start - x).flatten(1).norm(dim=1).mean() > 0.995
