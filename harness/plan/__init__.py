"""Suite to plan: jobs, their digests and what each needs. Pure: no device, no array, no torch."""

from harness.plan.digests import code_digest, library_versions
from harness.plan.expand import expand
from harness.plan.explain import changes, estimate
from harness.plan.types import Plan, Question

__all__ = [
    "Plan",
    "Question",
    "changes",
    "code_digest",
    "estimate",
    "expand",
    "library_versions",
]
