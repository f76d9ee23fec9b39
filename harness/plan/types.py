"""A plan: jobs in an order in which they can be done, and which question each answers."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.core.types import Job
    from harness.suite import Suite


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """What a job answers: the key under which an axis asks for its record.

    Args:
        kind: of the job ("predict", "attack", ...).
        model: name of the model in the suite; "" for none.
        seed: of the run.
        case: the rest, for example "test", "fog" or "pgd linf".
        member: which member of an ensemble; 0 is the model itself.
    """

    kind: str
    model: str
    seed: int
    case: str = ""
    member: int = 0


@dataclass(frozen=True)
class Plan:
    """What a suite comes to.

    Args:
        suite: the resolved suite.
        jobs: in an order in which each comes after all that it needs.
        answers: question -> digest of the job.
        splits: digest -> reference of every split used.
        images: digest of a split's reference -> how many images it has.
        classes: names of the classes of the data set, in label order.
        numerics: the rules of batch size, memory format and precision.
    """

    suite: Suite
    jobs: tuple[Job, ...]
    answers: Mapping[Question, str]
    splits: Mapping[str, Mapping[str, Any]]
    images: Mapping[str, int]
    classes: tuple[str, ...]
    numerics: Mapping[str, Any]

    def job(self, digest: str) -> Job:
        """The job of that digest."""
        return self.by_digest[digest]

    @functools.cached_property
    def by_digest(self) -> Mapping[str, Job]:
        """Digest -> job."""
        return {job.digest: job for job in self.jobs}
