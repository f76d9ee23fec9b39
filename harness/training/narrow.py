"""Layers of few channels, other kernels for them on the CPU.

A processor works on sixteen numbers at once, and PyTorch takes the channels of a pixel for them.
Of six, as in LeNet's first layer, it makes sixteen, or goes through them one by one: pooling by two
then takes longer than the convolution before it. In these layers pixels are taken instead.
Measured on one core of a server processor, 256 images of 6 x 24 x 24, milliseconds forward and
back: 3.3 to 1.0 in float32, 5.5 to 1.0 in bfloat16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from harness.attacks.pooled import BITS, pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    Size = int | tuple[int, ...] | list[int]

WIDE = 16  # channels: a multiple of it suits PyTorch's own kernels


class Narrow(TorchFunctionMode):
    """While it is entered, layers of few channels have the kernels of this file.

    Values are those of PyTorch's kernels; gradients too, but where two maxima of a window are
    equal and in opposite corners, the other one may get it. There are no second derivatives, and
    no `torch.func`.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 -- what the function returns
        """`func` of the arguments, by another kernel where there is one and it suits."""
        kwargs = kwargs or {}
        rule = RULES.get(func)
        out = None if rule is None else rule(*args, **kwargs)
        return func(*args, **kwargs) if out is None else out


def _convolved(
    input: torch.Tensor,
    weight: torch.Tensor,
    *rest: Any,  # noqa: ANN401 -- torch's own
    **named: Any,  # noqa: ANN401
) -> torch.Tensor | None:
    """In bfloat16, with the pixels of a channel side by side. In float32 that is no faster."""
    if not (1 < weight.shape[1] < WIDE and torch.is_autocast_enabled(input.device.type)):
        return None
    return torch.conv2d(input.contiguous(), weight.contiguous(), *rest, **named)


def _pooled(
    input: torch.Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,  # noqa: FBT001, FBT002
    return_indices: bool = False,  # noqa: FBT001, FBT002
) -> torch.Tensor | None:
    """By two: the larger line of two, then the larger column."""
    sizes = [_both(size) for size in (kernel_size, stride or kernel_size, padding, dilation)]
    by_two = sizes == [(2, 2), (2, 2), (0, 0), (1, 1)] and not return_indices
    return _Pool.apply(input) if by_two and _in_pairs(input) and not ceil_mode else None


RULES: dict[object, Callable[..., torch.Tensor | None]] = {
    torch.conv2d: _convolved,
    F.max_pool2d: _pooled,
    torch.max_pool2d: _pooled,
}
"""What each function is replaced by; None where that does not suit its arguments."""


def _both(size: Size) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _in_pairs(images: torch.Tensor) -> bool:
    """Whether they have few channels, and lines and columns in pairs."""
    if images.ndim != 4 or images.dtype not in BITS:
        return False
    _, channels, height, width = images.shape
    return channels % WIDE > 0 and height % 2 == width % 2 == 0


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 -- torch's context takes attributes
        images: torch.Tensor,
    ) -> torch.Tensor:
        pixels = images.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
        lines = torch.maximum(*pairs(pixels, 1))
        largest = torch.maximum(*pairs(lines, 2))
        ctx.save_for_backward(pixels, lines, largest)
        return largest.permute(0, 3, 1, 2)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        *grads: torch.Tensor,
    ) -> torch.Tensor:
        # Bits are compared, and kept or cleared by a product with 1 or 0, as integers: several
        # times faster than bfloat16, and exact.
        (above,) = grads
        bits = BITS[above.dtype]
        pixels, lines, largest = (kept.view(bits) for kept in ctx.saved_tensors)
        above = above.permute(0, 2, 3, 1).contiguous().view(bits)
        to_lines, to_pixels = torch.empty_like(lines), torch.empty_like(pixels)
        _shared(above, largest, pairs(lines, 2)[0], pairs(to_lines, 2))
        _shared(to_lines, lines, pairs(pixels, 1)[0], pairs(to_pixels, 1))
        return to_pixels.view(grads[0].dtype).permute(0, 3, 1, 2)


def _shared(
    above: torch.Tensor,
    largest: torch.Tensor,
    first: torch.Tensor,
    targets: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Write the gradient to the first of each two where that is the largest, else to the second."""
    one, two = targets
    torch.ne(first, largest, out=two)
    two.mul_(above)
    torch.sub(above, two, out=one)
