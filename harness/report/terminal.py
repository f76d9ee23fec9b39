"""The summary in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table as RichTable
from rich.text import Text as RichText

from harness.report.text import number, one_line
from harness.results import Results
from harness.sections import Story
from harness.sections.blocks import Number
from harness.sections.summary import table
from harness.sections.verdict import notices

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rich.console import Console

    from harness.sections.blocks import Cell


def show(console: Console, folder: Path, paths: Iterable[Path] = ()) -> None:
    """Print the summary table of a folder of results, and where the reports lie.

    Args:
        console: where to.
        folder: of the results.
        paths: files to name; those that `render` returned.
    """
    story = Story(Results.read(folder))
    for notice in notices(story):
        console.print(RichText(getattr(notice, "text", ""), style="yellow"))
    console.print(_drawn(story))
    best = any(story.best)
    console.print(
        "bold: not worse than the best of its column, after Holm" if best else "", style="dim"
    )
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        if path.suffix in (".md", ".html"):
            console.print(f"  {path}", highlight=False, markup=False, soft_wrap=True)


def _drawn(story: Story) -> RichTable:
    made = table(story, "")
    drawn = RichTable(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    for place, column in enumerate(made.columns):
        words = place < 2
        drawn.add_column(
            RichText(column.title), justify="left" if words else "right", overflow="fold"
        )
    for row in made.rows:
        drawn.add_row(*map(_cell, row))
    return drawn


def _cell(cell: Cell) -> RichText:
    if not isinstance(cell, Number):
        return RichText(one_line(cell.text))
    style = "bold" if cell.best else "red" if cell.status != "ok" else ""
    return RichText(number(cell), style=style)
