"""What the claims are decided on: the numbers of a finished run, from its per-sample outcomes."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.core.types import case_parts, case_text
from harness.findings.matrix import Matrix
from harness.findings.measure import POINTS, Measure
from harness.pairing import Columns, Number, Samples

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from harness.core.types import Axis, Row
    from harness.suite import Suite

SHIFT_MARGIN, ROBUST_MARGIN, AUROC_MARGIN = 0.01, 0.05, 0.01
ECE_MARGIN, RMS_MARGIN, BRIER_MARGIN = 0.005, 0.01, 0.005
UNCHANGED = ("identity", "mean")  # stand among the corruptions and are none
SOFTMAX, LOGIT = "msp", "mls"
WORST = "worst"
NOTHING = "the run has no outcomes of it"


class Evidence:
    """The numbers of a run; each is worked out when it is first asked for.

    Args:
        suite: what was asked, resolved.
        tables: per-sample outcomes, see `harness.results.outcomes`.
        rows: the run's rows: a number that a check voids is no evidence, and a failed job says why
            a number is missing.
    """

    def __init__(
        self, suite: Suite, tables: Mapping[str, pa.Table], rows: Iterable[Row] = ()
    ) -> None:
        self.suite, self.matrix = suite, Matrix(suite)
        self._rows = list(rows)
        self._samples = Samples({"": tables})
        self._columns = Columns(self._samples, self.matrix.everyone.models, suite.seeds)

    # ------------------------------------------------------------ the numbers

    @cached_property
    def robust(self) -> Measure:
        """Share of the training budgets survived against the worst of the headline attacks."""
        number = self._columns.robust(self.budgets)
        # A mean is no better than the worst of what it is the mean of.
        cases = [case_text(attack=WORST, norm="linf", eps=eps) for eps in ("mean", *self.budgets)]
        missing = self._missing(number, "adversarial", cases, "robust_accuracy")
        return Measure(number, POINTS, 100, ROBUST_MARGIN, missing)

    @cached_property
    def shift(self) -> Measure:
        """Mean of the accuracies under corruption."""
        number = self._columns.shift(self.corruptions)
        missing = self._missing(number, "shift", [case_text(corruption="mean")], "accuracy")
        return Measure(number, POINTS, 100, SHIFT_MARGIN, missing)

    @cached_property
    def calibration(self) -> tuple[Measure, Measure, Measure]:
        """ECE, RMS calibration error and Brier score, before temperature scaling."""
        bins = self.suite.calibration.bins if self.suite.calibration else 15
        ece, rms = self._columns.binned(bins)
        return (
            self._calibrated(ece, "ece", ECE_MARGIN),
            self._calibrated(rms, "rms_calibration_error", RMS_MARGIN),
            self._calibrated(self._columns.brier(), "brier", BRIER_MARGIN),
        )

    def _calibrated(self, number: Number, metric: str, margin: float) -> Measure:
        missing = self._missing(number, "calibration", [case_text(scaling="none")], metric)
        return Measure(number, number.title, 1, margin, missing)

    @cached_property
    def _areas(self) -> Mapping[tuple[str, str], Measure]:
        """(detector, OOD set) -> AUROC."""
        sets = self.suite.ood.sets if self.suite.ood else ()
        return {(kind, name): self._area(kind, name) for kind in (SOFTMAX, LOGIT) for name in sets}

    def _area(self, detector: str, name: str) -> Measure:
        number = self._columns.auroc(detector, name)
        case = case_text(set=name, detector=detector)
        missing = self._missing(number, "ood", [case], "auroc")
        return Measure(number, "AUROC", 1, AUROC_MARGIN, missing)

    def near(self, detector: str) -> tuple[Measure, ...]:
        """AUROC on each set that is semantically near: KMNIST, on MNIST."""
        names = self.suite.ood.near if self.suite.ood else ()
        return tuple(self._areas[detector, name] for name in names)

    def far(self, detector: str) -> tuple[Measure, ...]:
        """AUROC on each set that is far: Fashion-MNIST, on MNIST."""
        names = self.suite.ood.far if self.suite.ood else ()
        return tuple(self._areas[detector, name] for name in names)

    def sets(self, detector: str = SOFTMAX) -> tuple[Measure, ...]:
        """AUROC on each OOD set, near ones first."""
        return self.near(detector) + self.far(detector)

    # ------------------------------------------------------------ single corruptions and attacks

    def under(self, corruption: str) -> Measure:
        """Accuracy of the models under one corruption."""
        number = self._columns.corrupted(corruption)
        missing = self._missing(number, "shift", [case_text(corruption=corruption)], "accuracy")
        return Measure(number, POINTS, 100, SHIFT_MARGIN, missing)

    def across(self, model: str) -> Measure:
        """Accuracy of one model under each corruption; the corruptions stand for the models."""
        return Measure(self._columns.across(model, self.corruptions), POINTS, 100, SHIFT_MARGIN)

    def at_own_budget(self, model: str) -> tuple[float, float] | None:
        """Accuracy under the attack that a model was trained on, and under the worst, at its budget.

        None where either was not measured.
        """
        budget, plug = self.matrix.budget(model), self.matrix.attack(model)
        names = [a.name for a in self.suite.attacks if a.use.name == plug and a.norm == "linf"]
        seen = self._stood(model, budget, names[0]) if names else None
        worst = self._stood(model, budget, WORST)
        return None if seen is None or worst is None else (seen, worst)

    def _stood(self, model: str, budget: float, attack: str) -> float | None:
        found = self._columns.stood([budget], attack=attack)
        means = [
            found[model, seed]["value"].mean()
            for seed in self.suite.seeds
            if (model, seed) in found
        ]
        return float(np.mean(means)) if means else None

    @cached_property
    def budgets(self) -> tuple[float, ...]:
        """Budgets that models were trained at; none, unless every headline attack met them all."""
        trained = {m.training_budget for m in self.suite.models if m.training_budget}
        met = [
            set(attack.eps)
            for attack in self.suite.attacks
            if attack.headline and attack.norm == "linf" and attack.eps != "training"
        ]
        return tuple(sorted(trained)) if met and all(trained <= eps for eps in met) else ()

    @cached_property
    def corruptions(self) -> tuple[str, ...]:
        """Names of the corruptions that were asked for, failed ones included."""
        asked = [case_parts(r.case).get("corruption", "") for r in self._rows if r.axis == "shift"]
        found = [name for (name,) in self._samples.cases("shift")]
        names = dict.fromkeys([*asked, *found])
        return tuple(name for name in names if name and name not in UNCHANGED)

    # ------------------------------------------------------------ what is missing

    def _missing(
        self, number: Number, axis: Axis, cases: Sequence[str], metric: str
    ) -> dict[str, str]:
        """Why models have no such number, or a void one."""
        void = {
            row.model: f"void {' '.join(row.flags)}".strip()
            for row in self._rows
            if (row.axis, row.metric, row.status) == (axis, metric, "void") and row.case in cases
        }
        absent = [name for name in self.matrix.everyone if name not in number.keys]
        return {name: self._reason(name, axis) for name in absent} | void

    def _reason(self, model: str, axis: Axis) -> str:
        bad = [
            f"{row.status}: {row.note}" if row.note else row.status
            for row in self._rows
            if (row.model, row.axis) == (model, axis) and row.status != "ok"
        ]
        return bad[0] if bad else NOTHING
