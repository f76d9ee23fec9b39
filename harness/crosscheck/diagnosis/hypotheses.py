"""Faults that an attack may have, each as a change of what our own implementation is given.

An attack with such a fault returns what ours returns under the change. So faults need not be
recognised by their looks: they are reproduced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from harness.core.lazy import Lazy
from harness.core.threat import Threat
from harness.crosscheck.diagnosis.viewed import (
    GRADIENTS,
    LOSSES,
    Viewed,
    climbing,
    only,
    reverse,
    rounded,
    softmax,
)
from harness.crosscheck.diagnosis.watching import watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from harness.core.registry import Plug
    from harness.crosscheck.diagnosis.viewed import Layer
    from harness.crosscheck.diagnosis.watching import Case
else:
    torch = Lazy("torch")

SAME = 2e-5  # of a pixel: the same image, but for rounding
REPRODUCED = 0.95  # of the rows, that a hypothesis must give bit for bit but for rounding
BETTER = 2  # rows, by which it must beat the run without a fault
NEAR = 0.002  # of eps, that its rounding to a few digits may take
FEW, HALF = 8, 0.5  # differing rows on which a hypothesis is tried first; the share it must give
NAMED = {1 / 255: "1/255", 255.0: "255", 0.5: "half", 2.0: "twice", 0.1: "a tenth of"}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that an attack may have.

    Args:
        name: in words.
        case: what our own implementation is given to show it.
        apart: whether a row does not depend on the others, so that a few can be tried first.
    """

    name: str
    case: Case
    apart: bool = True


def reproduced(reference: Plug, case: Case, raw: np.ndarray) -> str:
    """The fault under which the reference returns `raw`, or "".

    A fault that gives all rows comes before one that gives just those which are not ours already.

    Args:
        reference: our own implementation.
        case: what it was given.
        raw: (N, C, H, W) what the suspect returned.
    """
    same = match(reference, case, raw)
    few = torch.from_numpy(np.flatnonzero(~same)[:FEW])
    best, found = max(REPRODUCED, float(same.mean()) + BETTER / len(raw)) - 1e-12, ""
    partly = ""
    for fault in hypotheses(case, reference, raw):
        if fault.apart and match(reference, fault.case.take(few), raw[few]).mean() < HALF:
            continue
        alike = match(reference, fault.case, raw)
        if alike.all():
            return fault.name
        if alike.mean() > best:
            best, found = float(alike.mean()), fault.name
        if not partly and (~same).sum() >= BETTER and alike[~same].all():
            partly = f"{fault.name}, on {some(~same)} only"
    return found or partly


def some(chosen: np.ndarray) -> str:
    """Which rows are chosen, in words.

    >>> some(np.array([True, False, True, False]))
    'every second row'
    """
    rows, n = np.flatnonzero(chosen), len(chosen)
    count = f"{len(rows)} of {n} rows"
    if np.array_equal(rows, np.arange(len(rows))):
        return f"the first {count}"
    if np.array_equal(rows, np.arange(n - len(rows), n)):
        return f"the last {count}"
    if len(rows) >= n // 2 and (np.diff(rows) == 2).all():
        return "every second row"
    return count


def _run(reference: Plug, case: Case) -> np.ndarray | None:
    """What the reference returns, or None where the change is none that it takes."""
    if isinstance(case.model, Viewed):
        case = replace(case, model=case.model.renewed())
    try:
        return watch(reference, case).raw
    except Exception:  # noqa: BLE001 -- a change that it does not take reproduces nothing
        return None


def match(reference: Plug, case: Case, raw: np.ndarray) -> np.ndarray:
    """(N,) bool: rows of `raw` that the reference returns in a case."""
    ours = _run(reference, case)
    return np.zeros(len(raw), bool) if ours is None else rows_match(ours, raw)


def descending(case: Case) -> Case:
    """A case whose loss is descended: labels are then targets."""
    return replace(case, model=Viewed(case.model, after=reverse))


def hypotheses(case: Case, reference: Plug, raw: np.ndarray) -> Iterator[Fault]:
    """Every fault with the case that shows it, the simplest first."""
    yield from _directions(case)
    yield from _walks(case)
    yield from _balls(case, raw)
    yield from _labels(case)
    known = {one.name for one in reference.parameters}
    for (name, value), text in PARAMETERS.items():
        if name in known:
            changed = replace(case, params={**case.params, name: value})
            yield Fault(text, changed, apart=name != "reduction")
    yield from _views(case)
    yield from _gradients(case)


