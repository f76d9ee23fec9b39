"""Implementations of one attack, run on the same images of the same model.

Lockstep: one spec translated completely to each library, from the same start, all images in one
batch, so that the adversarial images must be equal. Native: each library as its users call it at
the same budget, with its own start.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.attacks import run_attack
from harness.core.errors import MissingLibrary
from harness.core.lazy import Lazy
from harness.core.registry import registry
from harness.core.rng import torch_rng

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from harness.core.registry import Plug
    from harness.core.threat import Threat
    from harness.core.types import Classifier
else:
    torch = Lazy("torch")

Outcome = Literal["ok", "missing", "failed", "not comparable"]

# What lockstep fixes, by concept: none leaves a random start or a stop of its own. Concepts that are
# not here have no form in which two libraries must agree step by step.
LOCKSTEP: dict[str, dict[str, Any]] = {
    "fgsm": {"restarts": 0},
    "pgd": {"restarts": 0, "loss": "ce"},
    "bim": {},
    "mifgsm": {"decay": 1.0},
}


@dataclass(frozen=True, slots=True)
class Ran:
    """What one implementation did.

    Args:
        implementation: "harness", "foolbox", ...
        outcome: "ok", or why there is nothing to compare.
        reason: in words, unless ok.
        params: everything it ran with.
        x_adv: (N, C, H, W) float32, in ball and box; empty unless ok.
        success: (N,) bool, wrong by our own forward pass.
        distance: (N,) float64.
        violations: rows it left outside ball or box.
        worst: by how much, in pixel units.
        reach: largest distance before projection, in units of eps.
        unboxed: rows it left outside the box.
        astray: rows it left in another row's ball.
        claimed_wrongly: rows whose claimed success is not so; None where it claims nothing.
        seconds: wall time.
        forwards: images passed forward a sample.
        backwards: gradients a sample.
        cause: where it differs from ours for no known reason: the probable one.
        own: whether it kept settings that its users get where the others have common ones.
    """

    implementation: str
    outcome: Outcome
    reason: str = ""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    x_adv: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    success: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    distance: np.ndarray = field(default_factory=lambda: np.zeros(0))
    violations: int = 0
    worst: float = 0.0
    reach: float = 1.0
    unboxed: int = 0
    astray: int = 0
    claimed_wrongly: int | None = None
    seconds: float = 0.0
    forwards: float = 0.0
    backwards: float = 0.0
    cause: str = ""
    own: bool = False


def implementations(concept: str, norm: str) -> list[Plug]:
    """Every attack plug of a concept that takes a norm, ours first."""
    plugs = [plug for plug in registry.plugs("attack") if plug.concept == concept]
    return [plug for plug in plugs if norm in plug.meta.get("norms", ())]


def lockstep(
    plugs: list[Plug],
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    spec: Mapping[str, Any],
    seed: int,
    random_start: bool,
) -> Iterator[Ran]:
    """Run every implementation with one spec, from one start, in one batch.

    Args:
        plugs: of one concept.
        model: the classifier.
        x: (N, C, H, W) images in [0, 1]; N a power of two keeps mean and sum of a loss alike.
        y: (N,) labels.
        threat: the ball; a step is 2.5 eps / steps long.
        spec: parameters that all share; lockstep fixes start and step besides.
        seed: of the start.
        random_start: whether all start from one uniform point of the ball instead of x itself.
    """
    whole = spelled(plugs[0].concept, spec, threat)
    noise = start(x, threat, seed) if random_start else None
    for plug in plugs:
        if noise is not None and not plug.meta.get("start", plug.library is None):
            yield Ran(plug.implementation, "not comparable", "takes no start from outside")
            continue
        yield _ran(plug, whole, model, x, y, threat, seed=seed, noise=noise)


def spelled(concept: str, spec: Mapping[str, Any], threat: Threat) -> dict[str, Any]:
    """All parameters of a lockstep run: the shared ones, the step, and what the concept fixes."""
    return {**spec, "step_size": 2.5 * threat.eps / spec["steps"], **LOCKSTEP[concept]}


def native(
    plugs: list[Plug],
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    spec: Mapping[str, Any],
    shared: Mapping[str, Any],
    seed: int,
) -> Iterator[Ran]:
    """Run every implementation as its users call it, at the same budget and steps.

    Args:
        plugs: of one concept.
        model: the classifier.
        x: (N, C, H, W) images in [0, 1].
        y: (N,) labels.
        threat: the ball.
        spec: the common budget of steps and queries; a library whose users can't set it, or get
            another, says so in the `native` of its plug's meta.
        shared: parameters that all of them must have, whatever their users get.
        seed: of the run.
    """
    for plug in plugs:
        kept = {k: v for k, v in plug.meta.get("native", {}).items() if k not in shared}
        whole = {**spec, **kept, **shared}
        ran = _ran(plug, whole, model, x, y, threat, seed=seed, noise=None)
        yield replace(ran, own=bool(kept))


def start(x: torch.Tensor, threat: Threat, seed: int) -> torch.Tensor:
    """(N, C, H, W) noise of a uniform point of the ball round each image."""
    return threat.sample(x, torch_rng(seed, "crosscheck", "start")) - x


def _ran(
    plug: Plug,
    spec: Mapping[str, Any],
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    seed: int,
    noise: torch.Tensor | None,
) -> Ran:
    """One implementation; a crash is an outcome, never clean images."""
    known = {parameter.name for parameter in plug.parameters}
    params = {name: value for name, value in spec.items() if name in known}
    try:
        found = run_attack(
            plug, params, model, x, y, threat, seed=seed, batch_size=len(x), noise=noise
        )
    except MissingLibrary as error:
        return Ran(plug.implementation, "missing", str(error))
    except Exception as error:  # noqa: BLE001 -- whatever a library raises is its verdict
        return Ran(plug.implementation, "failed", f"{type(error).__name__}: {error}", params)
    wrongly = None if found.claimed is None else int((found.claimed & ~found.success).sum())
    return Ran(
        plug.implementation,
        "ok",
        params=plug.complete(params),
        x_adv=found.x_adv.numpy(),
        success=found.success,
        distance=found.distance,
        violations=found.violations,
        worst=found.worst,
        reach=found.reach,
        unboxed=found.unboxed,
        astray=found.astray,
        claimed_wrongly=wrongly,
        seconds=found.seconds,
        forwards=found.forwards,
        backwards=found.backwards,
    )


def conditions(
    model: Classifier, x: torch.Tensor, y: torch.Tensor, ran: list[Ran]
) -> dict[str, int]:
    """On how many images each condition of the catalogue holds (`catalogue.CONDITIONS`).

    Args:
        model: the classifier.
        x: (N, C, H, W) the images that were attacked, in one batch.
        y: (N,) labels.
        ran: what became of them.
    """
    from harness.attacks.gradients import slope

    with torch.no_grad():
        logits = model(x)
    others = logits.scatter(1, y[:, None], float("inf"))
    gradient = slope(model, x, y, "ce").gradient.flatten(1)
    certain = logits.softmax(1).amax(1) == 1
    n, pixels = len(x), x.flatten(1)
    succeeded = [one.success for one in ran if one.outcome == "ok"]
    return {
        "zero-gradient": int((gradient == 0).all(1).sum()),
        "odd-batch": n if n & (n - 1) else 0,
        "clipped-pixels": int(((pixels == 0) | (pixels == 1)).any(1).sum()),
        "negative-logits": int((others < 0).any(1).sum()),
        "misclassified": int((logits.argmax(1) != y).sum()),
        "failures": max((int((~success).sum()) for success in succeeded), default=0),
        "several-rows": n if n > 1 else 0,
        "saturated": int(certain.sum()),
    }
