"""All axes at a glance, and any number against any other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import altair as alt

from harness.figures.parts import (
    ROW,
    SHORT,
    SHOWN,
    colour,
    lines,
    shape,
    table,
    tip,
    tips,
    under,
    wrapped,
)
from harness.figures.registry import figure
from harness.figures.style import PAPER

if TYPE_CHECKING:
    from harness.figures.deck import Deck
    from harness.results.summary import Column


ACROSS = 4  # panels side by side: more than these are too small to read in a column of a paper


def _form(column: Column) -> str:
    return ".2f" if column.percent else ".4f"


@figure(
    "overview",
    "Every model on every axis",
    "One column a kind of safety, one line a model: a point with its 95 % interval. Filled points "
    "are not worse than the best of the column.",
    "summary",
)
def overview(deck: Deck) -> alt.TopLevelMixin:
    """A panel a ranked column of the summary, sharing the models as lines."""
    ranked = [column for column in deck.columns if column.ranked]
    width = 520 // min(ACROSS, max(1, len(ranked))) - 28
    panels = [
        _panel(deck, column, width, first=place % ACROSS == 0)
        for place, column in enumerate(ranked)
    ]
    # One scale for all: a model whose number is void keeps its line in every panel.
    return (
        alt.concat(*panels, columns=ACROSS, spacing=10)
        .resolve_scale(y="shared", color="shared", shape="shared")
        .properties(
            title=under(
                "filled: not worse than the best of its column, after Holm; no point: void or not measured"
            )
        )
    )


def _panel(
    deck: Deck, column: Column, width: int, *, first: bool
) -> alt.LayerChart | alt.FacetChart:
    unit = " %" if column.percent else ""
    arrow = "→ better" if column.better == "higher" else "← better"
    label = "datum.label" if column.percent else SHORT
    axis = alt.Axis(title=arrow, tickCount=3, labelOverlap=True, titleFontSize=9, labelExpr=label)
    x = alt.X("value:Q", scale=alt.Scale(zero=False, nice=True, padding=4), axis=axis)
    y = lines(deck, labels=first)
    base = alt.Chart(table("summary")).transform_filter(
        f"datum.column === {json.dumps(column.id)} && {SHOWN}"
    )
    bars = base.mark_rule(strokeWidth=1.5).encode(
        y=y, x=x.copy(), x2="high:Q", color=colour(deck, legend=False)
    )
    bars.encoding.x = alt.X("low:Q", scale=alt.Scale(zero=False, nice=True, padding=4), axis=axis)
    points = base.mark_point(size=38, strokeWidth=1.4, opacity=1).encode(
        y=y,
        x=x,
        color=colour(deck, legend=False),
        shape=shape(deck, legend=False),
        fill=alt.condition("datum.best", colour(deck, legend=False), alt.value(PAPER)),
        tooltip=tips(column.title, _form(column)),
    )
    title = alt.TitleParams(
        wrapped(column.title + unit, 14), anchor="middle", fontSize=10, offset=4
    )
    return alt.layer(bars, points).properties(width=width, height=alt.Step(ROW), title=title)


@figure(
    "trade-off",
    "Any number against any other",
    "Each model is a point with intervals as bars; up and to the right is better unless the axis "
    "says otherwise.",
    "tradeoff",
)
def trade_off(deck: Deck) -> alt.TopLevelMixin:
    """Scatter of two summary columns that the page lets the reader choose."""
    names = [f"c{place}" for place in range(len(deck.columns))]
    titles = [_axis_title(column) for column in deck.columns]
    place = {column.id: f"c{number}" for number, column in enumerate(deck.columns)}
    first = place.get("robust", names[0])
    second = place.get("shift") or next((n for n in names if n != first), first)
    across = alt.param("across", value=first, bind=alt.binding_select(options=names, labels=titles, name="across "))  # fmt: skip
    up = alt.param("up", value=second, bind=alt.binding_select(options=names, labels=titles, name="up "))  # fmt: skip
    base = alt.Chart(table("tradeoff")).transform_filter(
        f"{SHOWN} && isValid(datum[across]) && isValid(datum[up])"
    )
    for axis, param in (("x", "across"), ("y", "up")):
        base = base.transform_calculate(**{
            axis: f"datum[{param}]",
            f"{axis}_low": f"datum[{param} + '_low']",
            f"{axis}_high": f"datum[{param} + '_high']",
        })  # fmt: skip
    x, y = (alt.X("x:Q", scale=alt.Scale(zero=False, nice=False, padding=14), title=" "),
            alt.Y("y:Q", scale=alt.Scale(zero=False, nice=False, padding=14), title=None))  # fmt: skip
    tint = colour(deck)
    across_bars = base.mark_rule(strokeOpacity=0.55).encode(x=alt.X("x_low:Q", title=" "), x2="x_high:Q", y=y, color=tint)  # fmt: skip
    up_bars = base.mark_rule(strokeOpacity=0.55).encode(y=alt.Y("y_low:Q", title=None), y2="y_high:Q", x=x, color=tint)  # fmt: skip
    points = base.mark_point(filled=True, size=75, opacity=1).encode(
        x=x, y=y, color=tint, shape=shape(deck), tooltip=_trade_tips(deck)
    )
    named = json.dumps(dict(zip(names, titles, strict=True)), ensure_ascii=False)
    text = alt.Chart(alt.InlineData(values=[{}]))
    below = text.mark_text(
        align="center", baseline="top", dy=24, fontSize=11,
        x=alt.expr("width / 2"), y=alt.expr("height"), text=alt.expr(f"{named}[across]"),
    )  # fmt: skip
    above = text.mark_text(
        align="left", baseline="bottom", dy=-8, dx=-28, fontSize=11,
        x=0, y=0, text=alt.expr(f"'↑ ' + {named}[up]"),
    )  # fmt: skip
    return (
        alt.layer(across_bars, up_bars, points, below, above)
        .add_params(across, up)
        .properties(width=560, height=380, padding={"left": 5, "right": 16, "top": 5, "bottom": 5})
    )


def _axis_title(column: Column) -> str:
    unit = " (%)" if column.percent else ""
    lower = ", lower is better" if column.better == "lower" else ""
    return f"{column.title}{unit}{lower}"


def _trade_tips(deck: Deck) -> list[alt.Tooltip]:
    numbers = [
        tip(f"c{place}:Q", column.title, _form(column)) for place, column in enumerate(deck.columns)
    ]
    return [tip("model:N", "model"), tip("family:N", "family"), *numbers]
