"""A model that the user brings: a function that makes the network, and a file of weights."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.core.errors import ModelError
from harness.core.rng import derive, global_state
from harness.models.classifiers import Frozen, freeze, state_digest
from harness.models.weights import fit_weights, load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from harness.models import Shape


def brought(
    factory: str,
    weights: str | Path | None = None,
    *,
    num_classes: int,
    in_shape: Shape,
    search: Path | None = None,
    device: str = "cpu",
) -> Frozen:
    """The user's model, frozen and checked.

    Args:
        factory: "package.module:function". The function is given `num_classes` and `in_shape`
            where it has parameters of these names, and must need no others.
        weights: file for `load_weights`; what the function made stays if None.
        num_classes: K of the data.
        in_shape: (C, H, W) of the data's images.
        search: folder to look for the module in besides the import path, for example the suite's.
        device: where it computes.

    Raises:
        ModelError: there is no such function, it fails or returns no network, the weights do not
            fit, or the network does not give finite (N, K) logits or changes itself in use.
    """
    with _importable(search):
        function = _find(factory)
        network = _make(factory, function, num_classes, in_shape)
    if weights is not None:
        fit_weights(network, load_weights(weights), str(weights))
    model = freeze(
        network, in_shape=in_shape, device=device, architecture=_origin(factory, function)
    )
    if model.num_classes != num_classes:
        raise ModelError(
            f"{factory} has {model.num_classes} outputs, but the data has {num_classes} classes: "
            "build the network for the data's classes (a parameter named num_classes is filled in)"
        )
    _check_use(factory, model, in_shape)
    return model


@contextlib.contextmanager
def _importable(folder: Path | None) -> Generator[None]:
    before = list(sys.path)
    if folder is not None:
        sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def _find(factory: str) -> Callable[..., object]:
    module_name, _, name = factory.partition(":")
    if not module_name or not name:
        raise ModelError(f"write a factory as package.module:function, got {factory!r}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"factory {factory}: there is no module {error.name!r} on the import path"
        ) from error
    except Exception as error:
        raise ModelError(f"factory {factory}: importing it raised {_said(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        found = "has no" if function is None else "has no callable"
        raise ModelError(f"factory {factory}: module {module_name} {found} {name!r}")
    return function


def _make(
    factory: str, function: Callable[..., object], num_classes: int, in_shape: Shape
) -> nn.Module:
    known = {"num_classes": num_classes, "in_shape": in_shape}
    given = {name: known[name] for name in _parameters(function) if name in known}
    try:
        with global_state(derive(0, "factory")):  # it may draw weights: nobody else's numbers
            network = function(**given)
    except (Exception, SystemExit) as error:
        raise ModelError(f"factory {factory} raised {_said(error)}") from error
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"factory {factory} returned a {type(network).__name__}, not a torch.nn.Module"
        )
    return network


def _parameters(function: Callable[..., object]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a builtin without a signature
        return ()


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _origin(factory: str, function: Callable[..., object]) -> str:
    """The factory's name, and the digest of the file that it stands in."""
    try:
        file = inspect.getsourcefile(function)
    except TypeError:
        file = None
    code = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else "unknown"
    return f"{factory} {code}"


def _check_use(factory: str, model: Frozen, in_shape: Shape) -> None:
    """Evaluation leaves the network as it is, and gives finite logits on black, grey and white."""
    module = model.module
    like = next(module.parameters(), torch.zeros(()))
    levels = torch.tensor([0.0, 0.5, 1.0], dtype=like.dtype, device=like.device)
    before = state_digest(module.state_dict())
    with torch.no_grad():
        logits = module(levels.repeat_interleave(math.prod(in_shape)).view(3, *in_shape))
    if not logits.isfinite().all():
        raise ModelError(f"{factory} gives NaN or infinite logits for images in [0, 1]")
    if any(part.training for part in module.modules()):
        raise ModelError(
            f"{factory} goes back to training mode when it is used: call no train() in forward"
        )
    if state_digest(module.state_dict()) != before:
        raise ModelError(
            f"{factory} changes its own weights or statistics in evaluation: every number would depend on the last"
        )