PARAMETERS: dict[tuple[str, str], str] = {
    (
        "reduction",
        "mean",
    ): "the loss is averaged over the batch: gradients of saturated rows underflow to zero",
    ("loss", "margin"): "another loss: the margin",
    ("loss", "dlr"): "another loss: DLR",
    ("keep", "first"): "stops at the first success",
    ("keep", "best"): "returns the best iterate, not the last",
}


def _directions(case: Case) -> Iterator[Fault]:
    for name, layer in (
        (FLIPPED, reverse),
        ("probabilities are fed as logits: the softmax is taken twice", softmax),
        ("a temperature: logits times 1000, so that the softmax saturates", lambda z: z * 1000),
        ("a temperature: logits times 100, so that the softmax saturates", lambda z: z * 100),
        ("a temperature: logits divided by 100", lambda z: z / 100),
        ("a temperature: logits times 10", lambda z: z * 10),
        ("a temperature: logits divided by 10", lambda z: z / 10),
        ("a temperature: logits doubled", lambda z: z * 2),
        ("a temperature: logits halved", lambda z: z / 2),
        ("logits are clamped to [-5, 5]", lambda z: z.clamp(-5, 5)),
        ("logits are clamped to [-1, 1]", lambda z: z.clamp(-1, 1)),
    ):
        yield Fault(name, replace(case, model=Viewed(case.model, after=layer)))
    for kind in ("float16", "bfloat16"):
        half = Viewed(case.model, after=rounded(kind))
        yield Fault(f"logits in half precision ({kind})", replace(case, model=half))
    towards = _targets(case)
    for name, labels in towards.items():
        model = Viewed(case.model, after=reverse)
        yield Fault(f"it is targeted at {name}", replace(case, model=model, y=labels))


