"""What a training is told, and what it hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.training.health import Epoch, catastrophe

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]

Arithmetic = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how fast a network learns.

    Args:
        epochs: passes over the training split, >= 1.
        batch_size: images a step, >= 1.
        learning_rate: peak of the one-cycle schedule, > 0.
        weight_decay: decoupled (AdamW).
        arithmetic: of convolutions and products: "float32", or "bfloat16", which is mixed precision
            (`harness.training.arithmetic`). A plan takes "bfloat16" where the processor multiplies
            it natively.
    """

    epochs: int = 5
    batch_size: int = 128
    learning_rate: float = 5e-3
    weight_decay: float = 0.0
    arithmetic: Arithmetic = "float32"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One training from fresh weights to the last epoch, or to where it was stopped.

    Args:
        seed: of weights, order and recipe.
        pace: speed of the budget's ramp; 1 the first time.
        state: the last weights.
        history: one entry an epoch.
        collapsed: why it was stopped (check H90), or "".
    """

    seed: int
    pace: float
    state: State
    history: tuple[Epoch, ...]
    collapsed: str = ""

    @property
    def overfit(self) -> str:
        """How it overfitted catastrophically (check H91), or ""."""
        return catastrophe(self.history)


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network.

    Args:
        attempts: the first, and where it collapsed a second one with another seed. The first one
            counts; the second only shows whether the seed was to blame.
    """

    attempts: tuple[Attempt, ...]

    @property
    def state(self) -> State:
        """Weights of the first attempt, on the CPU."""
        return self.attempts[0].state

    @property
    def history(self) -> tuple[Epoch, ...]:
        """Epochs of the first attempt."""
        return self.attempts[0].history

    @property
    def facts(self) -> dict[str, Any]:
        """Plain data: parameters, flags of the checks H90 and H91, and all attempts."""
        return {
            "parameters": sum(tensor.numel() for tensor in self.state.values()),
            "flags": _flags(self.attempts[0]),
            "attempts": [
                {
                    "seed": attempt.seed,
                    "pace": attempt.pace,
                    "collapsed": attempt.collapsed,
                    "history": [dict(epoch) for epoch in attempt.history],
                }
                for attempt in self.attempts
            ],
        }


def _flags(attempt: Attempt) -> dict[str, str]:
    found = {"H90": attempt.collapsed, "H91": attempt.overfit}
    return {check: message for check, message in found.items() if message}
