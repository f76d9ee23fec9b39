"""Square: random search with square-shaped changes; it sees logits and no gradient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.attacks.gradients import forward
from harness.attacks.losses import cross_entropy, margin
from harness.core.errors import InputError
from harness.core.lazy import Lazy
from harness.core.parameters import Bound
from harness.core.registry import registry
from harness.core.threat import TINY, distance, per_row

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from harness.core.threat import Threat
    from harness.core.types import Classifier
else:
    torch = Lazy("torch")

# The share of the image that a square covers is halved after these queries out of 10,000.
HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
TILES = 5  # a side: the L2 attack starts from this many bumps


@registry.register(
    "attack",
    "square",
    norms=("linf", "l2"),
    goal="maximise",
    gradient=False,
    bounds={"restarts": Bound(1)},
    quick=True,
)
def square(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    queries: int = 5000,
    restarts: int = 1,
    p_init: float = 0.8,
    loss: Literal["margin", "ce"] = "margin",
    rescale: bool = False,
    arithmetic: Literal["plain", "float32", "bfloat16"] = "plain",
    rng: torch.Generator,
) -> torch.Tensor:
    """Square attack: repaint a random square, keep it if the true class loses ground.

    A sample leaves when it falls. The squares of one query lie at the same place in all images of a
    batch and, with the order of the draws, follow the authors' code, so that a generator seeded as
    theirs gives the same images.

    Args:
        model: classifier of images in [0, 1]; only its logits are used.
        x: (N, C, H, W) images.
        y: (N,) true labels.
        threat: the ball.
        queries: passes forward a restart, besides the one at its start.
        restarts: of the search, for samples that are still right.
        p_init: share of the image that the first squares cover.
        loss: what must fall: the margin of the true class, or its log-probability.
        rescale: stretch the schedule of square sizes, made for 10,000 queries, over `queries`. The
            official AutoAttack does not.
        arithmetic: in which losses are compared, see `gradients`; a wrong point counts only if the
            model itself is wrong there.
        rng: draws the squares.

    Returns:
        (N, C, H, W) a wrong point, or x where there is none.

    Raises:
        InputError: queries or restarts below 1, or a share outside (0, 1].

    Source: Andriushchenko et al., arXiv:1912.00049, algorithms 1 to 3.
    """
    if queries < 1 or restarts < 1 or not 0 < p_init <= 1:
        raise InputError(
            "queries and restarts must be at least 1 and p_init in (0, 1], "
            f"got {queries}, {restarts}, {p_init}"
        )
    result = x.clone()
    quick = forward(model, x, arithmetic)
    hunt = _Hunt(model, quick, y, cross_entropy if loss == "ce" else margin)
    with torch.no_grad():
        rows = (model(x).argmax(1) == y).nonzero().squeeze(1)
        for _ in range(restarts):
            if len(rows) == 0:
                break
            squares = _Linf(threat.eps, rng) if threat.norm == "linf" else _L2(threat.eps, rng)
            found = _search(
                hunt, x[rows], rows, squares, _sides(x, queries, p_init, rescale=rescale)
            )
            result[rows[found.wrong]] = found.points[found.wrong]
            rows = rows[~found.wrong]
    return result


class _Found(NamedTuple):
    points: torch.Tensor
    wrong: torch.Tensor


class _Hunt(NamedTuple):
    """Whom the search asks, and what must rise."""

    model: Classifier
    quick: Callable[
        [torch.Tensor], torch.Tensor
    ]  # the same network in the arithmetic of the search
    y: torch.Tensor
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    def ask(self, z: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Whether each point is wrong (or on the boundary), and its loss."""
        logits, y = self.quick(z), self.y[rows]
        wrong = margin(logits, y) >= 0
        if self.quick is not self.model and bool(wrong.any()):
            wrong[wrong.clone()] = margin(self.model(z[wrong]), y[wrong]) >= 0
        return wrong, self.loss(logits, y)


def _search(
    hunt: _Hunt, x: torch.Tensor, rows: torch.Tensor, squares: _Linf | _L2, sides: list[int]
) -> _Found:
    points = squares.start(x)
    wrong, best = hunt.ask(points, rows)
    for side in sides:
        left = (~wrong).nonzero().squeeze(1)
        if len(left) == 0:
            break
        tried = squares.change(x[left], points[left], side)
        fell, loss = hunt.ask(tried, rows[left])
        better = fell | (loss > best[left])
        points[left] = torch.where(per_row(better, tried), tried, points[left])
        best[left] = torch.where(better, loss, best[left])
        wrong[left] = fell
    return _Found(points, wrong)


def _sides(x: torch.Tensor, queries: int, p_init: float, *, rescale: bool) -> list[int]:
    """Side of the square at each query."""
    pixels = x.shape[2] * x.shape[3]
    places = (int(i / queries * 10_000) if rescale else i for i in range(queries))
    shares = (p_init / 2 ** sum(place > after for after in HALVED_AFTER) for place in places)
    return [round(math.sqrt(share * pixels)) for share in shares]


