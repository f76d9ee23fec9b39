"""Attacks that look for the smallest perturbation: DeepFool and Carlini and Wagner's L2 attack.

The threat's radius plays no part in the search; the caller compares distances with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.attacks.losses import runner_up
from harness.core.errors import InputError
from harness.core.lazy import Lazy
from harness.core.registry import registry
from harness.core.threat import TINY, dual, per_row, steepest

if TYPE_CHECKING:
    import torch

    from harness.core.threat import Norm, Threat
    from harness.core.types import Classifier
else:
    torch = Lazy("torch")


BEYOND = 1e-4  # pixel units past each boundary, as in the authors' code; without, a step may stall


@registry.register("attack", "deepfool", norms=("linf", "l2"), goal="minimise", gradient=True)
def deepfool(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    steps: int = 50,
    overshoot: float = 0.02,
    candidates: int = 10,
    rng: torch.Generator,
) -> torch.Tensor:
    """DeepFool: step by step to the nearest boundary of the linearised model.

    The perturbation of all steps together is lengthened by `overshoot` from the original image, so
    that a sample cannot stall on the boundary. A sample leaves when it falls.

    Args:
        model: classifier of images in [0, 1].
        x: (N, C, H, W) images.
        y: (N,) true labels.
        threat: its norm is that of the perturbation.
        steps: linearisations at most.
        overshoot: share by which the perturbation is lengthened.
        candidates: classes whose boundaries are considered, the true one and the likeliest others.
        rng: not used; the attack is deterministic.

    Returns:
        (N, C, H, W) wrong points, or the last ones reached.

    Raises:
        InputError: steps below 1, or candidates below 2.

    Source: Moosavi-Dezfooli et al., arXiv:1511.04599, algorithm 2 (the multi-class one).
    """
    del rng
    if steps < 1 or candidates < 2:
        raise InputError(f"steps >= 1 and candidates >= 2, got {steps}, {candidates}")
    points, total = x.clone(), torch.zeros_like(x)
    rows = torch.arange(len(x), device=x.device)
    for step in range(steps + 1):
        logits, known, point = _forward(model, points[rows])
        right = logits.argmax(1) == y[rows]
        if step == steps or not bool(right.any()):
            break
        others = _likeliest_others(logits.detach(), y[rows], candidates - 1)
        move = _nearest(logits, known, point, y[rows], others, threat.norm)
        rows, move = rows[right], move[right]
        total[rows] += move
        points[rows] = (x[rows] + (1 + overshoot) * total[rows]).clamp(0, 1)
    return points


def _forward(model: Classifier, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits with their graph, the same without, and the leaf that they depend on."""
    with torch.enable_grad():
        point = z.detach().requires_grad_()
        logits = model(point)
    return logits, logits.detach(), point


def _likeliest_others(logits: torch.Tensor, y: torch.Tensor, count: int) -> torch.Tensor:
    """(N, count) wrong classes, the likeliest first."""
    masked = logits.scatter(1, y[:, None], -torch.inf)
    return masked.topk(min(count, logits.shape[1] - 1), dim=1).indices


def _nearest(
    logits: torch.Tensor,
    known: torch.Tensor,
    point: torch.Tensor,
    y: torch.Tensor,
    others: torch.Tensor,
    norm: Norm,
) -> torch.Tensor:
    """(N, C, H, W) shortest step that crosses one of the linearised boundaries."""
    shortest = torch.full_like(known[:, 0], torch.inf)
    move = torch.zeros_like(point)
    for other in others.unbind(1):
        gap = logits.gather(1, other[:, None]) - logits.gather(1, y[:, None])
        (gradient,) = torch.autograd.grad(gap.sum(), point, retain_graph=True)
        length = gap.detach().squeeze(1).abs() / dual(norm, gradient).clamp_min(TINY) + BEYOND
        nearer = length < shortest
        step = per_row(length, point) * steepest(norm, gradient)
        move = torch.where(per_row(nearer, point), step, move)
        shortest = torch.where(nearer, length, shortest)
    return move.detach()


SHRINK = 1e-6  # images are mapped to [SHRINK, 1 - SHRINK]: tanh space has no place for 0 and 1
LOOKS = 10  # times in a search that a sample's progress is looked at
STALLED = 0.9999  # of the loss at the last look


