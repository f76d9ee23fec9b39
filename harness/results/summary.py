"""The columns of the summary: which rows answer "how safe, in which sense" with one number a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.types import case_parts, case_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.core.types import Axis, Better, Row
    from harness.results.run import Run


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the summary.

    Args:
        id: short and stable: "clean", "robust", "auroc kmnist".
        title: heading, a few words.
        meaning: what the number is, one sentence.
        axis: of its rows.
        case: of its rows; "attack=square norm=linf " matches every case that begins so,
            but for differences from the baseline.
        metric: of its rows.
        better: direction.
        percent: shown as a percentage; else as a plain number.
        ranked: models are compared in this column, and the best are marked.
        sense: what being good in it means, for "safest in the sense of".
    """

    id: str
    title: str
    meaning: str
    axis: Axis
    case: str
    metric: str
    better: Better
    percent: bool
    ranked: bool = True
    sense: str = ""

    def matches(self, row: Row) -> bool:
        """Whether `row` is a number of this column."""
        same = row.axis == self.axis and row.metric == self.metric
        ours = row.implementation == "harness" and not is_difference(row)
        return same and ours and self._case(row.case)

    def _case(self, case: str) -> bool:
        if not self.case.endswith(" "):
            return case == self.case
        return case.startswith(self.case) and "versus" not in case_parts(case)


def columns(run: Run, rows: Iterable[Row]) -> list[Column]:
    """The columns that `rows` can fill, in the order of the report."""
    rows = list(rows)
    possible = [*_accuracies(run), *_detection(run, rows), *_calibration()]
    return [column for column in possible if any(map(column.matches, rows))]


def _accuracies(run: Run) -> list[Column]:
    eps = ", ".join(f"{budget:g}" for budget in run["headline_budgets"])
    worst = case_text(attack="worst", norm="linf", eps="mean")
    unseen = case_text(attack="unseen", norm="linf", eps="mean")
    mean = case_text(corruption="mean")
    return [
        Column("clean", "Clean", "Accuracy on unchanged test images.",
               "clean", "", "accuracy", "higher", percent=True, sense="right on unchanged images"),
        Column("robust", "Robust", f"Accuracy under the worst attack per image, L-inf, mean over eps {eps}.",
               "adversarial", worst, "robust_accuracy", "higher", percent=True, sense="right under attack"),
        Column("gap", "Gap", "Accuracy under the attack that it was trained on, minus Robust, at the same budgets.",
               "adversarial", unseen, "robust_gap", "lower", percent=True, ranked=False),
        Column("square", "Square", "Accuracy under Square, a black-box attack, at the budget that the model was trained at, else the middle one: compare it with models of the same budget only.",
               "adversarial", "attack=square norm=linf ", "robust_accuracy", "higher", percent=True, ranked=False),
        Column("shift", "Shift", "Accuracy on corrupted images, mean over the corruptions.",
               "shift", mean, "accuracy", "higher", percent=True, sense="right on corrupted images"),
        Column("relative", "Relative error", "Error per corruption over the baseline's, mean over corruptions.",
               "shift", mean, "relative_error", "lower", percent=False, ranked=False),
    ]  # fmt: skip


def ood_sets(run: Run, rows: Iterable[Row]) -> list[str]:
    """Names of the OOD sets in `rows`, in the order of the run's splits."""
    found = {case_parts(row.case).get("set", "") for row in rows if row.axis == "ood"} - {""}
    order = [split["name"] for split in run["splits"]]
    return sorted(
        found, key=lambda name: (order.index(name) if name in order else len(order), name)
    )


def _detection(run: Run, rows: Sequence[Row]) -> list[Column]:
    detector = run["headline_detector"]
    titles = {split["name"]: split["title"] for split in run["splits"]}
    scorer = next((d["title"] for d in run["detectors"] if d["name"] == detector), detector)
    return [
        Column(f"auroc {name}", f"AUROC {titles.get(name, name)}",
               f"Area under the ROC curve of the {scorer} score, {titles.get(name, name)}{_role(run, name)} against the test images.",
               "ood", case_text(set=name, detector=detector), "auroc", "higher", percent=False,
               sense="tells other images apart")
        for name in ood_sets(run, rows)
    ]  # fmt: skip


def _role(run: Run, name: str) -> str:
    """Near or far, in brackets after the name of an OOD set."""
    roles = {split["name"]: split["role"] for split in run["splits"] if "OOD" in split["role"]}
    return f" ({roles[name]})" if name in roles else ""


def _calibration() -> list[Column]:
    case = case_text(scaling="none")
    return [
        Column("ece", "ECE", "Expected calibration error, 15 bins, before temperature scaling.",
               "calibration", case, "ece", "lower", percent=False, sense="calibrated"),
        Column("rms", "RMS error", "RMS calibration error, before temperature scaling.",
               "calibration", case, "rms_calibration_error", "lower", percent=False, sense="calibrated"),
        Column("brier", "Brier", "Brier score in [0, 2], before temperature scaling.",
               "calibration", case, "brier", "lower", percent=False, sense="calibrated"),
    ]  # fmt: skip


def is_difference(row: Row) -> bool:
    """Whether a row is a paired difference to the baseline, not a value."""
    return " versus=" in f" {row.case}"


def headline(rows: Iterable[Row]) -> list[Row]:
    """One row a (model, axis, case, metric, implementation): over all seeds where there are several.

    The rows of single seeds are dropped wherever a row of seed ALL_SEEDS stands.
    """
    chosen: dict[tuple[str, ...], Row] = {}
    for row in sorted(rows, key=lambda row: row.seed):  # ALL_SEEDS is -1: it comes first
        key = (row.model, row.axis, row.case, row.metric, row.implementation)
        chosen.setdefault(key, row)
    return list(chosen.values())
