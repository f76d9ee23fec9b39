"""Leaves a model and the process as they were, whatever an attack does to them."""

from __future__ import annotations

import contextlib
import random
import sys
from typing import TYPE_CHECKING

import numpy as np

from harness.core.lazy import Lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import torch
    from torch import nn
else:
    torch = Lazy("torch")


@contextlib.contextmanager
def untouched(module: nn.Module) -> Generator[list[str]]:
    """Restore, also after an exception, what libraries are known to change.

    The training flag of every submodule, every parameter's gradient and whether it wants one,
    weights and buffers (batch-norm statistics), the global generators of torch, NumPy and Python,
    and the tracer (pyautoattack removes it, and coverage with it).

    Yields:
        Names of weights that had other values at the end; filled on leaving.
    """
    changed: list[str] = []
    restore = [_modes(module), _weights(module, changed), _gradients(module), _buffers(module), _generators(), _tracer()]  # fmt: skip
    try:
        yield changed
    finally:
        for undo in restore:
            undo()


def _modes(module: nn.Module) -> Callable[[], None]:
    modes = [(part, part.training) for part in module.modules()]

    def undo() -> None:
        for part, training in modes:
            part.training = training

    return undo


def _weights(module: nn.Module, changed: list[str]) -> Callable[[], None]:
    known = [(name, weight, weight.data, weight.detach().clone()) for name, weight in module.named_parameters()]  # fmt: skip

    def undo() -> None:
        for name, weight, storage, values in known:
            same = weight.data.dtype == values.dtype
            if not same or not torch.allclose(weight.data, values, 0, 0, equal_nan=True):
                changed.append(name)
                weight.data = storage.copy_(values)

    return undo


def _gradients(module: nn.Module) -> Callable[[], None]:
    known = [
        (
            weight,
            weight.requires_grad,
            weight.grad,
            None if weight.grad is None else weight.grad.clone(),
        )
        for weight in module.parameters()
    ]

    def undo() -> None:
        for weight, wanted, gradient, values in known:
            weight.requires_grad_(wanted)
            if gradient is not None and values is not None:
                gradient.copy_(values)
            weight.grad = gradient

    return undo


def _buffers(module: nn.Module) -> Callable[[], None]:
    known = [
        (part, name, buffer, buffer.clone())
        for part in module.modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]

    def undo() -> None:
        with torch.no_grad():
            for part, name, buffer, values in known:
                setattr(part, name, buffer.copy_(values))  # half() puts another in its place

    return undo


def _generators() -> Callable[[], None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 -- saved and restored
    ours = torch.random.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def undo() -> None:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.random.set_rng_state(ours)
        for device, state in enumerate(cuda):
            torch.cuda.set_rng_state(state, device)

    return undo


def _tracer() -> Callable[[], None]:
    tracer = sys.gettrace()

    def undo() -> None:
        if sys.gettrace() is not tracer:
            sys.settrace(tracer)

    return undo
