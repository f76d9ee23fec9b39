"""Gates: what must not get worse, by how much, and whether the data can tell.

The interval of the change decides, not its value: no regression if all of it lies above -margin,
regression if all of it lies below, undecided otherwise (`harness.statistics.gate`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.core.errors import InputError, UnknownName
from harness.metrics import METRICS
from harness.statistics import gate as decided

if TYPE_CHECKING:
    from harness.compare.changes import Change, Comparable
    from harness.compare.runs import Cell

Verdict = Literal["no regression", "regression", "undecided"]
FORM = "write a gate as NAME=MARGIN, for example robust_accuracy=0.01"


@dataclass(frozen=True, slots=True)
class Gate:
    """What must not get worse.

    Args:
        name: a metric ("accuracy" gates every accuracy of the summary) or a column ("shift").
        margin: how much worse is tolerated, in the metric's own unit: 0.01 is one point.
    """

    name: str
    margin: float


@dataclass(frozen=True, slots=True)
class GateResult:
    """A gate, judged.

    Args:
        gate: what was asked.
        verdict: over all models: one regression decides, then one that is undecided.
        changes: what it looked at, each with its own verdict.
        missing: models and numbers that it should have seen in the new run and did not.
    """

    gate: Gate
    verdict: Verdict
    changes: tuple[tuple[Change, Verdict], ...]
    missing: tuple[str, ...]


def parse_gate(text: str) -> Gate:
    """A gate from `NAME=MARGIN`.

    Raises:
        InputError: it is written otherwise, or the margin is not above 0.

    >>> parse_gate("robust_accuracy=0.01")
    Gate(name='robust_accuracy', margin=0.01)
    """
    name, sign, margin = text.rpartition("=")
    try:
        value = float(margin)
    except ValueError:
        value = math.nan
    if not sign or not name.strip() or math.isnan(value):
        raise InputError(f"gate {text!r} is not understood: {FORM}")
    if not 0 < value < math.inf:
        raise InputError(
            f"gate {text!r}: the margin must be above 0, no amount of data shows that nothing changed"
        )
    return Gate(name.strip(), value)


def judge(gate: Gate, comparable: Comparable) -> GateResult:
    """The gate on every common model.

    Raises:
        InputError: no such metric or column, or neither run measured it.
    """
    cells = _cells(gate.name, comparable)
    changes = [change for change in comparable.changes if change.cell in cells]
    judged: list[tuple[Change, Verdict]] = [
        (change, decided(*change.gain, gate.margin)) for change in changes
    ]
    seen = {(change.model, change.cell) for change in changes}
    missing = tuple(
        f"{model}: {_called(cell)}"
        for (model, cell), row in comparable.pair.rows[0].items()
        if cell in cells and row.status == "ok" and (model, cell) not in seen
    )
    verdict = _overall([verdict for _, verdict in judged], missing)
    return GateResult(gate, verdict, tuple(judged), missing)


def _overall(verdicts: list[Verdict], missing: tuple[str, ...]) -> Verdict:
    if "regression" in verdicts:
        return "regression"
    return "undecided" if missing or not verdicts or "undecided" in verdicts else "no regression"


def _cells(name: str, comparable: Comparable) -> set[Cell]:
    """The cells that a name stands for: a column, or a metric's columns, or all its cells."""
    columns = {
        column.id: (column.axis, column.case, column.metric) for column in comparable.headline
    }
    if name in columns:
        return {columns[name]}
    of_metric = {cell for cell in columns.values() if cell[2] == name}
    of_metric = of_metric or {
        change.cell for change in comparable.changes if change.cell[2] == name
    }
    if of_metric:
        return of_metric
    metrics = {change.cell[2] for change in comparable.changes}
    if name in METRICS:
        raise InputError(
            f"{name!r} can't be gated: these runs have no per-sample outcomes of it. "
            f"Known: {', '.join(sorted({*columns, *metrics}))}."
        )
    raise UnknownName("metric", name, {*columns, *metrics})


def _called(cell: Cell) -> str:
    axis, case, metric = cell
    return " ".join(filter(None, (axis, metric, case)))
