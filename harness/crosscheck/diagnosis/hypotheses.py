"""Faults that an attack may have, each as a change of what our own implementation is given.

An attack with such a fault returns what ours returns under the change. So faults need not be
recognised by their looks: they are reproduced.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness.core.lazy import Lazy
from harness.core.threat import Threat
from harness.crosscheck.diagnosis.watching import watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from harness.core.registry import Plug
    from harness.core.types import Classifier
    from harness.crosscheck.diagnosis.watching import Case

    Layer = Callable[[torch.Tensor], torch.Tensor]
else:
    torch = Lazy("torch")

SAME = 2e-5  # of a pixel: the same image, but for rounding
REPRODUCED = 0.95  # of the rows, that a hypothesis must give bit for bit but for rounding
BETTER = 2  # rows, by which it must beat the run without a fault
FEW, HALF = 8, 0.5  # differing rows on which a hypothesis is tried first; the share it must give
NAMED = {1 / 255: "1/255", 255.0: "255", 0.5: "half", 2.0: "twice", 0.1: "a tenth of"}


def reproduced(reference: Plug, case: Case, raw: np.ndarray) -> str:
    """The fault under which the reference returns `raw`, or "".

    Args:
        reference: our own implementation.
        case: what it was given.
        raw: (N, C, H, W) what the suspect returned.
    """
    plain = _run(reference, case)
    same = np.zeros(len(raw), bool) if plain is None else rows_match(plain, raw)
    few = torch.from_numpy(np.flatnonzero(~same)[:FEW])
    best, found = max(REPRODUCED, float(same.mean()) + BETTER / len(raw)) - 1e-12, ""
    for name, changed in hypotheses(case, reference, raw):
        if "batch" not in name and _share(_run(reference, changed.take(few)), raw[few]) < HALF:
            continue
        share = _share(_run(reference, changed), raw)
        if share == 1:
            return name
        if share > best:
            best, found = share, name
    return found


def _run(reference: Plug, case: Case) -> np.ndarray | None:
    """What the reference returns, or None where the change is none that it takes."""
    try:
        return watch(reference, case).raw
    except Exception:  # noqa: BLE001 -- a change that it does not take reproduces nothing
        return None


def _share(ours: np.ndarray | None, theirs: np.ndarray) -> float:
    """Share of rows that are the same image."""
    if ours is None:
        return 0.0
    return float((np.abs(ours - theirs).reshape(len(ours), -1).max(1) <= SAME).mean())


def hypotheses(case: Case, reference: Plug, raw: np.ndarray) -> Iterator[tuple[str, Case]]:
    """Every fault with the case that shows it, the simplest first."""
    yield from _directions(case)
    yield from _walks(case)
    yield from _balls(case, raw)
    yield from _labels(case)
    known = {one.name for one in reference.parameters}
    for name, text in PARAMETERS.items():
        if name[0] in known:
            yield text, replace(case, params={**case.params, name[0]: name[1]})
    yield from _views(case)


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


def _directions(case: Case) -> Iterator[tuple[str, Case]]:
    for name, layer in (
        ("the sign is flipped: it descends the loss", _Reversed.reverse),
        ("probabilities are fed as logits: the softmax is taken twice", _softmax),
        ("a temperature: logits times 1000, so that the softmax saturates", lambda z: z * 1000),
        ("a temperature: logits times 100, so that the softmax saturates", lambda z: z * 100),
        ("a temperature: logits divided by 100", lambda z: z / 100),
    ):
        yield name, replace(case, model=Viewed(case.model, after=layer))
    half = Viewed(case.model, before=_half)
    yield (
        "gradients in half precision (float16): small ones underflow to zero",
        replace(case, model=half),
    )
    towards = _targets(case)
    for name, labels in towards.items():
        model = Viewed(case.model, after=_Reversed.reverse)
        yield f"it is targeted at {name}", replace(case, model=model, y=labels)


def _walks(case: Case) -> Iterator[tuple[str, Case]]:
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
            yield f"{name}: {count} instead of {steps}", replace(case, params=params)
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
            yield f"another step size: {name}", replace(case, params=params)


def _balls(case: Case, raw: np.ndarray) -> Iterator[tuple[str, Case]]:
    """Another radius, norm or centre."""
    eps, norm = case.threat.eps, case.threat.norm
    size = case.params.get("step_size") or 2.5 * eps / (case.params.get("steps") or 1)
    fixed = {**case.params, "step_size": size}
    if "steps" in case.params:
        text = "no projection on the ball round the clean image (none at all, or round the current iterate)"
        yield text, replace(case, threat=Threat(norm, math.inf), params=fixed)
    reached = case.threat.distance(torch.from_numpy(raw).to(case.x).double() - case.x.double())
    for factor in {float(f"{float(reached.max()) / eps:.4g}"), *NAMED}:
        if factor > 0 and abs(factor - 1) > 0.01:
            ball = Threat(norm, factor * eps)
            how = NAMED.get(factor, f"{factor:g} times")
            scaled = {**case.params, "step_size": factor * size}
            yield (
                f"eps is {how} what was asked, and so is the step",
                replace(case, threat=ball, params=scaled),
            )
            yield f"eps is {how} what was asked", replace(case, threat=ball, params=fixed)
    for other in ("linf", "l2", "l1"):
        if other != norm:
            yield f"the wrong norm: {other}", replace(case, threat=Threat(other, eps))
            yield f"the wrong norm: {other}", replace(case, threat=Threat(other, eps), params=fixed)
    if case.noise is not None:
        start = case.start
        yield "projected round the start, not the clean image", replace(case, x=start, noise=None)
        yield "it ignores the start and begins at the clean image", replace(case, noise=None)


def _labels(case: Case) -> Iterator[tuple[str, Case]]:
    """Other labels than the true ones."""
    classes = case.model.num_classes
    with torch.no_grad():
        predicted = case.model(case.x).argmax(1)
    yield (
        "labels leak: it uses the model's own predictions as labels (y=None)",
        replace(case, y=predicted),
    )
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
        yield name, replace(case, y=labels)


def _targets(case: Case) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        ranked = case.model(case.x).argsort(1)
    return {"the least likely class": ranked[:, 0], "the second class": ranked[:, -2]}


def _views(case: Case) -> Iterator[tuple[str, Case]]:
    """A model that is shown the images otherwise than they are."""
    for name, change in TRANSFORMS.items():
        model = Viewed(case.model, before=change)
        yield f"the model is shown images {name}", replace(case, model=model)


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


def _half(x: torch.Tensor) -> torch.Tensor:
    """`x`, whose gradient passes through float16."""
    seen = x.view_as(x)
    if seen.requires_grad:
        seen.register_hook(lambda gradient: gradient.half().to(gradient))
    return seen


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    return logits.softmax(1)


class Viewed:
    """A classifier with something before it, and something after it.

    Args:
        inner: the classifier.
        before: on the images.
        after: on the logits.
    """

    head = None

    def __init__(
        self, inner: Classifier, before: Layer | None = None, after: Layer | None = None
    ) -> None:
        self.num_classes, self.digest, self.module = inner.num_classes, inner.digest, inner.module
        self.inner, self.before, self.after = inner, before, after

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) logits."""
        logits = self.inner(x if self.before is None else self.before(x))
        return logits if self.after is None else self.after(logits)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """None are given: see `head`."""
        raise NotImplementedError


class _Reversed:
    """The identity, whose gradient is turned round."""

    @staticmethod
    def reverse(logits: torch.Tensor) -> torch.Tensor:
        """`logits`, with the gradient's sign flipped: 2 detach(z) - z has the value z, slope -1."""
        return 2 * logits.detach() - logits


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
