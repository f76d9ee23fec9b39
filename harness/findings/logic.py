"""From intervals to verdicts: what a part says, and what parts say together.

    better, worse          beyond zero on the claimed side
    clearly, by far        beyond the margin
    comparable, similar    inside the margin
    every, most, many ...  so many parts, of all that there are
    some                   one part, after Holm

A part that was not measured counts as one that could still fall either way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.results.verdicts import Part
from harness.statistics import holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.results.verdicts import Verdict

HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
UNDECIDED: Verdict = "undecided"
UNMEASURED: Verdict = "not measured"
RANK = {HOLDS: 2, UNDECIDED: 1, UNMEASURED: 1, FAILS: 0}

MOST, NEARLY_ALL, MANY = 0.75, 0.90, 0.50
LEVEL = 0.05


# ---------------------------------------------------------------- one interval


def beyond(low: float, high: float, bound: float = 0.0) -> Verdict:
    """Whether an interval lies beyond `bound`: "better" with 0, "clearly better" with a margin.

    >>> beyond(0.1, 0.3), beyond(-0.3, -0.1), beyond(-0.1, 0.3), beyond(0.1, 0.3, 0.2)
    ('holds', 'does not hold', 'undecided', 'undecided')
    """
    if low > bound:
        return HOLDS
    return FAILS if high < bound else UNDECIDED


def within(low: float, high: float, margin: float) -> Verdict:
    """Whether an interval lies inside (-margin, margin): "comparable", "about as good".

    >>> within(-0.1, 0.2, 0.3), within(0.4, 0.5, 0.3), within(0.1, 0.5, 0.3)
    ('holds', 'does not hold', 'undecided')
    """
    if -margin < low and high < margin:
        return HOLDS
    return FAILS if low > margin or high < -margin else UNDECIDED


# ---------------------------------------------------------------- many


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict with the part that decides it.

    Args:
        verdict: reached.
        part: the deciding one.
        strength: how far the part is on the claimed side of its bound, in widths of its interval:
            comparable between units.
        parts: all that it was reached from, in the order of the claim.
    """

    verdict: Verdict
    part: Part
    strength: float
    parts: tuple[Part, ...]

    @property
    def rank(self) -> tuple[int, float]:
        """Order from the part that says most against the claim to the one that says most for it."""
        return RANK[self.verdict], self.strength


def judged(part: Part, distance: float) -> Judged:
    """One part as a verdict.

    Args:
        part: as measured.
        distance: of its effect to the bound, positive on the claimed side, in the effect's unit.
    """
    width = (part.high or 0.0) - (part.low or 0.0)
    strength = distance / width if width > 0 else math.copysign(math.inf, distance)
    return Judged(part.verdict, part, strength if distance else 0.0, (part,))


def unmeasured(what: str, reason: str) -> Judged:
    """A part that the run cannot answer."""
    part = Part(f"{what} ({reason})", None, None, None, UNMEASURED)
    return Judged(UNMEASURED, part, 0.0, (part,))


def needed(share: float, count: int) -> int:
    """How many of `count` make `share`.

    >>> needed(0.75, 25), needed(0.5, 14), needed(0.9, 19), needed(0.5, 25)
    (19, 7, 18, 13)
    """
    return math.ceil(share * count - 1e-9)  # 0.9 * 10 is 9.000000000000002 in some orders


def at_least(members: Sequence[Judged], count: int) -> Judged:
    """Whether at least `count` of the members hold; it fails once that can no longer be reached.

    The deciding part is the one in that place: the weakest of those needed if it holds.

    Raises:
        ValueError: there are no members; say with `unmeasured` what is missing.
    """
    if not members:
        raise ValueError("a verdict needs members")
    found: list[Verdict] = [member.verdict for member in members]
    parts = tuple(part for member in members for part in member.parts)
    ordered = sorted(members, key=lambda member: member.rank, reverse=True)
    measured = [member for member in ordered if member.verdict != UNMEASURED]
    place = ordered[count - 1]
    decider = place if place in measured or not measured else measured[-1]
    return Judged(_reached(found, count), decider.part, decider.strength, parts)


def _reached(found: Sequence[Verdict], count: int) -> Verdict:
    if all(verdict == UNMEASURED for verdict in found):
        return UNMEASURED
    if found.count(HOLDS) >= count:
        return HOLDS
    return FAILS if len(found) - found.count(FAILS) < count else UNDECIDED


def every(members: Sequence[Judged]) -> Judged:
    """Whether all hold: one that does not hold decides."""
    return at_least(members, len(members))


def share(members: Sequence[Judged], wanted: float) -> Judged:
    """Whether a share of the members holds: MOST, NEARLY_ALL or MANY."""
    return at_least(members, needed(wanted, len(members)))


def some(members: Iterable[Judged]) -> Judged:
    """Whether one part holds after Holm over them all; it fails if none can.

    A part that does not hold needs no correction: that all of them fail is a joint statement.
    """
    leaves = list(members)
    tested = [place for place, leaf in enumerate(leaves) if leaf.part.p is not None]
    corrected = holm(np.array([leaves[place].part.p for place in tested], dtype=np.float64))
    for place, p in zip(tested, corrected, strict=True):
        leaves[place] = _corrected(leaves[place], float(p))
    return at_least(leaves, 1)


def _corrected(leaf: Judged, p: float) -> Judged:
    verdict = UNDECIDED if leaf.verdict == HOLDS and p >= LEVEL else leaf.verdict
    part = replace(leaf.part, verdict=verdict, p=p)
    return Judged(verdict, part, leaf.strength, (part,))


def told(group: Judged, what: str) -> Judged:
    """A group as one part of a larger claim: its verdict, and the effect that decides it."""
    part = replace(group.part, what=what, verdict=group.verdict)
    return Judged(group.verdict, part, group.strength, (part,))
