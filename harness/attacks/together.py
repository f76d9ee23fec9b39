"""An ensemble of equal networks as one network, so that small members fill a GPU.

Imported inside functions only: it defines a torch module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from harness.models import Ensemble, log_mean_softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.core.types import Classifier


class Together(nn.Module):
    """M networks of one architecture on the same images, each layer of all of them in one call.

    On a CPU that is no gain: there the members' passes are written out one after another
    (`tracing`), which measured twice as fast.

    Args:
        networks: at least one; they stay as they are, and share nothing with this one.

    Raises:
        RuntimeError: their architectures differ.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self._form = [networks[0]]  # in a list, so that its parameters are not registered twice
        parameters, buffers = stack_module_state(list(networks))
        self.names: dict[str, str] = {}
        for name, values in {**parameters, **buffers}.items():
            key = name.replace(".", "-")  # a dot may not stand in a buffer's name
            self.names[key] = name
            self.register_buffer(key, values.detach().clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) log mean probabilities of (N, C, H, W) images."""

        def one(state: dict[str, torch.Tensor]) -> torch.Tensor:
            return functional_call(self._form[0], state, (x,))

        state = {name: getattr(self, key) for key, name in self.names.items()}
        return log_mean_softmax(vmap(one)(state).unbind())


def together(model: Classifier) -> Together | None:
    """The members of an ensemble as one network; None for a single network or unequal members."""
    if not isinstance(model, Ensemble) or len({repr(member.module) for member in model}) > 1:
        return None
    return Together([member.module for member in model])
