"""Auto-PGD: gradient ascent with momentum that chooses its own step sizes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from harness.attacks.ascent import Best, hands, reporter
from harness.attacks.gradients import search
from harness.core.errors import InputError
from harness.core.lazy import Lazy
from harness.core.parameters import Bound
from harness.core.registry import registry
from harness.core.threat import TINY, distance, per_row

if TYPE_CHECKING:
    import torch

    from harness.attacks.ascent import Report
    from harness.attacks.gradients import Arithmetic, Search, Slope
    from harness.attacks.losses import Loss
    from harness.core.threat import Threat
    from harness.core.types import Classifier, Trace
else:
    torch = Lazy("torch")

FIRST_WINDOW, SHORTER, SHORTEST = 0.22, 0.03, 0.06  # of all steps; the paper's checkpoints
MOMENTUM = 0.25  # of the last move in the next one


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an APGD climb is, what it climbs, and when it halves its step.

    Args:
        steps: gradient steps.
        rho: share of the steps between two checkpoints that must have raised the loss.
        loss: what is climbed.
        keep: "first" wrong point, where a sample leaves, or the "best" of the whole climb.
        arithmetic: of the gradients.
    """

    steps: int
    rho: float
    loss: Loss
    keep: Literal["first", "best"]
    arithmetic: Arithmetic

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps must be at least 1, got {self.steps}")
        if not 0 <= self.rho <= 1:
            raise InputError(f"rho must be in [0, 1], got {self.rho}")

    def checkpoints(self) -> list[int]:
        """Numbers of steps after which the step size is looked at.

        >>> Pace(100, 0.75, "ce", "first", "plain").checkpoints()[:5]
        [22, 41, 57, 70, 80]
        """
        window = max(int(FIRST_WINDOW * self.steps), 1)
        found = [window]
        while found[-1] < self.steps:
            shortest = max(int(SHORTEST * self.steps), 1)
            window = max(window - max(int(SHORTER * self.steps), 1), shortest)
            found.append(found[-1] + window)
        return found


