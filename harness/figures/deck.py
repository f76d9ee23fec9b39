"""The tables that figures draw from, one a subject, shared by all figures of a page.

Only numbers that count stand here: a void, failed or skipped row is listed by the report, never
drawn. Percentages are on a scale of 0 to 100.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.core.types import case_parts
from harness.results.summary import Column, columns, headline, is_difference, ood_sets
from harness.results.titles import NORMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.core.types import Row
    from harness.results import Results

Record = dict[str, Any]
IN_DISTRIBUTION = "id"
SEEN = 0.00005  # half a hundredth of a point: a smaller difference is a dot on zero
CLAIM = 62  # characters of a claim on one line of a figure


@dataclass(frozen=True)
class Deck:
    """Results, laid out for figures.

    Args:
        results: of a run.
    """

    results: Results

    @cached_property
    def rows(self) -> list[Row]:
        """Rows that may be drawn: one a number, over all seeds where there are several."""
        fine = (row for row in headline(self.results.rows) if row.status == "ok")
        return [row for row in fine if not is_difference(row)]

    @cached_property
    def models(self) -> list[str]:
        """Names of the models, in the order of the report."""
        return [model["name"] for model in self.results.run["models"]]

    @cached_property
    def families(self) -> dict[str, str]:
        """Model -> family."""
        return {model["name"]: model["family"] for model in self.results.run["models"]}

    @cached_property
    def columns(self) -> list[Column]:
        """The columns of the summary that hold a number."""
        return columns(self.results.run, self.rows)

    @cached_property
    def sets(self) -> list[str]:
        """Names of the OOD sets, in the order of the report."""
        return ood_sets(self.results.run, self.rows)

    @cached_property
    def detectors(self) -> list[str]:
        """Names of the detectors, the headline's first."""
        found = list(
            dict.fromkeys(
                case_parts(row.case)["detector"]
                for row in self.results.rows  # a void number has a detector, too
                if row.axis == "ood"
            )
        )
        order = [one["name"] for one in self.results.run["detectors"]]
        first = self.results.run["headline_detector"]
        return sorted(
            found,
            key=lambda name: (name != first, order.index(name) if name in order else 99, name),
        )

    def title(self, name: str) -> str:
        """How people call a split, detector or attack."""
        return self._titles.get(name) or name.replace("_", " ")

    def spelt(self, words: str) -> str:
        """A line of the ledger with norms, detectors and sets as people call them."""
        return " ".join(self._titles.get(word) or NORMS.get(word, word) for word in words.split())

    @cached_property
    def _titles(self) -> dict[str, str]:
        run = self.results.run
        return {one["name"]: one["title"] for one in (*run["splits"], *run["detectors"])}

    @cached_property
    def datasets(self) -> dict[str, list[Record]]:
        """Every table by name; an empty one where the run did not measure it."""
        return {name: make(self) for name, make in TABLES.items()}

    def record(self, row: Row, *, percent: bool = False) -> Record:
        """What every figure needs of a row."""
        scale = 100.0 if percent else 1.0
        return {
            "model": row.model,
            "family": row.family,
            "value": _scaled(row.value, scale),
            "low": _scaled(row.low, scale),
            "high": _scaled(row.high, scale),
        }


def _scaled(value: float | None, scale: float) -> float | None:
    """Six significant digits: more than any pixel shows, and half the bytes of the page."""
    return None if value is None else float(format(value * scale, ".6g"))


def _summary(deck: Deck) -> list[Record]:
    best = {(s.column, s.model): s.best for s in deck.results.standings}
    return [
        {**deck.record(row, percent=column.percent), "column": column.id, "best": best.get((column.id, row.model), False)}
        for column in deck.columns
        for row in deck.rows
        if column.matches(row)
    ]  # fmt: skip


def _robust(deck: Deck) -> list[Record]:
    titles = {(a["name"], a["norm"]): a["title"] for a in deck.results.run["attacks"]}
    found: list[Record] = []
    for row in deck.rows:
        parts = case_parts(row.case)
        if row.metric != "robust_accuracy" or parts["eps"] == "mean":
            continue
        title = titles.get((parts["attack"], parts["norm"]), "worst of the attacks")
        panel = f"{title}, {NORMS[parts['norm']]}"
        found.append({**deck.record(row, percent=True), "eps": float(parts["eps"]), "panel": panel})  # fmt: skip
    curves = _curves(found)
    clean = [
        deck.record(row, percent=True)
        for row in deck.rows
        if row.axis == "clean" and row.metric == "accuracy"
    ]
    start = [
        {**record, "eps": 0.0, "panel": panel}
        for record in clean
        for panel in sorted({panel for panel, model in curves if model == record["model"]})
    ]
    return [*start, *(record for record in found if (record["panel"], record["model"]) in curves)]


def _curves(records: list[Record]) -> set[tuple[str, str]]:
    """(panel, model) with more than one budget: a single budget is no curve."""
    budgets: dict[tuple[str, str], set[float]] = {}
    for record in records:
        budgets.setdefault((record["panel"], record["model"]), set()).add(record["eps"])
    return {curve for curve, eps in budgets.items() if len(eps) > 1}


def _shift(deck: Deck) -> list[Record]:
    return [
        {**deck.record(row, percent=True), "corruption": name.replace("_", " ")}
        for row in deck.rows
        if row.axis == "shift" and row.metric == "accuracy"
        for name in [case_parts(row.case)["corruption"]]
        if name in (*deck.results.run["corruptions"], "mean")
    ]


