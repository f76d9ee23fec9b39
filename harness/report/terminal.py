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

GAP = 2  # blanks between columns

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
    drawn, left_out = _drawn(story, console.width)
    console.print(drawn)
    if any(story.best):
        console.print("bold: not worse than the best of its column, after Holm", style="dim")
    if left_out:
        hidden = f"no room here, but in the report: {', '.join(left_out)}"
        console.print(RichText(hidden, style="dim"), soft_wrap=True)
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        if path.suffix in (".md", ".html"):
            console.print(f"  {path}", highlight=False, markup=False, soft_wrap=True)


FAMILY = 1  # place of the family's column: the model's name tells it


def _drawn(story: Story, width: int) -> tuple[RichTable, list[str]]:
    """The summary as wide as the terminal, and the headings of the columns that found no room."""
    made = table(story, "")
    lines = [[_cell(cell) for cell in row] for row in made.rows]
    heads = [column.title for column in made.columns]
    wide = [
        max(len(text) for text in [*head.split(), *(line[place].plain for line in lines)])
        for place, head in enumerate(heads)
    ]
    ranked = [place for place, column in enumerate(story.columns, FAMILY + 1) if column.ranked]
    rest = [place for place in range(FAMILY + 1, len(heads)) if place not in ranked]
    shown = {0}
    for place in [*ranked, *rest]:
        if sum(wide[one] + GAP for one in {*shown, place}) <= width + GAP:
            shown.add(place)
    drawn = RichTable(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for place in sorted(shown):
        words = "\n".join(heads[place].split()) if place else heads[place]
        drawn.add_column(RichText(words), justify="right" if place else "left", no_wrap=True)
    for line in lines:
        drawn.add_row(*(line[place] for place in sorted(shown)))
    return drawn, [heads[place] for place in [*ranked, *rest] if place not in shown]


def _cell(cell: Cell) -> RichText:
    if not isinstance(cell, Number):
        return RichText(one_line(cell.text))
    style = "bold" if cell.best else "red" if cell.status != "ok" else ""
    return RichText(number(cell), style=style)
