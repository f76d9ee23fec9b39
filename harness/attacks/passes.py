# ruff: noqa: D102 -- `Op` says what forward and backward do
"""Forward and backward passes written out by hand, one operation a class.

What autograd spends beside the arithmetic of a small convolutional network is considerable: it
keeps indices of every maximum, pads one input channel to sixteen, and returns to NCHW between
layers. Here every operation knows its own gradient with respect to its inputs (weights get none),
images lie in channels_last, and the first layers, whose convolution has few input channels, become
matrix products of patches (`PatchPool`). `tracing` turns a network into a `Program` of these.

Imported inside functions only: torch is needed at the top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import nn

Tensors = tuple[torch.Tensor, ...]
aten = torch.ops.aten


class Op(Protocol):
    """One operation: values in, a value out, and what its gradient needs later."""

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[torch.Tensor | Tensors, Tensors]:
        """Output or outputs, and what `backward` wants to see (nothing unless `keep`)."""
        ...

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        """Gradient with respect to each input, from that with respect to each output."""
        ...


class Conv:
    """A convolution in channels_last."""

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype) -> None:
        self.weight = layer.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)
        self.stride, self.padding = list(layer.stride), _padding(layer)
        self.dilation, self.groups = list(layer.dilation), layer.groups

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[torch.Tensor, Tensors]:
        x = _last(given[0].to(self.weight.dtype))
        out = F.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )
        return out, (x,) if keep else ()

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        (gradient,) = gradients
        (x,) = kept
        to_input, _, _ = aten.convolution_backward(
            gradient.to(self.weight.dtype), x, self.weight, None, self.stride, self.padding,
            self.dilation, False, [0, 0], self.groups, [True, False, False],  # noqa: FBT003
        )  # fmt: skip
        return (to_input,)


class PatchPool:
    """Convolution of few input channels, maximum over 2 x 2, and ReLU, as one matrix product.

    A pooled value sees a patch one pixel larger than the filter. Each of the four places in its
    window is the patch times filters shifted within it, so that four products of shape
    (patches, pixels) x (pixels, filters) give four planes, whose maximum is the pooled layer.

    Several layers may read the same images, as in an ensemble: patches are cut and put back once.

    Args:
        layers: of one geometry; there is an output for each.
        dtype: of the arithmetic.
        relu: whether the positive part is taken.
    """

    def __init__(self, layers: Sequence[nn.Conv2d], dtype: torch.dtype, *, relu: bool) -> None:
        height, width = layers[0].kernel_size
        self.padding, self.patch, self.relu = _padding(layers[0]), (height + 1, width + 1), relu
        self.filters = [_Filters(layer, dtype) for layer in layers]
        self.dtype = dtype

    @staticmethod
    def suits(layer: nn.Conv2d) -> bool:
        """Whether the product costs less than the convolution that it replaces."""
        height, width = layer.kernel_size
        plain = layer.groups == 1 and set(layer.stride) == set(layer.dilation) == {1}
        return plain and layer.in_channels * (height + 1) * (width + 1) <= FEW

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[Tensors, Tensors]:
        patches, rows, columns = self._patches(given[0])
        flat, images, kept = patches.flatten(0, 2), [], [given[0]]
        for filters in self.filters:
            planes = map(_bits, filters.planes(flat))
            out, where = _largest(planes if self.relu else map(_ordered, planes), keep=keep)
            out = (out.clamp_min_(0) if self.relu else _ordered(out)).view(flat.dtype)
            images.append(out.view(len(given[0]), rows, columns, -1).permute(0, 3, 1, 2))
            kept += [out, *where]
        return tuple(images), tuple(kept) if keep else ()

    def _patches(self, x: torch.Tensor) -> tuple[torch.Tensor, int, int]:
        """(N, rows, columns, C * h * w) patches in steps of two, and their numbers."""
        above, left = self.padding
        height, width = self.patch
        padded = F.pad(x.to(self.dtype), (left, left, above, above))
        across = padded.unfold(2, height, 2).unfold(3, width, 2)  # (N, C, rows, columns, h, w)
        rows, columns = across.shape[2:4]
        return across.permute(0, 2, 3, 1, 4, 5).flatten(3), rows, columns

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        x, *kept_each = kept
        parts = None
        for filters, gradient in zip(self.filters, gradients, strict=True):
            (out, *where), kept_each = kept_each[:4], kept_each[4:]
            flat = gradient.to(out.dtype).permute(0, 2, 3, 1).reshape(out.shape)
            planes = _shared(_lit(flat, out) if self.relu else _bits(flat), where)
            parts = filters.back([plane.view(out.dtype) for plane in planes], parts)
        assert parts is not None
        above, left = self.padding
        height, width = x.shape[2] + 2 * above, x.shape[3] + 2 * left
        stacked = parts.float().view(len(x), -1, parts.shape[1]).transpose(1, 2)
        image = F.fold(stacked, (height, width), self.patch, stride=2)
        return (image[:, :, above : height - above, left : width - left],)


class _Filters:
    """The filters of a layer, shifted to the four places of a window in its patch."""

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype) -> None:
        weight = layer.weight.detach()
        filters, depth, height, width = weight.shape
        shifted = weight.new_zeros(2, 2, filters, depth, height + 1, width + 1)
        for down in (0, 1):
            for right in (0, 1):
                shifted[down, right, ..., down : down + height, right : right + width] = weight
        self.places = [place.to(dtype) for place in shifted.view(4, filters, -1)]  # (O, pixels)
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)

    def planes(self, flat: torch.Tensor) -> Iterator[torch.Tensor]:
        """(patches, filters) values at each place."""
        return (F.linear(flat, place, self.bias) for place in self.places)

    def back(self, planes: Sequence[torch.Tensor], parts: torch.Tensor | None) -> torch.Tensor:
        """(patches, pixels) gradient of the patches, added to `parts`."""
        for plane, place in zip(planes, self.places, strict=True):
            parts = plane @ place if parts is None else parts.addmm_(plane, place)
        assert parts is not None
        return parts


class PoolRelu:
    """Maximum over 2 x 2 windows side by side, and ReLU, of images in channels_last."""

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[torch.Tensor, Tensors]:
        x = _last(given[0])
        planes = [_bits(plane.contiguous()) for plane in _corners(x.permute(0, 2, 3, 1))]
        out, where = _largest(planes, keep=keep)
        out = out.clamp_min_(0).view(x.dtype)
        return out.permute(0, 3, 1, 2), (x, out, *where) if keep else ()

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        (gradient,) = gradients
        x, out, *where = kept
        flat = gradient.to(out.dtype).permute(0, 2, 3, 1)
        odd = x.shape[2] % 2 or x.shape[3] % 2
        to_input = torch.zeros_like(x) if odd else torch.empty_like(x)
        planes = _shared(_lit(flat, out), where)
        for corner, plane in zip(_corners(to_input.permute(0, 2, 3, 1)), planes, strict=True):
            corner.copy_(plane.view(out.dtype))
        return (to_input,)


def _corners(images: torch.Tensor) -> list[torch.Tensor]:
    """The four places of all 2 x 2 windows of (N, H, W, C) images; an odd last line has none."""
    height, width = images.shape[1] // 2 * 2, images.shape[2] // 2 * 2
    return [images[:, down:height:2, right:width:2] for down in (0, 1) for right in (0, 1)]


# Of four planes the largest, and its gradient back to the plane it came from. All of it on the bits
# of the numbers taken as integers, which a processor compares several times faster than bfloat16:
# positive numbers have the same order as their bits (and a ReLU makes nothing of the others), and a
# product of bits with 1 or 0 keeps or clears a number.
BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}


def _bits(values: torch.Tensor) -> torch.Tensor:
    return values.view(BITS[values.dtype])


def _ordered(bits: torch.Tensor) -> torch.Tensor:
    """Bits with those of negative numbers turned round, in their place; twice gives them again."""
    width = 8 * bits.element_size() - 1
    return bits.bitwise_xor_((bits >> width).bitwise_and_((1 << width) - 1))


def _largest(planes: Iterable[torch.Tensor], *, keep: bool) -> tuple[torch.Tensor, Tensors]:
    """Largest of four integers; if `keep`, 1 where the upper two, the first, the third hold it.

    Of equal ones the first counts, as in PyTorch. The planes are used up.
    """
    first, second, third, fourth = planes
    upper, lower = torch.maximum(first, second), torch.maximum(third, fourth)
    largest = torch.maximum(upper, lower)
    if not keep:
        return largest, ()
    first.eq_(upper)
    third.eq_(lower)
    return largest, (upper.eq_(largest), first, third)


def _lit(gradient: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Bits of the gradient where the ReLU's output is positive, else 0."""
    return _bits(out).clamp_max(1).mul_(_bits(gradient))


