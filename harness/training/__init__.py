"""The one training loop: networks from images, by a recipe.

    from harness.models import builder, freeze
    from harness.training import Settings, train

    fresh = builder(Use("lenet5"), num_classes=10, in_shape=(1, 28, 28))
    trained = train(fresh, training, held_out, [Use("pgd", {"eps": 0.3})], Settings(epochs=4), seed=0)
    model = freeze(fresh(0), trained.state)

Images lie in memory as one tensor, a batch is one gather, and Adam follows a one-cycle schedule.
All randomness comes from streams named under the seed, so that equal seeds give equal bits on one
thread, and nothing that others draw is shifted. Always the last epoch's weights are kept.

The passes of learning are in float32 or in mixed precision (`Settings.arithmetic`, `arithmetic`):
a plan takes the latter where the processor multiplies bfloat16 natively, by the rule that attacks
search by. What the history says of held-out images is judged in float32 either way.

Training attacks ask for gradients with respect to the images only (parameters ask for none
meanwhile), in float32, by autograd on a copy whose first convolution has a cheap one
(`harness.models.thin`). In bfloat16 autograd takes as long for these.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.attacks.gradients import keep_memory
from harness.core.rng import derive
from harness.recipes import compose
from harness.training.health import catastrophe, chance
from harness.training.types import Arithmetic, Attempt, Settings, Trained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.core.types import Split, Use
    from harness.models import Builder
    from harness.training.course import Course

__all__ = [
    "Arithmetic",
    "Attempt",
    "Progress",
    "Settings",
    "Trained",
    "catastrophe",
    "chance",
    "train",
    "train_many",
]

Progress = Callable[[float, float], None]
"""Told the share of the work that is done, in [0, 1], and the seconds left."""


def train(
    build: Builder,
    data: Split,
    held_out: Split,
    steps: Sequence[Use],
    settings: Settings,
    *,
    seed: int,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Trained:
    """A network trained by a recipe; see `train_many`.

    Args:
        build: seed to fresh network, see `harness.models.builder`.
        data: images and labels to learn from.
        held_out: images and labels that are only looked at, for the history.
        steps: the recipe; none trains plainly.
        settings: epochs, batch size, learning rate, weight decay.
        seed: of everything random.
        device: where it computes.
        progress: told now and then how far it is.

    Raises:
        DataError: a split has no labels, or no images.
        InputError: the recipe cannot be.
    """
    return train_many(
        build, data, held_out, steps, settings, seeds=[seed], device=device, progress=progress
    )[0]


def train_many(
    build: Builder,
    data: Split,
    held_out: Split,
    steps: Sequence[Use],
    settings: Settings,
    *,
    seeds: Sequence[int],
    device: str = "cpu",
    stacked: bool | None = None,
    progress: Progress | None = None,
) -> list[Trained]:
    """Networks that differ in nothing but the seed, trained beside one another.

    On the CPU one after the other over the same images: each has the bits that it has alone. On a
    GPU they are stacked to one network, so that small ones fill it: the same order of images and
    the same weights at the start, equal to rounding where the recipe draws nothing.

    Args:
        build: seed to fresh network.
        data: see `train`.
        held_out: see `train`.
        steps: see `train`.
        settings: see `train`.
        seeds: one a network.
        device: where it computes.
        stacked: whether to stack; None stacks on a GPU only. Stacked networks take no buffers.
        progress: see `train`.
    """
    from harness.training.course import Course  # torch comes with it

    keep_memory()
    course = Course.of(data, held_out, compose(steps), settings, device)
    together = device != "cpu" if stacked is None else stacked
    groups = [list(seeds)] if together and len(seeds) > 1 else [[seed] for seed in seeds]
    trained: list[Trained] = []
    for index, group in enumerate(groups):
        clock = _Clock(progress, index, len(groups))
        for attempt in _attempt(build, course, group, clock):
            again = _again(build, course, attempt, clock) if attempt.collapsed else ()
            trained.append(Trained((attempt, *again)))
    return trained


def _again(
    build: Builder, course: Course, collapsed: Attempt, clock: _Clock
) -> tuple[Attempt, ...]:
    """Once more from the next seed, with the attack's budget growing half as fast."""
    seed = derive(collapsed.seed, "again")
    return tuple(_attempt(build, course, [seed], clock, pace=collapsed.pace / 2))


def _attempt(
    build: Builder, course: Course, seeds: list[int], clock: _Clock, pace: float = 1.0
) -> list[Attempt]:
    """Train from the fresh weights of each seed."""
    from harness.training.run import Run

    clock.start()
    run = Run([build(seed) for seed in seeds], course, seeds, pace)
    for epoch in range(1, course.settings.epochs + 1):
        run.epoch(epoch, clock.tick)
        if run.stopped():
            break
    return [
        Attempt(seed, pace, state, tuple(history), collapsed)
        for seed, state, history, collapsed in zip(
            seeds, run.states(), run.history, run.collapsed, strict=True
        )
    ]


class _Clock:
    """Tells a listener how far a group of networks is, about a hundred times."""

    def __init__(self, progress: Progress | None, index: int, groups: int) -> None:
        self.progress, self.index, self.groups = progress, index, groups
        self.started = 0.0

    def start(self) -> None:
        self.started = time.monotonic()

    def tick(self, step: int, steps: int) -> None:
        if self.progress is None or step % max(1, steps // 100):
            return
        done = step / steps
        left = (time.monotonic() - self.started) * (1 / done - 1 + self.groups - 1 - self.index)
        self.progress((self.index + done) / self.groups, left)
