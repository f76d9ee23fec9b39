"""What a comparison found, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.compare.changes import Change
    from harness.compare.gates import GateResult


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
