"""One training, step by step: of a single network, or of several that are stacked."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from harness.core.rng import torch_rng
from harness.models import channels_last, thin
from harness.models.stack import Stack
from harness.recipes import Batch, Step, pgd
from harness.training.arithmetic import Passes
from harness.training.health import WINDOW, Epoch, chance
from harness.training.optimiser import AdamW

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from torch import nn

    from harness.core.threat import Threat
    from harness.training.course import Course
    from harness.training.types import State

WARM_UP, LOWEST = 0.3, 0.04  # of the one-cycle schedule: share of the steps, first rate over peak
PROBE_STEPS = 10


def one_cycle(progress: float) -> float:
    """Share of the peak learning rate at `progress` in [0, 1]: up, then down, along cosines.

    Source: the schedule of Smith and Topin, arXiv:1708.07120, as cosines.

    >>> [round(one_cycle(p), 3) for p in (0.0, 0.3, 0.65, 1.0)]
    [0.04, 1.0, 0.5, 0.0]
    """
    if progress < WARM_UP:
        return LOWEST + (1 - LOWEST) * (1 - math.cos(math.pi * progress / WARM_UP)) / 2
    return (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


class Run:
    """M networks under training: a single one, or members of a stack.

    Args:
        networks: with fresh weights; trained in place where there is one, else copied.
        course: images, recipe and settings.
        seeds: one a network, for the order of its images. The recipe draws from streams of the
            first, over all members at once.
        pace: speed at which the attack's budget grows.
    """

    def __init__(
        self, networks: Sequence[nn.Module], course: Course, seeds: Sequence[int], pace: float
    ) -> None:
        self.course, self.pace, self.members = course, pace, len(networks)
        settings, steps = course.settings, course.recipe.steps
        self.network, self.attacked = _to_train(networks, course.x[:2])
        self.learnt = Passes(self.network, settings.arithmetic)
        self.climbed = Passes(self.attacked, "float32")
        self.optimiser = AdamW(self.network.parameters(), settings.weight_decay)
        self.orders = [torch_rng(seed, "order") for seed in seeds]
        self.rngs = [torch_rng(seeds[0], "recipe", i, step.name) for i, step in enumerate(steps)]
        self.probe_rng = torch_rng(seeds[0], "probe")
        self.step = 0
        self.seen: list[torch.Tensor] = []
        self.history: list[list[Epoch]] = [[] for _ in seeds]
        self.collapsed = ["" for _ in seeds]

    def states(self) -> list[State]:
        """The members' weights, on the CPU."""
        network = self.network
        states = network.states() if isinstance(network, Stack) else [network.state_dict()]
        return [
            {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
            for state in states
        ]

    def stopped(self) -> bool:
        """Whether every member has collapsed."""
        return all(self.collapsed)

    def epoch(self, epoch: int, tick: Callable[[int, int], None]) -> None:
        """One pass over the images, and what the history says of it."""
        self._mode(training=True)
        first = len(self.seen)
        for rows in self._batches():
            self.seen.append(self._learn(rows.to(self.course.x.device)))
            self.step += 1
            self._judge()
            tick(self.step, self.course.steps)
            if self.stopped():
                break
        self._mode(training=False)
        self._record(epoch, torch.stack(self.seen[first:]).mean(0))

    def _mode(self, *, training: bool) -> None:
        for network in (self.network, self.attacked):
            network.train(training)

    def _batches(self) -> Sequence[torch.Tensor]:
        """Image numbers in random order; row r of a batch is for member r mod M."""
        images = len(self.course.x)
        order = torch.stack([torch.randperm(images, generator=rng) for rng in self.orders], 1)
        return order.flatten().split(self.course.settings.batch_size * self.members)

    def _learn(self, rows: torch.Tensor) -> torch.Tensor:
        """One step of the optimiser; (2, M) mean loss and accuracy on what was learnt from."""
        progress, size = self.step / self.course.steps, len(rows) // self.members
        batch = self._prepared(rows, size, progress)
        logits = self.learnt(batch.x)
        losses = F.cross_entropy(logits, batch.y, reduction="none")
        self.optimiser.forget()
        (losses.sum() / size).backward()
        self.optimiser.step(self.course.settings.learning_rate * one_cycle(progress))
        hits = logits.detach().argmax(1) == batch.y.argmax(1)
        both = torch.stack([losses.detach(), hits.to(losses.dtype)])
        return both.view(2, size, self.members).mean(1)

    def _prepared(self, rows: torch.Tensor, size: int, progress: float) -> Batch:
        """The images `rows` and their labels, once the recipe has been over them."""
        course = self.course
        batch = Batch(course.x[rows], course.y[rows], course.recipe.attacked(size) * self.members)
        with _no_gradients(self.network):
            return course.recipe(
                batch, model=self.climbed, progress=progress * self.pace, rngs=self.rngs
            )

    def _judge(self) -> None:
        """Check H90, every fifty steps once there is something to judge."""
        if self.step % WINDOW or self.step < self.course.judged_from(self.pace):
            return
        losses, accuracies = torch.stack(self.seen[-WINDOW:]).mean(0).tolist()
        for member, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True)):
            said = chance(loss, accuracy, self.course.classes)
            if said and not self.collapsed[member]:
                self.collapsed[member] = f"stopped after {self.step} steps: {said}"

    def _record(self, epoch: int, means: torch.Tensor) -> None:
        course = self.course
        found = {"loss": means[0], "accuracy": means[1]}
        found["val_accuracy"] = self._accuracy(course.val_x, course.val_y)
        attack, threat = course.recipe.attack, course.recipe.threat
        if attack is not None and threat is not None and course.probes(epoch):
            x, y = course.val_x[course.probe], course.val_y[course.probe]
            found["attack_accuracy"] = self._accuracy(x, y, attack)
            found["probe_accuracy"] = self._accuracy(x, y, _probe(threat))
        for member, history in enumerate(self.history):
            numbers = {name: round(float(values[member]), 6) for name, values in found.items()}
            history.append({"epoch": epoch, **numbers})

    def _accuracy(
        self, x: torch.Tensor, y: torch.Tensor, attack: Step | None = None
    ) -> torch.Tensor:
        """(M,) accuracy on images, attacked at the full budget where there is an attack."""
        size = self.course.settings.batch_size
        hits: list[torch.Tensor] = []
        for images, labels in zip(x.split(size), y.split(size), strict=True):
            rows = images.repeat_interleave(self.members, 0)
            if attack is not None:
                rows = self._attacked(rows, labels.repeat_interleave(self.members), attack)
            with torch.no_grad():
                guess = self.network(rows).argmax(1).view(-1, self.members)
            hits.append(guess == labels[:, None])
        return torch.cat(hits).float().mean(0)

    def _attacked(self, x: torch.Tensor, y: torch.Tensor, attack: Step) -> torch.Tensor:
        batch = Batch(x, F.one_hot(y, self.course.classes).to(x), len(x))
        with _no_gradients(self.network):
            return attack(batch, model=self.climbed, progress=1.0, rng=self.probe_rng).x


def _probe(threat: Threat) -> Step:
    params = {"eps": threat.eps, "norm": threat.norm, "steps": PROBE_STEPS, "ramp": 0.0}
    return Step("probe", pgd, params, attack=True)


def _to_train(networks: Sequence[nn.Module], x: torch.Tensor) -> tuple[nn.Module, nn.Module]:
    """The network to train (a stack, if there are several), and the one that attacks look at.

    Both have the same parameters; the second has cheap gradients with respect to the images, and
    dearer ones with respect to the weights.
    """
    if len(networks) > 1:
        stack = Stack(networks).to(x.device)
        return stack, stack
    network = channels_last(networks[0].to(x.device), x)
    return network, thin(network) if x.device.type == "cpu" else network


@contextlib.contextmanager
def _no_gradients(network: nn.Module) -> Generator[None]:
    """Parameters that ask for no gradients meanwhile."""
    network.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        network.requires_grad_(requires_grad=True)
