# ruff: noqa: D102 -- `Op` says what forward and backward do
"""Maximum over windows of 2 x 2, written out by hand, alone and with the convolution before it.

Imported inside functions only: torch is needed at the top.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from harness.attacks.passes import last, padding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from harness.attacks.passes import Tensors

FEW = 64  # pixels in a patch: beyond, oneDNN's convolution of the same layer is as fast


class PatchPool:
    """Convolution of few input channels, maximum over 2 x 2, and ReLU, as a matrix product.

    A pooled value sees a patch one pixel larger than the filter. Each of the four places in its
    window is the patch times filters shifted within it; the left two and the right two are a
    product of shape (patches, pixels) x (pixels, 2 filters) each, and the maximum of all four is
    the pooled layer.

    Several layers may read the same images, as in an ensemble: patches are cut and put back once.
    They lie pixel by pixel, (pixels, patches), so that whole rows of patches are copied at once.

    Args:
        layers: of one geometry; there is an output for each.
        dtype: of the arithmetic.
        relu: whether the positive part is taken.
    """

    def __init__(self, layers: Sequence[nn.Conv2d], dtype: torch.dtype, *, relu: bool) -> None:
        height, width = layers[0].kernel_size
        self.padding, self.patch = padding(layers[0]), (height + 1, width + 1)
        self.filters, self.dtype, self.relu = [_Filters(one, dtype) for one in layers], dtype, relu

    @staticmethod
    def suits(layer: nn.Conv2d) -> bool:
        """Whether the product costs less than the convolution that it replaces."""
        height, width = layer.kernel_size
        plain = layer.groups == 1 and set(layer.stride) == set(layer.dilation) == {1}
        return plain and layer.in_channels * (height + 1) * (width + 1) <= FEW

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[Tensors, Tensors]:
        (x,) = given
        patches = self._patches(x)
        rows, columns = patches.shape[-2:]
        flat, images, kept = patches.flatten(3).flatten(0, 2).t(), [], [x]
        for filters in self.filters:
            sides = filters.sides(flat)
            across = _larger(*(sides if self.relu else map(_ordered, sides)), keep=keep)
            out = _larger(*across.unbind(1), keep=keep)
            out = (out.clamp_min_(0) if self.relu else _ordered(out)).view(self.dtype)
            images.append(out.view(len(x), rows, columns, -1).permute(0, 3, 1, 2))
            kept += [out, across, *sides]
        return tuple(images), tuple(kept) if keep else ()

    def _patches(self, x: torch.Tensor) -> torch.Tensor:
        """(C, h, w, N, rows, columns) patches in steps of two."""
        above, left = self.padding
        height, width = self.patch
        padded = F.pad(x.to(self.dtype), (left, left, above, above))
        across = padded.unfold(2, height, 2).unfold(3, width, 2)  # (N, C, rows, columns, h, w)
        return across.permute(1, 4, 5, 0, 2, 3).contiguous()

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        x, *kept_each = kept
        parts = None
        for filters, gradient in zip(self.filters, gradients, strict=True):
            (out, across, *sides), kept_each = kept_each[:4], kept_each[4:]
            flat = gradient.to(out.dtype).permute(0, 2, 3, 1).reshape(out.shape)
            _part(_lit(flat, out) if self.relu else _bits(flat), *across.unbind(1))
            _part(across, *sides)
            parts = filters.back(sides, parts)
        assert parts is not None
        return (self._together(parts, x),)

    def _together(self, parts: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Gradient of images shaped as `x`, from (C * h * w, patches) that of the patches.

        Even and odd rows and columns are summed apart, where what overlaps lies side by side.
        """
        count, depth, *size = x.shape
        padded = [side + 2 * ring for side, ring in zip(size, self.padding, strict=True)]
        halves = [-(-side // 2) for side in padded]
        rows, columns = (
            (side - patch) // 2 + 1 for side, patch in zip(padded, self.patch, strict=True)
        )
        parts = parts.view(depth, *self.patch, count, rows, columns)
        total = x.new_zeros(depth, 2, 2, count, *halves)
        for i, j in itertools.product(*(range(0, side, 2) for side in self.patch)):
            part = parts[:, i : i + 2, j : j + 2]
            window = total[..., i // 2 : i // 2 + rows, j // 2 : j // 2 + columns]
            window[:, : part.shape[1], : part.shape[2]] += part
        image = total.permute(3, 0, 4, 1, 5, 2).reshape(
            count, depth, *(2 * half for half in halves)
        )
        (above, left), (height, width) = self.padding, size
        return image[:, :, above : above + height, left : left + width]


class _Filters:
    """The filters of a layer, shifted to the four places of a window in its patch."""

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype) -> None:
        weight = layer.weight.detach()
        filters, depth, height, width = weight.shape
        shifted = weight.new_zeros(2, 2, filters, depth, height + 1, width + 1)
        for right, down in itertools.product((0, 1), (0, 1)):
            shifted[right, down, ..., down : down + height, right : right + width] = weight
        self.places = shifted.view(2, 2 * filters, -1).to(dtype)  # left and right, upper and lower
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype).repeat(2)

    def sides(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """Bits of the values at the left and at the right places, (patches, 2, filters) each."""
        products = (F.linear(flat, place, self.bias) for place in self.places)
        return [_bits(product).unflatten(1, (2, -1)) for product in products]

    def back(self, sides: Sequence[torch.Tensor], parts: torch.Tensor | None) -> torch.Tensor:
        """(pixels, patches) gradient of the patches, added to `parts`."""
        for side, place in zip(sides, self.places, strict=True):
            flat = side.flatten(1).view(place.dtype).t()
            parts = place.t() @ flat if parts is None else parts.addmm_(place.t(), flat)
        assert parts is not None
        return parts


class PoolRelu:
    """Maximum over 2 x 2 windows side by side, and ReLU, of images in channels_last."""

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[torch.Tensor, Tensors]:
        x = last(given[0])
        left, right = pairs(_bits(x).permute(0, 2, 3, 1), 2)
        across = torch.maximum(left, right)
        is_left = torch.eq(left, across, out=torch.empty_like(across)) if keep else across
        out = _larger(*pairs(across, 1), keep=keep).clamp_min_(0).view(x.dtype)
        return out.permute(0, 3, 1, 2), (x, out, across, is_left) if keep else ()

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        (gradient,) = gradients
        x, out, across, is_left = kept
        flat = gradient.to(out.dtype).permute(0, 2, 3, 1)
        _part(_lit(flat, out), *pairs(across, 1))
        across[:, x.shape[2] // 2 * 2 :] = 0  # an odd last row has no part in the maximum
        odd = x.shape[2] % 2 or x.shape[3] % 2
        to_input = torch.zeros_like(x) if odd else torch.empty_like(x)
        left, right = pairs(_bits(to_input).permute(0, 2, 3, 1), 2)
        torch.sub(across, torch.mul(is_left, across, out=left), out=right)
        return (to_input,)


def pairs(images: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every other row (1) or column (2) of (N, H, W, C) images, and those between; not an odd last."""
    even = images.narrow(dim, 0, images.shape[dim] // 2 * 2).unflatten(dim, (-1, 2))
    return even.select(dim + 1, 0), even.select(dim + 1, 1)


# The larger of two numbers, and the gradient back to the one it was. All of it on the bits of the
# numbers taken as integers, which a processor compares several times faster than bfloat16: positive
# numbers have the same order as their bits (and a ReLU makes nothing of the others), and a product
# of bits with 1 or 0 keeps or clears a number. In a window first the larger of each row, then the
# larger of these, so that of equal ones the first counts, as in PyTorch.
BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}


def _bits(values: torch.Tensor) -> torch.Tensor:
    return values.view(BITS[values.dtype])


def _ordered(bits: torch.Tensor) -> torch.Tensor:
    """Bits with those of negative numbers turned round, in their place; twice gives them again."""
    width = 8 * bits.element_size() - 1
    return bits.bitwise_xor_((bits >> width).bitwise_and_((1 << width) - 1))


def _larger(first: torch.Tensor, second: torch.Tensor, *, keep: bool) -> torch.Tensor:
    """The larger of two integers; if `keep`, 1 in the place of the first where it is the first."""
    larger = torch.maximum(first, second)
    if keep:
        first.eq_(larger)
    return larger


def _part(above: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> None:
    """Bits of a gradient for the one of two that it belongs to, in their places; 0 for the other."""
    torch.sub(above, first.mul_(above), out=second)


def _lit(gradient: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Bits of the gradient where the ReLU's output is positive, else 0."""
    return _bits(out).clamp_max(1).mul_(_bits(gradient))
