"""With which labels, and by which attack, images like the suspect's come about."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness.core.lazy import Lazy
from harness.core.registry import registry
from harness.crosscheck.attacks import LOCKSTEP
from harness.crosscheck.diagnosis.hypotheses import REPRODUCED, descending, match

if TYPE_CHECKING:
    import torch

    from harness.core.registry import Plug
    from harness.crosscheck.diagnosis.watching import Case
else:
    torch = Lazy("torch")

MANY = 20  # classes, each of which costs two runs
TITLES = {
    "fgsm": "a single step (FGSM)",
    "pgd": "plain PGD",
    "bim": "BIM, which takes no start",
    "mifgsm": "a momentum over its steps (MI-FGSM)",
}


def relabelled(reference: Plug, case: Case, raw: np.ndarray) -> str:
    """Which labels the suspect's rows were attacked with, each by itself, or "".

    Args:
        reference: our own implementation.
        case: what it was given.
        raw: (N, C, H, W) what the suspect returned.
    """
    if case.model.num_classes > MANY:
        return ""
    y = case.y.cpu().numpy()
    for towards in (False, True):
        used = _used(descending(case) if towards else case, reference, raw)
        known = used >= 0
        if known.mean() < REPRODUCED or (not towards and (used == y)[known].all()):
            continue
        if towards:
            return f"it is targeted: at class {_pairs(y, used)}"
        wrong = int((used != y)[known].sum())
        if known.all() and (np.sort(used) == np.sort(y)).all():
            return (
                f"labels are shuffled within the batch: {wrong} of {len(y)} rows have another row's"
            )
        return f"{wrong} of {len(y)} rows have wrong labels: {_pairs(y, used)}"
    return ""


def _used(case: Case, reference: Plug, raw: np.ndarray) -> np.ndarray:
    """(N,) the label under which a row comes about: its own if that does, -1 if none."""
    used = np.full(len(raw), -1)
    for label in range(case.model.num_classes):
        given = replace(case, y=torch.full_like(case.y, label))
        used[match(reference, given, raw) & (used < 0)] = label
    own = match(reference, case, raw)
    return np.where(own, case.y.cpu().numpy(), used)


def _pairs(y: np.ndarray, used: np.ndarray) -> str:
    """The most frequent changes, in words."""
    changes = [(int(a), int(b)) for a, b in zip(y, used, strict=True) if b not in (-1, a)]
    first = sorted(set(changes), key=lambda pair: (-changes.count(pair), pair))[:3]
    return ", ".join(f"{b} where the label is {a}" for a, b in first)


def another_attack(reference: Plug, case: Case, raw: np.ndarray) -> str:
    """Which other attack of ours returns the suspect's images, or "".

    Args:
        reference: our own implementation of what was asked for.
        case: what it was given.
        raw: (N, C, H, W) what the suspect returned.
    """
    for concept, fixed in LOCKSTEP.items():
        other = registry.get("attack", concept)
        if concept == reference.concept or case.threat.norm not in other.meta["norms"]:
            continue
        if match(other, replace(case, params={**case.params, **fixed}), raw).all():
            return f"it is another attack: {TITLES[concept]}"
    return ""