@registry.register("attack", "cw", norms=("l2",), goal="minimise", gradient=True)
def cw(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    steps: int = 1000,
    step_size: float = 0.01,
    search_steps: int = 9,
    const: float = 1e-3,
    confidence: float = 0.0,
    abort_early: bool = True,
    rng: torch.Generator,
) -> torch.Tensor:
    """Carlini and Wagner's L2 attack: squared distance plus c times the margin, in tanh space.

    Each sample searches for its own c and stops by itself.

    Args:
        model: classifier of images in [0, 1].
        x: (N, C, H, W) images.
        y: (N,) true labels.
        threat: its radius plays no part.
        steps: of Adam for each constant.
        step_size: of Adam, in tanh space.
        search_steps: constants that are tried: ten times larger until one succeeds, then bisection.
        const: the first of them.
        confidence: margin of logits that a wrong class must reach.
        abort_early: give a constant up for a sample whose loss has stalled.
        rng: not used; the attack is deterministic.

    Returns:
        (N, C, H, W) the nearest wrong points, or x where none was found.

    Raises:
        InputError: a number of steps below 1, or a constant or step that is not positive.

    Source: Carlini and Wagner, arXiv:1608.04644, section VI.A.
    """
    del threat, rng
    if steps < 1 or search_steps < 1 or const <= 0 or step_size <= 0:
        raise InputError(
            "steps and search_steps must be at least 1, const and step_size positive, "
            f"got {steps}, {search_steps}, {const}, {step_size}"
        )
    best = _Nearest(x)
    low, high = torch.zeros(len(x)).to(x), torch.full((len(x),), torch.inf).to(x)
    constant = torch.full_like(low, const)
    for _ in range(search_steps):
        found = _descend(model, best, y, constant, _Adam(steps, step_size), confidence, abort_early)
        high = torch.where(found, torch.minimum(high, constant), high)
        low = torch.where(found, low, torch.maximum(low, constant))
        constant = torch.where(high.isinf(), constant * 10, (low + high) / 2)
    return best.points


@dataclass(frozen=True, slots=True)
class _Adam:
    """Adam's settings; the decay rates are those of Kingma and Ba."""

    steps: int
    size: float
    first: float = 0.9
    second: float = 0.999
    tiny: float = 1e-8


class _Nearest:
    """The nearest wrong point of each sample so far."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x, self.points = x, x.clone()
        self.squared = torch.full((len(x),), torch.inf).to(x)

    def see(self, rows: torch.Tensor, z: torch.Tensor, wrong: torch.Tensor) -> None:
        """Take the points that are wrong and nearer."""
        squared = (z - self.x[rows]).flatten(1).square().sum(1)
        nearer = wrong & (squared < self.squared[rows])
        self.points[rows[nearer]], self.squared[rows[nearer]] = z[nearer], squared[nearer]


class _State:
    """Samples under way in tanh space, with Adam's moments."""

    def __init__(self, x: torch.Tensor) -> None:
        self.rows = torch.arange(len(x), device=x.device)
        self.w = ((2 * x - 1) * (1 - 2 * SHRINK)).atanh()
        self.mean, self.square = torch.zeros_like(x), torch.zeros_like(x)
        self.looked = torch.full((len(x),), torch.inf).to(x)

    def take(self, some: torch.Tensor) -> None:
        """Keep the samples of a mask."""
        for name, value in vars(self).items():
            setattr(self, name, value[some])

    def move(self, gradient: torch.Tensor, step: int, adam: _Adam) -> None:
        """One step of Adam."""
        self.mean = adam.first * self.mean + (1 - adam.first) * gradient
        self.square = adam.second * self.square + (1 - adam.second) * gradient.square()
        mean = self.mean / (1 - adam.first**step)
        root = (self.square / (1 - adam.second**step)).sqrt()
        self.w = self.w - adam.size * mean / (root + adam.tiny)


def _descend(
    model: Classifier,
    best: _Nearest,
    y: torch.Tensor,
    constant: torch.Tensor,
    adam: _Adam,
    confidence: float,
    abort_early: bool,  # noqa: FBT001 -- passed on
) -> torch.Tensor:
    """Whether each sample met a wrong point with its constant; `best` sees them all."""
    found = torch.zeros_like(y, dtype=torch.bool)
    state, look = _State(best.x), max(adam.steps // LOOKS, 1)
    for step in range(1, adam.steps + 1):
        if len(state.rows) == 0:
            break
        rows = state.rows
        z, gap, loss, gradient = _slope(
            model, state.w, best.x[rows], y[rows], constant[rows], confidence
        )
        wrong = gap < 0 if confidence == 0 else gap <= -confidence
        best.see(rows, z, wrong)
        found[rows] |= wrong
        state.move(gradient, step, adam)
        if abort_early and step % look == 0:
            moving = loss <= STALLED * state.looked
            state.looked = loss
            state.take(moving)
    return found


def _slope(
    model: Classifier,
    w: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    constant: torch.Tensor,
    confidence: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Point, gap of the true class over the best other, loss and its gradient, at `w`."""
    with torch.enable_grad():
        leaf = w.detach().requires_grad_()
        z = (leaf.tanh() + 1) / 2
        logits = model(z)
        gap = logits.gather(1, y[:, None]).squeeze(1) - runner_up(logits, y)
        loss = (z - x).flatten(1).square().sum(1) + constant * (gap + confidence).clamp_min(0)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    return z.detach(), gap.detach(), loss.detach(), gradient
