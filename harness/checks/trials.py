"""What attacks and libraries show of a model before their figures are believed: facts, no verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.attacks.gradients import fastest, forward, slope
from harness.attacks.losses import margin
from harness.core.lazy import Lazy
from harness.core.registry import registry
from harness.core.rng import torch_rng
from harness.core.threat import Threat

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from harness.checks.probes import Facts
    from harness.core.types import Classifier
else:
    torch = Lazy("torch")

DRAWS = 100  # of random noise
FEW = 20  # draws that tell how far noise moves a sample's margin
BEYOND = 8.0  # standard deviations that noise will not move it, in any number of draws
MASKED_EPS = 0.3  # where nothing undefended stands
MASKED_QUERIES = 2000  # of Square: with 300, one image in eight stood behind eight levels on MNIST


def noise_breaks(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    seed: int,
    draws: int = DRAWS,
) -> np.ndarray:
    """(N,) bool: samples that random points on the sphere of the budget break (check H46).

    The points are looked at in fast arithmetic; what seems to break is judged by the model. A
    sample leaves when it breaks, or when a few draws show that its margin lies beyond the reach of
    noise, which adds up over many pixels and is near normal.
    """
    rng, quick = torch_rng(seed, "noise"), forward(model, x, fastest(x.device.type))
    with torch.no_grad():
        broken = model(x).argmax(1) != y
        left, leads = (~broken).nonzero()[:, 0], torch.zeros((0, len(x))).to(x)
        for draw in range(draws):
            if len(left) == 0:
                break
            up = torch.rand((len(left), *x.shape[1:]), generator=rng).to(x) < 0.5
            there = (x[left] + torch.where(up, threat.eps, -threat.eps)).clamp(0, 1)
            lead = torch.full((len(x),), torch.nan).to(x)
            lead[left] = -margin(quick(there), y[left])
            suspects = lead[left] <= 0
            broken[left[suspects]] = model(there[suspects]).argmax(1) != y[left[suspects]]
            left = left[~broken[left]]
            if draw < FEW:
                leads = torch.cat([leads, lead[None]])
            if draw == FEW - 1:
                near = leads.mean(0) < BEYOND * leads.std(0)
                left = left[near[left]]
    return broken.cpu().numpy()


def at_eps_zero(model: Classifier, x: torch.Tensor, y: torch.Tensor, seed: int) -> Facts:
    """Predictions that change between the images and what comes back from an empty ball."""
    from harness.attacks import run_attack
    from harness.attacks.runner import predict

    plug = registry.get("attack", "pgd")
    found = run_attack(plug, {"steps": 1}, model, x, y, Threat("linf", 0.0), seed=seed)
    return {"eps_zero_changed": int((found.prediction != predict(model, x)).sum())}


def parity(
    model: Classifier, x: torch.Tensor, y: torch.Tensor, theirs: Callable[..., Any]
) -> Facts:
    """How far a library's view of the model is from the model: labels, logits, gradient signs."""
    with torch.no_grad():
        logits = model(x)
    other, gradient = theirs(model, x, y)
    ours = slope(model, x, y, "ce").gradient
    other, gradient = torch.as_tensor(other), torch.as_tensor(gradient).reshape(ours.shape)
    clear = ours.abs() > 1e-3 * ours.abs().amax(dim=tuple(range(1, ours.ndim)), keepdim=True)
    agree = (ours.sign() == gradient.sign())[clear]
    return {
        "labels": int((other.argmax(1) != logits.argmax(1)).sum()),
        "logits": float((other - logits).abs().max()),
        "signs": float(agree.float().mean()) if len(agree) else 1.0,
    }


