# ruff: noqa: D102 -- `Op` says what forward and backward do
"""Forward and backward passes written out by hand, one operation a class.

What autograd spends beside the arithmetic of a small convolutional network is considerable: it
keeps indices of every maximum, pads one input channel to sixteen, and returns to NCHW between
layers. Here every operation knows its own gradient with respect to its inputs (weights get none),
images lie in channels_last, and pooling by two has loops of its own, with the convolution before it
where that pays (`pooled`, `kernels`). `tracing` turns a network into a `Program` of these.

Imported inside functions only: torch is needed at the top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        self.stride, self.padding = list(layer.stride), padding(layer)
        self.dilation, self.groups = list(layer.dilation), layer.groups

    def forward(self, *given: torch.Tensor, keep: bool) -> tuple[torch.Tensor, Tensors]:
        x = last(given[0].to(self.weight.dtype))
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
        if not out.requires_grad:  # a threshold, a constant: autograd, too, looks past it
            return tuple(torch.zeros_like(x) for x in inputs)
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


def padding(layer: nn.Conv2d) -> list[int]:
    """Rings of zeros above and left of its images."""
    assert not isinstance(layer.padding, str)
    return list(layer.padding)


def last(x: torch.Tensor) -> torch.Tensor:
    """`x` in channels_last, also where one channel leaves PyTorch in doubt."""
    x = x.contiguous(memory_format=torch.channels_last)
    if x.shape[1] > 1:
        return x
    _, depth, height, width = x.shape
    return x.as_strided(x.shape, (depth * height * width, 1, width * depth, depth))
