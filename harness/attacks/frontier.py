"""The smallest budget at which each sample falls, found with as few gradients as will do.

A sample that is broken at a budget is broken at every larger one, so one number a sample is the
whole security curve. What makes it cheap, and what it promises:

- Every sample that is called robust at a budget met there every start with all its steps; or met
  them at a larger budget ("bisect"). From random starts, one that the last of them left close to a
  mistake meets one start more, for there the luck of a start decides.
- A sample leaves when it falls. Success is judged by the model itself in float32; the arithmetic of
  the search (`gradients`) only chooses directions.
- A pilot of a few steps looks for a near mistake first, and from there tries the smaller balls: all
  budgets from the last that it broke are settled, and the search begins below. It adds an attack and
  takes none away.
- All samples share a batch, each with the budget that decides about it next; whoever is done with
  one begins the next at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.attacks.crew import crew
from harness.attacks.gradients import filled, search
from harness.attacks.losses import LOSSES, margin
from harness.attacks.runner import JUDGE_BATCH, TOLERANCE, batches, labels
from harness.attacks.walk import Walk
from harness.core.errors import InputError, UnknownName
from harness.core.lazy import Lazy
from harness.core.rng import torch_rng
from harness.core.threat import (
    TINY,
    distance,
    dual,
    per_row,
    room,
    steepest,
    unit_noise,
    uphill,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from harness.attacks.gradients import Arithmetic, Search
    from harness.attacks.losses import Loss
    from harness.core.threat import Norm
    from harness.core.types import Classifier
else:
    torch = Lazy("torch")

Mode = Literal["bisect", "exact"]
SHARD = 256  # at most, of samples that one thread takes through the whole search on their own
OVERSHOOT = 1.02  # of a pilot step beyond the boundary of the linear model, as in DeepFool
NUDGE = 1e-3  # of the largest budget, added to a pilot step so that it crosses the boundary
HOPELESS = 1.5  # a pilot step this many times the largest budget ends the pilot for its sample
NEAR = 1.4  # from beyond this many times a budget the pilot does not try to get back into its ball
PLUNGES = 2  # such tries
CLOSE = 0.02  # a margin below this share of the logits' spread is close to a mistake


@dataclass(frozen=True, slots=True)
class Hunt:
    """What every sample meets at a budget.

    Args:
        steps: gradient steps a start; never reduced.
        step_size: in pixel units; 2.5 * eps / steps of each budget if None.
        restarts: 0 starts at x; r at r uniform points of the ball, survivors only; and at one more
            for survivors that the last left close to a mistake.
        loss: what is climbed.
        pilot: gradients after which the pilot gives up a sample without a mistake; 0 for none.
        mode: "exact" attacks every budget; "bisect" searches over budgets for each sample, from
            the largest that the pilot left open, and supposes that what holds there holds below.
        arithmetic: of the search direction.
    """

    steps: int = 40
    step_size: float | None = None
    restarts: int = 1
    loss: Loss = "ce"
    pilot: int = 6
    mode: Mode = "bisect"
    arithmetic: Arithmetic = "float32"

    def __post_init__(self) -> None:
        counts = (self.steps, self.restarts, self.pilot)
        whole = all(isinstance(one, Integral) and not isinstance(one, bool) for one in counts)
        if not whole or self.steps < 1 or self.restarts < 0 or self.pilot < 0:
            raise InputError(
                "steps, restarts and pilot are whole numbers, at least 1, 0 and 0, "
                f"got {self.steps}, {self.restarts}, {self.pilot}"
            )
        if self.loss not in LOSSES:
            raise UnknownName("loss", str(self.loss), LOSSES)
        if self.step_size is not None and not 0 < self.step_size < np.inf:
            raise InputError(f"step_size must be positive and finite, got {self.step_size}")
        if self.mode not in ("bisect", "exact"):
            raise InputError(f"mode must be 'bisect' or 'exact', got {self.mode!r}")


@dataclass(frozen=True, slots=True)
class Frontier:
    """Where each sample falls.

    Args:
        first_broken: (N,) float64 smallest budget at which it fell; 0 if it is wrong clean, inf if
            it never fell.
        x_adv: (N, C, H, W) the point that broke it there; x itself where nothing did.
        prediction: (N,) int64 label of x_adv.
        gradients: (N,) int64 gradients taken for it.
        forwards: (N,) int64 passes forward without a gradient: judging.
    """

    first_broken: np.ndarray
    x_adv: torch.Tensor
    prediction: np.ndarray
    gradients: np.ndarray
    forwards: np.ndarray


def find(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    norm: Norm,
    budgets: Sequence[float],
    hunt: Hunt,
    *,
    seed: int,
    direction: Search | None = None,
    progress: Callable[[float], None] | None = None,
) -> Frontier:
    """The frontier of a model on some samples.

    Shards of about equal size are independent, with their own streams of randomness, so that the result
    is the same on one thread and on many; each runs on one thread.

    Args:
        model: the classifier.
        x: (N, C, H, W) float32 images in [0, 1].
        y: (N,) int64 true labels.
        norm: "linf", "l2" or "l1".
        budgets: radii, positive and rising.
        hunt: what every sample meets.
        seed: of the starts.
        direction: slopes to search by; by `hunt.arithmetic` if None.
        progress: told the share that is done.

    Raises:
        InputError: budgets that do not rise.
    """
    rising = all(low < high for low, high in zip([0.0, *budgets], budgets, strict=False))
    if not budgets or not rising or not np.isfinite(budgets[-1]):
        raise InputError(f"budgets must be positive, finite and rising, got {list(budgets)}")
    slopes = direction or search(model, x, hunt.arithmetic)
    shards = [
        _Shard(model, slopes, x[rows], y[rows], norm, budgets, hunt, (seed, index))
        for index, rows in enumerate(batches(len(x), _even(len(x))))
    ]
    done = 0
    with crew(len(shards)) as hands:
        for _ in hands.map(_Shard.run, shards):
            done += 1
            if progress is not None:
                progress(done / len(shards))
    return _joined(shards, x, np.array([0.0, *budgets, np.inf]))


def _even(samples: int) -> int:
    """Samples in a shard, so that all are about as large and none is larger than SHARD.

    In whole sixteenths of it, as batches come (`gradients.filled`).

    >>> [_even(samples) for samples in (0, 200, 300, 1000)]
    [16, 208, 160, 256]
    """
    shards, part = max(-(-samples // SHARD), 1), SHARD // 16
    return max(-(-samples // (shards * part)), 1) * part


def _joined(shards: list[_Shard], x: torch.Tensor, levels: np.ndarray) -> Frontier:
    def all_of(name: str) -> np.ndarray:
        parts = [getattr(shard, name).cpu().numpy() for shard in shards]
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts])

    return Frontier(
        levels[all_of("high") + 1],
        torch.cat([shard.found for shard in shards]) if shards else x,
        all_of("label"),
        all_of("gradients"),
        all_of("forwards"),
    )


def _close(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Whether each sample is nearly wrong, by (N, K) logits: the search's last, a step old.

    The spread gives the scale, so two classes alone are never close.
    """
    return -margin(logits, y) < CLOSE * (logits.amax(1) - logits.amin(1))


