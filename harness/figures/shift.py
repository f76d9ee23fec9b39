"""Accuracy on corrupted images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from harness.figures.parts import ROW, SHOWN, colour, is_baseline, lines, shape, table, tips
from harness.figures.registry import figure
from harness.figures.style import INK, PAPER

if TYPE_CHECKING:
    from harness.figures.deck import Deck


def _corruptions(deck: Deck) -> list[str]:
    present = {record["corruption"] for record in deck.datasets["shift"]}
    known = [name.replace("_", " ") for name in (*deck.results.run["corruptions"], "mean")]
    return [name for name in known if name in present]


@figure(
    "corruption-map",
    "Accuracy by model and corruption",
    "A line a model, a column a corruption, the accuracy in each cell, in whole per cent; the darker "
    "a cell, the more is lost. An empty cell has no number: the report says why.",
    "shift",
)
def corruption_map(deck: Deck) -> alt.TopLevelMixin:
    """Heat map with the number in each cell."""
    names = _corruptions(deck)
    base = alt.Chart(table("shift")).transform_filter(SHOWN).encode(
        x=alt.X("corruption:N", sort=names, axis=alt.Axis(title=None, orient="top", labelAngle=-50, domain=False, ticks=False)),
        y=lines(deck, grid=False),
    )  # fmt: skip
    values = [record["value"] for record in deck.datasets["shift"]]
    scale = alt.Scale(scheme="blues", reverse=True, domain=[min(values), 100])
    legend = alt.Legend(title="accuracy (%)", orient="bottom", gradientLength=220)
    cells = base.mark_rect(stroke=PAPER).encode(
        color=alt.Color("value:Q", scale=scale, legend=legend), tooltip=[*tips("accuracy", ".2f"), "corruption:N"]
    )  # fmt: skip
    middle = (min(values) + 100) / 2
    text = base.mark_text(fontSize=10).encode(
        text=alt.Text("value:Q", format=".0f"),
        color=alt.condition(f"datum.value < {middle:g}", alt.value("#fffffe"), alt.value("#101010")),
    )  # fmt: skip
    return alt.layer(cells, text).properties(width=alt.Step(25), height=alt.Step(ROW + 1))


@figure(
    "corruptions-by-family",
    "Accuracy per corruption, by family",
    "A line a corruption, the hardest for the baseline at the bottom; a point a model. The "
    "baseline is the black diamond.",
    "shift",
)
def corruptions_by_family(deck: Deck) -> alt.TopLevelMixin:
    """Strips: a point a model on the line of its corruption."""
    baseline = deck.results.run["baseline"]
    known = {r["corruption"]: r["value"] for r in deck.datasets["shift"] if r["model"] == baseline}
    names = sorted(_corruptions(deck), key=lambda name: -known.get(name, 0.0))
    base = alt.Chart(table("shift")).transform_filter(SHOWN)
    y = alt.Y(
        "corruption:N", sort=names, axis=alt.Axis(title=None, grid=True, ticks=False, domain=False)
    )
    x = alt.X("value:Q", scale=alt.Scale(zero=False, padding=8), title="accuracy (%)")
    points = base.mark_point(size=42, strokeWidth=1.3, opacity=1).encode(
        x=x, y=y, color=colour(deck), shape=shape(deck), tooltip=[*tips("accuracy", ".2f"), "corruption:N"]
    )  # fmt: skip
    mark = base.transform_filter(is_baseline(deck)).mark_point(
        shape="diamond", size=60, filled=True, color=INK, opacity=1
    )
    return alt.layer(points, mark.encode(x=x, y=y)).properties(width=560, height=alt.Step(19))
