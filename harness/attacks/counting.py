"""A classifier that counts the images that pass through it, forward and back.

Imported inside functions only: it defines a torch module.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

if TYPE_CHECKING:
    from harness.core.types import Classifier

_COUNTING = threading.Lock()  # several threads may climb (`crew`); a counter's own can't be copied


class Counted:
    """`classifier`, with a count of images forward and of images whose gradient was taken.

    Its `module` is a plain nn.Module that counts too, so that a wrapped library is counted whichever
    of the two it calls.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.num_classes, self.digest = classifier.num_classes, classifier.digest
        self.inner = classifier
        self.forwards = 0
        self.backwards = 0
        self.module: nn.Module = _Gate(self)

    @property
    def head(self) -> nn.Linear | None:
        """The last linear layer, or None."""
        return self.inner.head

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) logits."""
        return self.watch(x, self.inner(x))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, D) input of the last linear layer."""
        return self.watch(x, self.inner.features(x))

    def watch(self, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Count `out` now, and again for every gradient that flows back through it."""
        self.note(forwards=len(x), backwards=0)
        if out.requires_grad and x.requires_grad:
            out.register_hook(self._back)
        return out

    def note(self, *, forwards: int, backwards: int) -> None:
        """Count passes, also those that someone else made through the same network."""
        with _COUNTING:
            self.forwards += forwards
            self.backwards += backwards

    def _back(self, gradient: torch.Tensor) -> None:
        self.note(forwards=0, backwards=len(gradient))


class _Gate(nn.Module):
    """The counted network as a module; the network itself is its only child."""

    def __init__(self, counted: Counted) -> None:
        super().__init__()
        self.network = counted.inner.module
        self._counted = counted

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", self._counted(x))
