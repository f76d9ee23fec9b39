"""What a run shows while it works: bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from harness.core.types import Artifact, Job

EVERY = 10.0  # seconds between plain lines


def watcher(console: Console) -> Bars | Lines:
    """The watcher that suits where the output goes."""
    return Bars(console) if console.is_terminal else Lines(console)


class Clock:
    """The time left, by the jobs' own expectations and the pace so far."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.expected: dict[str, float] = {}
        self.part: dict[str, float] = {}

    def began(self, jobs: Sequence[Job]) -> None:
        """All jobs ahead."""
        self.expected = {job.digest: max(job.cost, 0.01) for job in jobs}

    def moved(self, job: Job, fraction: float) -> None:
        """A job is done to `fraction`."""
        self.part[job.digest] = min(1.0, fraction)

    @property
    def fraction(self) -> float:
        """Of the expected work, what is done, in [0, 1]."""
        whole = sum(self.expected.values())
        done = sum(self.expected[digest] * part for digest, part in self.part.items())
        return done / whole if whole else 1.0

    @property
    def left(self) -> float | None:
        """Seconds left, or None before there is a pace to go by."""
        spent, fraction = time.perf_counter() - self.started, self.fraction
        return spent * (1 - fraction) / fraction if fraction > 0.01 else None


def left_text(seconds: float | None) -> str:
    """Time left for people.

    >>> left_text(192.0), left_text(None)
    ('3 min 12 s left', '')
    """
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s left" if minutes else f"{rest} s left"


class Bars:
    """One bar for the whole, one for each worker's job."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self.clock = Clock()
        self.whole: TaskID | None = None
        self.bars: dict[int, TaskID] = {}
        self.count, self.done, self.failed = 0, 0, 0

    def began(self, jobs: Sequence[Job], cached: int) -> None:
        """Draw the bar for the whole."""
        self.clock.began(jobs)
        self.count = len(jobs)
        if jobs:
            self.progress.start()
            self.whole = self.progress.add_task(
                f"{len(jobs)} jobs, {cached} cached", total=1, left=""
            )

    def started(self, worker: int, job: Job) -> None:
        """Draw or reuse the bar of a worker."""
        if worker in self.bars:
            self.progress.remove_task(self.bars[worker])
        self.bars[worker] = self.progress.add_task(f"  {job.title}", total=1, left="")

    def moved(self, worker: int, job: Job, fraction: float) -> None:
        """Move a worker's bar, and the whole."""
        self.clock.moved(job, fraction)
        self.progress.update(self.bars[worker], completed=fraction)
        self._whole()

    def ended(self, worker: int, job: Job, artifact: Artifact) -> None:
        """Say what failed; end when all is done."""
        self.clock.moved(job, 1.0)
        self.done += 1
        self._whole()
        if artifact.status != "ok":
            self.progress.console.print(
                f"{artifact.status}: {job.title}: {artifact.reason}", markup=False
            )
        if self.done == self.count:
            self.close()

    def _whole(self) -> None:
        if self.whole is not None:
            left = left_text(self.clock.left)
            self.progress.update(self.whole, completed=self.clock.fraction, left=left)

    def close(self) -> None:
        """Take the bars away."""
        self.progress.stop()


class Lines:
    """A line when a job ends, at most one every few seconds, and one for each failure."""

    def __init__(self, console: Console) -> None:
        self.console, self.clock = console, Clock()
        self.count, self.done, self.spoken = 0, 0, time.perf_counter()

    def began(self, jobs: Sequence[Job], cached: int) -> None:
        """Say what is ahead."""
        self.clock.began(jobs)
        self.count = len(jobs)
        self.console.print(f"{len(jobs)} jobs to do, {cached} cached", markup=False)

    def started(self, worker: int, job: Job) -> None:
        """Say nothing."""

    def moved(self, worker: int, job: Job, fraction: float) -> None:
        """Remember."""
        self.clock.moved(job, fraction)

    def ended(self, worker: int, job: Job, artifact: Artifact) -> None:
        """Say what failed at once, and how far the whole is now and then."""
        self.clock.moved(job, 1.0)
        self.done += 1
        if artifact.status != "ok":
            self.console.print(f"{artifact.status}: {job.title}: {artifact.reason}", markup=False)
        now = time.perf_counter()
        if now - self.spoken > EVERY or self.done == self.count:
            self.spoken = now
            left = left_text(self.clock.left)
            self.console.print(
                f"{self.done}/{self.count} {job.title} {left}".rstrip(), markup=False
            )

    def close(self) -> None:
        """Nothing is drawn."""
