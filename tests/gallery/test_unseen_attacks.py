"""Faults of attacks that no list had, planted by somebody who had not written the diagnosis."""

import pytest
import small_nets
import torch
import torch.nn.functional as F
from gallery import faulty
from gallery.test_attacks import STEPS, N, ledger_row
from torch import nn

from harness.core.registry import registry
from harness.core.rng import global_state
from harness.core.threat import Threat
from harness.crosscheck import diagnosis
from harness.crosscheck.diagnosis.watching import Case

PGD = faulty.pgd


def climbing(loss):
    """The gradient of another loss of logits and labels."""

    def gradient(model, x, y):
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            (found,) = torch.autograd.grad(loss(model(point), y), point)
        return found

    return gradient


def losing(model, x, y):
    return F.cross_entropy(model(x), y, reduction="none").detach()


def choosing(better, *, late=False):
    """PGD that keeps an iterate of each row; `late`: the one before that it judged."""

    def attack(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
        z = kept = (x + noise).clamp(0, 1)
        best = torch.full((len(x),), -torch.inf if better else torch.inf)
        for _ in range(steps):
            before = z
            z = faulty.project(x, z + step_size * faulty.ascent(model, z, y).sign(), threat.eps)
            value = losing(model, z, y)
            take = value > best if better else value < best
            best = torch.where(take, value, best)
            kept = torch.where(take.view(-1, 1, 1, 1), before if late else z, kept)
        return kept

    return faulty.plug(attack)


def textbook(model, x, y, threat, size, noise, steps):
    z = (x + noise).clamp(0, 1)
    for _ in range(steps):
        z = faulty.project(x, z + size * faulty.ascent(model, z, y).sign(), threat.eps)
    return z


def some_rows(choose):
    """Clean images where `choose` says so, of whether the attack failed and whether x was right."""

    def attack(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
        z = textbook(model, x, y, threat, step_size, noise, steps)
        with torch.no_grad():
            left = choose(model(z).argmax(1) == y, model(x).argmax(1) == y)
        return torch.where(left.view(-1, 1, 1, 1), x, z)

    return faulty.plug(attack)


def looking_first():
    """A sound attack that looks at the clean images before it begins, and does nothing with them."""

    def attack(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
        model(x)
        return textbook(model, x, y, threat, step_size, noise, steps)

    return faulty.plug(attack)


def training_on(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
    for weight in model.module.parameters():
        weight.data.mul_(0.999)
    return textbook(model, x, y, threat, step_size, noise, steps)


def of(change):
    return PGD(gradient=lambda model, x, y: change(faulty.ascent(model, x, y)))


def smoothed(z, y):
    return F.cross_entropy(z, y, reduction="sum", label_smoothing=0.2)


def binary(z, y):
    return F.binary_cross_entropy_with_logits(z, F.one_hot(y, 10).float(), reduction="sum")


def entropy(z, y):
    return -(z.softmax(1) * z.log_softmax(1)).sum()


def hinge(z, y):
    best = (z - 1e9 * F.one_hot(y, 10)).amax(1)
    return (best - z[torch.arange(len(y)), y]).clamp(max=0).sum()


PLANTED = {
    "perturbation returned": (PGD(ending=lambda x, z: z - x), "its perturbation is returned, not the image"),
    "perturbation in the middle": (PGD(ending=lambda x, z: z - x + 0.5), "moved to the middle of the box"),
    "perturbation taken off": (PGD(ending=lambda x, z: x - (z - x)), "taken off the image, not added"),
    "perturbation added twice": (PGD(ending=lambda x, z: x + 2 * (z - x)), "added twice"),
    "perturbation of another row": (PGD(ending=lambda x, z: x + (z - x).roll(1, 0)), "of the row before is added"),
    "perturbation made full": (PGD(ending=lambda x, z: (x + 0.1 * (z - x).sign()).clamp(0, 1)), "signs of its perturbation"),
    "start of the first row": (PGD(begin=lambda x, z: (x + (z - x)[:1]).clamp(0, 1)), "one start for all rows"),
    "start halved": (PGD(begin=lambda x, z: x + (z - x) / 2), "the start is halved"),
    "start in a corner": (PGD(begin=lambda x, z: (x + 0.1 * (z - x).sign()).clamp(0, 1)), "nearest corner"),
    "worst iterate kept": (choosing(better=False), "the first or the worst is kept"),
    "best iterate, one late": (choosing(better=True, late=True), "earlier iterate, another one from row to row"),
    "clean where it fails": (some_rows(lambda held, right: held), "unattacked: those on which it fails"),
    "clean where it succeeds": (some_rows(lambda held, right: ~held), "unattacked: those on which it succeeds"),
    "clean where it is right": (some_rows(lambda held, right: right), "right without an attack"),
    "gradient transposed": (of(lambda g: g.transpose(2, 3)), "the gradient comes back transposed"),
    "gradient mirrored": (of(lambda g: g.flip(3)), "the gradient comes back mirrored"),
    "gradient of another row": (of(lambda g: g.roll(1, 0)), "gradient of the row before"),
    "logits clamped": (PGD(gradient=faulty.of(lambda z: z.clamp(-5, 5))), "logits are clamped to [-5, 5]"),
    "a mild temperature": (PGD(gradient=faulty.of(lambda z: z / 10)), "logits divided by 10"),
    "labels smoothed": (PGD(gradient=climbing(smoothed)), "labels smoothed by 0.2"),
    "every class by itself": (PGD(gradient=climbing(binary)), "binary cross-entropy of every class"),
    "no labels": (PGD(gradient=climbing(entropy)), "the entropy, without labels"),
    "margin, cut": (PGD(gradient=climbing(hinge)), "the margin, cut where the sample is wrong"),
}  # fmt: skip


@pytest.mark.parametrize("fault", PLANTED)
def test_an_attack(fault):
    """Catches a diagnosis that sees the fault and names another."""
    plug, words = PLANTED[fault]
    row, _ = ledger_row(plug)
    assert row.verdict == "different"
    assert words in row.explanation.partition("probable cause: broken: ")[2], row.explanation


def test_a_look_at_the_clean_images_is_no_fault():
    """Catches an attack that is sound called different, and one accused of beginning where it looked."""
    row, _ = ledger_row(looking_first())
    assert row.verdict in ("identical", "equivalent"), row.explanation


def test_an_attack_that_trains_on_fails_and_the_model_is_what_it_was():
    """Catches the next library blamed for a model that this one has changed."""
    model = small_nets.standard()
    before = [weight.clone() for weight in model.module.parameters()]
    row, _ = ledger_row(faulty.plug(training_on), model)
    assert row.verdict == "failed"
    assert "changes the model's weights" in row.explanation
    assert all(map(torch.equal, before, model.module.parameters()))


@pytest.mark.parametrize("spread", [(1.0, 0.98, 1.3), (1.0, 1.0, 1.0)])
def test_radii_that_differ_by_channel_are_named(spread):
    """Catches eps scaled by a normalisation's standard deviations, the classic of colour images."""
    with global_state(5):
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    model = small_nets.Net(network.eval().requires_grad_(requires_grad=False))
    x = torch.rand(N, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = 0.05 * torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
    params = {"steps": STEPS, "step_size": 0.05}
    case = Case(model, x, torch.arange(N) % 4, Threat("linf", 0.1), params, noise=noise)
    width = torch.tensor(spread).view(1, 3, 1, 1)
    plug = PGD(keep=lambda x, z, e: (x + (z - x).clamp(-e * width, e * width)).clamp(0, 1))
    found = diagnosis.cause(plug, registry.get("attack", "pgd"), case)
    assert ("radius differs from channel to channel" in found) == (max(spread) > 1), found