@registry.register(
    "attack",
    "apgd",
    norms=("linf", "l2"),
    goal="maximise",
    gradient=True,
    bounds={"restarts": Bound(1)},
)
def apgd(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    steps: int = 100,
    restarts: int = 1,
    loss: Literal["ce", "dlr", "margin"] = "ce",
    rho: float = 0.75,
    keep: Literal["first", "best"] = "first",
    arithmetic: Literal["plain", "float32", "bfloat16"] = "plain",
    rng: torch.Generator,
    trace: Trace | None = None,
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """Auto-PGD: PGD with momentum, whose step is halved where it no longer helps.

    Starts on the ball's surface, with a step of two radii; at each checkpoint a sample whose loss
    rose in too few steps, or not at all since the last one, goes back to its best point with half
    the step.

    Args:
        model: classifier of images in [0, 1].
        x: (N, C, H, W) images.
        y: (N,) true labels.
        threat: the ball.
        steps: gradient steps a start.
        restarts: starts, the later ones for samples that are still right; at least 1.
        loss: "ce" is APGD-CE, "dlr" is APGD-DLR.
        rho: share of the steps between checkpoints that must raise the loss.
        keep: samples leave at their "first" wrong point, or the "best" point of all is returned;
            both break the same samples.
        arithmetic: of the gradients, see `gradients`; what is found is judged by the model.
        rng: draws the starts.
        trace: called at every step of every start; NaN and -1 for samples that have left.
        noise: (N, C, H, W) start in place of our own, one run: clamp(x + noise, 0, 1).

    Returns:
        (N, C, H, W) a wrong point, or the one of the highest loss. Samples that are wrong before
        the attack come back as they are.

    Raises:
        InputError: steps or restarts below 1, or a share outside [0, 1].

    Source: Croce and Hein, arXiv:2003.01690, algorithm 1. As in the authors' code, the very first
        loss counts as a rise if it is positive.
    """
    pace = Pace(steps, rho, loss, keep, arithmetic)
    if restarts < 1:
        raise InputError(f"restarts must be at least 1, got {restarts}")
    best = Best(model, x, y, loss)
    best.judge(torch.arange(len(x), device=x.device), x)
    best.loss.fill_(-torch.inf)  # the clean image is no answer to an attack that fails
    slopes = search(model, x, arithmetic)
    with hands(x, arithmetic, trace) as climbers:
        for restart in range(1 if noise is not None else restarts):
            rows = best.right()
            if len(rows) == 0:
                break
            start = (surface(x, threat, rng) if noise is None else x + noise).clamp(0, 1)
            report = reporter(trace, restart, len(x))
            one = partial(_one_start, slopes, threat=threat, pace=pace, best=best, report=report)
            parts = climbers.share(rows)
            begun = [_Climb(x[part], y[part], start[part], part, threat.eps) for part in parts]
            list(climbers.map(one, begun))
    return best.x


def surface(x: torch.Tensor, threat: Threat, rng: torch.Generator) -> torch.Tensor:
    """A random point on the sphere round each image, outside the box perhaps."""
    draw = torch.rand if threat.norm == "linf" else torch.randn
    drawn = draw(x.shape, generator=rng, dtype=x.dtype).to(x.device)
    drawn = 2 * drawn - 1 if threat.norm == "linf" else drawn
    return x + threat.eps * _unit(threat, drawn)


def _one_start(
    slopes: Search, climb: _Climb, threat: Threat, pace: Pace, best: Best, report: Report | None
) -> None:
    checkpoints, last = set(pace.checkpoints()), 0
    climb.enter(slopes(climb.z, climb.y, pace.loss), pace)
    for step in range(pace.steps + 1):
        if step:
            climb.move(threat, first=step == 1)
            climb.observe(slopes(climb.z, climb.y, pace.loss))
        if report is not None and step < pace.steps:
            report(step, climb.rows, climb.now)
        best.see(climb.rows, climb.z, climb.now.logits, sure=pace.arithmetic == "plain")
        if step in checkpoints:
            climb.review(step - last, pace.rho)
            last = step
        if pace.keep == "first":
            climb.take(~best.wrong[climb.rows])
        if len(climb.rows) == 0:
            break


class _Climb:
    """The samples of one start that are still under way; every tensor has a row for each."""

    def __init__(
        self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, rows: torch.Tensor, eps: float
    ) -> None:
        self.rows, self.x, self.y, self.z, self.before = rows, x, y, z, z
        self.size = x.new_full((len(x),), 2 * eps)
        self.halved = torch.ones_like(rows, dtype=torch.bool)
        self.rises = torch.zeros_like(rows)

    def enter(self, now: Slope, pace: Pace) -> None:
        """What is known at the start."""
        self.now, self.gradient = now, now.gradient
        self.peak, self.peak_gradient, self.peak_loss = self.z, now.gradient, now.loss
        self.reviewed = now.loss
        # The log-odds that stand for cross-entropy may be negative where it is positive.
        log_odds = pace.loss == "ce" and pace.arithmetic != "plain"
        self.last = torch.full_like(now.loss, -torch.inf if log_odds else 0.0)

    def move(self, threat: Threat, *, first: bool) -> None:
        """One step, its projection, and the momentum of the move before."""
        pull, size = 1.0 if first else 1 - MOMENTUM, per_row(self.size, self.z)
        ahead = _inside(threat, self.x, self.z + size * _direction(threat, self.gradient))
        moved = self.z + (ahead - self.z) * pull + (self.z - self.before) * (1 - pull)
        self.before, self.z = self.z, _inside(threat, self.x, moved)

    def observe(self, now: Slope) -> None:
        """Take note of the point reached."""
        self.now, self.gradient = now, now.gradient
        self.rises = self.rises + (now.loss > self.last)
        self.last = now.loss
        higher = now.loss > self.peak_loss
        self.peak_loss = torch.where(higher, now.loss, self.peak_loss)
        self.peak = torch.where(per_row(higher, self.z), self.z, self.peak)
        self.peak_gradient = torch.where(per_row(higher, self.z), now.gradient, self.peak_gradient)

    def review(self, window: int, rho: float) -> None:
        """Halve the step, and go back to the peak, where the last `window` steps did little."""
        stuck = ~self.halved & (self.reviewed >= self.peak_loss)
        self.halved = (self.rises <= window * rho) | stuck
        self.size = torch.where(self.halved, self.size / 2, self.size)
        self.z = torch.where(per_row(self.halved, self.z), self.peak, self.z)
        back = per_row(self.halved, self.z)
        self.gradient = torch.where(back, self.peak_gradient, self.gradient)
        self.reviewed, self.rises = self.peak_loss, torch.zeros_like(self.rises)

    def take(self, some: torch.Tensor) -> None:
        """Keep the samples of a mask."""
        if bool(some.all()):
            return
        for name, value in vars(self).items():
            kept = type(value)(*(part[some] for part in value)) if name == "now" else value[some]
            setattr(self, name, kept)


def _unit(threat: Threat, direction: torch.Tensor) -> torch.Tensor:
    return direction / (per_row(distance(threat.norm, direction), direction) + TINY)


def _direction(threat: Threat, gradient: torch.Tensor) -> torch.Tensor:
    return gradient.sign() if threat.norm == "linf" else _unit(threat, gradient)


def _inside(threat: Threat, x: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """The projection, in the arithmetic of the authors' code, so that results can be equal."""
    if threat.norm == "linf":
        return torch.minimum(torch.maximum(moved, x - threat.eps), x + threat.eps).clamp(0, 1)
    length = per_row(threat.distance(moved - x), x).clamp_max(threat.eps)
    return (x + _unit(threat, moved - x) * length).clamp(0, 1)
