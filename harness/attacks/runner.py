"""Runs an attack and believes nothing it says: the caller projects, checks and judges."""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.attacks.guard import untouched
from harness.core.errors import ContractViolation, InputError, ModelError
from harness.core.lazy import Lazy
from harness.core.rng import torch_rng
from harness.core.threat import diameter, per_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    import torch

    from harness.core.registry import Plug
    from harness.core.threat import Threat
    from harness.core.types import Classifier, Trace
else:
    torch = Lazy("torch")

ATTACK_BATCH = 256  # a power of two: dividing a gradient by it does not round (facts: mean and sum)
JUDGE_BATCH = 256
TOLERANCE = 1e-6  # of ball and box, in pixel units and relative to eps


@dataclass(frozen=True, slots=True)
class AttackOutcome:
    """What an attack achieved, by our own measurement.

    Args:
        x_adv: (N, C, H, W) float32 on the CPU, in ball and box.
        success: (N,) bool, wrong by our own forward pass; a sample that is wrong clean counts.
        prediction: (N,) int64 predicted label of x_adv.
        distance: (N,) float64 distance from x in the threat's norm, after projection.
        violations: samples that the attack left outside ball or box; projected before judging.
        worst: largest excess over ball or box before projection, in pixel units; 0 if none.
        unboxed: of the violations, samples with pixels outside [0, 1].
        astray: of the violations, samples that lie in another sample's ball.
        reach: largest distance from x before projection, in units of eps; 1 for an empty ball.
        claimed: (N,) bool, the attack's own claim of success, or None where it makes none.
        forwards: images passed forward per sample, judging not counted.
        backwards: gradients taken per sample.
        seconds: wall time of the attack and of judging it.
    """

    x_adv: torch.Tensor
    success: np.ndarray
    prediction: np.ndarray
    distance: np.ndarray
    violations: int
    worst: float
    unboxed: int
    astray: int
    reach: float
    claimed: np.ndarray | None
    forwards: float
    backwards: float
    seconds: float


def run_attack(
    plug: Plug,
    params: Mapping[str, Any],
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    seed: int,
    batch_size: int = ATTACK_BATCH,
    trace: Trace | None = None,
    noise: torch.Tensor | None = None,
) -> AttackOutcome:
    """Attack in batches, then clip to ball and box and decide success ourselves.

    The model and the process are left as they were. A crash of the attack is the caller's to see;
    clean images never stand in for an attack that failed. A plug returns x_adv, or a pair
    (x_adv, claimed) with the success that it claims.

    Args:
        plug: a plug of kind "attack".
        params: its YAML parameters; defaults are filled in.
        model: the classifier.
        x: (N, C, H, W) float32 images in [0, 1].
        y: (N,) int64 true labels.
        threat: ball; a radius of 0 is judged without an attack.
        seed: each batch draws from its own stream under it, by position.
        batch_size: samples the attack sees at once, see `batches`; an attack whose meta says
            `whole` sees all and splits them itself.
        trace: passed to our own attacks; concerns one batch, so N must not exceed `batch_size`.
        noise: (N, C, H, W) starts in place of the attack's own.

    Raises:
        InputError: images outside the box, labels that are none, or a norm the attack has not.
        ContractViolation: the attack returned another shape, type, or values that are not finite,
            or changed the model's weights (which are put back).
    """
    from harness.attacks.counting import Counted

    _validate(plug, model, x, y, threat)
    if trace is not None and len(x) > batch_size:
        raise InputError(f"a trace follows one batch: {len(x)} samples, batches of {batch_size}")
    began, counted = time.perf_counter(), Counted(model)
    call = partial(plug.require().function, **plug.complete(params))
    offered = _offer(plug, trace=trace, noise=noise)
    size = max(len(x), 1) if plug.meta.get("whole") else batch_size
    moved, claims = [], []
    with untouched(counted.module) as changed:
        for index, rows in enumerate(batches(len(x), size)):
            rng = torch_rng(seed, "attack", plug.name, index)
            mine = {**offered, "noise": noise[rows]} if noise is not None else offered
            z = x[rows].clone()
            if threat.eps > 0:
                z = call(counted, z, y[rows].clone(), threat, rng=rng, **mine)
            z, claimed = z if isinstance(z, tuple) else (z, None)
            moved.append(_checked(plug.name, z, x[rows]))
            claims.append(claimed)
    if changed:  # another model was attacked than the one that is judged
        raise ContractViolation(plug.name, "it changes the model's weights", f"{changed[0]}, ...")
    settled = settle(x, torch.cat(moved) if moved else x, threat, minimise=_minimises(plug))
    prediction = predict(model, settled.x)
    return AttackOutcome(
        x_adv=settled.x.cpu(),
        success=prediction != y.cpu().numpy(),
        prediction=prediction,
        distance=settled.distance,
        violations=settled.violations,
        worst=settled.worst,
        unboxed=settled.unboxed,
        astray=settled.astray,
        reach=settled.reach,
        claimed=_joined(claims),
        forwards=counted.forwards / max(len(x), 1),
        backwards=counted.backwards / max(len(x), 1),
        seconds=time.perf_counter() - began,
    )


