"""The data dictionary, made from the definitions that the code itself uses."""

from __future__ import annotations

import re
from dataclasses import fields
from inspect import formatannotation
from typing import TYPE_CHECKING, get_type_hints

from harness.core.types import Row
from harness.metrics import METRICS
from harness.report.markdown import document
from harness.results import LedgerRow
from harness.results.outcomes import COLUMNS
from harness.results.run import JobFacts
from harness.sections.blocks import Column, Paragraph, Section, Table, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.results.summary import Column as SummaryColumn
    from harness.sections import Story

KINDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "yes or no",
    "float | None": "number or empty",
    "tuple[str, ...]": "words",
    "list[str]": "words",
    "dict[str, str]": "words by name",
    "tuple[float | None, float | None]": "two numbers or empty",
}


def dictionary(story: Story) -> str:
    """data-dictionary.md: every file of the folder, column by column."""
    sections = [
        Section("results", "results.csv", (Paragraph("One number a line. Floats have 12 significant digits; lines are sorted."), _rows())),
        Section("summary", "summary.csv", (Paragraph("One model a line; for each column of the summary NAME, NAME low, NAME high and NAME status."), _summary(story.columns))),
        Section("crosscheck", "crosscheck.csv", (Paragraph("One comparison of two implementations a line, where the run cross-checked; a pair such as seconds of (a, b) is two columns, seconds_a and seconds_b."), _ledger())),
        Section("metrics", "Metrics", (_metrics(story),)),
        Section("jobs", "run.json, jobs", (Paragraph("What each job rests on and how to do it again, under its digest, to which the column job of results.csv points. The revision of the code stands once, as revision."), _jobs())),
        *(Section(name, f"outcomes/{name}.parquet", (_outcomes(name),)) for name in COLUMNS),
    ]  # fmt: skip
    return document("Data dictionary", "Made from the definitions in the code.", sections, {})


def _table(name: str, heads: Sequence[str], lines: Iterable[Sequence[str]]) -> Table:
    rows = tuple(tuple(Text(part) for part in line) for line in lines)
    return Table(name, f"Columns of {name}.", tuple(Column(head) for head in heads), rows)


def meanings(documented: type) -> dict[str, str]:
    """Name -> meaning, from the Args or Attributes of a docstring."""
    text = re.split("Args:|Attributes:", documented.__doc__ or "", maxsplit=1)[-1]
    found = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}


def _rows() -> Table:
    known = meanings(Row)
    return _table("results.csv", ("column", "type", "meaning"), ((f.name, KINDS.get(str(f.type), "word"), known[f.name]) for f in fields(Row)))  # fmt: skip


def _ledger() -> Table:
    known = meanings(LedgerRow)
    lines = ((f.name, KINDS.get(str(f.type), "word"), known[f.name]) for f in fields(LedgerRow))
    return _table("crosscheck.csv", ("column", "type", "meaning"), lines)


def _jobs() -> Table:
    known = meanings(JobFacts)
    lines = (
        (name, KINDS[formatannotation(kind)], known[name])
        for name, kind in get_type_hints(JobFacts).items()
    )
    return _table("jobs in run.json", ("key", "type", "meaning"), lines)  # fmt: skip


def _summary(columns: Sequence[SummaryColumn]) -> Table:
    lines = ((c.id, "%" if c.percent else "", c.better, c.meaning) for c in columns)
    return _table("summary.csv", ("column", "unit", "better", "meaning"), lines)


def _metrics(story: Story) -> Table:
    """The metrics that occur, as the metric dictionary defines them."""
    found = sorted({(row.metric, row.axis, row.better) for row in story.rows})
    heads = ("metric", "title", "axis", "unit", "range", "better", "meaning", "source")
    return _table("metrics", heads, (_metric(*one) for one in found))


def _metric(name: str, axis: str, better: str) -> tuple[str, ...]:
    known = METRICS.get(name)
    if known is None:  # of an adapter that a third party ships
        return name, "", axis, "", "", better, "", ""
    span = " to ".join(format(end, "g") for end in known.range)
    return name, known.title, axis, known.unit, span, known.better, known.definition, known.source


def _outcomes(name: str) -> Table:
    lines = ((column, str(kind), text) for column, (kind, text) in COLUMNS[name].items())
    return _table(f"outcomes/{name}.parquet", ("column", "type", "meaning"), lines)
