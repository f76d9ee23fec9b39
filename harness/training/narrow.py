"""Other kernels for two layers of small networks on the CPU.

A processor works on sixteen numbers at once, and PyTorch takes the channels of a pixel for them.
Of six, as in LeNet's first layer, it makes sixteen, or goes through them one by one: pooling by two
then takes longer than the convolution before it. Pooling has the compiled loops of the attacks;
in convolutions of few channels, pixels are taken in place of channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from harness.attacks.pooled import BITS, largest, largest_back

if TYPE_CHECKING:
    from collections.abc import Callable

    Size = int | tuple[int, ...] | list[int]

WIDE = 16  # channels: a multiple of it suits PyTorch's own kernels


class Narrow(TorchFunctionMode):
    """While it is entered, these layers have the kernels of this file.

    Values and gradients are those of PyTorch's kernels. There are no second derivatives, and no
    `torch.func`.
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
    """By two."""
    sizes = [_both(size) for size in (kernel_size, stride or kernel_size, padding, dilation)]
    by_two = sizes == [(2, 2), (2, 2), (0, 0), (1, 1)] and not return_indices and not ceil_mode
    return _Pool.apply(input) if by_two and input.ndim == 4 and input.dtype in BITS else None


def _averaged(input: torch.Tensor, output_size: Size) -> torch.Tensor | None:
    """A mean over windows of one pixel, as VGG has it, is the image itself."""
    same = input.ndim == 4 and _both(output_size) == tuple(input.shape[2:])
    return input if same else None


RULES: dict[object, Callable[..., torch.Tensor | None]] = {
    torch.conv2d: _convolved,
    F.max_pool2d: _pooled,
    torch.max_pool2d: _pooled,
    F.adaptive_avg_pool2d: _averaged,
}
"""What each function is replaced by; None where that does not suit its arguments."""


def _both(size: Size) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 -- torch's context takes attributes
        images: torch.Tensor,
    ) -> torch.Tensor:
        out, place = largest(images, relu=False)
        ctx.save_for_backward(place)
        ctx.shape, ctx.by_channel = images.shape, images.is_contiguous()
        return out.contiguous() if ctx.by_channel else out  # a network may view it as rows

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        *grads: torch.Tensor,
    ) -> torch.Tensor:
        (above,), (place,) = grads, ctx.saved_tensors
        to = largest_back(above, place, ctx.shape)
        # A ReLU below takes thirty times as long over values in one order and gradients in another.
        return to.contiguous() if ctx.by_channel else to
