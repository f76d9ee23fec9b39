"""Numbers and names as text, the same way everywhere."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.sections.blocks import Cell, Number

MINUS = "\u2212"
NONE = "\u2013"
MARKED = re.compile(r"([\\`*\[\]|~$]|<(?=[A-Za-z/!?])|&(?=#?\w)|(?<!\w)_|_(?!\w))")
AT_START = re.compile(r"^(\d*)((?<=\d)[.)](?=\s|$)|(?<!\d)[#+\-=>])")
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_",
    "%": r"\%", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", MINUS: "$-$", "▲": r"$\uparrow$", "▼": r"$\downarrow$", NONE: "--",
}  # fmt: skip


def decimal(value: float, digits: int, *, signed: bool = False) -> str:
    """A number with so many decimals; zero has no sign.

    >>> decimal(-0.00004, 4), decimal(-1.5, 1), decimal(1.5, 1, signed=True)
    ('0.0000', '−1.5', '+1.5')
    """
    text = format(abs(value), f".{digits}f")
    if not float(text):
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def number(cell: Number) -> str:
    """The value of a cell; a void or missing number says so instead."""
    if cell.status != "ok":
        return cell.status
    return NONE if cell.value is None else decimal(cell.value, cell.digits, signed=cell.signed)


def interval(cell: Number) -> str:
    """The 95 % interval of a cell, or "".

    >>> from harness.sections.blocks import Number
    >>> interval(Number(1.0, 0.5, 1.25, digits=2))
    '[0.50, 1.25]'
    """
    if cell.status != "ok" or cell.low is None or cell.high is None:
        return ""
    return f"[{decimal(cell.low, cell.digits)}, {decimal(cell.high, cell.digits)}]"


def plain(cell: Cell) -> str:
    """A cell as plain text on one line."""
    from harness.sections.blocks import Number

    if isinstance(cell, Number):
        return f"{number(cell)} {interval(cell)}".rstrip()
    return one_line(cell.text)


def one_line(text: str) -> str:
    """Text without line breaks or other control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def markdown(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line.

    >>> markdown("<b>|canny_edges*")
    '\\<b>\\|canny_edges\\*'
    """
    return MARKED.sub(r"\\\1", one_line(text))


def markdown_start(text: str) -> str:
    """The same at the beginning of a paragraph, where more signs mean something."""
    return AT_START.sub(r"\1\\\2", markdown(text))


def latex(text: str) -> str:
    r"""Text that LaTeX shows as it is; characters beyond Latin need XeLaTeX or LuaLaTeX.

    >>> latex("50% of a_b")
    '50\\% of a\\_b'
    """
    return "".join(LATEX.get(character, character) for character in one_line(text))


def width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide
