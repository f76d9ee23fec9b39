"""What a gradient attack climbs: per-sample losses of logits, higher = nearer to a mistake.

All three are unchanged when a constant is added to a row of logits, so log-probabilities do too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.core.errors import InputError
from harness.core.lazy import Lazy
from harness.core.threat import TINY

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    import torch.nn.functional as F

    LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
else:
    torch = Lazy("torch")
    F = Lazy("torch.nn.functional")

Loss = Literal["ce", "margin", "dlr"]


def cross_entropy(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(N,) negative log-probability of the true class, in nats."""
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(N,) largest other logit minus the true one: positive = wrong.

    Source: Carlini and Wagner, arXiv:1608.04644 (the difference inside their f_6, sign reversed).
    """
    true = logits.gather(1, y[:, None]).squeeze(1)
    return runner_up(logits, y) - true


def runner_up(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(N,) largest logit among the wrong classes."""
    return logits.scatter(1, y[:, None], -torch.inf).amax(1)


def dlr(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(N,) difference of logits ratio: the margin over the gap between first and third logit.

    Unchanged when logits are scaled, too, so a saturated model cannot hide behind it.

    Raises:
        InputError: fewer than three classes.

    Source: Croce and Hein, arXiv:2003.01690, equation 6.
    """
    if logits.shape[1] < 3:
        raise InputError(f"the dlr loss needs at least 3 classes, got {logits.shape[1]}")
    ordered, classes = logits.sort(1)
    on_top = (classes[:, -1] == y).to(logits.dtype)
    true = logits.gather(1, y[:, None]).squeeze(1)
    other = ordered[:, -2] * on_top + ordered[:, -1] * (1 - on_top)
    return -(true - other) / (ordered[:, -1] - ordered[:, -3] + TINY)


def log_odds(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(N,) log-odds of being wrong: log-sum-exp of the other logits minus the true one.

    Cross-entropy is log(1 + exp(this)), so both rise in the same directions and rank points alike;
    but the gradient of this one never vanishes, where that of cross-entropy is exactly zero once
    the softmax rounds to one (in float32 from a margin of 17 on).
    """
    true = logits.gather(1, y[:, None]).squeeze(1)
    return logits.scatter(1, y[:, None], -torch.inf).logsumexp(1) - true


LOSSES: dict[Loss, LossFunction] = {
    "ce": cross_entropy,
    "margin": margin,
    "dlr": dlr,
}
DIRECTIONS: dict[Loss, LossFunction] = {**LOSSES, "ce": log_odds}
"""As LOSSES, where only the direction of the gradient and the order of the points count."""
