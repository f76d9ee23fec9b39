"""Which implementations of a lockstep comparison need a diagnosis, and theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.core.registry import OURS
from harness.crosscheck.attacks import spelled, start
from harness.crosscheck.diagnosis.images import cause
from harness.crosscheck.diagnosis.watching import Case
from harness.crosscheck.verdicts import pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    import torch

    from harness.core.registry import Plug
    from harness.core.threat import Threat
    from harness.core.types import Classifier
    from harness.crosscheck.attacks import Ran
    from harness.crosscheck.verdicts import Subject


def diagnosed(subject: Subject, ran: Iterable[Ran], plugs: Sequence[Plug], case: Case) -> list[Ran]:
    """The runs, with the probable cause in those that differ from ours for no known reason.

    Args:
        subject: what was compared.
        ran: one entry an implementation.
        plugs: of the same concept, ours among them.
        case: what all of them were given.
    """
    known, runs = {plug.implementation: plug for plug in plugs}, list(ran)
    suspects = {
        row.b for row in pairs(subject, runs) if row.a == OURS and row.verdict == "different"
    }
    return [
        replace(one, cause=cause(known[one.implementation], known[OURS], case))
        if one.implementation in suspects
        else one
        for one in runs
    ]


def lockstep_case(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    concept: str,
    spec: Mapping[str, Any],
    seed: int,
    random_start: bool,
) -> Case:
    """What `attacks.lockstep` gives to every implementation; the arguments are its own."""
    whole = spelled(concept, spec, threat)
    noise = start(x, threat, seed) if random_start else None
    return Case(model, x, y, threat, whole, seed, noise)
