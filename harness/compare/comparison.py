"""What a comparison found, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.compare.changes import Change
    from harness.compare.gates import GateResult, Verdict

WORSE, UNDECIDED, FINE = 1, 3, 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `harness.compare.compare` found.

    Args:
        before: folder of the old run, as given.
        after: folder of the new one.
        changes: every number that was tested, headline first.
        gates: what was gated, with its verdict.
        notes: sentences on what else differs: data, suite, versions.
        only_before: what only the old run has.
        only_after: what only the new run has.
        untested: numbers that changed and have no per-sample outcomes to test them on.
    """

    before: str
    after: str
    changes: tuple[Change, ...]
    gates: tuple[GateResult, ...]
    notes: tuple[str, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    untested: int

    @property
    def exit_code(self) -> int:
        """1 if a gated metric got worse beyond its margin, 3 if the data can't tell, 0 otherwise."""
        if self.gated("regression"):
            return WORSE
        return UNDECIDED if self.gated("undecided") else FINE

    @property
    def verdict(self) -> str:
        """All of it in one line."""
        if worse := self.gated("regression"):
            return f"Worse beyond the margin: {', '.join(worse)}"
        if undecided := self.gated("undecided"):
            return f"The data can't tell: {', '.join(undecided)}"
        if fine := self.gated("no regression"):
            return f"Not worse beyond the margin: {', '.join(fine)}"
        top = [change for change in self.changes if change.column]
        better, worse = (sum(c.verdict == word for c in top) for word in ("better", "worse"))
        return f"{better} better, {worse} worse of {len(top)} headline numbers; nothing is gated"

    def gated(self, verdict: Verdict) -> list[str]:
        """Names of the gates that came to a verdict."""
        return [result.gate.name for result in self.gates if result.verdict == verdict]
