"""What the functions of this room return."""

from __future__ import annotations

from dataclasses import dataclass

Z = 1.959963984540054  # standard normal quantile of 0.975
TAILS = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval.

    Args:
        value: the estimate.
        low: lower end, or None where no interval covers.
        high: upper end, or None.
        n: samples it rests on.
        method: how the interval was made, or why there is none.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    method: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference a - b with its 95 % interval.

    Args:
        value: number of a minus number of b.
        low: lower end, or None where no interval covers.
        high: upper end, or None.
        p: two-sided p value, or None where there is no test.
        n: pairs.
        wins: pairs in which a is larger.
        losses: pairs in which b is larger.
        method: how interval and p were made.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    wins: int
    losses: int
    method: str

    @property
    def estimate(self) -> Estimate:
        """The difference as a number of its own."""
        return Estimate(self.value, self.low, self.high, self.n, self.method)
