"""The data dictionary, made from the definitions that the code itself uses."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING

from harness.core.types import Row
from harness.report.markdown import document
from harness.results.outcomes import COLUMNS
from harness.sections.blocks import Column, Paragraph, Section, Table, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.results.summary import Column as SummaryColumn
    from harness.sections import Story

KINDS = {
    "str": "text",
    "int": "whole number",
    "float | None": "number or empty",
    "tuple[str, ...]": "words",
}


def dictionary(story: Story) -> str:
    """data-dictionary.md: every file of the folder, column by column."""
    sections = [
        Section("results", "results.csv", (Paragraph("One number a line. Floats have 12 significant digits; lines are sorted."), _rows())),
        Section("summary", "summary.csv", (Paragraph("One model a line; for each column of the summary NAME, NAME low, NAME high and NAME status."), _summary(story.columns))),
        Section("metrics", "Metrics", (_metrics(story),)),
        *(Section(name, f"outcomes/{name}.parquet", (_outcomes(name),)) for name in COLUMNS),
    ]  # fmt: skip
    return document("Data dictionary", "Made from the definitions in the code.", sections, {})


def _table(name: str, heads: Sequence[str], lines: Iterable[Sequence[str]]) -> Table:
    rows = tuple(tuple(Text(part) for part in line) for line in lines)
    return Table(name, f"Columns of {name}.", tuple(Column(head) for head in heads), rows)


def meanings(documented: type) -> dict[str, str]:
    """Name -> meaning, from the Args of a docstring."""
    text = (documented.__doc__ or "").partition("Args:")[2]
    found = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}


def _rows() -> Table:
    known = meanings(Row)
    return _table("results.csv", ("column", "type", "meaning"), ((f.name, KINDS.get(str(f.type), "word"), known[f.name]) for f in fields(Row)))  # fmt: skip


def _summary(columns: Sequence[SummaryColumn]) -> Table:
    lines = ((c.id, "%" if c.percent else "", c.better, c.meaning) for c in columns)
    return _table("summary.csv", ("column", "unit", "better", "meaning"), lines)


def _metrics(story: Story) -> Table:
    """The metrics that occur, with unit and direction; the registry says what they are."""
    from harness.core.registry import registry

    known = {plug.name: plug for plug in registry.plugs("metric")}
    found = {(row.metric, row.better, row.axis) for row in story.rows}
    lines = []
    for metric, better, axis in sorted(found):
        plug = known.get(metric)
        meaning = plug.summary if plug else ""
        lines.append(
            (metric, axis, str(plug.meta.get("units", "")) if plug else "", better, meaning)
        )
    return _table("metrics", ("metric", "axis", "unit", "better", "meaning"), lines)


def _outcomes(name: str) -> Table:
    lines = ((column, str(kind), text) for column, (kind, text) in COLUMNS[name].items())
    return _table(f"outcomes/{name}.parquet", ("column", "type", "meaning"), lines)
