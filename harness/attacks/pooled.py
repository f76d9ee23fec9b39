# ruff: noqa: D102 -- `Op` says what forward and backward do
"""Maximum over windows of 2 x 2, written out by hand, alone and with the convolution before it.

Imported inside functions only: torch is needed at the top.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from harness.attacks import kernels
from harness.attacks.passes import Conv, last, padding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from torch import nn

    from harness.attacks.passes import Tensors

FEW = 64  # pixels in a patch: beyond, oneDNN's convolution of the same layer is as fast
NEAR = 2**19  # bytes of filters: beyond, they come from too far away
BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}


class PatchPool:
    """Convolution of few input channels, maximum over 2 x 2, and ReLU, in one go.

    Several layers may read the same images, as in an ensemble.

    Args:
        layers: of one geometry; there is an output for each.
        dtype: of the outputs. Images and filters are in float32, whatever it is.
        relu: whether the positive part is taken.
    """

    def __init__(self, layers: Sequence[nn.Conv2d], dtype: torch.dtype, *, relu: bool) -> None:
        first, half = layers[0], dtype == torch.bfloat16
        shape = (first.in_channels, *first.kernel_size)
        self.padding, self.patch = padding(first), [side + 1 for side in first.kernel_size]
        self.filters, self.dtype = [_Filters(one) for one in layers], dtype
        self.forwards = kernels.convolve(*shape, half=half, relu=relu)
        self.backwards = kernels.convolve_back(*shape)

    @staticmethod
    def suits(layer: nn.Conv2d) -> bool:
        """Whether it costs less than the convolution that it replaces."""
        height, width = layer.kernel_size
        return _dense(layer) and layer.in_channels * (height + 1) * (width + 1) <= FEW

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[Tensors, Tensors]:
        (x,) = given
        above, left = self.padding
        padded = F.pad(x.float(), (left, left, above, above))
        size = [
            (side - patch) // 2 + 1
            for side, patch in zip(padded.shape[2:], self.patch, strict=True)
        ]
        images, places = [], []
        for filters in self.filters:
            out = torch.empty(len(x), *size, filters.count, dtype=self.dtype)
            place = torch.empty(out.shape, dtype=torch.uint8)
            run(self.forwards, [padded, out, place], filters.columns, filters.bias)
            images.append(out.permute(0, 3, 1, 2))
            places.append(place)
        return tuple(images), (padded, *places) if keep else ()

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        padded, *places = kept
        total = torch.zeros_like(padded)
        for filters, place, gradient in zip(self.filters, places, gradients, strict=True):
            flat = last(gradient).permute(0, 2, 3, 1)
            run(self.backwards, [flat, place, total], filters.patches)
        (above, left), (height, width) = self.padding, padded.shape[2:]
        return (total[:, :, above : height - above, left : width - left].contiguous(),)


class ConvPool:
    """Convolution, maximum over 2 x 2, and ReLU; back from the maxima alone.

    Args:
        layer: the convolution.
        dtype: of its filters and outputs. The gradient is in float32, whatever it is.
    """

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype) -> None:
        self.conv = Conv(layer, dtype)
        filters = F.pad(layer.weight.detach().permute(0, 2, 3, 1), (0, 0, 0, 1))
        self.filters = _array(filters.to(dtype).contiguous())

    @staticmethod
    def suits(layer: nn.Conv2d, dtype: torch.dtype) -> bool:
        """Whether its way back costs less than the convolution's."""
        return _dense(layer) and layer.weight.numel() * dtype.itemsize <= NEAR

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[torch.Tensor, Tensors]:
        (x,) = given
        out, place = largest(self.conv.forward(x, keep=False)[0], relu=True)
        return out, (x, place) if keep else ()

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        (gradient,) = gradients
        x, place = kept
        count, depth, height, width = x.shape
        to = torch.empty(count, height, width, depth)
        above = last(gradient).permute(0, 2, 3, 1)
        run(kernels.maxima_back, [above, place, to], self.filters, tuple(self.conv.padding))
        return (to.permute(0, 3, 1, 2),)


class _Filters:
    """The filters of a layer, as the kernels want them."""

    def __init__(self, layer: nn.Conv2d) -> None:
        weight = layer.weight.detach().float()
        self.count = len(weight)
        beside = -self.count % kernels.LANES
        columns, bias = weight.flatten(1).t(), weight.new_zeros(self.count + beside)
        if layer.bias is not None:
            bias[: self.count] = layer.bias.detach()
        self.columns, self.bias = F.pad(columns, (0, beside)).contiguous().numpy(), bias.numpy()
        _, depth, height, width = weight.shape
        shifted = weight.new_zeros(2, 2, self.count, depth, height + 1, width + 1)
        for down, right in itertools.product((0, 1), (0, 1)):
            shifted[down, right, ..., down : down + height, right : right + width] = weight
        self.patches = shifted.view(4 * self.count, -1).numpy()


def _dense(layer: nn.Conv2d) -> bool:
    """Whether every output sees all channels of a whole patch, and there is one for every patch."""
    return layer.groups == 1 and set(layer.stride) == set(layer.dilation) == {1}


class PoolRelu:
    """Maximum over 2 x 2 windows side by side, and ReLU, of images in channels_last."""

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[torch.Tensor, Tensors]:
        (x,) = given
        out, place = largest(x, relu=True)
        return out, (x, place) if keep else ()

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        (gradient,) = gradients
        x, place = kept
        return (largest_back(gradient.to(x.dtype), place, x.shape),)


def largest(x: torch.Tensor, *, relu: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The maximum over 2 x 2 of (N, C, H, W) images, and where in its window each stood.

    Args:
        x: bfloat16 or float32, best in channels_last.
        relu: whether the positive part is taken.

    Returns:
        (N, C, H // 2, W // 2) in channels_last; positions, for `largest_back`.
    """
    bits = last(x).view(BITS[x.dtype]).permute(0, 2, 3, 1)
    count, height, width, depth = bits.shape
    out = bits.new_empty(count, height // 2, width // 2, depth)
    place = torch.empty_like(out, dtype=torch.uint8)
    run(kernels.largest(relu=relu), [bits, out, place])
    return out.permute(0, 3, 1, 2).view(x.dtype), place


def largest_back(above: torch.Tensor, place: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """The gradient of `largest`, of a `shape`; where an odd last row or column is, 0."""
    fresh = torch.zeros if shape[2] % 2 or shape[3] % 2 else torch.empty
    to = fresh(shape[0], *shape[2:], shape[1], dtype=above.dtype)
    run(kernels.largest_back, [last(above).permute(0, 2, 3, 1), place, to])
    return to.permute(0, 3, 1, 2)


def run(kernel: Callable[..., None], by_image: Sequence[torch.Tensor], *shared: object) -> None:
    """Run a kernel on this thread; those of PyTorch's pool spin meanwhile and would slow others.

    Args:
        kernel: of the arrays of `by_image`, which lie in memory as they are indexed, then `shared`.
        by_image: tensors of as many images; bfloat16 becomes its bits.
        shared: the same for all images: arrays, or numbers.
    """
    kernel(*map(_array, by_image), *shared)


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor
    return tensor.numpy()
