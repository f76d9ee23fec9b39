"""What an axis sees: the records of a plan by question, and rows with the blanks filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.core.types import Artifact, Axis, Job, Row, case_text
from harness.corruptions import MNIST_C
from harness.metrics import METRICS
from harness.plan.types import Plan, Question

if TYPE_CHECKING:
    import numpy as np

    from harness.statistics import Difference, Estimate
    from harness.store import Store
    from harness.suite import ModelSpec, Suite

VERSUS = "baseline"


@dataclass
class Measured:
    """What an axis hands back.

    Args:
        rows: the numbers.
        outcomes: table -> list of blocks of columns, for `harness.results.outcomes`.
        exhibits: list name -> items, for `harness.results.exhibits`.
    """

    rows: list[Row] = field(default_factory=list[Row])
    outcomes: dict[str, list[Mapping[str, Any]]] = field(
        default_factory=dict[str, list[Mapping[str, Any]]]
    )
    exhibits: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])

    def add(self, other: Measured) -> None:
        """Take over what another axis has measured."""
        self.rows.extend(other.rows)
        for name, blocks in other.outcomes.items():
            self.outcomes.setdefault(name, []).extend(blocks)
        for name, items in other.exhibits.items():
            self.exhibits.setdefault(name, []).extend(items)

    def outcome(self, table: str, who: Who, **columns: Any) -> None:  # noqa: ANN401 -- arrays or scalars
        """Add a block of per-sample outcomes."""
        self.outcomes.setdefault(table, []).append({"model": who.name, "seed": who.seed, **columns})

    def exhibit(self, kind: str, who: Who, **content: Any) -> None:  # noqa: ANN401 -- plain data
        """Add an exhibit."""
        self.exhibits.setdefault(kind, []).append({"model": who.name, "seed": who.seed, **content})


@dataclass(frozen=True)
class Who:
    """One model of one seed, as the rows name it."""

    spec: ModelSpec
    seed: int

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.spec.name


class View:
    """The records of a plan.

    Args:
        plan: what was asked.
        store: what was found.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan, self.store = plan, store
        self._records: dict[str, Artifact] = {}
        self._models = {digest: q.model for q, digest in reversed(list(plan.answers.items()))}

    @property
    def suite(self) -> Suite:
        """The suite of the plan."""
        return self.plan.suite

    def everyone(self) -> Iterator[Who]:
        """Every model of every seed, in the order of the report."""
        for seed in self.suite.seeds:
            for spec in self.suite.models:
                yield Who(spec, seed)

    def baseline(self, who: Who) -> Who | None:
        """The baseline of the same seed, or None for the baseline itself or where there is none."""
        name = self.suite.baseline
        return None if name in ("", who.name) else Who(self.suite.model(name), who.seed)

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Corruptions of the plan, in the published order."""
        asked = {question.case for question in self.plan.answers if question.kind == "predict"}
        return tuple(name for name in MNIST_C if name in asked)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return self.plan.classes

    @property
    def exhibit(self) -> Artifact | None:
        """The example images, or None if there are none."""
        found = [d for question, d in self.plan.answers.items() if question.kind == "exhibit"]
        record = self.read(found[0]) if found else None
        return record if record is not None and record.status == "ok" else None

    def job(self, kind: str, who: Who, case: str = "", member: int = 0) -> Job | None:
        """The job that answers, or None if nothing was asked."""
        digest = self.digest(kind, who, case, member)
        return self.plan.job(digest) if digest else None

    def model_of(self, digest: str) -> str:
        """Name of the model that a job belongs to (the first, if several), or ""."""
        return self._models.get(digest, "")

    def digest(self, kind: str, who: Who, case: str = "", member: int = 0) -> str | None:
        """Digest of the job that answers, or None if nothing was asked."""
        combined = Question("combine", who.name, who.seed, _combined(kind, case))
        direct = Question(kind, who.name, who.seed, case, member)
        return self.plan.answers.get(direct) or self.plan.answers.get(combined)

    def record(self, kind: str, who: Who, case: str = "", member: int = 0) -> Artifact | None:
        """The record that answers; None if nothing was asked or the job is not done."""
        digest = self.digest(kind, who, case, member)
        return None if digest is None else self.read(digest)

    def read(self, digest: str) -> Artifact:
        """The record of a job; one that is not done counts as skipped."""
        if digest not in self._records:
            try:
                self._records[digest] = self.store.read(digest)
            except KeyError:
                self._records[digest] = Artifact(digest, "skipped", "not done")
        return self._records[digest]

    def arrays(
        self, kind: str, who: Who, case: str = "", member: int = 0
    ) -> Mapping[str, np.ndarray] | None:
        """Arrays of the record that answers, or None unless it is ok."""
        record = self.record(kind, who, case, member)
        return record.arrays if record is not None and record.status == "ok" else None


def _combined(kind: str, case: str) -> str:
    return f"detector {case}" if kind == "score" else case


def row(
    view: View,
    who: Who,
    axis: Axis,
    metric: str,
    estimate: Estimate,
    *,
    job: str | None,
    implementation: str = "harness",
    note: str = "",
    **case: object,
) -> Row:
    """A row from an estimate."""
    return Row(
        suite=view.suite.name,
        model=who.name,
        family=who.spec.family,
        seed=who.seed,
        axis=axis,
        case=case_text(**case),
        metric=metric,
        implementation=implementation,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        better=METRICS[metric].better,
        job=job or "",
        note=note,
    )


def versus(found: Row, difference: Difference) -> Row:
    """The row of a paired difference to the baseline, beside the row that it belongs to."""
    return replace(
        found,
        case=f"{found.case} versus={VERSUS}".strip(),
        value=difference.value,
        low=difference.low,
        high=difference.high,
        n=difference.n,
        note=f"p={difference.p:.3g}" if difference.p is not None else "",
    )


def absent(
    view: View, who: Who, axis: Axis, metric: str, record: Artifact | None, **case: object
) -> Row:
    """The row of a number that there is not, with the reason."""
    status = "failed" if record is not None and record.status == "failed" else "skipped"
    return Row(
        suite=view.suite.name,
        model=who.name,
        family=who.spec.family,
        seed=who.seed,
        axis=axis,
        case=case_text(**case),
        metric=metric,
        implementation="harness",
        value=None,
        low=None,
        high=None,
        n=0,
        better=METRICS[metric].better,
        status=status,
        job=record.digest if record is not None else "",
        note=record.reason if record is not None else "not asked",
    )
