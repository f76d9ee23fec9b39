"""What happens to a batch before a network learns from it: augmentations and attacks, in order.

    train: []                                              # plain
    train: [{use: pgd, eps: 0.3}]                          # adversarial training
    train: [cutout, {use: pgd, eps: 0.3, portion: 0.5}]    # augment, then attack
    train: [{use: fgsm, eps: 0.3, portion: 0.5}, mixup]    # attack, then augment

A recipe is a list of steps, and a step is a plug of kind "recipe", batch to batch. There is one
training loop (harness.training); no recipe has a loop or a loss of its own. Augmentations are
`(batch, *, <parameters>, rng)`. Attacks are registered with `attack=True` and are
`(batch, *, eps, norm, portion, ramp, <parameters>, model, progress, rng)`; they change the attacked
part of the batch only. The order of the list decides what a step sees:

- Augment, then attack: `(x', y') = augment(x, y)`; the attack searches the ball round x' and climbs
  the loss on y', so that it may fill CutOut's squares again.
- Attack, then augment: `x' = attack(x, y)`, then the augmentation: squares stay zero, and MixUp
  mixes attacked images.

The named portion of each batch is attacked and the rest is only augmented; MixUp's partners come
from the same part. Rows of a batch are in random order, so its first rows are a random portion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.attacks.gradients import slope
from harness.core.errors import InputError
from harness.core.lazy import Lazy
from harness.core.parameters import POSITIVE
from harness.core.registry import registry
from harness.core.threat import Threat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from harness.core.types import Use

    Model = Callable[[torch.Tensor], torch.Tensor]
else:
    torch = Lazy("torch")

SUPPLIED = ("model", "progress", "rng")


@dataclass(frozen=True, slots=True)
class Batch:
    """What a network is about to learn from.

    Args:
        x: (N, C, H, W) images in [0, 1].
        y: (N, K) probabilities of the classes: one-hot labels, until something mixes them.
        attacked: the first so many rows are the part that an attack changes.
    """

    x: torch.Tensor
    y: torch.Tensor
    attacked: int = 0

    def parts(self) -> tuple[slice, slice]:
        """Rows of the attacked part and of the rest; either may be empty."""
        return slice(0, self.attacked), slice(self.attacked, len(self.x))


# ---------------------------------------------------------------- augmentations


@registry.register("recipe", "cutout", supplied=SUPPLIED, attack=False)
def cutout(batch: Batch, *, count: int = 1, size: int = 14, rng: torch.Generator) -> Batch:
    """CutOut: squares set to zero, their centres uniform over the image, cut at its border.

    Args:
        batch: what to change.
        count: squares an image, >= 0.
        size: side of a square in pixels, >= 0.
        rng: draws the centres.

    Source: DeVries and Taylor, arXiv:1708.04552.
    """
    if count < 0 or size < 0:
        raise InputError(f"cutout takes count and size of at least 0, got {count} and {size}")
    images, _, height, width = batch.x.shape
    tall = _covered(images, count, height, size, rng)
    wide = _covered(images, count, width, size, rng)
    hidden = (tall[:, :, :, None] & wide[:, :, None, :]).any(1, keepdim=True)
    return replace(batch, x=batch.x.masked_fill(hidden.to(batch.x.device), 0))


def _covered(images: int, count: int, side: int, size: int, rng: torch.Generator) -> torch.Tensor:
    """(images, count, side) bool: which of `side` pixels an interval round a random one covers."""
    start = torch.randint(side, (images, count, 1), generator=rng) - size // 2
    pixels = torch.arange(side)
    return (pixels >= start) & (pixels < start + size)


@registry.register("recipe", "mixup", supplied=SUPPLIED, attack=False, bounds={"alpha": POSITIVE})
def mixup(batch: Batch, *, alpha: float = 0.5, rng: torch.Generator) -> Batch:
    """MixUp: each image and its label mixed with a partner's, `w a + (1 - w) b`.

    Each pair has a weight w of its own from Beta(alpha, alpha) (the authors' code draws one a
    batch). Partners are a random permutation of the same part of the batch.

    Args:
        batch: what to change.
        alpha: strength, > 0; the larger, the nearer the weights are to a half.
        rng: draws partners and weights.

    Source: Zhang et al., arXiv:1710.09412, equation 1.
    """
    if not alpha > 0:
        raise InputError(f"mixup takes an alpha above 0, got {alpha}")
    partner = torch.cat(
        [
            part.start + torch.randperm(part.stop - part.start, generator=rng)
            for part in batch.parts()
        ]
    ).to(batch.x.device)
    weight = _beta(alpha, len(batch.x), rng).to(batch.x)
    return replace(batch, x=_mixed(batch.x, partner, weight), y=_mixed(batch.y, partner, weight))


def _mixed(values: torch.Tensor, partner: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    share = weight.view(-1, *[1] * (values.ndim - 1))
    return share * values + (1 - share) * values[partner]


def _beta(alpha: float, count: int, rng: torch.Generator) -> torch.Tensor:
    """(count,) float64 draws of Beta(alpha, alpha)."""
    # torch's own Beta draws from the global generator only.
    seed = int(torch.randint(2**62, (), generator=rng))
    return torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).beta(alpha, alpha, count))


# ---------------------------------------------------------------- attacks


@registry.register("recipe", "fgsm", supplied=SUPPLIED, attack=True)
def fgsm(
    batch: Batch,
    *,
    eps: float = 0.1,
    norm: Literal["linf", "l2", "l1"] = "linf",
    portion: float = 1.0,
    ramp: float = 0.25,
    restarts: Literal[0, 1] = 0,
    model: Model,
    progress: float,
    rng: torch.Generator,
) -> Batch:
    """Adversarial training with the fast gradient sign method: one step of length eps.

    Args:
        batch: what to change.
        eps: budget in [0, 1] pixel units.
        norm: of the ball.
        portion: share of the batch that is attacked, in [0, 1]; read before the first step.
        ramp: share of the training over which the budget grows from 0 to eps.
        restarts: 0 steps from x itself, 1 from a uniform point of the ball.
        model: the network as it is in this step.
        progress: share of the training that is done, in [0, 1].
        rng: draws the starts.

    Source: Goodfellow et al., arXiv:1412.6572; with a random start Wong et al., arXiv:2001.03994.
    """
    now = eps * grown(ramp, progress)
    return _attack(batch, Threat(norm, now), model, rng, steps=1, step_size=now, restarts=restarts)


@registry.register("recipe", "pgd", supplied=SUPPLIED, attack=True)
def pgd(
    batch: Batch,
    *,
    eps: float = 0.1,
    norm: Literal["linf", "l2", "l1"] = "linf",
    steps: int = 5,
    step_size: float | None = None,
    portion: float = 1.0,
    ramp: float = 0.25,
    restarts: Literal[0, 1] = 1,
    model: Model,
    progress: float,
    rng: torch.Generator,
) -> Batch:
    """Adversarial training with projected gradient descent; see `fgsm` for the other arguments.

    Args:
        batch: what to change.
        eps: budget in [0, 1] pixel units.
        norm: of the ball.
        steps: gradient steps, >= 1.
        step_size: length of a step in pixel units; 2.5 * eps / steps if None, and it grows with
            the budget either way.
        portion: share of the batch that is attacked.
        ramp: share of the training over which the budget grows.
        restarts: 0 starts at x itself, 1 at a uniform point of the ball.
        model: the network as it is in this step.
        progress: share of the training that is done.
        rng: draws the starts.

    Source: Madry et al., arXiv:1706.06083.
    """
    if steps < 1:
        raise InputError(f"pgd takes at least 1 step, got {steps}")
    size = 2.5 * eps / steps if step_size is None else step_size
    share = grown(ramp, progress)
    return _attack(
        batch,
        Threat(norm, share * eps),
        model,
        rng,
        steps=steps,
        step_size=share * size,
        restarts=restarts,
    )


def grown(ramp: float, progress: float) -> float:
    """Share of its budget that an attack has at `progress`, in [0, 1].

    >>> grown(0.25, 0.125), grown(0.25, 0.5), grown(0.0, 0.0)
    (0.5, 1.0, 1.0)
    """
    return min(1.0, progress / ramp) if ramp > 0 else 1.0


def _attack(
    batch: Batch,
    threat: Threat,
    model: Model,
    rng: torch.Generator,
    *,
    steps: int,
    step_size: float,
    restarts: int,
) -> Batch:
    """`batch` with its attacked part climbed on the cross-entropy of (soft) labels."""
    part, rest = batch.parts()
    x, y = batch.x[part], batch.y[part]
    if len(x) == 0 or threat.eps == 0:
        return batch
    point = threat.sample(x, rng) if restarts else x
    for _ in range(steps):
        gradient = slope(model, point, y, "ce").gradient
        point = threat.project(x, point + step_size * threat.steepest(gradient))
    return replace(batch, x=torch.cat([point, batch.x[rest]]))


# ---------------------------------------------------------------- the list of steps


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a recipe.

    Args:
        name: of the plug.
        function: the plug.
        params: its parameters, defaults filled in.
        attack: whether it attacks.
    """

    name: str
    function: Callable[..., Batch]
    params: Mapping[str, Any]
    attack: bool

    def __call__(
        self, batch: Batch, *, model: Model, progress: float, rng: torch.Generator
    ) -> Batch:
        """The batch after this step."""
        if self.attack:
            return self.function(batch, **self.params, model=model, progress=progress, rng=rng)
        return self.function(batch, **self.params, rng=rng)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Steps in order; made by `compose`."""

    steps: tuple[Step, ...] = ()

    @property
    def attack(self) -> Step | None:
        """The step that attacks, if there is one."""
        return next((step for step in self.steps if step.attack), None)

    @property
    def threat(self) -> Threat | None:
        """The ball that the network is trained against."""
        if self.attack is None:
            return None
        return Threat(self.attack.params["norm"], self.attack.params["eps"])

    @property
    def ramp(self) -> float:
        """Share of the training over which the budget grows; 0 without an attack."""
        return self.attack.params["ramp"] if self.attack else 0.0

    def attacked(self, images: int) -> int:
        """How many of a batch of `images` are attacked."""
        return round(self.attack.params["portion"] * images) if self.attack else 0

    def __call__(
        self, batch: Batch, *, model: Model, progress: float, rngs: Sequence[torch.Generator]
    ) -> Batch:
        """What the network learns from, in place of `batch`.

        Args:
            batch: images in random order with one-hot labels, the first of them to be attacked.
            model: the network as it is; its parameters should ask for no gradients meanwhile.
            progress: share of the training that is done, in [0, 1].
            rngs: one generator a step, so that no step shifts the numbers of another.
        """
        for step, rng in zip(self.steps, rngs, strict=True):
            batch = step(batch, model=model, progress=progress, rng=rng)
        return batch


def compose(uses: Sequence[Use]) -> Recipe:
    """The recipe of a list of steps.

    Raises:
        UnknownName: no step of that name.
        InputError: a step does not take its parameters, a share is outside [0, 1], or two steps
            attack: which part either changes would be anyone's guess.
    """
    steps: list[Step] = []
    for use in uses:
        plug = registry.get("recipe", use.name).require()
        params = plug.complete(use.params)
        steps.append(Step(plug.name, plug.function, params, bool(plug.meta["attack"])))
    attacks = [step for step in steps if step.attack]
    if len(attacks) > 1:
        raise InputError(f"one attack a recipe, got {' and '.join(step.name for step in attacks)}")
    for step in attacks:
        _check_attack(step)
    return Recipe(tuple(steps))


def _check_attack(step: Step) -> None:
    for share in ("portion", "ramp"):
        if not 0 <= step.params[share] <= 1:
            raise InputError(f"{step.name}: {share} is a share in [0, 1], got {step.params[share]}")
    Threat(step.params["norm"], step.params["eps"])
