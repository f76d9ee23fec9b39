"""Networks of one architecture side by side, as one network.

Small networks do not fill a GPU; M of them in one batch do. Rows take turns: row r of a batch
belongs to member r mod M, so that any slice whose ends are multiples of M holds the same rows of
every member.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from harness.core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stack(nn.Module):
    """M networks of equal architecture; parameters are stacked along a first axis of M.

    Args:
        networks: at least one, without buffers; they stay as they are.

    Raises:
        ModelError: no networks, or networks with buffers, whose updates would be lost.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        if not networks or any(True for network in networks for _ in network.buffers()):
            raise ModelError("a stack takes at least one network, and none with buffers")
        stacked, _ = stack_module_state(list(networks))
        self.members = len(networks)
        # A dot may not stand in a parameter's name.
        self.names = {name.replace(".", "-"): name for name in stacked}
        self.stacked = nn.ParameterDict(
            {key: nn.Parameter(stacked[name].detach().clone()) for key, name in self.names.items()}
        )
        self._form = [networks[0]]  # in a list, so that its parameters are not registered

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) outputs of (N, ...) inputs, row r by member r mod M; N is a multiple of M."""

        def one(parameters: dict[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
            return functional_call(self._form[0], parameters, (rows,))

        parameters = {name: self.stacked[key] for key, name in self.names.items()}
        rows = x.view(-1, self.members, *x.shape[1:])
        return vmap(one, in_dims=(0, 1), out_dims=1)(parameters, rows).flatten(0, 1)

    def states(self) -> list[dict[str, torch.Tensor]]:
        """The members' state dicts, as copies."""
        return [
            {name: self.stacked[key].detach()[i].clone() for key, name in self.names.items()}
            for i in range(self.members)
        ]
