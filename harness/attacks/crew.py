"""Threads side by side, each of which does whole tasks.

A small network leaves PyTorch's own threads little to share: every operation of theirs begins and
ends together, and a loop of ours (`kernels`) is done by one while the others wait. Samples under
attack don't depend on one another; with a share of them on each thread all cores are at work.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from harness.core.lazy import Lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    import torch
else:
    torch = Lazy("torch")

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Crew:
    """Who does the tasks.

    Args:
        threads: how many tasks are done at once.
        pool: of so many threads; None: the one that asks.
    """

    threads: int
    pool: ThreadPoolExecutor | None

    def share(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Rows for each thread, about as many; threads without any are left out."""
        return [part for part in rows.tensor_split(self.threads) if len(part)]

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterable[Result]:
        """The results in order, as of `map`; an error of a task comes where its result would."""
        return map(work, tasks) if self.pool is None else self.pool.map(work, tasks)


@contextmanager
def crew(tasks: int) -> Generator[Crew]:
    """As many threads as torch may use, at most one a task; meanwhile torch has one on each.

    Args:
        tasks: how many there will be; 1 leaves torch its threads.
    """
    before = torch.get_num_threads()
    threads = min(before, tasks)
    if threads <= 1:
        yield Crew(1, None)
        return
    torch.set_num_threads(1)  # the pool's threads begin with this; two levels would fight
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield Crew(threads, pool)
    finally:
        torch.set_num_threads(before)