def _ood(deck: Deck) -> list[Record]:
    return [
        {**deck.record(row), "set": deck.title(parts["set"]), "detector": parts["detector"]}
        for row in deck.rows
        if row.axis == "ood" and row.metric == "auroc"
        for parts in [case_parts(row.case)]
    ]


CALIBRATION = {
    "ece": "ECE",
    "rms_calibration_error": "RMS calibration error",
    "brier": "Brier score",
}
SCALING = {"none": "before scaling", "temperature": "after scaling"}


def _calibration(deck: Deck) -> list[Record]:
    return [
        {**deck.record(row), "metric": CALIBRATION[row.metric], "scaling": SCALING[scaling]}
        for row in deck.rows
        if row.axis == "calibration"
        and row.metric in CALIBRATION
        and row.implementation == "harness"
        for scaling in [case_parts(row.case).get("scaling", "")]
        if scaling in SCALING
    ]


def _floors(deck: Deck) -> list[Record]:
    return [
        {"model": row.model, "metric": CALIBRATION["ece"], "floor": _scaled(row.high, 1)}
        for row in deck.rows
        if row.metric == "ece_floor" and row.case == "scaling=none"
    ]


def _reliability(deck: Deck) -> list[Record]:
    first = min(deck.results.run["seeds"], default=0)
    return [
        {"model": one["model"], "scaling": SCALING.get(one["scaling"], one["scaling"]),
         "confidence": confidence, "accuracy": accuracy, "count": count}
        for one in deck.results.exhibits["reliability"]
        if one["seed"] == first
        for confidence, accuracy, count in zip(one["confidence"], one["accuracy"], one["count"], strict=True)
        if count
    ]  # fmt: skip


def _histograms(deck: Deck) -> list[Record]:
    first = min(deck.results.run["seeds"], default=0)
    return [
        {"model": one["model"], "detector": deck.title(one["detector"]), "low": _scaled(low, 1), "high": _scaled(high, 1),
         "set": "test images" if one["set"] == IN_DISTRIBUTION else deck.title(one["set"]),
         "share": _scaled(count / total, 100)}
        for one in deck.results.exhibits["histograms"]
        if one["seed"] == first
        for total in [max(1, sum(one["count"]))]
        for low, high, count in zip(one["edges"], one["edges"][1:], one["count"], strict=False)
        if count
    ]  # fmt: skip


def _roc(deck: Deck) -> list[Record]:
    first = min(deck.results.run["seeds"], default=0)
    return [
        {"model": one["model"], "family": deck.families.get(one["model"], ""), "detector": one["detector"],
         "set": deck.title(one["set"]), "fpr": _scaled(fpr, 1), "tpr": _scaled(tpr, 1)}
        for one in deck.results.exhibits["roc"]
        if one["seed"] == first
        for fpr, tpr in zip(one["fpr"], one["tpr"], strict=True)
    ]  # fmt: skip


def _training(deck: Deck) -> list[Record]:
    first = min(deck.results.run["seeds"], default=0)
    return [
        {"model": one["model"], "family": deck.families.get(one["model"], ""), "epoch": epoch, "probe": _scaled(probe, 100)}
        for one in deck.results.exhibits["training"]
        if one["seed"] == first and one["model"] in deck.families
        for epoch, probe in zip(one["epoch"], one["probe"], strict=False)
    ]  # fmt: skip


def _ledger(deck: Deck) -> list[Record]:
    rows = deck.results.ledger
    told = [len({getattr(row, name) for row in rows}) > 1 for name in ("protocol", "model")]
    return [
        {"row": " · ".join(filter(None, (deck.spelt(row.what), row.b if row.a == "harness" else f"{row.a}, {row.b}", row.protocol * told[0], row.model * told[1]))),
         "verdict": row.verdict, "value": _scaled(row.difference, 100), "low": _scaled(row.low, 100),
         "high": _scaled(row.high, 100), "why": row.explanation or row.verdict}
        for row in rows
        if row.difference is not None and row.verdict != "identical"
        if max(abs(end or 0.0) for end in (row.difference, row.low, row.high)) >= SEEN
    ]  # fmt: skip


def _findings(deck: Deck) -> list[Record]:
    return [
        {
            "finding": "\n".join(textwrap.wrap(f"{finding.id}  {finding.claim}", CLAIM)),
            "verdict": part.verdict,
            "part": part.what,
        }
        for finding in deck.results.findings
        if finding.verdict != "not measured"
        for part in finding.parts
    ]


def _tradeoff(deck: Deck) -> list[Record]:
    """A record a model, with value, low and high of every summary column under short names."""
    if not deck.columns:
        return []
    made: dict[str, Record] = {
        name: {"model": name, "family": deck.families[name]} for name in deck.models
    }
    for place, column in enumerate(deck.columns):
        for row in deck.rows:
            if column.matches(row) and row.model in made:
                record = deck.record(row, percent=column.percent)
                low, high = record["low"], record["high"]
                value = record["value"]
                made[row.model].update({
                    f"c{place}": value,
                    f"c{place}_low": value if low is None else low,
                    f"c{place}_high": value if high is None else high,
                })  # fmt: skip
    return list(made.values())


TABLES: dict[str, Callable[[Deck], list[Record]]] = {
    "summary": _summary,
    "robust": _robust,
    "shift": _shift,
    "ood": _ood,
    "calibration": _calibration,
    "floors": _floors,
    "reliability": _reliability,
    "histograms": _histograms,
    "roc": _roc,
    "training": _training,
    "ledger": _ledger,
    "findings": _findings,
    "tradeoff": _tradeoff,
}
