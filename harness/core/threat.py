"""The perturbation set: the only place that knows what a norm is.

Images are (N, C, H, W) in [0, 1]; perturbations have the same shape; every function works row by
row (a row is one image) and keeps dtype and device. The box [0, 1] is the caller's affair, except
in `project` and `sample`, which end in it. `Threat` has one radius for all rows, `Balls` one for
each, so that samples under different budgets share a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from harness.core.errors import InputError, UnknownName

if TYPE_CHECKING:
    import torch

Norm = Literal["linf", "l2", "l1"]
NORMS: tuple[Norm, ...] = get_args(Norm)
TINY = 1e-12  # keeps a zero gradient at zero instead of NaN


def _rows(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(1)


def per_row(values: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """(N,) values shaped (N, 1, 1, 1), to meet images."""
    return values.view(-1, *[1] * (images.ndim - 1))


def distance(norm: Norm, delta: torch.Tensor) -> torch.Tensor:
    """(N,) norm of each row of `delta`."""
    flat = _rows(delta)
    if norm == "linf":
        return flat.abs().amax(1)
    if norm == "l2":
        return flat.square().sum(1).sqrt()
    return flat.abs().sum(1)


def dual(norm: Norm, gradient: torch.Tensor) -> torch.Tensor:
    """(N,) most that a step of unit length in `norm` raises a linear function."""
    flat = _rows(gradient)
    if norm == "linf":
        return flat.abs().sum(1)
    if norm == "l2":
        return flat.square().sum(1).sqrt()
    return flat.abs().amax(1)


def steepest(norm: Norm, gradient: torch.Tensor) -> torch.Tensor:
    """Direction of unit length in `norm` that raises a linear function the most.

    A zero gradient gives a zero direction. For "l1" all length goes to the largest entry.
    """
    if norm == "linf":
        return gradient.sign()
    if norm == "l2":
        length = distance("l2", gradient).clamp_min(TINY)
        return gradient / per_row(length, gradient)
    flat = _rows(gradient)
    largest = flat.abs().argmax(1, keepdim=True)
    sign = flat.gather(1, largest).sign()
    return flat.new_zeros(flat.shape).scatter(1, largest, sign).view_as(gradient)


def room(z: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """`gradient` without the entries along which the box lets a point `z` rise no further."""
    blocked = ((z <= 0) & (gradient < 0)) | ((z >= 1) & (gradient > 0))
    return gradient.masked_fill(blocked, 0)


def uphill(norm: Norm, z: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """`steepest`, as attacks step: for "l1" towards the largest entry that the box leaves free."""
    return steepest(norm, room(z, gradient) if norm == "l1" else gradient)


def unit_noise(norm: Norm, like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """One point per row of `like`, uniform in the unit ball round zero.

    Drawn on the CPU, then moved: the same numbers on every device.

    Source: uniform in an l_p ball by normalised generalised Gaussians and a radius U**(1/d),
        Calafiore, Dabbene and Tempo 1998.
    """
    import torch

    shape, dtype = like.shape, like.dtype
    if norm == "linf":
        return (torch.rand(shape, generator=rng, dtype=dtype) * 2 - 1).to(like.device)
    if norm == "l2":
        direction = steepest("l2", torch.randn(shape, generator=rng, dtype=dtype))
    else:
        size = -torch.rand(shape, generator=rng, dtype=dtype).clamp_min(TINY).log()
        sign = (torch.rand(shape, generator=rng, dtype=dtype) < 0.5).to(dtype) * 2 - 1
        direction = sign * size / per_row(_rows(size).sum(1), size)
    uniform = torch.rand(len(like), generator=rng, dtype=torch.float64)
    radius = (uniform ** (1 / like[0].numel())).to(dtype)
    return (direction * per_row(radius, direction)).to(like.device)


@dataclass(frozen=True, slots=True)
class Threat:
    """A ball of radius `eps` in `norm` round each image.

    Args:
        norm: "linf", "l2" or "l1".
        eps: radius in [0, 1] pixel units, >= 0; infinity means the whole box.

    Raises:
        UnknownName: the norm is none of the three.
        InputError: eps is negative or not a number.
    """

    norm: Norm
    eps: float

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise UnknownName("norm", self.norm, NORMS)
        if not self.eps >= 0:
            raise InputError(f"eps must be >= 0 in [0, 1] pixel units, got {self.eps}")

    def distance(self, delta: torch.Tensor) -> torch.Tensor:
        """(N,) norm of each row of `delta`."""
        return distance(self.norm, delta)

    def project(self, x: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        """Nearest-ball point of `moved` round `x`, then clipped to the box.

        For "linf" the order and the arithmetic are those of the libraries
        (x + clamp(moved - x), then clamp to the box), so that results can be equal bit for bit.
        """
        delta = moved - x
        if math.isfinite(self.eps):
            delta = self._shrink(delta)
        return (x + delta).clamp(0, 1)

    def _shrink(self, delta: torch.Tensor) -> torch.Tensor:
        if self.norm == "linf":
            return delta.clamp(-self.eps, self.eps)
        if self.norm == "l2":
            length = self.distance(delta)
            return delta * per_row((self.eps / length.clamp_min(TINY)).clamp_max(1), delta)
        return _project_l1(delta, self.eps)

    def steepest(self, gradient: torch.Tensor) -> torch.Tensor:
        """Direction of unit length in `norm` that raises a linear function the most.

        A zero gradient gives a zero direction. For "l1" all length goes to the largest entry.
        """
        return steepest(self.norm, gradient)

    def sample(self, x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """One point per row, uniform in the ball round `x`, then clipped to the box."""
        radius = min(self.eps, diameter(self.norm, x[0].numel()))
        return (x + radius * unit_noise(self.norm, x, rng)).clamp(0, 1)


@dataclass(frozen=True, slots=True)
class Balls:
    """A ball round each image with a radius of its own.

    Args:
        norm: "linf", "l2" or "l1".
        eps: (N,) radii in [0, 1] pixel units, finite and >= 0.
    """

    norm: Norm
    eps: torch.Tensor

    def project(self, x: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        """As `Threat.project`: each row has the bits that its own Threat would give."""
        delta, eps = moved - x, per_row(self.eps, x)
        if self.norm == "linf":
            delta = delta.clamp(-eps, eps)
        elif self.norm == "l2":
            length = per_row(distance("l2", delta), delta).clamp_min(TINY)
            delta = delta * (eps / length).clamp_max(1)
        else:
            delta = _project_l1(delta, self.eps[:, None])
        return (x + delta).clamp(0, 1)

    def take(self, rows: torch.Tensor) -> Balls:
        """The balls of some rows: indices or a mask."""
        return Balls(self.norm, self.eps[rows])


def diameter(norm: Norm, dimensions: int) -> float:
    """Largest distance in `norm` between two points of the box [0, 1]**dimensions."""
    return {"linf": 1.0, "l2": math.sqrt(dimensions), "l1": float(dimensions)}[norm]


def reach(threat: Threat, x: torch.Tensor) -> float:
    """The ball's radius, or the box's diameter where that is smaller."""
    return min(threat.eps, diameter(threat.norm, x[0].numel()))


def _project_l1(delta: torch.Tensor, eps: float | torch.Tensor) -> torch.Tensor:
    """Euclidean projection of each row on the l1 ball; `eps` is a number or (N, 1).

    Source: Duchi et al. 2008, "Efficient projections onto the l1-ball", figure 1.
    """
    import torch

    flat = _rows(delta)
    ordered = flat.abs().sort(1, descending=True).values
    excess = ordered.cumsum(1) - eps
    counts = torch.arange(1, flat.shape[1] + 1, device=flat.device, dtype=flat.dtype)
    active = (ordered * counts > excess).sum(1, keepdim=True).clamp_min(1)
    theta = (excess.gather(1, active - 1) / active).clamp_min(0)
    return (flat.sign() * (flat.abs() - theta).clamp_min(0)).view_as(delta)
