"""How a network's images lie in memory.

Imported inside functions only: torch is needed at the top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn


def channels_last(network: nn.Module, x: torch.Tensor) -> nn.Module:
    """`network` itself, whose filters now make its convolutions keep their images in channels_last.

    That spares reordering them in every layer. A network that views its activations as rows, with
    `x.view(len(x), -1)`, cannot work so, and stays as it was.

    Args:
        network: with its filters in the usual order.
        x: (N, C, H, W) a few images that it takes.
    """
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        network.to(memory_format=torch.channels_last)
        with torch.no_grad():
            network(x)
    except (RuntimeError, ValueError, TypeError, IndexError):  # others show in the next pass, too
        network.to(memory_format=torch.contiguous_format)
    for part, training in modes:
        part.training = training
    return network