def _walks(case: Case) -> Iterator[Fault]:
    """Other steps, and other lengths of a step."""
    steps = case.params.get("steps")
    if steps is None:
        return
    size = case.params.get("step_size") or 2.5 * case.threat.eps / steps
    counts = {"one step is missing": steps - 1, "one step too many": steps + 1}
    counts |= {"half the steps": steps // 2, "twice the steps": 2 * steps, "a single step": 1}
    for name, count in counts.items():
        if count >= 1:
            params = {**case.params, "steps": count, "step_size": size}
            yield Fault(f"{name}: {count} instead of {steps}", replace(case, params=params))
    lengths = {
        f"{factor:g} times the step": factor * size for factor in (0.5, 2.0, 0.1, 10.0, 1 / 255)
    }
    lengths |= {
        "steps of length eps": case.threat.eps,
        "steps of length eps / steps": case.threat.eps / steps,
        "steps of length 2 eps / steps": 2 * case.threat.eps / steps,
    }
    for name, length in lengths.items():
        if not math.isclose(length, size):
            params = {**case.params, "step_size": length}
            yield Fault(f"another step size: {name}", replace(case, params=params))


def _balls(case: Case, raw: np.ndarray) -> Iterator[Fault]:
    """Another radius, norm or centre."""
    eps, norm = case.threat.eps, case.threat.norm
    size = case.params.get("step_size") or 2.5 * eps / (case.params.get("steps") or 1)
    fixed = {**case.params, "step_size": size}
    if "steps" in case.params:
        text = "no projection on the ball round the clean image (none at all, or round the current iterate)"
        yield Fault(text, replace(case, threat=Threat(norm, math.inf), params=fixed))
    reached = case.threat.distance(torch.from_numpy(raw).to(case.x).double() - case.x.double())
    for factor in {float(f"{float(reached.max()) / eps:.6g}"), *NAMED}:
        if factor > 0 and abs(factor - 1) > NEAR:
            ball = Threat(norm, factor * eps)
            how = NAMED.get(factor, f"{factor:.4g} times")
            scaled = {**case.params, "step_size": factor * size}
            both = replace(case, threat=ball, params=scaled)
            yield Fault(f"eps is {how} what was asked, and so is the step", both)
            yield Fault(f"eps is {how} what was asked", replace(both, params=fixed))
    for other in ("linf", "l2", "l1"):
        if other != norm:
            ball = Threat(other, eps)
            yield Fault(f"the wrong norm: {other}", replace(case, threat=ball))
            yield Fault(f"the wrong norm: {other}", replace(case, threat=ball, params=fixed))
    if case.noise is not None:
        moved = replace(case, x=case.start, noise=None)
        yield Fault("projected round the start, not the clean image", moved)
        ignored = replace(case, noise=None)
        yield Fault("it ignores the start and begins at the clean image", ignored)
        for name, start in _starts(case.noise, eps).items():
            yield Fault(name, replace(case, noise=start), apart=False)


def _starts(noise: torch.Tensor, eps: float) -> dict[str, torch.Tensor]:
    """What may become of the start that was given."""
    return {
        "the start is halved": noise / 2,
        "the start is doubled": noise * 2,
        "the start is taken off the image, not added": -noise,
        "one start for all rows, that of the first": noise[:1].expand_as(noise),
        "the start of the row before": noise.roll(1, 0),
        "the start of the row after": noise.roll(-1, 0),
        "the start is pushed into the nearest corner of the ball": eps * noise.sign(),
    }


def _labels(case: Case) -> Iterator[Fault]:
    """Other labels than the true ones."""
    classes = case.model.num_classes
    with torch.no_grad():
        predicted = case.model(case.x).argmax(1)
    leaked = replace(case, y=predicted)
    yield Fault("labels leak: it uses the model's own predictions as labels (y=None)", leaked)
    for name, labels in {
        "labels counted from one": (case.y + 1) % classes,
        "labels one too low": (case.y - 1) % classes,
        "labels in reversed order of classes": classes - 1 - case.y,
        "labels of the row before: rows and labels do not match": case.y.roll(1),
        "labels of the row after: rows and labels do not match": case.y.roll(-1),
        "labels in reversed order of rows": case.y.flip(0),
        "one label for all rows": case.y[:1].expand_as(case.y),
        "the label 0 for all rows": torch.zeros_like(case.y),
    }.items():
        yield Fault(name, replace(case, y=labels))


def _targets(case: Case) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        ranked = case.model(case.x).argsort(1)
    return {"the least likely class": ranked[:, 0], "the second class": ranked[:, -2]}


def _views(case: Case) -> Iterator[Fault]:
    """A model that is shown the images otherwise than they are."""
    for name, change in TRANSFORMS.items():
        model = Viewed(case.model, before=change)
        yield Fault(f"the model is shown images {name}", replace(case, model=model))


def _gradients(case: Case) -> Iterator[Fault]:
    """A gradient that is changed on its way back to the images, from step to step."""
    for name, change in GRADIENTS.items():
        model = Viewed(case.model, passed=change)
        yield Fault(name, replace(case, model=model), apart="batch" not in name)
    for name in MOVES:
        turned = Viewed(case.model, passed=partial(_moved, TRANSFORMS[name]))
        yield Fault(f"the gradient comes back {name}", replace(case, model=turned))
    for name, loss in LOSSES.items():
        other = Viewed(case.model, after=climbing(loss, case.y))
        yield Fault(f"another loss: {name}", replace(case, model=other), apart=False)
    alone = Viewed(case.model, after=only(case.y))
    text = "another loss: the label's logit alone (a loss of log-probabilities fed with logits)"
    yield Fault(text, replace(case, model=alone), apart=False)


def _moved(change: Layer, gradient: torch.Tensor, _: list[torch.Tensor]) -> torch.Tensor:
    moved = change(gradient)
    return moved if moved.shape == gradient.shape else gradient


FLIPPED = "the sign is flipped: it descends the loss (as if targeted at the true label)"


TRANSFORMS: dict[str, Layer] = {
    "shifted by a pixel to the right": lambda z: z.roll(1, 3),
    "shifted by a pixel to the left": lambda z: z.roll(-1, 3),
    "shifted down by a pixel": lambda z: z.roll(1, 2),
    "shifted up by a pixel": lambda z: z.roll(-1, 2),
    "mirrored": lambda z: z.flip(3),
    "upside down": lambda z: z.flip(2),
    "transposed": lambda z: z.transpose(2, 3),
    "with channels reversed": lambda z: z.flip(1),
    "inverted": lambda z: 1 - z,
    "in [-1, 1] (normalised twice)": lambda z: 2 * z - 1,
    "standardised (normalised twice)": lambda z: (z - 0.1307) / 0.3081,
    "in units of 0-255": lambda z: z * 255,
    "divided by 255": lambda z: z / 255,
}
"""Changes of images that keep their shape (transposed: of square ones)."""
MOVES = tuple(TRANSFORMS)[:8]
"""Those that move pixels and leave their values: they may befall a gradient, too."""


def described(factor: float) -> str:
    """A factor in words where it has a name.

    >>> described(0.5)
    'half'
    """
    return next(
        (name for value, name in NAMED.items() if math.isclose(value, factor, rel_tol=0.01)),
        f"{factor:.3g} times",
    )


def rows_match(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) bool: rows of `a` and `b` that are the same image but for rounding."""
    return np.abs(a - b).reshape(len(a), -1).max(1) <= SAME
