"""What each job rests on, and the command that does it again (check H66)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.axes.view import View
    from harness.core.types import Job
    from harness.engine import Outcome
    from harness.plan.types import Question
    from harness.results.run import JobFacts
    from harness.suite import ModelSpec


@dataclass(frozen=True, slots=True)
class Made:
    """When, where and by which command a run was made.

    Args:
        started: seconds since the epoch.
        seconds: wall time.
        workers: processes.
        command: one command that makes it again.
        again: (model, seed) -> one command that does the jobs of that model and seed again.
        only: value of --only.
        device: "cpu" or "cuda".
    """

    started: float
    seconds: float
    workers: int
    command: str
    again: Callable[[str, int], str]
    only: str
    device: str


def lineage(view: View, outcome: Outcome, made: Made) -> dict[str, JobFacts]:
    """Digest -> provenance, for every job of the plan."""
    answers = reversed(list(view.plan.answers.items()))  # of several questions the first one names
    asked = {digest: question for question, digest in answers}
    below: dict[str, dict[str, Job]] = {}
    for job in view.plan.jobs:  # each comes after all that it needs
        below[job.digest] = {job.digest: job}
        for need in job.needs:
            below[job.digest] |= below[need]
    found: dict[str, JobFacts] = {}
    for job in view.plan.jobs:
        mine = below[job.digest]
        replay = _replay(view, made, [asked[one] for one in mine])
        found[job.digest] = _job(view, job, outcome, mine, replay)
    return found


def _job(view: View, job: Job, outcome: Outcome, below: Mapping[str, Job], replay: str) -> JobFacts:
    reason = outcome.failed.get(job.digest) or outcome.skipped.get(job.digest) or ""
    status = "failed" if job.digest in outcome.failed else "skipped" if reason else "ok"
    return {
        "title": job.title,
        "kind": job.kind,
        "status": status,
        "reason": reason,
        "model": view.model_of(job.digest),
        "seconds": outcome.compute.get(job.digest, 0.0),
        "cached": not reason and job.digest not in outcome.compute,
        "inputs": dict(job.inputs),
        "weights": _weights(view, below),
        "data": _data(view, below),
        "replay": replay,
    }


def _weights(view: View, below: Mapping[str, Job]) -> list[str]:
    """SHA-256 of the weights that a job rests on: those trained here, then those brought."""
    trainings = [digest for digest, one in below.items() if one.kind == "train"]
    trained = [view.read(digest).facts.get("weights") for digest in trainings]
    brought = [one.params.get("model", {}).get("weights_digest") for one in below.values()]
    return list(dict.fromkeys(str(one) for one in (*trained, *brought) if one))


def _data(view: View, below: Mapping[str, Job]) -> dict[str, str]:
    """Name -> SHA-256 of the data sets that a job rests on."""
    used = (view.plan.splits.get(key) for job in below.values() for key in job.inputs.values())
    known = {str(one["data"]["use"]): str(one["fingerprint"]) for one in used if one is not None}
    return dict(sorted(known.items()))


def _replay(view: View, made: Made, below: list[Question]) -> str:
    """The shortest command whose plan holds a job and all below it: one model alone, if that does.

    Args:
        view: of the whole plan.
        made: how the run was made.
        below: what the job and all that it needs answer, the job first.
    """
    suite, own = view.suite, below[0]
    if {one.seed for one in below} != {own.seed}:
        return made.command
    above = (spec.name for spec in suite.models if spec.ensemble == own.model)
    for name in (own.model, *above) if own.model else ():
        kept = [
            suite.model(one) for one in {name, suite.baseline, suite.model(name).ensemble} if one
        ]
        if all(_holds(kept, one) for one in below):
            return made.again(name, own.seed)
    return made.command


def _holds(kept: list[ModelSpec], asked: Question) -> bool:
    """Whether a suite of these models asks a question; members come with their ensemble."""
    sizes = [one.size or 1 for one in kept if one.ensemble == asked.model]
    return asked.model in {one.name for one in kept} and asked.member < max(sizes, default=1)
