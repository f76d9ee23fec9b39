"""A claim of the study: its sentence, its rule, and the function that decides it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.findings.logic import FAILS, HOLDS, UNMEASURED, Judged, unmeasured
from harness.results.verdicts import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.findings.evidence import Evidence
    from harness.findings.matrix import Role

Axis = Literal["adversarial", "shift", "ood", "calibration", "trade-off"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a claim's function found.

    Args:
        judged: the verdict, with the parts that it was reached from.
        note: what the reader must know, or "".
    """

    judged: Judged
    note: str = ""


Decide = Callable[["Evidence"], Answer]


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Args:
        id: "R1" to "T2".
        axis: which question it is about.
        text: the sentence of the study.
        rule: how its parts decide.
        decide: works it out.
    """

    id: str
    axis: Axis
    text: str
    rule: str
    decide: Decide

    def finding(self, evidence: Evidence) -> Finding:
        """The claim as this run has it."""
        answer = self.decide(evidence)
        found, part = answer.judged, answer.judged.part
        notes = [answer.note, _decider(found), _gaps(found), _seeds(evidence)]
        return Finding(
            id=self.id,
            axis=self.axis,
            claim=self.text,
            verdict=found.verdict,
            rule=self.rule,
            effect=part.effect,
            low=part.low,
            high=part.high,
            unit=part.unit,
            parts=found.parts,
            note=" ".join(note for note in notes if note),
        )


CLAIMS: list[Claim] = []


def claim(name: str, axis: Axis, text: str, rule: str) -> Callable[[Decide], Decide]:
    """Decorator: the function decides the claim `name`; claims are told in the order of the study."""

    def decorate(decide: Decide) -> Decide:
        CLAIMS.append(Claim(name, axis, text, rule, decide))
        return decide

    return decorate


def for_each(role: Role, parts: Callable[[str], Iterable[Judged]]) -> list[Judged]:
    """The parts of every model of a role; one that was not measured where there is no such model."""
    if not len(role):
        return [unmeasured(role.title, "the suite has none")]
    return [part for model in role for part in parts(model)]


# ---------------------------------------------------------------- notes


def count_text(members: Sequence[Judged], wanted: int) -> str:
    """How many of the members hold, and how many would have to.

    A sentence such as "17 of 25 models hold, 3 are undecided; 19 are needed."
    """
    verdicts = [member.verdict for member in members]
    holding = verdicts.count(HOLDS)
    open_ = len(verdicts) - holding - verdicts.count(FAILS)
    return f"{holding} of {len(verdicts)} models hold, {open_} undecided; {wanted} needed."


def _decider(found: Judged) -> str:
    if len(found.parts) == 1 or found.part.effect is None:
        return ""
    return f"Decided by: {found.part.what}."


def _gaps(found: Judged) -> str:
    """What was not measured, a few of it."""
    gaps = [part.what for part in found.parts if part.verdict == UNMEASURED]
    if not gaps:
        return ""
    more = f"; and {len(gaps) - 3} more" if len(gaps) > 3 else ""
    return f"Not measured: {'; '.join(gaps[:3])}{more}."


def _seeds(evidence: Evidence) -> str:
    seeds = len(evidence.suite.seeds)
    if seeds == 1:
        return ""
    cover = "images and seeds" if seeds > 2 else "images only"
    return f"Means over {seeds} seeds; the intervals cover {cover}."
