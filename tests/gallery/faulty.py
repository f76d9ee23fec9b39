"""Broken attacks, each a textbook attack with one fault planted. None of them comes from the harness."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from harness.core.registry import Library, Parameter, Plug

BROKEN = Library("broken", "torch", "torch", "0")  # a library that is always installed
STEPS = (Parameter("steps", "int", 10), Parameter("step_size", "float | None", None))


def plug(function: Callable[..., Any], concept: str = "pgd") -> Plug:
    """`function` as an adapter would register it; takes the start that lockstep gives."""
    meta = {"norms": ("linf", "l2"), "goal": "maximise", "gradient": True, "start": True}
    return Plug("attack", f"broken/{concept}", function, BROKEN, STEPS, meta)


def ascent(model, x, y) -> torch.Tensor:
    """Gradient of the summed cross-entropy."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(F.cross_entropy(model(point), y, reduction="sum"), point)
    return found


def project(x, z, eps) -> torch.Tensor:
    """On the ball, then on the box."""
    return (x + (z - x).clamp(-eps, eps)).clamp(0, 1)


def pgd(
    *,
    gradient=ascent,
    keep=project,
    eps=lambda value: value,
    steps=lambda count: count,
    size=lambda length: length,
    labels=lambda model, x, y: y,
    begin=lambda x, start: start,
    ending=lambda x, z: z,
) -> Plug:
    """PGD by its textbook formula, with a part of it changed; unchanged it is right."""

    def attack(model, x, y, threat, *, steps_=10, step_size=None, rng, noise=None, **given):
        count = given.get("steps", steps_)
        length = size(step_size or 2.5 * threat.eps / count)
        start = x if noise is None else (x + noise).clamp(0, 1)
        y = labels(model, x, y)
        z = begin(x, start)
        for _ in range(steps(count)):
            z = keep(x, z + length * gradient(model, z, y).sign(), eps(threat.eps))
        return ending(x, z).detach()

    return plug(attack)


# ---------------------------------------------------------------- other gradients


def averaged(model, x, y) -> torch.Tensor:
    """Of the mean over the batch: rows near saturation underflow."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(F.cross_entropy(model(point), y), point)
    return found


def of(layer: Callable[[Any], Any], before: Callable[[Any], Any] = lambda x: x):
    """The gradient through another model than the one under attack."""
    return lambda model, x, y: ascent(lambda z: layer(model(before(z))), x, y)


def in_training_mode(model, x, y) -> torch.Tensor:
    """Nobody called eval()."""
    model.module.train()
    return ascent(model, x, y)


def in_half_precision(model, x, y) -> torch.Tensor:
    """Gradients rounded to half precision before the sign is taken."""
    return ascent(model, x, y).half().float()


class Dropping(nn.Module):
    """A network with dropout before its last layer."""

    def __init__(self, inner: nn.Sequential) -> None:
        super().__init__()
        self.body, self.drop, self.last = inner[:-1], nn.Dropout(0.5), inner[-1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(self.body(x)))
