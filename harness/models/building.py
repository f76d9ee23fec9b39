"""Networks built by name, from a named stream of randomness."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from harness.core.registry import registry
from harness.core.rng import derive, global_state

if TYPE_CHECKING:
    from harness.core.types import Use
    from harness.models import Shape

Builder = Callable[[int], nn.Module]
"""Seed to a network with the fresh weights of that seed."""


def build(use: Use, *, num_classes: int, in_shape: Shape, seed: int) -> nn.Module:
    """A network with fresh weights: the same for the same seed, whatever was drawn before.

    Args:
        use: name and parameters of a plug of kind "network".
        num_classes: K outputs.
        in_shape: (C, H, W) of an image.
        seed: of the weights.

    Raises:
        UnknownName: no network of that name.
        InputError: it does not take these parameters.
        ModelError: it cannot be built so.
    """
    plug = registry.get("network", use.name).require()
    # Layers draw their weights from torch's global generator: lent a seed, and given back.
    with global_state(derive(seed, "weights")):
        return plug.function(num_classes, in_shape, **plug.complete(use.params))


def builder(use: Use, *, num_classes: int, in_shape: Shape) -> Builder:
    """`build` with everything but the seed."""
    return lambda seed: build(use, num_classes=num_classes, in_shape=in_shape, seed=seed)


def describe(network: nn.Module) -> dict[str, Any]:
    """Plain data about a network: number of parameters, and its layers that have any."""
    layers = [
        {
            "name": name,
            "type": type(layer).__name__,
            "shapes": [list(parameter.shape) for parameter in layer.parameters(recurse=False)],
            "parameters": sum(parameter.numel() for parameter in layer.parameters(recurse=False)),
        }
        for name, layer in network.named_modules()
        if any(True for _ in layer.parameters(recurse=False))
    ]
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "layers": layers,
    }
