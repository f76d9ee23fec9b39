"""Every check on a finished plan: facts are gathered from the records, complaints go to the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.checks import CHECKS
from harness.core.types import case_parts
from harness.flags import attacks, axes, models, reporting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.axes.view import View
    from harness.checks import Complaint
    from harness.core.types import Axis, Row
    from harness.results import LedgerRow
    from harness.results.run import CheckFacts, Flag, Run

VOIDABLE: dict[str, tuple[Axis, ...]] = {  # stage -> axes whose rows a FAIL of that stage voids
    "model": ("adversarial",),
    "attack": (),  # the images were projected and judged again: the number stands, the claim does not
    "relation": ("adversarial",),
    "axis": ("ood", "shift", "calibration"),
    "training": (),
    "report": (),
}
AT_ONCE = (
    "H85",
)  # a trait of a score's arithmetic, not of one model; messages begin with a figure
NO_RESULT: dict[str, tuple[Axis, ...]] = {  # checks that void what their stage does not
    "H29": ("adversarial",),  # nothing was attacked
    "H12": ("clean", "adversarial", "shift", "calibration"),
}


def complaints(
    view: View, rows: Sequence[Row], run: Run, ledger: Sequence[LedgerRow] = ()
) -> list[Complaint]:
    """All complaints about a finished plan.

    Args:
        view: the records of the plan.
        rows: what was measured.
        run: how.
        ledger: the cross-check.
    """
    found: list[Complaint] = []
    for who in view.everyone():
        found += models.model(view, who)
        found += models.training(view, who)
        found += attacks.runs(view, who)
        found += attacks.related(view, who, rows)
        found += axes.shift(view, who)
        found += axes.ood(view, who)
        found += axes.confidences(view, who)
    found += axes.calibration(rows)
    found += reporting.report(view, rows, run, ledger)
    return list(dict.fromkeys(found))


def marked(rows: Iterable[Row], found: Sequence[Complaint]) -> list[Row]:
    """Rows with the flags that concern them; void where a check says that they are no result."""
    return [_marked(row, found) for row in rows]


def _marked(row: Row, found: Sequence[Complaint]) -> Row:
    mine = [one for one in found if _concerns(one, row)]
    if not mine:
        return row
    flags = tuple(sorted({*row.flags, *(one.check for one in mine if one.level != "INFO")}))
    void = row.status == "ok" and any(_voids(one, row) for one in mine)
    if not void:
        return replace(row, flags=flags)
    reason = next(one.message for one in mine if _voids(one, row))
    return replace(row, flags=flags, status="void", note=reason)


def _concerns(one: Complaint, row: Row) -> bool:
    if one.model not in ("", row.model):
        return False
    if not one.case:
        return row.axis in _voidable(one) or CHECKS[one.check].stage == "training"
    wanted, mine = case_parts(one.case), case_parts(row.case)
    return all(mine.get(key) == value for key, value in wanted.items())


def _voids(one: Complaint, row: Row) -> bool:
    return one.voids and row.axis in _voidable(one)


def _voidable(one: Complaint) -> tuple[Axis, ...]:
    """Axes whose rows it speaks of."""
    return NO_RESULT.get(one.check, VOIDABLE[CHECKS[one.check].stage])


def told(found: Iterable[Complaint]) -> list[Flag]:
    """Complaints as run.json tells them: each by itself, those of `AT_ONCE` as one with a list."""
    alone: dict[Complaint, list[Complaint]] = {}
    first: dict[tuple[str, str], Complaint] = {}
    for one in found:
        head = first.setdefault((one.check, one.level), one) if one.check in AT_ONCE else one
        alone.setdefault(head, []).append(one)
    lines = [_listed(cells) if len(cells) > 1 else head for head, cells in alone.items()]
    return [
        {"check": o.check, "level": o.level, "message": o.message, "model": o.model, "case": o.case}
        for o in lines
    ]


def _listed(cells: Sequence[Complaint]) -> Complaint:
    """One complaint for many cells: what they have in common, and the figure of each."""
    figures: dict[str, list[str]] = {}
    for one in cells:
        figures.setdefault(one.case, []).append(f"{one.model} {one.message.split()[0]}")
    lists = "; ".join(f"{case}: {', '.join(names)}" for case, names in figures.items())
    said = cells[0].message.partition(" ")[2].removesuffix(".")
    return replace(cells[0], message=f"Some {said}. {lists}.", model="", case="")


def paragraphs(found: Iterable[Complaint]) -> list[CheckFacts]:
    """Every check with its paragraph, and how many cells it complained of."""
    counts: dict[str, int] = {}
    for one in found:
        counts[one.check] = counts.get(one.check, 0) + 1
    return [
        {
            "id": one.id,
            "title": one.title,
            "level": one.level,
            "raised_if": one.raised_if,
            "explanation": one.explanation,
            "what_to_do": one.what_to_do,
            "cells": counts.get(one.id, 0),
        }
        for one in CHECKS
    ]