def batches(samples: int, size: int) -> Iterator[slice]:
    """Slices of `size` that cover `samples` rows; a rest of less than half joins the last one.

    A rest by itself would take far longer a row, and more so if threads share it.

    >>> [(s.start, s.stop) for s in batches(9, 4)]
    [(0, 4), (4, 9)]
    >>> [(s.start, s.stop) for s in batches(10, 4)]
    [(0, 4), (4, 8), (8, 10)]
    """
    count = max(samples // size + (samples % size >= size / 2), min(samples, 1))
    return (
        slice(at * size, samples if at == count - 1 else (at + 1) * size) for at in range(count)
    )


def predict(model: Classifier, x: torch.Tensor) -> np.ndarray:
    """(N,) int64 predicted labels, always in batches of JUDGE_BATCH."""
    with torch.no_grad():
        found = [labels(model(x[rows])).cpu().numpy() for rows in batches(len(x), JUDGE_BATCH)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *found])


def labels(logits: torch.Tensor) -> torch.Tensor:
    """(N,) int64 largest of (N, K) logits; minus infinity may stand for a class that is ruled out.

    Raises:
        ModelError: there is no largest: PyTorch's argmax then answers all the same.
    """
    wild = ~logits.amax(1).isfinite()
    if bool(wild.any()):
        raise ModelError(
            f"logits are NaN or infinite for {int(wild.sum())} of {len(logits)} images: such an image is"
            " neither right nor wrong. Look for divisions by zero and logarithms of zero in the network"
        )
    return logits.argmax(1)


class Settled(NamedTuple):
    """Points in ball and box, and how far outside they came."""

    x: torch.Tensor
    distance: np.ndarray  # (N,) float64
    violations: int
    worst: float
    unboxed: int
    astray: int
    reach: float


def settle(
    x: torch.Tensor, moved: torch.Tensor, threat: Threat, *, minimise: bool = False
) -> Settled:
    """Bring points outside ball or box back in, and count them; measured in float64.

    A point within the tolerance keeps its bits: TOLERANCE relative to eps plus TOLERANCE absolute,
    or what float32 rounding of every pixel can add up to in the norm, if that is more.

    Args:
        x: (N, C, H, W) float32 images.
        moved: (N, C, H, W) what the attack made of them.
        threat: the ball.
        minimise: the attack seeks the smallest perturbation, so that leaving a ball that it was
            not given is no violation.
    """
    delta = moved.double() - x.double()
    beyond = threat.distance(delta) - threat.eps
    outside = torch.maximum(-moved, moved - 1).flatten(1).amax(1).double()
    rounding = diameter(threat.norm, x[0].numel() if len(x) else 1) * 2.0**-25
    far = beyond > TOLERANCE * threat.eps + max(TOLERANCE, rounding)
    off = outside > TOLERANCE
    guilty = off if minimise else far | off
    kept = moved.float().clamp(0, 1)
    settled = torch.where(per_row(far, x), threat.project(x, kept), kept)
    excess = torch.cat([beyond[guilty & far], outside[guilty & off]])
    return Settled(
        settled,
        threat.distance(settled.double() - x.double()).cpu().numpy(),
        int(guilty.sum()),
        float(excess.max()) if len(excess) else 0.0,
        int(off.sum()),
        _astray(x, moved, guilty, threat),
        1 + float(beyond.max()) / threat.eps if threat.eps and len(beyond) else 1.0,
    )


