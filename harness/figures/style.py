"""How figures look: one palette, one set of shapes, one configuration, for page and paper alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

INK = "#1b1b1b"
"""Colour of the baseline and of text; the page swaps it for a light one in the dark."""
PAPER = "#ffffff"
"""The ground that figures stand on; swapped likewise."""
FAINT = "#8a8a8a"

# Okabe and Ito 2008, without yellow, which is too faint on white. Each family keeps its colour and
# shape in every figure; shape alone tells them apart in print.
FAMILIES: dict[str, tuple[str, str]] = {
    "Baseline": (INK, "diamond"),
    "Large": ("#6a6a6a", "square"),
    "Ensemble": ("#0072b2", "circle"),
    "FGSM training": ("#e69f00", "triangle-up"),
    "PGD training": ("#d55e00", "triangle-down"),
    "CutOut": ("#009e73", "cross"),
    "MixUp": ("#cc79a7", "triangle-right"),
    "Combinations": ("#56b4e9", "triangle-left"),
}
SPARE = [("#9a6a00", "square"), ("#5b3fa0", "circle"), ("#a01a58", "cross"), ("#3f6b00", "stroke")]

VERDICTS = {
    "holds": "#0072b2", "undecided": "#b3b3b3", "does not hold": "#d55e00", "not measured": "#ececec",
}  # fmt: skip
LEDGER: dict[str, tuple[str, str]] = {
    "identical": ("#0072b2", "circle"),
    "equivalent": ("#56b4e9", "circle"),
    "explained": ("#009e73", "square"),
    "undecided": (FAINT, "diamond"),
    "different": ("#d55e00", "triangle-up"),
}
SETS = [FAINT, "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00"]


def family_look(families: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """Names, colours and shapes of families; unknown ones get the spare colours in turn."""
    names = list(dict.fromkeys(families))
    unknown = [name for name in names if name not in FAMILIES]
    spare = {name: _spare(place) for place, name in enumerate(unknown)}
    looks = [FAMILIES.get(name) or spare[name] for name in names]
    return names, [colour for colour, _ in looks], [shape for _, shape in looks]


def _spare(place: int) -> tuple[str, str]:
    """Colours in turn; each round with the shapes moved on by one, so that no pair comes twice."""
    around, which = divmod(place, len(SPARE))
    return SPARE[which][0], SPARE[(which + around) % len(SPARE)][1]


def config() -> dict[str, Any]:
    """Vega-Lite configuration; the page replaces the font and the greys by its own."""
    return {
        "font": "DejaVu Sans",
        "background": PAPER,
        "aria": False,  # one description a figure, not one a dot
        "view": {"stroke": None},
        "axis": {
            "labelColor": INK,
            "titleColor": INK,
            "labelFontSize": 10,
            "titleFontSize": 10,
            "titleFontWeight": "normal",
            "gridColor": "#e4e4e4",
            "domainColor": FAINT,
            "tickColor": FAINT,
            "labelLimit": 190,
            "labelFlush": False,
            "titlePadding": 6,
        },
        "header": {
            "labelColor": INK,
            "titleColor": INK,
            "labelFontSize": 11,
            "labelFontWeight": "bold",
            "title": None,
        },
        "legend": {
            "labelColor": INK,
            "titleColor": INK,
            "labelFontSize": 10,
            "titleFontSize": 10,
            "titleFontWeight": "normal",
            "labelLimit": 200,
            "symbolSize": 70,
        },
        "title": {"color": INK, "fontSize": 11, "fontWeight": "bold", "anchor": "start"},
        "text": {"color": INK, "fontSize": 9},
        "rule": {"color": FAINT},
    }
