"""Channels and marks that several charts share."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import altair as alt

from harness.figures.registry import HIDDEN
from harness.figures.style import family_look

if TYPE_CHECKING:
    from harness.figures.deck import Deck

SHOWN = f"indexof({HIDDEN}, datum.model) < 0"
SHORT = "replace(datum.label, /^0(?=.)|[.]?0+$/g, '') || '0'"  # .02 for 0.020
ROW = 15  # height of a line of text in charts with a model a line


def is_baseline(deck: Deck) -> str:
    """Vega expression: the record is one of the model that others are compared with."""
    return f"datum.model === {json.dumps(deck.results.run['baseline'])}"


def table(name: str) -> alt.NamedData:
    """Data by name: the page and the paper put it in."""
    return alt.NamedData(name=name)


def colour(deck: Deck, *, legend: bool = True) -> alt.Color:
    """Colour by family."""
    names, colours, _ = family_look(deck.families.values())
    key = alt.Legend(orient="bottom", columns=4, title=None, symbolOpacity=1) if legend else None
    return alt.Color("family:N", scale=alt.Scale(domain=names, range=colours), legend=key)


def shape(deck: Deck, *, legend: bool = True) -> alt.Shape:
    """Shape by family; merges with the legend of `colour`."""
    names, _, shapes = family_look(deck.families.values())
    key = alt.Legend(orient="bottom", columns=4, title=None) if legend else None
    return alt.Shape("family:N", scale=alt.Scale(domain=names, range=shapes), legend=key)


def lines(deck: Deck, *, labels: bool = True, grid: bool = True) -> alt.Y:
    """A line a model, in the order of the report."""
    key = alt.Axis(title=None, grid=grid, ticks=False, domain=False, labels=labels)
    return alt.Y("model:N", sort=deck.models, axis=key)


def tip(field: str, title: str, form: str = "") -> alt.Tooltip:
    """One line of hover text."""
    if not form:
        return alt.Tooltip(field, title=title)
    return alt.Tooltip(field, title=title, format=form)


def tips(what: str, form: str) -> list[alt.Tooltip]:
    """Hover text of a number with its interval."""
    return [
        tip("model:N", "model"),
        tip("family:N", "family"),
        tip("value:Q", what, form),
        tip("low:Q", "95 % from", form),
        tip("high:Q", "to", form),
    ]


def under(text: str) -> alt.TitleParams:
    """A line under a chart that says how to read its marks."""
    return alt.TitleParams(
        text, orient="bottom", anchor="middle", fontSize=10, fontWeight="normal", offset=8
    )


def chosen(expression: str) -> alt.TitleParams:
    """A line over a chart that says what was chosen for it."""
    return alt.TitleParams(alt.expr(expression), fontSize=10, fontWeight="normal", offset=8)


def wrapped(title: str, width: int = 12) -> list[str]:
    """A title on lines of at most `width` characters, broken at spaces.

    >>> wrapped("AUROC fashion-mnist")
    ['AUROC', 'fashion-mnist']
    """
    return textwrap.wrap(title, width, break_long_words=False, break_on_hyphens=False) or [""]