class _Shard:
    """Some samples and what is known of them: level `low` held, level `high` is broken.

    Levels are positions in the budgets; -1 is the clean image, len(budgets) is out of reach.
    """

    def __init__(
        self,
        model: Classifier,
        slopes: Search,
        x: torch.Tensor,
        y: torch.Tensor,
        norm: Norm,
        budgets: Sequence[float],
        hunt: Hunt,
        stream: tuple[int, int],
    ) -> None:
        self.model, self.slopes, self.hunt = model, slopes, hunt
        self.norm: Norm = norm
        self.x, self.y, self.stream = x, y, stream
        self.budgets = torch.tensor(budgets, dtype=x.dtype, device=x.device)
        self.found, self.label = x.clone(), y.clone()
        self.low = torch.full_like(y, -1)
        self.high = torch.full_like(y, len(budgets))
        self.falls, self.starts = torch.zeros_like(y), torch.zeros_like(y)
        self.gradients, self.forwards = torch.zeros_like(y), torch.zeros_like(y)
        self._noise: dict[int, torch.Tensor] = {}

    def run(self) -> None:
        """Find `high` of every sample."""
        with torch.no_grad():
            everyone = torch.arange(len(self.x), device=self.x.device)
            self._judge(everyone, self.x, torch.full_like(everyone, -1))
            if self.hunt.pilot:
                self._pilot((self.high >= 0).nonzero().squeeze(1))
            self._climb(self._begun(everyone))

    def _climb(self, walk: Walk) -> None:
        """Steps until every sample's `high` stands right above its `low`.

        Whoever falls, or has met all steps of a start, begins again at once at what is to be
        decided next, beside those that are under way: so the batch stays large.
        """
        while len(walk.rows):
            now = self.slopes(walk.z, walk.y, self.hunt.loss)
            self.gradients[walk.rows] += 1
            fell = ~self._held(walk, now.logits)
            walk.move(uphill(self.norm, walk.z, now.gradient), self.norm)
            walk.left -= 1
            last = ((walk.left == 0) & ~fell).nonzero().squeeze(1)
            fell[last] = self._judge(walk.rows[last], walk.z[last], walk.levels[last])
            ended = fell | (walk.left == 0)
            if not bool(ended.any()):
                continue
            close = _close(now.logits[ended], walk.y[ended])
            self._note(walk.rows[ended], walk.levels[ended], fell[ended], close)
            walk = walk.take(~ended).joined(self._begun(walk.rows[ended]))

    def _note(
        self, rows: torch.Tensor, levels: torch.Tensor, fell: torch.Tensor, close: torch.Tensor
    ) -> None:
        """What the end of a start says; a level is held when all its starts are."""
        starts = torch.where(fell, 0, self.starts[rows] + 1)
        more = close & (starts == self.hunt.restarts)
        held = (starts >= max(1, self.hunt.restarts)) & ~more
        self.low[rows[held]] = levels[held]
        self.starts[rows] = torch.where(held, 0, starts)
        self.falls[rows] += fell

    def _begun(self, rows: torch.Tensor) -> Walk:
        """The next start of those samples that need one."""
        rows = rows[self.high[rows] - self.low[rows] > 1]
        levels, hunt = self._undecided(rows), self.hunt
        eps = self.budgets[levels]
        size = (
            2.5 * eps / hunt.steps
            if hunt.step_size is None
            else eps.new_full(eps.shape, hunt.step_size)
        )
        left = torch.full_like(rows, hunt.steps)
        x, y, z = self.x[rows], self.y[rows], self._start(rows, eps)
        return Walk(rows, x, y, z, eps, size, levels, left)

    def _undecided(self, rows: torch.Tensor) -> torch.Tensor:
        """The level to attack next.

        To hold costs all steps, to fall a few, so the cheapest path to the answer descends from
        what is known to be broken, and holds once. Where two falls in a row show that the pilot was
        far off, the middle of what is open. In "exact" mode every level, from the lowest.
        """
        low, high = self.low[rows], self.high[rows]
        if self.hunt.mode == "exact":
            return low + 1
        middle = (high + low).div(2, rounding_mode="floor")
        return torch.where(self.falls[rows] < 2, high - 1, middle)

    def _start(self, rows: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """The image itself, or a uniform point of its ball: the same in every ball but for the radius."""
        x = self.x[rows]
        if self.hunt.restarts == 0:
            return x
        noise = torch.empty_like(x)
        for start in self.starts[rows].unique().tolist():
            these = self.starts[rows] == start
            noise[these] = self._unit_noise(start)[rows[these]]
        return (x + per_row(eps, x) * noise).clamp(0, 1)

    def _unit_noise(self, start: int) -> torch.Tensor:
        """For every sample of the shard, a uniform point of the unit ball."""
        if start not in self._noise:
            rng = torch_rng(self.stream[0], "frontier", self.stream[1], start)
            self._noise[start] = unit_noise(self.norm, self.x, rng)
        return self._noise[start]

    def _pilot(self, rows: torch.Tensor) -> None:
        """Steps to the nearest mistake, and from there into smaller balls."""
        x, largest = self.x[rows], self.budgets[-1:].expand(len(rows))
        left = torch.full_like(rows, self.hunt.pilot)
        walk = Walk(rows, x, self.y[rows], x, largest, largest, self.low[rows], left)
        while len(walk.rows):
            now = self.slopes(walk.z, walk.y, "margin")
            self.gradients[walk.rows] += 1
            held = self._held(replace(walk, levels=self._level(walk)), now.logits)
            gradient = room(walk.z, now.gradient)
            going = self._aim(walk, ~held, now.logits, gradient)
            walk = walk.take(going)
            walk.move(steepest(self.norm, gradient[going]), self.norm)

    def _aim(
        self, walk: Walk, fell: torch.Tensor, logits: torch.Tensor, gradient: torch.Tensor
    ) -> torch.Tensor:
        """Set radius and length of the pilot's next steps; which of its samples take one.

        Until there is a mistake, to where a linear model puts the nearest one, as in DeepFool: only
        towards the strongest wrong class, blind to pixels that the box holds, and no further than
        the largest budget. A mistake breaks its level. From one not far outside the next smaller
        ball, a step of that ball's radius and half of it, back into the ball.
        """
        high, largest = self.high[walk.rows], self.budgets[-1]
        found = high < len(self.budgets)
        gap = -margin(logits, walk.y).clamp_max(0)
        ahead = OVERSHOOT * gap / dual(self.norm, gradient).clamp_min(TINY) + NUDGE * largest
        walk.eps = torch.where(found, self.budgets[(high - 1).clamp_min(0)], largest)
        walk.size = torch.where(fell, walk.eps, torch.where(found, walk.size / 2, ahead))
        walk.left = torch.where(fell, PLUNGES, walk.left - 1)
        near = distance(self.norm, walk.z - walk.x) <= NEAR * walk.eps
        promising = torch.where(found, (high > 0) & (near | ~fell), ahead <= HOPELESS * largest)
        return promising & (walk.left > 0)

    def _level(self, walk: Walk) -> torch.Tensor:
        """The smallest budget whose ball holds each point."""
        return torch.searchsorted(
            self.budgets * (1 + TOLERANCE) + TOLERANCE, distance(self.norm, walk.z - walk.x)
        )

    def _held(self, walk: Walk, logits: torch.Tensor) -> torch.Tensor:
        """Whether each sample is right: by the search's logits, and where not, by the model."""
        wrong = logits.argmax(1) != walk.y
        suspects = wrong.nonzero().squeeze(1)
        if len(suspects):
            wrong[suspects] = self._judge(
                walk.rows[suspects], walk.z[suspects], walk.levels[suspects]
            )
        return ~wrong

    def _judge(self, rows: torch.Tensor, z: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """Whether the model is wrong at each point; a point where it is breaks its level."""
        if len(rows) == 0:
            return torch.zeros(0, dtype=torch.bool, device=z.device)
        parts = [z[part] for part in batches(len(z), JUDGE_BATCH)]
        logits = [self.model(filled(part, JUDGE_BATCH))[: len(part)] for part in parts]
        label = labels(torch.cat(logits))
        self.forwards[rows] += 1
        wrong = label != self.y[rows]
        hit = rows[wrong]
        self.found[hit], self.label[hit], self.high[hit] = z[wrong], label[wrong], levels[wrong]
        return wrong
