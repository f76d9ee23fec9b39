"""Comparisons in the words of the claims: better, worse, by far, alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.findings.logic import HOLDS, Judged, beyond, judged, unmeasured, within
from harness.pairing import Gap, on_logits
from harness.results.verdicts import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.findings.matrix import Role
    from harness.pairing import Number

POINTS = "points"


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of the summary with what the study says about it.

    Args:
        number: of the models that were measured.
        unit: in which effects are told.
        factor: from the number's own unit to that one.
        margin: below it models are comparable, beyond it clearly different; in the number's unit.
        missing: model -> why it was not measured.
    """

    number: Number
    unit: str
    factor: float
    margin: float
    missing: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def title(self) -> str:
        """For people."""
        return self.number.title

    @property
    def models(self) -> tuple[str, ...]:
        """Those that were measured."""
        return tuple(str(key) for key in self.number.keys)

    # ------------------------------------------------------------ one model against another

    def better(self, a: str, b: str, *, by: float = 0.0) -> Judged:
        """`a` better than `b` beyond zero, or by more than `by` in the number's own unit."""
        return self._beyond(f"{a} better than {b}{self._more(by)}", {a: 1, b: -1}, by)

    def worse(self, a: str, b: str) -> Judged:
        """`a` worse than `b`."""
        return self._beyond(f"{a} worse than {b}", {b: 1, a: -1}, 0.0)

    def far_worse(self, a: str, b: str) -> Judged:
        """`a` worse than `b` beyond the margin: clearly, by far."""
        what = f"{a} worse than {b}{self._more(self.margin)}"
        return self._beyond(what, {b: 1, a: -1}, self.margin)

    def alike(self, a: str, b: str) -> Judged:
        """`a` and `b` inside the margin of one another; the effect is signed, better is positive."""
        what = f"{a} and {b} within {self._amount(self.margin)}, {self.title}"
        gap = self._gap(what, {a: 1, b: -1})
        if isinstance(gap, Judged):
            return gap
        margin = self.margin * self.factor
        verdict = within(gap.low, gap.high, margin)
        part = Part(what, gap.value, gap.low, gap.high, verdict, unit=self.unit)
        return judged(part, margin - abs(gap.value))

    def at_least(self, model: str, bound: float) -> Judged:
        """The lower bound of a model's AUROC at least `bound`; the effect is the AUROC itself."""
        what = f"{model} at least {bound:g}, {self.title}"
        if not self._has(model):
            return unmeasured(what, self.why(model))
        area = on_logits(self.number.gap({model: 1}))
        verdict = HOLDS if area.low >= bound else beyond(area.low, area.high, bound)
        part = Part(what, area.value, area.low, area.high, verdict, unit=self.unit)
        return judged(part, area.value - bound)

    # ------------------------------------------------------------ one family against another

    def above(self, a: Role, b: Role) -> Judged:
        """The mean of family `a` better than that of `b`, image by image."""
        weights = {model: 1 / len(a) for model in a} | {model: -1 / len(b) for model in b}
        return self._beyond(f"{a.title} better than {b.title}, means", weights, 0.0)

    # ------------------------------------------------------------ within

    def _beyond(self, what: str, weights: Mapping[str, float], bound: float) -> Judged:
        what = f"{what}, {self.title}"
        gap = self._gap(what, weights)
        if isinstance(gap, Judged):
            return gap
        limit = bound * self.factor
        p = None if bound else gap.p
        verdict = beyond(gap.low, gap.high, limit)
        part = Part(what, gap.value, gap.low, gap.high, verdict, p, self.unit)
        return judged(part, gap.value - limit)

    def _gap(self, what: str, weights: Mapping[str, float]) -> Gap | Judged:
        """The weighted sum in the unit of effects, positive = better; or why there is none."""
        for model in weights:
            if not self._has(model):
                return unmeasured(what, self.why(model))
        sign = self.factor if self.number.better == "higher" else -self.factor
        return self.number.gap({model: sign * weight for model, weight in weights.items()})

    def _has(self, model: str) -> bool:
        return model in self.number.keys and model not in self.missing

    def why(self, model: str) -> str:
        """Why a model was not measured."""
        if not model:
            return "the suite names no baseline"
        return f"{model}: {self.missing.get(model, 'not measured')}"

    def _amount(self, value: float) -> str:
        amount = f"{value * self.factor:g}"
        return (
            f"{amount} {'point' if amount == '1' else 'points'}" if self.unit == POINTS else amount
        )

    def _more(self, by: float) -> str:
        return f" by more than {self._amount(by)}" if by else ""
