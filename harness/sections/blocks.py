"""What a section is made of. Text is plain: whoever renders it escapes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from harness.core.types import Better, Status

Tone = Literal["plain", "good", "bad", "warn"]


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a table.

    Args:
        value: in the unit of its column, percentages on 0 to 100; None where there is none.
        low: lower end of the 95 % interval, or None.
        high: upper end.
        digits: decimals to show.
        status: anything but "ok" is shown as such, not as a result.
        best: not worse than the best of its column after Holm.
        note: why it is not ok, or a remark.
        signed: show a plus sign.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    digits: int = 1
    status: Status = "ok"
    best: bool = False
    note: str = ""
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Words in a table, with a tone that colour only repeats."""

    text: str
    tone: Tone = "plain"


Cell = Number | Text


@dataclass(frozen=True, slots=True)
class Column:
    """Heading of a table's column.

    Args:
        title: a few words.
        hint: one sentence, or "".
        better: direction of its numbers, "none" for words.
    """

    title: str
    hint: str = ""
    better: Better = "none"


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Args:
        name: id on the page.
        caption: what it holds, one sentence.
        columns: headings.
        rows: as many cells each.
        models: model of each row, for the page's switches; () where rows are no models.
        families: family of each row, likewise.
        filterable: the page offers a search field.
        notes: lines below the table.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    models: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    filterable: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text; `lead` stands before it in bold."""

    text: str
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list; each item has a lead in bold, or ""."""

    items: tuple[Paragraph, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """What the reader must not miss."""

    text: str
    tone: Tone = "warn"


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of `harness.figures`, by name, with its caption."""

    name: str
    caption: str


@dataclass(frozen=True, slots=True)
class Images:
    """A gallery of the results, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Code:
    """A command or a file, verbatim."""

    text: str
    language: str = "sh"


@dataclass(frozen=True, slots=True)
class Detail:
    """Something that the page folds away under its summary."""

    summary: str
    blocks: tuple[Block, ...]


Block = Paragraph | Bullets | Notice | Table | Chart | Images | Code | Detail


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the report.

    Args:
        name: id on the page.
        title: heading.
        blocks: its content; an empty section is left out.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]