def _astray(x: torch.Tensor, moved: torch.Tensor, guilty: torch.Tensor, threat: Threat) -> int:
    """Guilty rows that lie in another row's ball; the first ATTACK_BATCH are looked at."""
    rows = guilty.nonzero()[:ATTACK_BATCH, 0]
    if not len(rows):
        return 0
    nearest = torch.cdist(moved[rows].flatten(1).to(x), x.flatten(1)).argmin(1)
    away = threat.distance(moved[rows] - x[nearest])
    return int(((nearest != rows) & (away <= threat.eps * (1 + TOLERANCE) + TOLERANCE)).sum())


def _minimises(plug: Plug) -> bool:
    return plug.meta.get("goal") == "minimise"


def _offer(plug: Plug, **supplied: object) -> dict[str, Any]:
    """What is supplied, once the plug is known to take it."""
    known = inspect.signature(plug.function).parameters
    given = {name: value for name, value in supplied.items() if value is not None}
    for name in given:
        if name not in known:
            raise InputError(f"attack {plug.name!r} takes no {name}")
    return given


def _joined(claims: list[torch.Tensor | None]) -> np.ndarray | None:
    known = [claim.cpu().numpy().astype(bool) for claim in claims if claim is not None]
    return np.concatenate(known) if known and len(known) == len(claims) else None


def _checked(name: str, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    if not isinstance(z, torch.Tensor):
        raise ContractViolation(name, f"must return a tensor, got {type(z).__name__}")
    if z.shape != x.shape:
        raise ContractViolation(name, f"must return shape {tuple(x.shape)}", str(tuple(z.shape)))
    if z.dtype not in (torch.float32, torch.float64):
        raise ContractViolation(name, "must return float32 or float64", str(z.dtype))
    bad = int((~z.isfinite()).flatten(1).any(1).sum())
    if bad:
        raise ContractViolation(name, "must return finite images", f"{bad} of {len(z)} are not")
    return z.detach()


def _validate(
    plug: Plug, model: Classifier, x: torch.Tensor, y: torch.Tensor, threat: Threat
) -> None:
    norms = plug.meta.get("norms", (threat.norm,))
    if threat.norm not in norms:
        raise InputError(f"attack {plug.name!r} knows {', '.join(norms)}, not {threat.norm}")
    validate_samples(x, y, model.num_classes)


def validate_samples(x: torch.Tensor, y: torch.Tensor, classes: int) -> None:
    """Refuse images or labels that are not what every attack here assumes.

    Raises:
        InputError: another type or shape, a pixel outside [0, 1], a label outside [0, classes).
    """
    if x.dtype != torch.float32 or x.ndim != 4:
        raise InputError(f"x must be float32 (N, C, H, W), got {x.dtype} {tuple(x.shape)}")
    if y.dtype != torch.int64 or y.shape != (len(x),):
        raise InputError(f"y must be int64 ({len(x)},), got {y.dtype} {tuple(y.shape)}")
    if len(x) and not (float(x.min()) >= 0 and float(x.max()) <= 1):
        low, high = float(x.min()), float(x.max())
        raise InputError(f"pixels must lie in [0, 1], got [{low:.3g}, {high:.3g}]")
    if len(y) and not (int(y.min()) >= 0 and int(y.max()) < classes):
        raise InputError(f"labels must lie in [0, {classes}), got {int(y.min())} to {int(y.max())}")