def _shared(above: torch.Tensor, where: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Bits of the gradient with respect to each of four planes; `where` is used up."""
    upper, first, third = where
    upper.mul_(above)
    lower = above - upper
    first.mul_(upper)
    third.mul_(lower)
    return [first, upper.sub_(first), third, lower.sub_(third)]


FEW = 64  # pixels in a patch: beyond, oneDNN's convolution of the same layer is as fast


class Pool:
    """Maximum over windows."""

    def __init__(self, window: Window) -> None:
        self.window = window

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[torch.Tensor, Tensors]:
        out, indices = aten.max_pool2d_with_indices(given[0], *self.window)
        return out, (given[0], indices) if keep else ()

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        (gradient,) = gradients
        x, indices = kept
        return (
            aten.max_pool2d_with_indices_backward(gradient.to(x.dtype), x, *self.window, indices),
        )


class Window(NamedTuple):
    """Where a pooling layer looks, as PyTorch spells it."""

    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    ceil: bool


class Relu:
    """Positive part."""

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[torch.Tensor, Tensors]:
        out = given[0].relu()
        return out, (out,) if keep else ()

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        (gradient,) = gradients
        (out,) = kept
        return (aten.threshold_backward(gradient.to(out.dtype), out, 0.0),)


class Dense:
    """A linear layer; with `shape`, of images that are flattened first.

    The weights are put in the order of channels_last, so that flattening moves nothing.
    """

    def __init__(
        self, layer: nn.Linear, dtype: torch.dtype, shape: tuple[int, ...] | None = None
    ) -> None:
        weight = layer.weight.detach()
        if shape is not None:
            weight = weight.view(-1, *shape).permute(0, 2, 3, 1).flatten(1)
        self.weight, self.shape = weight.to(dtype).contiguous(), shape
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[torch.Tensor, Tensors]:
        x = given[0].to(self.weight.dtype)
        if self.shape is not None:
            x = x.permute(0, 2, 3, 1).flatten(1)
        return F.linear(x, self.weight, self.bias), ()

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        (gradient,) = gradients
        del kept  # the gradient of a linear map is the same everywhere
        back = gradient.to(self.weight.dtype) @ self.weight
        if self.shape is None:
            return (back,)
        depth, height, width = self.shape
        return (back.view(-1, height, width, depth).permute(0, 3, 1, 2),)


class Add:
    """Sum of two values, as in a residual block."""

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[torch.Tensor, Tensors]:
        del keep
        return given[0] + given[1], ()

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        (gradient,) = gradients
        del kept
        return gradient, gradient


@dataclass(frozen=True, slots=True)
class Anything:
    """Whatever has no entry of its own: in float32, its gradient by autograd.

    Args:
        call: a function of the operation's inputs.
    """

    call: Callable[..., torch.Tensor]

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[torch.Tensor, Tensors]:
        if not keep:
            return self.call(*(x.float() for x in given)), ()
        with torch.enable_grad():
            inputs = tuple(x.detach().float().requires_grad_() for x in given)
            out = self.call(*inputs)
        return out.detach(), (*inputs, out)

    def backward(self, kept: Tensors, *gradients: torch.Tensor) -> Tensors:
        (gradient,) = gradients
        *inputs, out = kept
        return torch.autograd.grad(out, inputs, gradient.to(out.dtype), materialize_grads=True)


@dataclass(frozen=True, slots=True)
class Line:
    """One operation of a program, and the values (by number; 0 is the images) that it reads."""

    op: Op
    reads: tuple[int, ...]
    writes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A network as operations in order; the last one writes the logits."""

    lines: Sequence[Line]

    def forward(self, x: torch.Tensor, *, keep: bool) -> tuple[torch.Tensor, list[Tensors]]:
        """(N, K) float32 logits, and what `backward` needs."""
        values, kept = {0: x}, []
        for line in self.lines:
            given = (values[i] for i in line.reads)
            out, more = line.op.forward(*given, keep=keep)
            values.update(zip(line.writes, out if isinstance(out, tuple) else (out,), strict=True))
            kept.append(more)
        return values[self._last()].float(), kept

    def backward(self, kept: list[Tensors], gradient: torch.Tensor) -> torch.Tensor:
        """Gradient with respect to the images, from that with respect to the logits."""
        gradients = {self._last(): gradient}
        for line, saved in zip(reversed(self.lines), reversed(kept), strict=True):
            above = [gradients.pop(number) for number in line.writes if number in gradients]
            if not above:
                continue  # nothing that matters reads this value
            for i, part in zip(line.reads, line.op.backward(saved, *above), strict=True):
                gradients[i] = gradients[i] + part if i in gradients else part
        return gradients[0].float()

    def _last(self) -> int:
        return self.lines[-1].writes[0]


def _padding(layer: nn.Conv2d) -> list[int]:
    assert not isinstance(layer.padding, str)
    return list(layer.padding)


def _last(x: torch.Tensor) -> torch.Tensor:
    """`x` in channels_last, also where one channel leaves PyTorch in doubt."""
    x = x.contiguous(memory_format=torch.channels_last)
    if x.shape[1] > 1:
        return x
    _, depth, height, width = x.shape
    return x.as_strided(x.shape, (depth * height * width, 1, width * depth, depth))
