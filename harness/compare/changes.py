"""Numbers of two runs tested against one another, model by model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.compare.runs import A, B, Cell, Pair
from harness.core.types import case_parts
from harness.metrics import METRICS
from harness.pairing import Columns, Key, Number
from harness.results.summary import columns
from harness.statistics import holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.core.types import Better
    from harness.results.summary import Column

LEVEL = 0.05
MEAN = "mean"
Verdict = Literal["better", "worse", "no change shown"]


@dataclass(frozen=True, slots=True)
class Change:
    """One number of one model before and after.

    Args:
        model: whose.
        cell: axis, case and metric of its row.
        column: id of its column in the summary; "" for a detail.
        better: direction of the metric.
        before: mean over the common seeds, on the common images.
        after: the same in the new run.
        low: lower end of the 95 % interval of after minus before.
        high: upper end.
        p: two-sided p value, Holm-corrected over the headline or over the details.
        images: pairs that it rests on.
    """

    model: str
    cell: Cell
    column: str
    better: Better
    before: float
    after: float
    low: float
    high: float
    p: float
    images: int

    @property
    def gain(self) -> tuple[float, float]:
        """Interval of the change, positive = better."""
        return (self.low, self.high) if self.better == "higher" else (-self.high, -self.low)

    @property
    def verdict(self) -> Verdict:
        """Whether the change is beyond noise: after Holm, and by its interval."""
        low, high = self.gain
        if self.p >= LEVEL or low <= 0 <= high:
            return "no change shown"
        return "better" if low > 0 else "worse"


class Comparable:
    """The numbers that both runs have and whose outcomes can be paired.

    Args:
        pair: the runs.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._binned: dict[tuple[str, tuple[Key, ...]], tuple[Number, Number]] = {}

    @cached_property
    def headline(self) -> list[Column]:
        """Columns of the summary of either run that can be tested, in the order of the report."""
        found: dict[str, Column] = {}
        for results in (self.pair.a, self.pair.b):
            for column in columns(results.run, results.rows):
                if column.ranked:
                    found.setdefault(column.id, column)
        return list(found.values())

    @cached_property
    def cells(self) -> dict[Cell, tuple[str, ...]]:
        """Cell -> models that have an ok number there in both runs."""
        before, after = self.pair.rows
        found: dict[Cell, list[str]] = {}
        for (model, cell), row in before.items():
            other = after.get((model, cell))
            if other is not None and row.status == other.status == "ok":
                found.setdefault(cell, []).append(model)
        return {cell: tuple(models) for cell, models in found.items()}

    def column_of(self, cell: Cell) -> str:
        """Id of the summary's column that a cell stands in, or ""."""
        fits = (c.id for c in self.headline if (c.axis, c.case, c.metric) == cell)
        return next(fits, "")

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """Every number that can be tested, headline first; Holm over each of the two families."""
        made = [
            change for cell, models in self.cells.items() for change in self._cell(cell, models)
        ]
        order = [column.id for column in self.headline]
        top = sorted((c for c in made if c.column), key=lambda c: order.index(c.column))
        return (*_corrected(top), *_corrected([c for c in made if not c.column]))

    def untested(self) -> int:
        """How many numbers changed and have no outcomes to test them on."""
        before, after = self.pair.rows
        tested = {(change.model, change.cell) for change in self.changes}
        both = [key for key in before if key in after and key not in tested]
        return sum(before[key].value != after[key].value for key in both)

    # ------------------------------------------------------------ one cell

    def _cell(self, cell: Cell, models: Sequence[str]) -> list[Change]:
        keys = [(run, model) for model in models for run in (A, B)]
        number = self._number(cell, Columns(self.pair.samples, keys, self.pair.seeds))
        if number is None:
            return []
        both = [m for m in models if (A, m) in number.keys and (B, m) in number.keys]
        return [self._change(cell, model, number) for model in both]

    def _number(self, cell: Cell, made: Columns) -> Number | None:
        """The paired number of a cell, or None where outcomes do not tell it."""
        axis, case, metric = cell
        parts = case_parts(case)
        match axis, metric:
            case "clean", "accuracy":
                return made.clean()
            case "adversarial", "robust_accuracy":
                return self._robust(made, parts)
            case "shift", "accuracy":
                name = parts["corruption"]
                return made.shift(self.pair.corruptions) if name == MEAN else made.corrupted(name)
            case "ood", "auroc":
                return self._auroc(made, parts)
            case "calibration", _:
                return self._calibration(made, metric, parts["scaling"])
            case _:
                return None

    def _robust(self, made: Columns, parts: dict[str, str]) -> Number:
        attack, norm, eps = parts["attack"], parts["norm"], parts["eps"]
        if eps == MEAN:
            return made.robust(self.pair.budgets, norm=norm, attack=attack)
        return made.standing(float(eps), norm=norm, attack=attack)

    def _auroc(self, made: Columns, parts: dict[str, str]) -> Number | None:
        # Their ids are places in a draw: in another draw they are other images.
        same = self.pair.same_split("test") and self.pair.same_split(parts["set"])
        return made.auroc(parts["detector"], parts["set"]) if same else None

    def _calibration(self, made: Columns, metric: str, scaling: str) -> Number | None:
        if metric in ("ece", "rms_calibration_error"):
            key = (scaling, made.keys)
            if key not in self._binned:
                self._binned[key] = made.binned(self.pair.bins, scaling)
            return self._binned[key][metric != "ece"]
        makers = {"brier": made.brier, "nll": made.nll}
        return makers[metric](scaling) if metric in makers else None

    def _change(self, cell: Cell, model: str, number: Number) -> Change:
        gap = number.gap({(B, model): 1, (A, model): -1})
        return Change(
            model, cell, self.column_of(cell), METRICS[cell[2]].better,
            number.value((A, model)), number.value((B, model)), gap.low, gap.high, gap.p, number.images,
        )  # fmt: skip


def _corrected(family: Sequence[Change]) -> Iterable[Change]:
    p = holm(np.array([change.p for change in family], dtype=np.float64))
    return [replace(change, p=float(one)) for change, one in zip(family, p, strict=True)]
