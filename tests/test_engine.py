"""The scheduler, with an executor that only pretends."""

from collections import deque

import pytest

from harness.core.types import Artifact, Job
from harness.engine import Report, execute
from harness.store import Store


def job(name: str, needs: tuple[str, ...] = (), cost: float = 1.0, group: str = "") -> Job:
    return Job("test", name, {}, {}, needs, 0, group, cost, "", {}, {}, name)


class Pretend:
    """Does jobs in the order given, and remembers what ran beside what."""

    def __init__(
        self, store: Store, workers: int = 1, failing: frozenset[str] = frozenset()
    ) -> None:
        self.store, self.workers, self.failing = store, workers, failing
        self.waiting: deque[tuple[int, Job]] = deque()
        self.order: list[str] = []
        self.died: set[str] = set()

    def submit(self, worker: int, job: Job) -> None:
        for need in job.needs:
            assert self.store.status(need) == "ok", f"{job.title} began before {need}"
        self.order.append(job.title)
        self.waiting.append((worker, job))

    def reports(self):
        worker, job = self.waiting.popleft()
        if job.title in self.died:
            yield Report(worker, job.digest, "died", reason="killed")
            return
        yield Report(worker, job.digest, "progress", fraction=0.5)
        status = "failed" if job.title in self.failing else "ok"
        artifact = Artifact(job.digest, status, "it broke" if status == "failed" else "", 1.0)
        self.store.write(job, artifact)
        yield Report(worker, job.digest, "done", artifact=artifact, memory=int(job.cost))

    def close(self) -> None: ...


class Quiet:
    def __init__(self) -> None:
        self.ended_with: dict[str, str] = {}

    def began(self, jobs, cached): ...

    def started(self, worker, job): ...

    def moved(self, worker, job, fraction): ...

    def ended(self, worker, job, artifact):
        self.ended_with[job.title] = artifact.status


def run(jobs, executor, **options):
    quiet = Quiet()
    return execute(jobs, executor.store, executor, quiet, **options), quiet


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_needs_come_first_and_the_longest_chain_starts_first(store):
    """Catches first-come order, which leaves the long job to the end."""
    jobs = [
        job("short"),
        job("train", cost=50),
        job("attack", ("train",), cost=9),
        job("middle", cost=20),
    ]
    executor = Pretend(store)
    outcome, _ = run(jobs, executor)
    assert executor.order == ["train", "middle", "attack", "short"]
    assert (outcome.done, outcome.cached, outcome.failed, outcome.skipped) == (4, 0, {}, {})


def test_the_largest_worker_is_told(store):
    """Catches the last worker's memory in place of the largest, and one of an earlier run."""
    jobs = [job("small", cost=5), job("large", cost=9), job("last", cost=2)]
    assert run(jobs, Pretend(store, workers=2))[0].memory == 9
    assert run(jobs, Pretend(store))[0].memory == 0


def test_a_failure_is_recorded_and_the_rest_goes_on(store):
    jobs = [job("a"), job("b", ("a",)), job("c", ("b",)), job("d")]
    outcome, quiet = run(jobs, Pretend(store, failing=frozenset({"a"})))
    assert outcome.failed == {"a": "it broke"}
    assert outcome.skipped == {"b": "needs 'a', which failed", "c": "needs 'b', which failed"}
    assert quiet.ended_with == {"a": "failed", "b": "skipped", "c": "skipped", "d": "ok"}
    assert store.status("a") == "failed"


def test_fail_fast_begins_nothing_more(store):
    executor = Pretend(store, failing=frozenset({"a"}))
    outcome, _ = run([job("a", cost=9), job("b"), job("c")], executor, fail_fast=True)
    assert executor.order == ["a"]
    assert set(outcome.skipped) == {"b", "c"}


def test_the_same_plan_again_does_nothing(store):
    jobs = [job("a"), job("b", ("a",))]
    run(jobs, Pretend(store))
    executor = Pretend(store)
    outcome, _ = run(jobs, executor)
    assert executor.order == []
    assert (outcome.done, outcome.cached) == (0, 2)


def test_a_failed_job_is_tried_again(store):
    run([job("a")], Pretend(store, failing=frozenset({"a"})))
    outcome, _ = run([job("a")], Pretend(store))
    assert outcome.done == 1
    assert store.status("a") == "ok"


def test_a_worker_that_dies_is_a_failed_job(store):
    """Catches an engine that waits for ever."""
    executor = Pretend(store)
    executor.died = {"a"}
    outcome, _ = run([job("a"), job("b", ("a",)), job("c")], executor)
    assert outcome.failed == {"a": "killed"}
    assert store.read("a").reason == "killed"
    assert store.status("c") == "ok"


def test_workers_keep_their_group_while_jobs_are_short(store):
    """Catches a schedule that loads a model for every job."""
    jobs = [job(f"{group}{i}", cost=0.1 + i / 100, group=group) for i in range(3) for group in "xy"]
    executor = Pretend(store, workers=2)
    run(jobs, executor)
    assert {title[0] for title in executor.order[::2]} != {
        title[0] for title in executor.order[1::2]
    }
    assert all(len({t[0] for t in executor.order[k::2]}) == 1 for k in (0, 1))


def test_no_worker_has_two_jobs(store):
    class Strict(Pretend):
        def submit(self, worker, job):
            assert worker not in [w for w, _ in self.waiting]
            super().submit(worker, job)

    outcome, _ = run([job(str(i)) for i in range(9)], Strict(store, workers=3))
    assert outcome.done == 9
