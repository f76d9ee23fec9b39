"""What a plan says of itself: why a job is not cached, and how long the rest takes."""

from __future__ import annotations

import heapq
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.core.types import canonical
from harness.plan.digests import REASONS, identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.core.types import Job


def changes(job: Job, stored: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Why no stored job serves: in what the nearest stored one of the same title differs.

    Args:
        job: one that is not cached.
        stored: stored jobs, as plain data.

    Returns:
        The shortest list of reasons out of parameters, input, code, library and numerics; empty if
        there is nothing to compare with (the job is new).
    """
    mine = json.loads(canonical(identity(asdict(job))))
    alike = [other for other in stored if (other["kind"], other["title"]) == (job.kind, job.title)]
    found = [_differences(mine, identity(other)) for other in alike]
    return min(found, key=lambda reasons: (len(reasons), reasons), default=())


def _differences(mine: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, ...]:
    reasons = (reason for name, reason in REASONS.items() if mine[name] != other[name])
    return tuple(dict.fromkeys(reasons))


def estimate(jobs: Iterable[Job], workers: int) -> float:
    """Wall seconds of `jobs` over `workers`, the longest first (Graham's rule)."""
    ends = [0.0] * max(1, workers)
    for seconds in sorted((job.cost for job in jobs), reverse=True):
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)
