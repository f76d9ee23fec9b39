"""The probable cause of other outcomes than ours, where each library runs as its users call it.

Nothing must agree step by step there, so images say little; outcomes do. Our own implementation is
run with one of the suspect's settings, or one other setting, at a time, on the samples over which
the two disagree and as many over which they agree: what brings the suspect's outcomes is named.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from harness.attacks import run_attack
from harness.core.lazy import Lazy
from harness.core.registry import OURS
from harness.crosscheck.verdicts import ALPHA, OPEN, pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch

    from harness.core.registry import Plug
    from harness.core.threat import Threat
    from harness.core.types import Classifier
    from harness.crosscheck.attacks import Ran
    from harness.crosscheck.verdicts import Subject
else:
    torch = Lazy("torch")

EACH = 32  # samples, at most, on which they agree, and on which they do not
ENOUGH = 0.95  # of the samples, on which a setting must bring the suspect's outcomes
BEYOND = 0.15  # by which it must do better than our own settings with other draws
NEAR = 0.05  # of a distance, about the suspect's
RADII = {"half": 0.5, "nine tenths of": 0.9, "a tenth more than": 1.1, "twice": 2.0, "1/255 of": 1 / 255}  # fmt: skip
UNKNOWN = "no known cause"


@dataclass(frozen=True)
class Dispute:
    """Samples over which two implementations disagree, and as many over which they agree.

    Args:
        model: the classifier.
        x: (M, C, H, W) images.
        y: (M,) labels.
        threat: the ball.
        params: of our run.
        seed: of our draws.
        success: (M,) bool, of the suspect.
        distance: (M,) of the suspect.
        minimise: whether the smallest perturbation counts, not the success alone.
    """

    model: Classifier
    x: torch.Tensor
    y: torch.Tensor
    threat: Threat
    params: Mapping[str, Any]
    seed: int
    success: np.ndarray
    distance: np.ndarray
    minimise: bool

    def agreement(self, reference: Plug) -> float:
        """Share of the samples on which ours has the suspect's outcome."""
        found = run_attack(
            reference, self.params, self.model, self.x, self.y, self.threat,
            seed=self.seed, batch_size=len(self.x),
        )  # fmt: skip
        return float(_alike(found, self, minimise=self.minimise).mean())


def explained(
    subject: Subject,
    ran: Sequence[Ran],
    plugs: Sequence[Plug],
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    *,
    seed: int,
) -> list[Ran]:
    """The runs, with the probable cause in those whose outcomes differ from ours beyond chance.

    Args:
        subject: what was compared; its protocol is "native".
        ran: one entry an implementation.
        plugs: of the same concept, ours among them.
        model: the classifier.
        x: (N, C, H, W) images.
        y: (N,) labels.
        threat: the ball.
        seed: of the runs.
    """
    known = {plug.implementation: plug for plug in plugs}
    ours = next((one for one in ran if one.implementation == OURS and one.outcome == "ok"), None)
    suspects = {
        row.b
        for row in pairs(subject, ran)
        if row.a == OURS and row.verdict == OPEN and not row.deviation
        and row.p is not None and row.p < ALPHA
    }  # fmt: skip
    found: list[Ran] = []
    for one in ran:
        if ours is None or one.implementation not in suspects:
            found.append(one)
            continue
        dispute = _dispute(ours, one, (model, x, y), threat, seed, minimise=subject.minimise)
        settings = _other_settings(known[OURS], ours.params, one.params)
        found.append(replace(one, cause=_cause(known[OURS], dispute, settings)))
    return found


def _dispute(
    ours: Ran,
    theirs: Ran,
    given: tuple[Classifier, torch.Tensor, torch.Tensor],
    threat: Threat,
    seed: int,
    *,
    minimise: bool,
) -> Dispute:
    model, x, y = given
    same = _alike(ours, theirs, minimise=minimise)
    chosen = np.sort(np.r_[np.flatnonzero(~same)[:EACH], np.flatnonzero(same)[:EACH]])
    rows = torch.from_numpy(chosen).to(x.device)
    return Dispute(
        model, x[rows], y[rows], threat, ours.params, seed,
        theirs.success[chosen], theirs.distance[chosen], minimise,
    )  # fmt: skip


