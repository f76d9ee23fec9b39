"""Which job next: the longest that is ready, at a worker that has its model loaded."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from harness.core.types import Artifact, Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.engine.executors import Executor, Report
    from harness.store import Store


class Watcher(Protocol):
    """Is told what happens; see `harness.progress`."""

    def began(self, jobs: Sequence[Job], cached: int) -> None:
        """The jobs ahead, and how many need not be done."""
        ...

    def started(self, worker: int, job: Job) -> None:
        """A worker has taken a job."""
        ...

    def moved(self, worker: int, job: Job, fraction: float) -> None:
        """A job is done to this fraction."""
        ...

    def ended(self, worker: int, job: Job, artifact: Artifact) -> None:
        """A job is done, has failed or was skipped."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan.

    Args:
        done: how many jobs were done now.
        cached: how many were in the store.
        failed: digest -> reason.
        skipped: digest -> reason, for jobs that needed a failed one, or were not begun.
        seconds: wall time.
        compute: seconds of each job done now, by digest.
        memory: the most resident bytes that one worker has had; 0 if no job was done.
    """

    done: int
    cached: int
    failed: Mapping[str, str]
    skipped: Mapping[str, str]
    seconds: float
    compute: Mapping[str, float] = field(default_factory=dict[str, float])
    memory: int = 0


def pending(jobs: Iterable[Job], store: Store) -> list[Job]:
    """Jobs whose artifact is not in the store; failed ones are tried again."""
    return [job for job in jobs if store.status(job.digest) != "ok"]


def execute(
    jobs: Sequence[Job],
    store: Store,
    executor: Executor,
    watcher: Watcher,
    *,
    fail_fast: bool = False,
) -> Outcome:
    """Do what is not in the store yet.

    Args:
        jobs: in an order in which each comes after all that it needs.
        store: where artifacts are.
        executor: where jobs are done.
        watcher: is told what happens.
        fail_fast: begin no job once one has failed.
    """
    return _Schedule(jobs, store, executor, watcher, fail_fast).run()


class _Schedule:
    def __init__(
        self,
        jobs: Sequence[Job],
        store: Store,
        executor: Executor,
        watcher: Watcher,
        fail_fast: bool,  # noqa: FBT001 -- named at the one call above
    ) -> None:
        self.store, self.executor, self.watcher, self.fail_fast = (
            store,
            executor,
            watcher,
            fail_fast,
        )
        ahead = pending(jobs, store)
        self.jobs = {job.digest: job for job in ahead}
        self.cached = len({job.digest for job in jobs}) - len(self.jobs)
        self.waits = {job.digest: {n for n in job.needs if n in self.jobs} for job in ahead}
        self.ready = {digest for digest, needs in self.waits.items() if not needs}
        self.wanted = _wanted(ahead)
        self.urgency = _urgency(ahead)
        self.running: dict[int, Job] = {}
        self.groups: dict[int, str] = {}
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.compute: dict[str, float] = {}
        self.memory = 0

    def run(self) -> Outcome:
        started = time.perf_counter()
        self.watcher.began(list(self.jobs.values()), self.cached)
        self._assign()
        while self.running:
            for report in self.executor.reports():
                self._hear(report)
            self._assign()
        for digest in self.waits:  # only with fail_fast, or behind a failure
            if digest not in self.compute and digest not in self.failed:
                self.skipped.setdefault(digest, "not begun: a job failed before")
        seconds = time.perf_counter() - started
        done = len(self.compute)
        return Outcome(
            done, self.cached, self.failed, self.skipped, seconds, self.compute, self.memory
        )

    def _assign(self) -> None:
        if self.fail_fast and self.failed:
            return
        for worker in range(self.executor.workers):
            if worker not in self.running and self.ready:
                job = self._next(worker)
                self.ready.discard(job.digest)
                self.running[worker] = job
                self.groups[worker] = job.group
                self.watcher.started(worker, job)
                self.executor.submit(worker, job)

    def _next(self, worker: int) -> Job:
        """The most urgent ready job; among equals, one whose model this worker has loaded.

        A job's urgency is the time of the longest chain that begins with it. Short jobs of a
        worker's own group come before other short jobs, since loading would cost more.
        """
        ready = [self.jobs[digest] for digest in self.ready]
        longest = max(ready, key=lambda job: (self.urgency[job.digest], job.digest))
        own = [job for job in ready if job.group and job.group == self.groups.get(worker)]
        if own and self.urgency[longest.digest] < LONG:
            return max(own, key=lambda job: (self.urgency[job.digest], job.digest))
        return longest

    def _hear(self, report: Report) -> None:
        job = self.running[report.worker]
        if report.kind == "progress":
            self.watcher.moved(report.worker, job, report.fraction)
            return
        del self.running[report.worker]
        self.memory = max(self.memory, report.memory)
        artifact = report.artifact or Artifact(job.digest, "failed", report.reason)
        if report.artifact is None:
            self.store.write(job, artifact)
        self.watcher.ended(report.worker, job, artifact)
        if artifact.status == "ok":
            self.compute[job.digest] = artifact.seconds
            self._release(job.digest)
        else:
            self.failed[job.digest] = artifact.reason
            self._skip(job)

    def _release(self, digest: str) -> None:
        for other in self.wanted.get(digest, ()):
            self.waits[other].discard(digest)
            if not self.waits[other] and other not in self.skipped:
                self.ready.add(other)

    def _skip(self, job: Job) -> None:
        """Everything behind a failed job is skipped, and says so."""
        reason = f"needs {job.title!r}, which failed"
        for digest in self.wanted.get(job.digest, ()):
            if digest not in self.skipped:
                self.skipped[digest] = reason
                behind = self.jobs[digest]
                self.watcher.ended(-1, behind, Artifact(digest, "skipped", reason))
                self._skip(behind)


LONG = 3.0  # seconds: below this, a loaded model counts for more than the order


def _wanted(jobs: Iterable[Job]) -> dict[str, list[str]]:
    """Digest -> digests of the jobs that need it."""
    found: dict[str, list[str]] = {}
    for job in jobs:
        for need in dict.fromkeys(job.needs):
            found.setdefault(need, []).append(job.digest)
    return found


def _urgency(jobs: Sequence[Job]) -> dict[str, float]:
    """Seconds of the longest chain of jobs that begins with each job."""
    wanted = _wanted(jobs)
    found: dict[str, float] = {}
    for job in reversed(jobs):
        behind = max((found[other] for other in wanted.get(job.digest, ())), default=0.0)
        found[job.digest] = job.cost + behind
    return found
