"""Attacks that climb a loss by signed or normalised steps: FGSM, BIM, PGD, MI-FGSM.

All are one loop, `climb`: step along the steepest direction of the norm, then project. For "linf"
the arithmetic is that of the libraries (`x + clamp(z - x)`, then the box), so that equal starts
give equal bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from harness.attacks.budgets import fgsm_curve, pgd_curve
from harness.attacks.crew import crew
from harness.attacks.gradients import search, slope
from harness.attacks.losses import DIRECTIONS
from harness.core.errors import InputError
from harness.core.lazy import Lazy
from harness.core.registry import registry
from harness.core.threat import TINY, distance, per_row, reach, uphill

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import torch

    from harness.attacks.crew import Crew
    from harness.attacks.gradients import Arithmetic, Reduction, Search, Slope
    from harness.attacks.losses import Loss
    from harness.core.threat import Threat
    from harness.core.types import Classifier, Trace

    Report = Callable[[int, torch.Tensor, Slope], None]
    Start = Callable[[], torch.Tensor]
else:
    torch = Lazy("torch")

Keep = Literal["final", "best", "first"]


@dataclass(frozen=True, slots=True)
class Climb:
    """How one climb goes.

    Args:
        steps: gradient steps a start, >= 1.
        step_size: length of a step in pixel units; None means 2.5 * eps / steps.
        loss: what is climbed.
        reduction: how the batch's losses are joined. Only rounding depends on it: "mean" divides
            every gradient by the batch length, as torchattacks and ART do.
        keep: "final" iterate of a start; "best" iterate (a wrong one before all others, then the
            highest loss; one more forward a start); or "first" wrong iterate, where a sample
            leaves the batch: as "best" to anyone who counts successes, and cheaper.
        decay: share of the former direction that is kept (MI-FGSM); None for no momentum.
        arithmetic: in which gradients are taken, see `gradients`.
    """

    steps: int
    step_size: float | None
    loss: Loss
    reduction: Reduction
    keep: Keep
    decay: float | None = None
    arithmetic: Arithmetic = "plain"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps must be at least 1, got {self.steps}")
        if self.step_size is not None and not self.step_size > 0:
            raise InputError(f"step_size must be positive, got {self.step_size}")


@registry.register(
    "attack",
    "fgsm",
    norms=("linf", "l2", "l1"),
    goal="maximise",
    gradient=True,
    curve=fgsm_curve,
)
def fgsm(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    restarts: int = 0,
    loss: Literal["ce", "margin", "dlr"] = "ce",
    reduction: Literal["sum", "mean"] = "sum",
    rng: torch.Generator,
    trace: Trace | None = None,
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """Fast gradient sign method: one step of length eps.

    Args:
        model: classifier of images in [0, 1].
        x: (N, C, H, W) images.
        y: (N,) true labels.
        threat: the ball; "l2" and "l1" step along the normalised gradient.
        restarts: 0 steps from x itself, r from r uniform points of the ball.
        loss: what is climbed.
        reduction: how the batch's losses are joined.
        rng: draws the starts.
        trace: called with the loss and label of the point that the step leaves.
        noise: (N, C, H, W) start in place of our own: clamp(x + noise, 0, 1).

    Source: Goodfellow et al., arXiv:1412.6572; with a random start Wong et al., arXiv:2001.03994.
    """
    how = Climb(1, reach(threat, x) or None, loss, reduction, "final")
    return climb(model, x, y, threat, how, starts(x, threat, restarts, rng, noise), trace)


@registry.register("attack", "bim", norms=("linf", "l2", "l1"), goal="maximise", gradient=True)
def bim(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    steps: int = 10,
    step_size: float | None = None,
    loss: Literal["ce", "margin", "dlr"] = "ce",
    reduction: Literal["sum", "mean"] = "sum",
    keep: Literal["final", "best", "first"] = "final",
    rng: torch.Generator,
    trace: Trace | None = None,
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """Basic iterative method: PGD that starts at x. See `pgd` for the arguments.

    Source: Kurakin et al., arXiv:1607.02533.
    """
    how = Climb(steps, step_size, loss, reduction, keep)
    return climb(model, x, y, threat, how, starts(x, threat, 0, rng, noise), trace)


@registry.register(
    "attack",
    "pgd",
    norms=("linf", "l2", "l1"),
    goal="maximise",
    gradient=True,
    curve=pgd_curve,
    quick=True,
)
def pgd(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
    loss: Literal["ce", "margin", "dlr"] = "ce",
    reduction: Literal["sum", "mean"] = "sum",
    keep: Literal["final", "best", "first"] = "final",
    arithmetic: Literal["plain", "float32", "bfloat16"] = "plain",
    rng: torch.Generator,
    trace: Trace | None = None,
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """Projected gradient descent: steps along the steepest direction, each projected on the ball.

    Args:
        model: classifier of images in [0, 1].
        x: (N, C, H, W) images.
        y: (N,) true labels.
        threat: the ball.
        steps: gradient steps a start.
        step_size: length of a step in pixel units; 2.5 * eps / steps if None.
        restarts: 0 starts at x itself; r at r uniform points of the ball, of which only samples
            that are still right see the second and later ones.
        loss: "ce", "margin" or "dlr", see `losses`.
        reduction: how the batch's losses are joined, see `Climb`.
        keep: which iterate of a start counts, see `Climb`. Among starts a wrong point comes
            before all others, then the highest loss.
        arithmetic: of the gradients: "plain" passes of the model, or faster ones in "float32" or
            "bfloat16", see `gradients`. What is found is judged by the model in any case.
        rng: draws the starts.
        trace: called at every step of every start with the loss and label of the iterate that
            enters it; NaN and -1 for samples that have left.
        noise: (N, C, H, W) start in place of our own, one run: clamp(x + noise, 0, 1).

    Returns:
        (N, C, H, W) points in ball and box.

    Raises:
        InputError: steps below 1, restarts below 0, or a step that is not positive.

    Source: Madry et al., arXiv:1706.06083.
    """
    how = Climb(steps, step_size, loss, reduction, keep, arithmetic=arithmetic)
    return climb(model, x, y, threat, how, starts(x, threat, restarts, rng, noise), trace)


@registry.register("attack", "mifgsm", norms=("linf", "l2", "l1"), goal="maximise", gradient=True)
def mifgsm(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    steps: int = 10,
    step_size: float | None = None,
    decay: float = 1.0,
    restarts: int = 0,
    loss: Literal["ce", "margin", "dlr"] = "ce",
    reduction: Literal["sum", "mean"] = "sum",
    keep: Literal["final", "best", "first"] = "final",
    rng: torch.Generator,
    trace: Trace | None = None,
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """Momentum iterative FGSM: steps along a decaying sum of L1-normalised gradients.

    `decay` is the weight of the former sum; see `pgd` for the other arguments. A zero gradient
    adds nothing to the sum.

    Source: Dong et al., arXiv:1710.06081, algorithm 1.
    """
    how = Climb(steps, step_size, loss, reduction, keep, decay)
    return climb(model, x, y, threat, how, starts(x, threat, restarts, rng, noise), trace)


def starts(
    x: torch.Tensor,
    threat: Threat,
    restarts: int,
    rng: torch.Generator,
    noise: torch.Tensor | None,
) -> list[Start]:
    """Where the climbs begin: the given noise alone, x itself, or `restarts` uniform points.

    Raises:
        InputError: restarts below 0.
    """
    if restarts < 0:
        raise InputError(f"restarts must be 0 (start at x) or more, got {restarts}")
    if noise is not None:
        return [lambda: (x + noise).clamp(0, 1)]
    if restarts == 0:
        return [lambda: x]
    return [lambda: threat.sample(x, rng)] * restarts


def climb(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    how: Climb,
    begin: list[Start],
    trace: Trace | None = None,
) -> torch.Tensor:
    """The strongest point that the climbs from `begin` meet, for each sample.

    A sample that is wrong after one start takes no part in the next.
    """
    best, slopes = Best(model, x, y, how.loss), _slopes(model, x, how)
    with hands(x, how.arithmetic, trace) as climbers:
        for restart, start in enumerate(begin):
            rows, whole = best.right(), _Walk(x, y, start())
            if len(rows) == 0:
                break
            report = reporter(trace, restart, len(x))
            one = partial(_one_start, slopes, threat=threat, how=how, best=best, report=report)
            ended = list(climbers.map(one, map(whole.take, climbers.share(rows))))
            z = torch.cat([walk.z for walk in ended])
            if how.keep == "final" and len(begin) == 1:
                return z
            best.judge(torch.cat([walk.rows for walk in ended]), z)
    return best.x


def hands(
    x: torch.Tensor, arithmetic: Arithmetic, trace: Trace | None
) -> AbstractContextManager[Crew]:
    """Who climbs: all threads, with a share of the samples each, where the climb may be divided.

    "plain" gradients are of the batch as it is given, for the bits of the libraries; a trace is
    told about all samples at once; and other devices than the CPU look after themselves.
    """
    whole = arithmetic == "plain" or trace is not None or x.device.type != "cpu"
    return crew(1 if whole else len(x))


def _slopes(model: Classifier, x: torch.Tensor, how: Climb) -> Search:
    if how.arithmetic != "plain":
        return search(model, x, how.arithmetic)
    divisor = len(x) if how.reduction == "mean" else 1
    return lambda x, y, loss: slope(model, x, y, loss, divisor)


def _one_start(
    slopes: Search,
    walk: _Walk,
    threat: Threat,
    how: Climb,
    best: Best,
    report: Report | None,
) -> _Walk:
    for step in range(how.steps):
        now = slopes(walk.z, walk.y, how.loss)
        if report is not None:
            report(step, walk.rows, now)
        gradient = now.gradient
        if how.keep != "final":
            best.see(walk.rows, walk.z, now.logits, sure=how.arithmetic == "plain")
        if how.keep == "first":
            right = ~best.wrong[walk.rows]
            walk, gradient = walk.take(right), gradient[right]
        if len(walk.rows) == 0:
            break
        walk.move(gradient, threat, how)
    return walk


def reporter(trace: Trace | None, restart: int, samples: int) -> Report | None:
    """Tells `trace` about some rows of a batch of `samples`; None where nobody asks."""
    return None if trace is None else partial(_report, trace, restart, samples)


def _report(
    trace: Trace, restart: int, samples: int, step: int, rows: torch.Tensor, now: Slope
) -> None:
    loss = torch.full((samples,), torch.nan, dtype=now.loss.dtype, device=rows.device)
    label = torch.full((samples,), -1, device=rows.device)
    loss[rows], label[rows] = now.loss, now.logits.argmax(1)
    trace(restart=restart, step=step, loss=loss, label=label)


class Best:
    """The strongest point seen so far of each sample: wrong first, then the highest loss."""

    def __init__(self, model: Classifier, x: torch.Tensor, y: torch.Tensor, loss: Loss) -> None:
        self.model, self.x, self.y, self.measure = model, x.clone(), y, DIRECTIONS[loss]
        self.wrong = torch.zeros_like(y, dtype=torch.bool)
        self.loss = torch.full(y.shape, -torch.inf, dtype=x.dtype, device=x.device)

    def right(self) -> torch.Tensor:
        """Rows without a wrong point yet."""
        return (~self.wrong).nonzero().squeeze(1)

    def see(
        self, rows: torch.Tensor, z: torch.Tensor, logits: torch.Tensor, *, sure: bool = True
    ) -> None:
        """Take those of the points `z`, of samples `rows`, that are stronger.

        Where the logits are not `sure`, being another arithmetic's, wrong points go to the model.
        """
        wrong = logits.argmax(1) != self.y[rows]
        if not sure:
            self.judge(rows[wrong], z[wrong])
            rows, z, logits, wrong = (value[~wrong] for value in (rows, z, logits, wrong))
        loss, known = self.measure(logits, self.y[rows]).to(self.loss.dtype), self.wrong[rows]
        stronger = (wrong & ~known) | ((wrong == known) & (loss > self.loss[rows]))
        better = rows[stronger]
        self.x[better], self.loss[better] = z[stronger], loss[stronger]
        self.wrong[better] = wrong[stronger]

    def judge(self, rows: torch.Tensor, z: torch.Tensor) -> None:
        """See points by the model's own logits."""
        if len(rows):
            with torch.no_grad():
                self.see(rows, z, self.model(z))


class _Walk:
    """The samples still under way: their rows, images, labels, current points and momentum."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> None:
        self.rows = torch.arange(len(x), device=x.device)
        self.x, self.y, self.z = x, y, z
        self.momentum = torch.zeros_like(x)

    def take(self, some: torch.Tensor) -> _Walk:
        """Only the samples `some` (indices or mask)."""
        if some.dtype != torch.bool and len(some) == len(self.rows):
            return self
        kept = _Walk(self.x[some], self.y[some], self.z[some])
        kept.rows, kept.momentum = self.rows[some], self.momentum[some]
        return kept

    def move(self, gradient: torch.Tensor, threat: Threat, how: Climb) -> None:
        """One step and its projection."""
        if how.decay is not None:
            length = distance("l1", gradient).clamp_min(TINY)
            self.momentum = how.decay * self.momentum + gradient / per_row(length, gradient)
            gradient = self.momentum
        size = how.step_size or 2.5 * reach(threat, self.x) / how.steps
        self.z = threat.project(self.x, self.z + size * uphill(threat.norm, self.z, gradient))