class _Judged(Protocol):
    """What a run, an outcome and a dispute have in common; see `Dispute`."""

    @property
    def success(self) -> np.ndarray: ...
    @property
    def distance(self) -> np.ndarray: ...


def _alike(one: _Judged, other: _Judged, *, minimise: bool) -> np.ndarray:
    """(M,) bool: samples with the same outcome."""
    same = one.success == other.success
    if not minimise:
        return same
    return same & (
        np.abs(one.distance - other.distance) <= NEAR * np.maximum(other.distance, 1e-12)
    )


def _other_settings(
    reference: Plug, ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> dict[str, Any]:
    """What the suspect ran with and we did not, of the settings that both have."""
    names = [one.name for one in reference.parameters if one.name in theirs]
    return {name: theirs[name] for name in names if theirs[name] != ours.get(name)}


def _cause(reference: Plug, dispute: Dispute, settings: Mapping[str, Any]) -> str:
    """Which change of our own run brings the suspect's outcomes, in words."""
    control = replace(dispute, seed=dispute.seed + 1).agreement(reference)
    least, best, said = max(ENOUGH, control + BEYOND), 0.0, ""
    for name, changed in _changes(reference, dispute, settings):
        share = changed.agreement(reference)
        if share >= least and share > best:
            best, said = share, name
    if said:
        n = len(dispute.x)
        return f"{said}: ours with that has its outcome on {round(best * n)} of the {n} samples in question, without on {round(control * n)}"
    if settings:
        return (
            f"{UNKNOWN}; its users get {_told(settings)}, but ours with that does not do as it does"
        )
    return UNKNOWN


def _changes(
    reference: Plug, dispute: Dispute, settings: Mapping[str, Any]
) -> Iterator[tuple[str, Dispute]]:
    """Other settings of ours, the suspect's own first."""
    if settings:
        own = replace(dispute, params={**dispute.params, **settings})
        yield f"its users get {_told(settings)}", own
    yield from _varied(reference, dispute)
    if dispute.params.get("restarts") and _takes(reference, "restarts", 0):
        still = replace(dispute, params={**dispute.params, "restarts": 0})
        for name, changed in _varied(reference, still):
            if changed.params["restarts"] == 0:
                yield f"{name}, and without a random start", changed
    for name, factor in RADII.items():
        ball = replace(dispute.threat, eps=factor * dispute.threat.eps)
        yield f"as with {name} the radius", replace(dispute, threat=ball)
    with torch.no_grad():
        predicted = dispute.model(dispute.x).argmax(1)
    yield "as with the model's own predictions for labels", replace(dispute, y=predicted)


def _takes(reference: Plug, name: str, value: object) -> bool:
    """Whether a setting of ours may have a value."""
    known = {one.name: one for one in reference.parameters}
    return name in known and not known[name].complaint(value)


def _varied(reference: Plug, dispute: Dispute) -> Iterator[tuple[str, Dispute]]:
    """Ours with one setting changed."""
    for parameter in reference.parameters:
        name, value = parameter.name, dispute.params.get(parameter.name, parameter.default)
        if name == "arithmetic":
            continue  # of ours alone
        value = _step_size(dispute) if name == "step_size" else value
        for other in _others(parameter.annotation, value):
            if parameter.complaint(other):
                continue
            told = f"as with {_told({name: other})} instead of {_spelt(value)}"
            params = {**dispute.params, name: other}
            yield told, replace(dispute, params=params)
            if name == "steps" and "step_size" in params:
                kept = params | {"step_size": _step_size(dispute)}
                yield f"{told}, of the same length", replace(dispute, params=kept)


def _step_size(dispute: Dispute) -> float:
    """Length of our steps."""
    given = dispute.params["step_size"]
    return 2.5 * dispute.threat.eps / dispute.params["steps"] if given is None else given


def _others(annotation: str, value: object) -> list[object]:
    """Other values of a setting: every other word, the other truth, half and twice a number."""
    if annotation.startswith("Literal"):
        words = ast.literal_eval(annotation.removeprefix("Literal"))
        return [word for word in words if word != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [
            one for one in dict.fromkeys((0, 1, value // 2, value // 4, 2 * value)) if one != value
        ]
    if isinstance(value, float):
        return [factor * value for factor in (0.25, 0.5, 2.0, 4.0)] if value else []
    return []


def _told(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_spelt(value)}" for name, value in settings.items())


def _spelt(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
