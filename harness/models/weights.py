"""Weights on disk: written as safetensors, read also from PyTorch files, never by running code."""

from __future__ import annotations

import io
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from safetensors import SafetensorError

from harness.core.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

State = dict[str, torch.Tensor]
SAVE = "save the weights alone, with safetensors.torch.save_file(model.state_dict(), path)"


def weights_bytes(state: Mapping[str, torch.Tensor]) -> bytes:
    """A state dict as a safetensors file; equal states give equal bytes."""
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(state.items())}
    )


def save_weights(path: str | Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write a state dict as a safetensors file."""
    Path(path).write_bytes(weights_bytes(state))


def load_weights(path: str | Path) -> State:
    """The state dict in a file: safetensors, or a PyTorch file that holds nothing but tensors.

    PyTorch files are read with its restricted unpickler, which runs no code from the file.

    Raises:
        ModelError: there is no such file, it is damaged, it holds anything but tensors by name, or
            it is a pickle with code in it.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"no weights file {path}")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    return _tensors(path, _restricted_unpickle(path))


def _safetensors(path: Path) -> State:
    try:
        return safetensors.torch.load(path.read_bytes())
    except SafetensorError as error:
        raise ModelError(f"{path} is no safetensors file: {error}") from None


def _restricted_unpickle(path: Path) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):  # about protocols that it may not know
            return torch.load(  # noqa: TID251 -- the restricted unpickler; this is the one caller
                io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True
            )
    except pickle.UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|global:?|class) ([\w.]+\.[\w.]+)", str(error))
        name = f" ({found[1]})" if found else ""
        raise ModelError(
            f"{path} is a pickle with code in it{name}, or damaged: refused, and nothing in it was run; {SAVE}"
        ) from None
    except Exception as error:
        raise ModelError(
            f"{path} cannot be read as weights: {_first_line(error)}; {SAVE}"
        ) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _tensors(path: Path, found: object) -> State:
    if not isinstance(found, Mapping):
        raise ModelError(f"{path} holds a {type(found).__name__}, not tensors by name; {SAVE}")
    others = [str(name) for name, value in found.items() if not isinstance(value, torch.Tensor)]
    if others or not found:
        holds = f"{', '.join(others[:5])} beside tensors" if others else "nothing"
        raise ModelError(f"{path} holds {holds}, not a plain state dict; {SAVE}")
    return {str(name): tensor.detach() for name, tensor in found.items()}


def fit_weights(network: nn.Module, state: Mapping[str, torch.Tensor], source: str = "") -> None:
    """Put the weights `state` into `network`.

    Args:
        network: changed in place.
        state: tensors by name, all of the network's and no others.
        source: where they come from, for the message.

    Raises:
        ModelError: names or shapes do not match; the message lists them.
    """
    own = network.state_dict()
    shapes = [
        f"{name} is {tuple(state[name].shape)}, the network's {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    faults = {
        "missing": sorted(own.keys() - state.keys()),
        "unexpected": sorted(state.keys() - own.keys()),
        "of another shape": sorted(shapes),
    }
    said = [f"{what}: {', '.join(names)}" for what, names in faults.items() if names]
    if said:
        raise ModelError(f"weights {source or 'given'} do not fit the network; {'; '.join(said)}")
    network.load_state_dict(dict(state))