def search(
    model: Classifier, x: torch.Tensor, y: torch.Tensor, threat: Threat, *, steps: int, seed: int
) -> tuple[Facts, np.ndarray]:
    """How well PGD searched: what it lost again, and what more steps, starts or losses would find.

    Args:
        model: the classifier.
        x: (k, C, H, W) images.
        y: (k,) labels.
        threat: the budget at which the model is judged.
        steps: of PGD.
        seed: of its starts.

    Returns:
        Facts for the checks on attacks, and the (k, C, H, W) images, for check H45.
    """
    from harness.attacks import run_attack

    plug, watch = registry.get("attack", "pgd"), Watch()
    quick = {"steps": steps, "arithmetic": fastest(x.device.type)}
    first = run_attack(plug, quick, model, x, y, threat, seed=seed, trace=watch, batch_size=len(x))
    facts: Facts = {
        "k": len(x),
        "steps": steps,
        "eps": threat.eps,
        "step_size": 2.5 * threat.eps / steps,
        "loss": "ce",
    }
    facts |= watch.facts(y, first.success)
    standing = torch.from_numpy(~first.success)
    facts["standing"] = int(standing.sum())
    left, labels = x[standing], y[standing]
    ahead = first.x_adv.to(x)[standing] - left

    def broken(params: dict[str, Any], noise: torch.Tensor | None = None, salt: int = 0) -> int:
        if not len(left):
            return 0
        asked = quick | {"keep": "first"} | params
        found = run_attack(
            plug,
            asked,
            model,
            left,
            labels,
            threat,
            seed=seed + salt,
            noise=noise,
            batch_size=len(left),
        )
        return int(found.success.sum())

    facts["doubled"] = broken({"step_size": facts["step_size"]}, noise=ahead)
    facts["restarted"] = broken({}, salt=1)
    facts["losses"] = {
        name: broken({"loss": name})
        for name in ("margin", "dlr")
        if name == "margin" or model.num_classes > 2
    }
    return facts, first.x_adv.numpy()


def independent(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    budgets: list[float],
    *,
    steps: int,
    seed: int,
) -> Facts:
    """Accuracy under PGD at each budget by itself, in a quarter of the steps, and in the whole box."""
    from harness.attacks import run_attack

    plug = registry.get("attack", "pgd")
    asked = {"keep": "first", "arithmetic": fastest(x.device.type)}

    def right(eps: float, steps: int) -> np.ndarray:
        params = asked | {"steps": steps}
        return ~run_attack(plug, params, model, x, y, Threat("linf", eps), seed=seed).success

    whole = right(1.0, steps)
    curve = {eps: right(eps, max(1, steps // 4)) for eps in budgets}
    return {
        "budgets": list(curve),
        "accuracy": [float(stood.mean()) for stood in curve.values()],
        "whole_box": float(whole.mean()),
        "stubborn": np.flatnonzero(whole).tolist(),
    }


def known_broken(model: Classifier, x: torch.Tensor, y: torch.Tensor, *, seed: int) -> Facts:
    """Share of images that stay right on networks whose gradients are masked on purpose (H51).

    The masks change nothing about what a network can tell apart, so every attack set worth its name
    breaks them as it breaks the network itself.

    Args:
        model: an undefended network.
        x: (k, C, H, W) images.
        y: (k,) labels.
        seed: of the attacks.

    Returns:
        Mask -> (share that our attacks leave right, share without the mask).
    """
    from harness.checks.masks import MASKS

    threat = Threat("linf", MASKED_EPS)
    open_share = _left(model, x, y, threat, seed)
    return {
        name: (_left(mask(model), x, y, threat, seed), open_share) for name, mask in MASKS.items()
    }


def _left(model: Classifier, x: torch.Tensor, y: torch.Tensor, threat: Threat, seed: int) -> float:
    """Share that margin PGD and, where that fails, Square leave right."""
    from harness.attacks import run_attack

    left = torch.ones(len(x), dtype=torch.bool)
    for name, params in (
        ("pgd", {"steps": 20, "loss": "margin", "keep": "first"}),
        ("square", {"queries": MASKED_QUERIES}),
    ):
        if bool(left.any()):
            found = run_attack(
                registry.get("attack", name), params, model, x[left], y[left], threat, seed=seed
            )
            left[left.clone()] = torch.from_numpy(~found.success)
    return float(left.float().mean())


class Watch:
    """A trace that remembers the loss and label of every step."""

    def __init__(self) -> None:
        self.losses: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def __call__(self, *, restart: int, step: int, loss: torch.Tensor, label: torch.Tensor) -> None:
        """Remember one step."""
        self.losses.append(loss.float().cpu().numpy().copy())
        self.labels.append(label.cpu().numpy().copy())

    def facts(self, y: torch.Tensor, success: np.ndarray) -> Facts:
        """Samples wrong at some step and right at the last, and the share whose loss still moved."""
        labels, losses = np.stack(self.labels), np.stack(self.losses)
        once = (labels != y.cpu().numpy()).any(0)
        best = np.maximum.accumulate(losses, axis=0)
        low, span = losses.min(0), np.ptp(best, axis=0)
        scaled = (best - low) / np.where(span > 0, span, 1.0)
        late = scaled[-min(10, len(scaled)) :]
        moved = (np.ptp(late, axis=0) > 0.05) & ~success
        return {"lost": int((once & ~success).sum()), "moving": float(moved.mean())}