class _Draws:
    """Random numbers on the CPU, one call to the generator for each that the authors' code makes."""

    def __init__(self, eps: float, rng: torch.Generator) -> None:
        self.eps, self.rng = eps, rng

    def signs(self, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """-1 or 1."""
        return (2 * torch.rand(shape, generator=self.rng) - 1).sign().to(like.device, like.dtype)

    def place(self, x: torch.Tensor, side: int) -> tuple[slice, slice]:
        """Rows and columns of a square."""
        found: list[slice] = []
        for size in x.shape[2:]:
            at = int((size - side) * torch.rand(1, generator=self.rng))
            found.append(slice(at, at + side))
        return found[0], found[1]

    def turned(self) -> bool:
        """Half of the time."""
        return bool(torch.rand(1, generator=self.rng) > 0.5)


class _Linf(_Draws):
    """Squares of +- eps; the start is vertical stripes."""

    def start(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) first points."""
        samples, depth, _, width = x.shape
        return (x + self.eps * self.signs(x, samples, depth, 1, width)).clamp(0, 1)

    def change(self, x: torch.Tensor, z: torch.Tensor, side: int) -> torch.Tensor:
        """`z` with a square moved to one end of the ball in each channel."""
        side = min(max(side, 1), *x.shape[2:])
        rows, columns = self.place(x, side)
        moved = z.clone()
        moved[:, :, rows, columns] += 2 * self.eps * self.signs(x, x.shape[1], 1, 1)
        return torch.minimum(torch.maximum(moved, x - self.eps), x + self.eps).clamp(0, 1)


class _L2(_Draws):
    """Squares with two bumps of opposite sign; length is taken from one place for another."""

    def start(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) first points: a grid of bumps with random signs."""
        samples, depth, height, width = x.shape
        side = max(height // TILES, 1)
        margin_ = (height - side * TILES) // 2
        delta = torch.zeros_like(x)
        for top in range(margin_, margin_ + side * (height // side), side):
            for left in range(margin_, margin_ + side * (width // side), side):
                bumps = self.bumps(x, side) * self.signs(x, samples, depth, 1, 1)
                room = delta[:, :, top : top + side, left : left + side]
                room += bumps[:, :, : room.shape[2], : room.shape[3]]
        return self._stretched(x, delta)

    def change(self, x: torch.Tensor, z: torch.Tensor, side: int) -> torch.Tensor:
        """`z` with new bumps in one square, paid for by clearing another."""
        side = max(side, 3)
        side = min(side + (side % 2 == 0), *x.shape[2:])
        new, old = self.place(x, side), self.place(x, side)
        delta = z - x
        both = torch.zeros_like(x)
        both[:, :, *new] = 1
        both[:, :, *old] = 1
        unused = (self.eps**2 - per_row(distance("l2", delta), x) ** 2).clamp_min(0) / x.shape[1]
        spare = _planes(delta * both) ** 2 + unused
        bumps = self.bumps(x, side) * self.signs(x, len(x), x.shape[1], 1, 1)
        here = delta[:, :, *new]
        bumps = bumps + here / (TINY + _planes(here))
        bumps = bumps / (TINY + _planes(bumps)) * spare.sqrt()
        delta[:, :, *old] = 0
        delta[:, :, *new] = bumps
        return self._stretched(x, delta)

    def bumps(self, like: torch.Tensor, side: int) -> torch.Tensor:
        """(side, side) of length 1: a bump in the upper half, its negative in the lower, or turned."""
        half = side // 2
        parts = [_bump(like, half, side), -_bump(like, side - half, side)]
        delta = torch.cat(parts)
        delta = delta / delta.square().sum().sqrt()
        return delta.t() if self.turned() else delta

    def _stretched(self, x: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        length = per_row(distance("l2", delta), x) + TINY
        return (x + delta / length * self.eps).clamp(0, 1)


def _planes(delta: torch.Tensor) -> torch.Tensor:
    """(N, C, 1, 1) length of each channel."""
    return delta.square().sum((2, 3), keepdim=True).sqrt()


def _bump(like: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(height, width) of length 1, falling with the distance d from the middle.

    The value at d is the sum over c >= d of 1 / (c + 1)**2.
    """
    rows = (torch.arange(height, device=like.device) - height // 2).abs()
    columns = (torch.arange(width, device=like.device) - width // 2).abs()
    away = torch.maximum(rows[:, None], columns)
    value = torch.zeros(height, width, device=like.device, dtype=like.dtype)
    for c in range(max(height, width) // 2 + 1):
        value = value + (away <= c) / torch.full_like(value[:1, :1], c + 1) ** 2
    length = value.square().sum().sqrt()
    return value / length if height else value
