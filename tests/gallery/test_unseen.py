"""Faults that the checks were not written for: thought of afterwards, by someone who tried to break them.

The gallery proper holds the faults that users and papers report. Those here came after the checks
and the diagnosis stood, and show whether these see causes or remember cases. What they missed was
mended by its cause; what they cannot see is said at the end.
"""

import functools

import numpy as np
import pytest
import small_nets
import torch
import torch.nn.functional as F
from gallery import faulty
from gallery.test_attacks import STEPS, N, ledger_row
from gallery.test_models import Layered, complaints
from gallery.test_numbers import EDGES, INSIDE, LABELS, OUTSIDE, PROBS, ece, verdict
from sklearn.metrics import auc, precision_recall_curve
from torch import nn

from harness import metrics
from harness.core.threat import Threat

EVERY_SECOND = (torch.arange(N) % 2 == 0).view(-1, 1, 1, 1)
PERMUTED = torch.randperm(N, generator=torch.Generator().manual_seed(5))
HALF = (torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(7)) < 0.5).float()
TARGETS = torch.randint(0, 10, (N,), generator=torch.Generator().manual_seed(6))


def walk(move, norm="linf"):
    """PGD whose step from z at time t is `move(t, z, gradient, step size, ball)` (projection included)."""

    def attack(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
        z, ball = x if noise is None else (x + noise).clamp(0, 1), Threat(norm, threat.eps)
        for t in range(steps):
            z = move(t, x, z, faulty.ascent(model, z, y), step_size, ball)
        return z

    return faulty.plug(attack)


def sound(t, x, z, g, size, ball):
    return ball.project(x, z + size * ball.steepest(g))


def halved_on_some(x, z, eps):
    return (x + torch.where(EVERY_SECOND, (z - x).clamp(-eps / 2, eps / 2), (z - x).clamp(-eps, eps))).clamp(0, 1)  # fmt: skip


def to_255(t, x, z, g, size, ball):
    moved = z + size * g.sign()
    return (x + (moved - x).clamp(-ball.eps, ball.eps)).clamp(0, 255)


def alternating(t, x, z, g, size, ball):
    return sound(t, x, z, g if t % 2 == 0 else -g, size, ball)


def third_reversed(t, x, z, g, size, ball):
    return sound(t, x, z, -g if t == 2 else g, size, ball)


def decaying(t, x, z, g, size, ball):
    return sound(t, x, z, g, size / (t + 1), ball)


def sign_of_zero(t, x, z, g, size, ball):
    return ball.project(x, z + size * torch.where(g >= 0, 1.0, -1.0))


def per_batch(t, x, z, g, size, ball):
    return ball.project(x, z + size * g / g.norm() * len(x) ** 0.5)


def ball_of_batch(t, x, z, g, size, ball):
    delta = z + size * ball.steepest(g) - x
    return (x + delta * (ball.eps * len(x) ** 0.5 / delta.norm()).clamp(max=1)).clamp(0, 1)


def unprojected_last(t, x, z, g, size, ball):
    moved = (z + size * g.sign()).clamp(0, 1)
    return moved if t == STEPS - 1 else ball.project(x, moved)


def projected_before():
    def attack(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
        z = x if noise is None else (x + noise).clamp(0, 1)
        for _ in range(steps):
            z = faulty.project(x, z, threat.eps)
            z = (z + step_size * faulty.ascent(model, z, y).sign()).clamp(0, 1)
        return z

    return faulty.plug(attack)


@functools.cache
def unfinished():
    """The network under attack, as it was half way through its training."""
    return small_nets._train(steps=100, eps=0.0)


def stale(model, x, y):
    """Gradients of a copy that was made before the last of the training; the model is asked in vain."""
    faulty.ascent(model, x, y)
    return faulty.ascent(unfinished(), x, y)


def adding():
    def attack(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
        z = x if noise is None else (x + noise).clamp(0, 1)
        total = torch.zeros_like(x)
        for _ in range(steps):
            total += faulty.ascent(model, z, y)
            z = faulty.project(x, z + step_size * total.sign(), threat.eps)
        return z

    return faulty.plug(attack)


def with_momentum():
    def attack(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
        z = x if noise is None else (x + noise).clamp(0, 1)
        total = torch.zeros_like(x)
        for _ in range(steps):
            g = faulty.ascent(model, z, y)
            total = total + g / g.abs().mean((1, 2, 3), keepdim=True)
            z = faulty.project(x, z + step_size * total.sign(), threat.eps)
        return z

    return faulty.plug(attack)


def mean_of_iterates():
    def attack(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
        z, total = x if noise is None else (x + noise).clamp(0, 1), torch.zeros_like(x)
        for _ in range(steps):
            z = faulty.project(x, z + step_size * faulty.ascent(model, z, y).sign(), threat.eps)
            total = total + z
        return total / steps

    return faulty.plug(attack)


def gradient_of_clean_images():
    def attack(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
        z, g = x if noise is None else (x + noise).clamp(0, 1), faulty.ascent(model, x, y)
        for _ in range(steps):
            z = faulty.project(x, z + step_size * g.sign(), threat.eps)
        return z

    return faulty.plug(attack)


def as_it_is(t, x, z, g, size, ball):
    return ball.project(x, z + size * g)


def noisy(x, z):
    rng = torch.Generator().manual_seed(8)
    return (z + 0.02 * torch.randn(z.shape, generator=rng)).clamp(0, 1)


def likelihood(model, x, y):
    """A loss of log-probabilities, fed with logits."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(F.nll_loss(model(point), y, reduction="sum"), point)
    return found


def squared(model, x, y):
    """The squared distance of the probabilities to the label."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        apart = model(point).softmax(1) - F.one_hot(y, 10)
        (found,) = torch.autograd.grad(apart.square().sum(), point)
    return found


PGD = faulty.pgd
ATTACKS = {
    "eps halved on every second row": (PGD(keep=halved_on_some), "eps is half what was asked, on every second row"),
    "sign flipped at every second step": (walk(alternating), "sign is flipped at every second step"),
    "third step reversed": (walk(third_reversed), "step 3 of 5 goes against the gradient"),
    "projected before the step only": (projected_before(), "last projection is missing"),
    "last step unprojected": (walk(unprojected_last), "last projection is missing"),
    "clipped to [0, 255]": (walk(to_255), "not clipped to the box [0, 1] at its upper end"),
    "targeted at the true label": (PGD(gradient=lambda m, x, y: -faulty.ascent(m, x, y)), "targeted at the true label"),
    "targeted at random classes": (PGD(gradient=lambda m, x, y: -faulty.ascent(m, x, TARGETS[: len(x)])), "it is targeted"),
    "labels shuffled within the batch": (PGD(labels=lambda m, x, y: y[PERMUTED]), "labels are shuffled within the batch"),
    "two classes swapped": (PGD(labels=lambda m, x, y: torch.where(y == 4, 9, torch.where(y == 9, 4, y))), "have wrong labels"),
    "gradients add up": (adding(), "gradients add up"),
    "momentum": (with_momentum(), "momentum over its steps (MI-FGSM)"),
    "step shrinks": (walk(decaying), "a schedule, or a step that shrinks"),
    "sign of zero": (walk(sign_of_zero), "a gradient of zero counts as positive"),
    "stale copy of the weights": (PGD(gradient=stale), "a stale copy of the weights"),
    "logits in float16": (PGD(gradient=faulty.of(lambda z: z.half().float())), "logits in half precision (float16)"),
    "log-likelihood of logits": (PGD(gradient=likelihood), "the label's logit alone"),
    "squared loss": (PGD(gradient=squared), "another loss"),
    "mean of the iterates": (mean_of_iterates(), "it returns the mean of its iterates"),
    "scaled back at the end": (PGD(ending=lambda x, z: x + 0.5 * (z - x)), "scaled at the end: to 0.5 times"),
    "noise at the end": (PGD(ending=noisy), "changed at the end (noise"),
    "gradient of the clean images": (gradient_of_clean_images(), "all taken at the clean image"),
    "narrow box": (PGD(keep=lambda x, z, e: faulty.project(x, z, e).clamp(0.05, 0.95)), "clipped to [0.05, 0.95]"),
    "only brighter": (PGD(keep=lambda x, z, e: (x + (z - x).clamp(0, e)).clamp(0, 1)), "only makes pixels brighter"),
    "half of the pixels masked": (PGD(gradient=lambda m, x, y: faulty.ascent(m, x, y) * HALF), "of the pixels are never changed"),
    "eps in whole grey levels": (PGD(eps=lambda e: round(255 * e) / 255), "eps is 1.02 times what was asked"),
    "no sign": (walk(as_it_is), "its sign is not taken"),
    "twice the steps, half as long": (PGD(steps=lambda n: 2 * n, size=lambda s: s / 2), "there are 10 instead of 5"),
    "gradient smoothed": (PGD(gradient=lambda m, x, y: F.avg_pool2d(faulty.ascent(m, x, y), 3, 1, 1)), "changed on its way (smoothed"),
    "one step for all rows": (PGD(gradient=lambda m, x, y: faulty.ascent(m, x, y).sum(0, keepdim=True)), "summed over the batch"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ATTACKS)
def test_an_attack(fault):
    """Catches a diagnosis that knows a list of faults instead of looking at what the attack does."""
    plug, words = ATTACKS[fault]
    row, _ = ledger_row(plug)
    assert row.verdict == "different"
    assert words in row.explanation.partition("probable cause: broken: ")[2], row.explanation


L2 = {
    "steps by the batch's norm": (walk(per_batch, "l2"), "normalised over the batch"),
    "ball by the batch's norm": (walk(ball_of_batch, "l2"), "one length for the whole batch"),
}


@pytest.mark.parametrize("fault", L2)
def test_an_attack_in_l2(fault):
    """Catches lengths that are taken over the batch instead of each image."""
    plug, words = L2[fault]
    row, _ = ledger_row(plug, eps=1.0, norm="l2")
    assert row.verdict == "different"
    assert words in row.explanation.partition("probable cause: broken: ")[2], row.explanation


def test_the_walk_of_a_sound_attack_in_l2():
    """Without a fault the textbook walk is ours."""
    row, _ = ledger_row(walk(sound, "l2"), eps=1.0, norm="l2")
    assert row.verdict in ("identical", "equivalent"), row.explanation


class Normed(nn.Module):
    """A network with batch normalisation."""

    def __init__(self, inner: nn.Sequential) -> None:
        super().__init__()
        self.norm, self.inner = nn.BatchNorm2d(1, affine=False), inner
        self.norm.running_mean.fill_(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.norm(x))


def test_batch_normalisation_in_training_mode():
    """Catches an attack that switches a wrapped model to training, and a network changed by it."""
    module = Normed(small_nets.standard().module).eval().requires_grad_(False)
    before = module.norm.running_mean.clone()
    row, _ = ledger_row(PGD(gradient=faulty.in_training_mode), small_nets.Net(module))
    assert row.verdict == "different"
    assert "training mode" in row.explanation
    assert torch.equal(module.norm.running_mean, before)
    assert not module.norm.training


# ---------------------------------------------------------------- models


class Remembering(nn.Module):
    """Answers of an earlier batch of the same shape."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.answers = inner, {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.requires_grad:
            return self.inner(x)
        return self.answers.setdefault(x.shape, self.inner(x))


class Backwards(torch.autograd.Function):
    """The identity, whose gradient has the wrong sign."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        return -gradient


class Halved(torch.autograd.Function):
    """The identity, whose gradient is lost in every second line."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient * EVERY_SECOND[:28].view(1, 1, 28, 1)


SWAPPED = torch.tensor([0, 1, 2, 8, 4, 5, 6, 7, 3, 9])
MODELS = {
    "softmax over the batch": ({"after": lambda z: z.softmax(0)}, "H03", "over the wrong axis"),
    "sigmoid for logits": ({"after": lambda z: (z / 4).sigmoid()}, "H03", "a sigmoid"),
    "logits in float16": ({"after": lambda z: z.half().float()}, "H14", "rounded to float16"),
    "logits in bfloat16": ({"after": lambda z: z.bfloat16().float()}, "H14", "rounded to bfloat16"),
    "logits of two decimals": ({"after": lambda z: z + ((z * 100).round() / 100 - z).detach()}, "H14", "rounded"),
    "two classes swapped": ({"after": lambda z: z[:, SWAPPED]}, "H12", "in another order"),
    "upside down": ({"before": lambda x: x.flip(2)}, "H07", "upside down"),
    "turned by a quarter": ({"before": lambda x: x.rot90(1, (2, 3))}, "H07", "turned"),
    "gradient of every second line": ({"before": Halved.apply}, "H05", "a part of it is lost"),
    "gradient of the wrong sign": ({"before": Backwards.apply}, "H05", "gradient replaced"),
    "scaled by the largest of the batch": ({"before": lambda x: x / x.max() * x.mean() / 0.2}, "H09", "depend on the batch"),
}  # fmt: skip


@pytest.mark.parametrize("fault", MODELS)
def test_a_model(fault):
    """Catches a check whose message speaks of another cause, or none."""
    layers, check, words = MODELS[fault]
    found = complaints(Layered(small_nets.standard().module, **layers))
    assert check in found, found
    assert words in found[check].message, found


def test_a_model_that_answers_from_a_cache():
    found = complaints(Remembering(small_nets.standard().module))
    assert "earlier batch" in found["H09"].message, found


# ---------------------------------------------------------------- numbers


def equal_mass(p, y):
    order = np.argsort(p.max(1), kind="stable")
    groups = np.array_split(order, 15)
    right = p.argmax(1) == y
    return sum(len(g) / len(y) * abs(p.max(1)[g].mean() - right[g].mean()) for g in groups)


def centred(p, y):
    bins = np.clip(np.digitize(p.max(1), EDGES[1:-1], right=True), 0, 14)
    right, centre = p.argmax(1) == y, (EDGES[:-1] + EDGES[1:]) / 2
    return sum((bins == b).mean() * abs(centre[b] - right[bins == b].mean()) for b in set(bins))


def of_confidence(confidence, right):
    bins = np.clip(np.digitize(confidence, EDGES[1:-1], right=True), 0, 14)
    return sum((bins == b).mean() * abs(confidence[bins == b].mean() - right[bins == b].mean()) for b in set(bins))  # fmt: skip


def own(p, y):
    return p[np.arange(len(y)), y]


METRICS = {
    "ece of each class": ("ece", lambda p, y: np.mean([of_confidence(p[:, k], y == k) for k in range(10)]), "class-wise"),
    "ece of the label's probability": ("ece", lambda p, y: of_confidence(own(p, y), p.argmax(1) == y), "the label's probability"),
    "ece of mistakes": ("ece", lambda p, y: of_confidence(p.max(1), p.argmax(1) != y), "mistakes are counted"),
    "ece of wrong samples": ("ece", lambda p, y: ece(p[p.argmax(1) != y], y[p.argmax(1) != y]), "only misclassified"),
    "ece of half the samples": ("ece", lambda p, y: ece(p[::2], y[::2]), "every second sample"),
    "rms for ece": ("ece", lambda p, y: ece(p, y, power=2) ** 0.5, "root mean square"),
    "confidences in float16": ("ece", lambda p, y: of_confidence(p.max(1).astype(np.float16).astype(float), p.argmax(1) == y), "half precision"),
    "nll cut from below": ("nll", lambda p, y: -np.log(np.maximum(own(p, y), 1e-2)).mean(), "below 0.01"),
    "nll of all classes": ("nll", lambda p, y: -np.log(p).mean(), "of all classes"),
    "median nll": ("nll", lambda p, y: np.median(-np.log(own(p, y))), "the median"),
    "brier of the top label": ("brier", lambda p, y: ((p.max(1) - (p.argmax(1) == y)) ** 2).mean(), "top label"),
    "brier without squares": ("brier", lambda p, y: np.abs(p - np.eye(10)[y]).sum(1).mean(), "not squares"),
    "ece of equal mass": ("ece", equal_mass, "equal mass"),
    "ece from the centres of bins": ("ece", centred, "centre"),
    "softmax over samples": ("ece", lambda p, y: ece(metrics.softmax(np.log(p).T).T, y), "wrong axis"),
    "nll in bits": ("nll", lambda p, y: metrics.nll(p, y) / np.log(2), "in bits"),
    "nll of the likeliest class": ("nll", lambda p, y: -np.log(p.max(1)).mean(), "predicted class"),
    "one class left out": ("brier", lambda p, y: ((p - np.eye(10)[y])[:, 1:] ** 2).sum(1).mean(), "first class is left out"),
    "temperature twice": ("temperature", lambda p, y: metrics.fit_temperature(np.log(p), y) ** 2, "applied twice"),
    "temperature inverted": ("temperature", lambda p, y: 1 / metrics.fit_temperature(np.log(p), y), "1 / T"),
}  # fmt: skip


@pytest.mark.parametrize("fault", METRICS)
def test_a_calibration_metric(fault):
    concept, function, words = METRICS[fault]
    row = verdict(concept, function, PROBS, LABELS, **({"bins": 15} if concept == "ece" else {}))
    assert row.verdict == "different"
    assert words in row.explanation.partition("probable cause: ")[2], row.explanation


TIED = INSIDE.round(1), OUTSIDE.round(1)


def wins(a, b):
    return float((b[:, None] >= a[None, :]).mean())


def losses(a, b):
    return float((b[:, None] > a[None, :]).mean())


def flagged(share, a, b):
    """ID images above the threshold that lets `share` of the OOD images through."""
    return float((a >= np.quantile(b, 1 - share, method="lower")).mean())


def trapezoid(a, b):
    """The area under scikit-learn's precision-recall curve, OOD positive."""
    precision, recall, _ = precision_recall_curve(np.repeat([0, 1], [len(a), len(b)]), np.r_[a, b])
    return auc(recall, precision)


def above(a, b):
    """ID images strictly above the threshold."""
    return float((a > np.quantile(b, 0.05, method="lower")).mean())


RANKINGS = {
    "gini": ("auroc", lambda a, b: 2 * metrics.auroc(a, b) - 1, "Gini"),
    "ties are let through": ("fpr95", above, "ties count for the detector"),
    "ties count as wins": ("auroc", wins, "ties count as wins"),
    "ties count as losses": ("auroc", losses, "ties count as losses"),
    "another rate": ("fpr95", lambda a, b: flagged(0.8, a, b), "at 80 % instead of 95 %"),
    "trapezoid": ("aupr_out", trapezoid, "trapezoid"),
}


@pytest.mark.parametrize("fault", RANKINGS)
def test_a_ranking(fault):
    concept, function, words = RANKINGS[fault]
    row = verdict(concept, function, *TIED)
    assert row.verdict == "different"
    assert words in row.explanation.partition("probable cause: ")[2], row.explanation


# ---------------------------------------------------------------- what is not seen


class Seldom(nn.Module):
    """Noise on one call in a thousand."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, -1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.inner(x) + (torch.randn(len(x), 10) if self.calls % 1000 == 999 else 0)


BLIND = {
    "a moderate temperature: networks are trained so": lambda inner: Layered(inner, after=lambda z: z / 2),
    "randomness that five identical passes do not meet": Seldom,
    "a class that is never predicted, of ten": lambda inner: Layered(inner, after=lambda z: z - 40 * F.one_hot(torch.tensor(8), 10)),
}  # fmt: skip


@pytest.mark.parametrize("fault", BLIND)
def test_what_a_probe_of_a_model_cannot_see(fault):
    """Says where the checks end; fails once one of them sees it, and then belongs above."""
    assert complaints(BLIND[fault](small_nets.standard().module)) == {}
