"""Sections as Markdown that reads well on GitHub and in a terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.report.text import interval, markdown, markdown_start, number, width
from harness.sections.blocks import (
    Bullets,
    Chart,
    Code,
    Detail,
    Images,
    Notice,
    Number,
    Paragraph,
    Table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.sections import Section
    from harness.sections.blocks import Block, Cell

FOLDED = 12  # rows of a folded table that a reader of plain text can take in


def document(title: str, intro: str, sections: Sequence[Section], captions: dict[str, str]) -> str:
    """The whole report.

    Args:
        title: heading.
        intro: one line below it.
        sections: in order.
        captions: figure or gallery -> what it shows, for those who can't see it.
    """
    parts = [f"# {markdown(title)}", markdown_start(intro)]
    for section in sections:
        parts += [f"## {markdown(section.title)}", *_blocks(section.blocks, captions)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _blocks(blocks: Iterable[Block], captions: dict[str, str], depth: int = 2) -> list[str]:
    return [text for block in blocks for text in _block(block, captions, depth)]


def _block(block: Block, captions: dict[str, str], depth: int) -> list[str]:
    match block:
        case Paragraph():
            return [_paragraph(block)]
        case Bullets():
            return ["\n".join(f"- {_paragraph(item)}" for item in block.items)]
        case Notice():
            return [f"> **{markdown(block.text)}**"]
        case Table():
            return _table(block, folded=depth > 2)
        case Code():
            return [fenced(block.text, block.language)]
        case Chart() | Images():
            return _picture(block, captions)
        case Detail():
            return _detail(block, captions, depth + 1)


def _paragraph(block: Paragraph) -> str:
    if not block.lead:
        return markdown_start(block.text)
    return f"**{markdown(block.lead)}** {markdown(block.text)}"


def _picture(block: Chart | Images, captions: dict[str, str]) -> list[str]:
    picture = f"![{markdown(captions[block.name])}](figures/{block.name}.png)"
    return [picture, f"*{markdown(block.caption)}*"] if isinstance(block, Chart) else [picture]


def _detail(block: Detail, captions: dict[str, str], depth: int) -> list[str]:
    return [f"{'#' * depth} {markdown(block.summary)}", *_blocks(block.blocks, captions, depth)]


def fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _table(block: Table, *, folded: bool) -> list[str]:
    """A table; a folded one is cut, unless it has a line a model."""
    heads = [markdown(column.title) + _arrow(column.better) for column in block.columns]
    cut = len(block.rows) - FOLDED if folded and not block.models else 0
    lines = [[_cell(cell) for cell in row] for row in block.rows[: FOLDED if cut > 0 else None]]
    more = [f"and {cut} more, which report.html lists"] if cut > 0 else []
    right = [
        any(isinstance(row[place], Number) for row in block.rows) for place in range(len(heads))
    ]
    notes = "\n".join(f"- {markdown(note)}" for note in (*more, *block.notes))
    return [_drawn(heads, lines, right), f"*{markdown(block.caption)}*", notes]


def _arrow(better: str) -> str:
    return {"higher": " ↑", "lower": " ↓"}.get(better, "")


def _cell(cell: Cell) -> str:
    if not isinstance(cell, Number):
        return markdown(cell.text)
    value, span = number(cell), interval(cell)
    if cell.status == "void":
        value = "*void*"
    elif cell.best and cell.value is not None:
        value = f"**{value}**"
    return f"{value} {span}".rstrip()


def _drawn(heads: list[str], lines: list[list[str]], right: list[bool]) -> str:
    columns = [
        max(3, *(width(line[place]) for line in [heads, *lines])) for place in range(len(heads))
    ]

    def padded(cells: list[str]) -> str:
        filled = (
            " " * (size - width(cell)) + cell if to_right else cell + " " * (size - width(cell))
            for cell, size, to_right in zip(cells, columns, right, strict=True)
        )
        return "| " + " | ".join(filled) + " |"

    rule = (
        "-" * (size - 1) + ":" if to_right else "-" * size
        for size, to_right in zip(columns, right, strict=True)
    )
    return "\n".join([padded(heads), "| " + " | ".join(rule) + " |", *map(padded, lines)])
