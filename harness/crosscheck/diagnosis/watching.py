"""One run of an attack, watched: what it returns before projection, and what it shows to the model."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.attacks import run_attack
from harness.core.lazy import Lazy

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch
    from torch import nn

    from harness.core.registry import Plug
    from harness.core.threat import Threat
    from harness.core.types import Classifier
else:
    torch = Lazy("torch")


@dataclass(frozen=True)
class Case:
    """What all runs of a diagnosis share, unless a hypothesis changes it.

    Args:
        model: the classifier.
        x: (N, C, H, W) images in [0, 1].
        y: (N,) labels.
        threat: the ball.
        params: of the reference plug.
        seed: of draws.
        noise: (N, C, H, W) the start that lockstep gave, or None.
    """

    model: Classifier
    x: torch.Tensor
    y: torch.Tensor
    threat: Threat
    params: Mapping[str, Any]
    seed: int = 0
    noise: torch.Tensor | None = None

    @property
    def start(self) -> torch.Tensor:
        """Where the attack was told to begin."""
        return self.x if self.noise is None else (self.x + self.noise).clamp(0, 1)

    def take(self, rows: torch.Tensor) -> Case:
        """The same for some rows."""
        noise = None if self.noise is None else self.noise[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], noise=noise)


@dataclass(frozen=True)
class Seen:
    """What a watched run did.

    Args:
        raw: (N, C, H, W) float64 images as returned, neither projected nor clipped.
        walk: every batch of N rows that it shows to the model, in order.
        training: whether the model was in training mode at a pass.
        gradients: gradients taken a sample.
    """

    raw: np.ndarray
    walk: tuple[np.ndarray, ...]
    training: bool
    gradients: float

    @property
    def shown(self) -> np.ndarray | None:
        """The first batch that it shows to the model, or None if there is none of N rows."""
        return self.walk[0] if self.walk else None


class Watched:
    """A classifier that remembers the batches of all rows that it is shown, and its mode."""

    def __init__(self, inner: Classifier, rows: int) -> None:
        self.num_classes, self.digest, self.head = inner.num_classes, inner.digest, inner.head
        self.inner, self.rows = inner, rows
        self.walk: list[np.ndarray] = []
        self.training = self.attacked = False

    @property
    def module(self) -> nn.Module:
        """The plain network."""
        return self.inner.module

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) logits."""
        self.training |= any(part.training for part in self.module.modules())
        if self.attacked and len(x) == self.rows:
            self.walk.append(x.detach().double().cpu().numpy())
        return self.inner(x)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Features of the network within."""
        return self.inner.features(x)


def watch(plug: Plug, case: Case) -> Seen:
    """Run an attack as the cross-check does, and remember what is lost there.

    Raises:
        Exception: whatever the attack raises.
    """
    returned: list[torch.Tensor] = []

    @functools.wraps(plug.function)
    def recorded(*given: Any, **named: Any) -> Any:  # noqa: ANN401 -- an attack's own signature
        watched.attacked = True
        found = plug.function(*given, **named)
        watched.attacked = False  # what follows is our own judging
        returned.append((found[0] if isinstance(found, tuple) else found).detach())
        return found

    known = {one.name for one in plug.parameters}
    watched = Watched(case.model, len(case.x))
    found = run_attack(
        replace(plug, function=recorded),
        {name: value for name, value in case.params.items() if name in known},
        watched,
        case.x,
        case.y,
        case.threat,
        seed=case.seed,
        batch_size=len(case.x),
        noise=case.noise,
    )
    raw = torch.cat(returned).double().cpu().numpy()
    return Seen(raw, tuple(watched.walk), watched.training, found.backwards)
