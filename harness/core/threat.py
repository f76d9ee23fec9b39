"""The perturbation set: the only place that knows what a norm is.

Images are (N, C, H, W) in [0, 1]; perturbations have the same shape; every function works row by
row (a row is one image) and keeps dtype and device. The box [0, 1] is the caller's affair, except
in `project`, which ends in it.
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


def _like(per_row: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    return per_row.view(-1, *[1] * (images.ndim - 1))


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
        flat = _rows(delta)
        if self.norm == "linf":
            return flat.abs().amax(1)
        if self.norm == "l2":
            return flat.square().sum(1).sqrt()
        return flat.abs().sum(1)

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
            return delta * _like((self.eps / length.clamp_min(TINY)).clamp_max(1), delta)
        return _project_l1(delta, self.eps)

    def steepest(self, gradient: torch.Tensor) -> torch.Tensor:
        """Direction of unit length in `norm` that raises a linear function the most.

        A zero gradient gives a zero direction. For "l1" all length goes to the largest entry.
        """
        if self.norm == "linf":
            return gradient.sign()
        if self.norm == "l2":
            return gradient / _like(self.distance(gradient).clamp_min(TINY), gradient)
        flat = _rows(gradient)
        largest = flat.abs().argmax(1, keepdim=True)
        sign = flat.gather(1, largest).sign()
        return flat.new_zeros(flat.shape).scatter(1, largest, sign).view_as(gradient)

    def sample(self, x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """One point per row, uniform in the ball round `x`, then clipped to the box.

        Source: uniform in an l_p ball by normalised generalised Gaussians and a radius U**(1/d),
        Calafiore, Dabbene and Tempo 1998.
        """
        import torch

        # Drawn on the CPU, then moved: the same numbers on every device.
        def uniform() -> torch.Tensor:
            return torch.rand(x.shape, generator=rng, dtype=x.dtype).to(x.device)

        if self.norm == "linf":
            delta = uniform() * (2 * self.eps) - self.eps
        elif self.norm == "l2":
            direction = torch.randn(x.shape, generator=rng, dtype=x.dtype).to(x.device)
            delta = self.steepest(direction) * self._radii(x, rng)
        else:
            magnitude = -uniform().clamp_min(TINY).log()
            sign = (uniform() < 0.5).to(x.dtype) * 2 - 1
            total = _like(_rows(magnitude).sum(1), x)
            delta = sign * magnitude / total * self._radii(x, rng)
        return (x + delta).clamp(0, 1)

    def _radii(self, x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        import torch

        dimensions = x[0].numel()
        uniform = torch.rand(len(x), generator=rng, dtype=torch.float64)
        radii = (self.eps * uniform ** (1 / dimensions)).to(x.dtype).to(x.device)
        return _like(radii, x)


def _project_l1(delta: torch.Tensor, eps: float) -> torch.Tensor:
    """Euclidean projection of each row on the l1 ball.

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
