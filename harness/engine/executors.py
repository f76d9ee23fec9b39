"""Where jobs are done: in this process, or in worker processes of one thread each."""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from harness.core.types import Artifact, Job

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
FAREWELL = 5.0  # seconds that an idle worker has to end by itself
PATIENCE = 0.2  # seconds between looks at workers that may have died without a word


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says.

    Args:
        worker: its number.
        job: digest of its job.
        kind: "progress", "done" or "died".
        fraction: of the job that is done, for "progress".
        artifact: what came of it, for "done".
        reason: why the worker died, for "died".
        memory: the most resident bytes that the worker has had, for "done".
    """

    worker: int
    job: str
    kind: Literal["progress", "done", "died"]
    fraction: float = 0.0
    artifact: Artifact | None = None
    reason: str = ""
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker must know besides its job."""

    store: Path
    data_dir: Path
    device: str


class Executor(Protocol):
    """Does jobs; at most one a worker at a time."""

    workers: int

    def submit(self, worker: int, job: Job) -> None:
        """Give a free worker a job."""
        ...

    def reports(self) -> Iterator[Report]:
        """Wait for news, then hand it on; may be empty."""
        ...

    def close(self) -> None:
        """Stop all workers; a job under way is lost, not half stored."""
        ...


class Inline:
    """One worker: this process, with one thread, as in the others."""

    workers = 1

    def __init__(self, place: Place) -> None:
        self.place = place
        self.waiting: deque[Job] = deque()
        self.heard: list[Report] = []
        self.perform: Callable[[Job], Artifact] | None = None

    def submit(self, worker: int, job: Job) -> None:
        """Keep the job until `reports` is called."""
        self.waiting.append(job)

    def reports(self) -> Iterator[Report]:
        """Do the job, and tell."""
        job = self.waiting.popleft()
        with one_thread():
            artifact = self._bench()(job)
        yield Report(0, job.digest, "done", artifact=artifact, memory=peak_memory())

    def _bench(self) -> Callable[[Job], Artifact]:
        if self.perform is None:
            self.perform = performer(self.place, lambda fraction: None)
        return self.perform

    def close(self) -> None:
        """Nothing runs outside of `reports`."""


class Processes:
    """Worker processes, one thread and one job each.

    They are forked from a server process that has imported torch once and started no thread.

    Args:
        place: store, data and device.
        workers: how many.
    """

    def __init__(self, place: Place, workers: int) -> None:
        self.place, self.workers = place, workers
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["harness.engine.preload"])
        self.pipes: list[Connection] = []
        self.processes: list[BaseProcess] = []
        self.busy: dict[int, str] = {}
        with _environment(dict.fromkeys(THREAD_VARIABLES, "1")):
            for _ in range(workers):
                self._start(len(self.processes))

    def _start(self, worker: int) -> None:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_work, args=(theirs, self.place), daemon=True)
        process.start()
        theirs.close()
        self.pipes[worker : worker + 1] = [ours]
        self.processes[worker : worker + 1] = [process]

    def submit(self, worker: int, job: Job) -> None:
        """Send the job to that worker."""
        self.busy[worker] = job.digest
        with suppress(OSError):  # the worker died idle: `reports` finds out and says so
            self.pipes[worker].send(job)

    def reports(self) -> Iterator[Report]:
        """Hand on what workers have said, and notice those that died."""
        ready = wait([self.pipes[worker] for worker in self.busy], timeout=PATIENCE)
        for worker in [w for w in self.busy if self.pipes[w] in ready]:
            yield self._hear(worker)

    def _hear(self, worker: int) -> Report:
        try:
            kind, content = self.pipes[worker].recv()
        except (EOFError, OSError):
            return self._bury(worker)
        job = self.busy[worker]
        if kind == "progress":
            return Report(worker, job, "progress", fraction=content)
        del self.busy[worker]
        artifact, memory = content
        return Report(worker, job, "done", artifact=artifact, memory=memory)

    def _bury(self, worker: int) -> Report:
        """Replace a worker that died; its job failed."""
        job = self.busy.pop(worker)
        self.processes[worker].join()
        code = self.processes[worker].exitcode
        self._start(worker)
        return Report(worker, job, "died", reason=_cause(code))

    def close(self) -> None:
        """Let idle workers end by themselves, and end the others at once."""
        for worker, process in enumerate(self.processes):
            self.pipes[worker].close()
            if worker in self.busy:
                process.terminate()
        for process in self.processes:
            process.join(FAREWELL)
            if process.is_alive():
                process.terminate()
                process.join()


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        hint = " (out of memory?)" if code == -9 else ""
        return f"the worker was killed by signal {-code}{hint}"
    return f"the worker ended with exit code {code}"


def _work(pipe: Connection, place: Place) -> None:
    """A worker's life: receive a job, do it, tell; end when the pipe closes."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who then ends us
    with one_thread():
        perform = performer(place, lambda fraction: pipe.send(("progress", fraction)))
        while True:
            try:
                job = pipe.recv()
            except EOFError:
                return
            artifact = perform(job)
            pipe.send(("done", (artifact, peak_memory())))


def peak_memory() -> int:
    """The most resident bytes that this process has had; only it can tell."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def performer(place: Place, progress: Callable[[float], None]) -> Callable[[Job], Artifact]:
    """A bench of its own, and the function that does jobs at it."""
    from harness.jobs import perform
    from harness.jobs.bench import Bench
    from harness.store import Store

    bench = Bench(Store(place.store), place.data_dir, place.device, progress)
    return lambda job: perform(job, bench)


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread, so that a result does not depend on where it is computed."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for the processes started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
