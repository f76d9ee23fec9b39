"""Results as tables for other programs: CSV, Parquet, JSON, LaTeX."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.report.text import interval, latex, number
from harness.results.folder import float_text
from harness.sections.blocks import Number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.core.types import Row
    from harness.results import LedgerRow
    from harness.sections import Story
    from harness.sections.blocks import Cell, Table

Record = dict[str, Any]


def summary_records(story: Story) -> list[Record]:
    """A record a model, in the units of the dictionary (fractions, not per cent)."""
    return [_record(story, model) for model in story.models]


def _record(story: Story, model: str) -> Record:
    record: Record = {"model": model, "family": story.families[model]}
    for column in story.columns:
        row = story.summary.get((column.id, model))
        value = row.value if row and row.status == "ok" else None
        record[column.id] = value
        record[f"{column.id} low"] = row.low if row and value is not None else None
        record[f"{column.id} high"] = row.high if row and value is not None else None
        record[f"{column.id} status"] = row.status if row else ""
        if column.ranked:
            record[f"{column.id} best"] = "yes" if (column.id, model) in story.best else "no"
    return record


def csv_text(records: Sequence[Record]) -> str:
    """Records as CSV; floats as in results.csv."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(records[0] if records else [])
    writer.writerows([_plain(value) for value in record.values()] for record in records)
    return out.getvalue()


def _plain(value: object) -> object:
    return float_text(value) if value is None or isinstance(value, float) else value


def write_parquet(records: Sequence[Record], path: Path) -> None:
    """Records as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(records)), path, compression="zstd")


def row_records(rows: Sequence[Row]) -> list[Record]:
    """Rows as records; flags as one text."""
    return [{**asdict(row), "flags": " ".join(row.flags)} for row in rows]


def ledger_records(rows: Sequence[LedgerRow]) -> list[Record]:
    """The cross-check as records: pairs of (a, b) as two columns."""
    return [_split(asdict(row)) for row in rows]


def _split(record: Record) -> Record:
    """A pair of (a, b) as two columns."""
    parts = (
        {f"{name}_a": value[0], f"{name}_b": value[1]}
        if isinstance(value, tuple)
        else {name: value}
        for name, value in record.items()
    )
    return {name: value for part in parts for name, value in part.items()}


def json_text(records: Sequence[Record]) -> str:
    """Records as a JSON list, one record a line."""
    lines = ",\n".join(
        json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records
    )
    return f"[\n{lines}\n]\n"


def latex_text(table: Table) -> str:
    r"""A table for `\input`: booktabs and graphicx; XeLaTeX where names are not Latin."""
    form = "".join(
        "r" if isinstance(cell, Number) else "l" for cell in (table.rows[0] if table.rows else ())
    )
    heads = " & ".join(latex(column.title) for column in table.columns)
    lines = [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in table.rows]
    notes = [rf"\par\footnotesize {latex(note)}" for note in table.notes]
    return "\n".join([
        r"% needs \usepackage{booktabs,graphicx,textcomp}; XeLaTeX or LuaLaTeX where names are not Latin",
        r"\begin{table}", rf"\caption{{{latex(table.caption)}}}", r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{{form}}}", r"\toprule", heads + r" \\", r"\midrule", *lines, r"\bottomrule",
        r"\end{tabular}}", *notes, r"\end{table}", "",
    ])  # fmt: skip


def _latex_cell(cell: Cell) -> str:
    if not isinstance(cell, Number):
        return latex(cell.text)
    value, span = latex(number(cell)), latex(interval(cell))
    value = rf"\textbf{{{value}}}" if cell.best and cell.status == "ok" else value
    return rf"{value} {{\tiny {span}}}" if span else value
