"""One piece of work, done by us and by others in turns, in one process on the same threads.

Rounds alternate, so that a machine that slows down slows all of them; a ratio is that of the
medians. On one thread processor time is compared, and wall time beside it says how busy the machine
was; on several it is wall time, which needs a quiet machine.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Found:
    """What one run found.

    Args:
        robust: (B,) share of images right at each budget, in [0, 1].
        gradients: gradients taken for an image, on average.
    """

    robust: np.ndarray
    gradients: float


@dataclass
class Entry:
    """One who takes part: what it does for a seed, and what came of it."""

    work: Callable[[int], Found]
    found: list[Found] = field(default_factory=list[Found])
    busy: list[float] = field(default_factory=list[float])
    wall: list[float] = field(default_factory=list[float])

    def run(self, seed: int) -> None:
        """One round."""
        busy, wall = time.process_time(), time.perf_counter()
        found = self.work(seed)
        self.busy.append(time.process_time() - busy)
        self.wall.append(time.perf_counter() - wall)
        self.found.append(found)

    @property
    def robust(self) -> np.ndarray:
        """(B,) mean robust accuracy over the rounds."""
        return np.mean([found.robust for found in self.found], axis=0)

    def seconds(self, threads: int) -> float:
        """Median time of a round: of the processor on one thread, of the wall's clock on several."""
        return statistics.median(self.busy if threads == 1 else self.wall)


@dataclass(frozen=True)
class Contest:
    """A row of the table.

    Args:
        title: the work.
        ours: what we do, by seed.
        peers: what each of the others does, by its name.
        bars: how many times faster we want to be, by peer.
    """

    title: str
    ours: Callable[[int], Found]
    peers: Mapping[str, Callable[[int], Found]]
    bars: Mapping[str, float]

    def held(self, rounds: int, threads: int = 1) -> list[str]:
        """Lines of the table, after that many rounds on so many threads."""
        ours = Entry(self.ours)
        peers = {name: Entry(work) for name, work in self.peers.items()}
        for seed in range(rounds):
            for entry in (ours, *peers.values()):
                entry.run(seed)
        return [self._line(ours, name, peer, threads) for name, peer in peers.items()]

    def _line(self, ours: Entry, name: str, peer: Entry, threads: int) -> str:
        above = 100 * float((ours.robust - peer.robust).max())
        cells = [
            self.title,
            name,
            f"{statistics.median(ours.busy):.2f} ({statistics.median(ours.wall):.2f})",
            f"{statistics.median(peer.busy):.2f} ({statistics.median(peer.wall):.2f})",
            f"**{peer.seconds(threads) / ours.seconds(threads):.1f}**",
            f"{self.bars[name]:g}",
            f"{_gradients(ours):.1f} / {_gradients(peer):.1f}",
            _percent(ours.robust),
            _percent(peer.robust),
            f"{above:+.1f}",
        ]
        return f"| {' | '.join(cells)} |"


HEAD: Sequence[str] = (
    "| work | peer | ours, s (wall) | peer, s (wall) | ratio | bar | gradients an image, ours / peer"
    " | robust accuracy, ours, % | peer, % | largest excess of ours, points |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def _gradients(entry: Entry) -> float:
    return statistics.fmean(found.gradients for found in entry.found)


def _percent(shares: np.ndarray) -> str:
    return " ".join(f"{100 * share:.1f}" for share in shares)
