"""Whether confidence means what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from harness.figures.deck import CALIBRATION, SCALING
from harness.figures.parts import ROW, SHORT, SHOWN, colour, lines, shape, table, tip, tips, under
from harness.figures.registry import figure
from harness.figures.style import FAINT, PAPER

if TYPE_CHECKING:
    from harness.figures.deck import Deck

BEFORE, AFTER = SCALING.values()
FEW = 10  # images; the accuracy of fewer says little


@figure(
    "calibration-by-family",
    "Calibration before and after temperature scaling",
    "A panel a measure, a line a model: filled before, hollow after temperature scaling, with 95 % "
    "intervals; lower is better. Square-root scale.",
    "calibration",
)
def calibration_by_family(deck: Deck) -> alt.TopLevelMixin:
    """Three measures, before and after."""
    present = {record["metric"] for record in deck.datasets["calibration"]}
    titles = [title for title in CALIBRATION.values() if title in present]
    panels = [_measure(deck, title, first=place == 0) for place, title in enumerate(titles)]
    return (
        alt.hconcat(*panels, spacing=12)
        .resolve_scale(y="shared", color="shared", shape="shared")
        .properties(
            title=under(
                "filled: before, hollow: after temperature scaling; grey bar: a calibrated model stays left of it"
            )
        )
    )


def _measure(deck: Deck, title: str, *, first: bool) -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(table("calibration")).transform_filter(
        f"datum.metric === '{title}' && {SHOWN}"
    )
    axis = alt.Axis(title="← better", tickCount=5, labelOverlap=True, labelExpr=SHORT)
    scale = alt.Scale(type="sqrt", zero=True)
    y = lines(deck, labels=first)
    tint = colour(deck, legend=False)
    bars = base.mark_rule(strokeWidth=1.3, strokeOpacity=0.6).encode(
        x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q", y=y, color=tint
    )
    points = base.mark_point(size=42, strokeWidth=1.4, opacity=1).encode(
        x=alt.X("value:Q", scale=scale, axis=axis), y=y, color=tint, shape=shape(deck, legend=False),
        fill=alt.condition(f"datum.scaling === '{BEFORE}'", colour(deck, legend=False), alt.value(PAPER)),
        tooltip=[*tips(title, ".4f"), "scaling:N"],
    )  # fmt: skip
    layers = [bars, points]
    if title == CALIBRATION["ece"] and deck.datasets["floors"]:
        floor = alt.Chart(table("floors")).transform_filter(SHOWN)
        layers.insert(0, floor.mark_tick(color=FAINT, thickness=2, size=ROW - 3).encode(
            x=alt.X("floor:Q", scale=scale, axis=axis), y=y, tooltip=[tip("floor:Q", "a calibrated model stays below", ".4f")]
        ))  # fmt: skip
    return alt.layer(*layers).properties(
        width=165, height=alt.Step(ROW), title=alt.TitleParams(title, anchor="middle", fontSize=10)
    )


@figure(
    "reliability",
    "Reliability diagrams",
    "A panel a model: accuracy against confidence in 15 bins, the size of a point grows with its "
    "number of images; bins of fewer than ten are pale and not joined. Below the diagonal a model is "
    "over-confident, above it under-confident.",
    "reliability",
)
def reliability(deck: Deck) -> alt.TopLevelMixin:
    """Small multiples, before and after scaling."""
    unit = alt.Scale(domain=[0, 1])
    look = alt.Scale(domain=[BEFORE, AFTER], range=["#d55e00", "#0072b2"])
    legend = alt.Legend(orient="bottom", title=None)
    data = alt.Chart()
    x = alt.X(
        "confidence:Q",
        scale=unit,
        axis=alt.Axis(title="confidence", values=[0, 0.5, 1], format="~g"),
    )
    y = alt.Y(
        "accuracy:Q", scale=unit, axis=alt.Axis(title="accuracy", values=[0, 0.5, 1], format="~g")
    )
    tint = alt.Color("scaling:N", scale=look, legend=legend)
    corners = alt.Chart(
        alt.InlineData(values=[{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}])
    )
    diagonal = corners.mark_line(color=FAINT, strokeDash=[3, 3], strokeWidth=1)
    solid = f"datum.count >= {FEW}"
    line = data.transform_filter(solid).mark_line(strokeWidth=1).encode(x=x, y=y, color=tint)
    point = data.mark_point(filled=True, opacity=1).encode(
        x=x, y=y, color=tint, fillOpacity=alt.condition(solid, alt.value(0.9), alt.value(0.25)),
        size=alt.Size("count:Q", scale=alt.Scale(type="sqrt", range=[6, 90]), legend=None),
        tooltip=[tip("model:N", "model"), tip("scaling:N", "scaling"), tip("confidence:Q", "confidence", ".3f"),
                 tip("accuracy:Q", "accuracy", ".3f"), tip("count:Q", "images", ",")],
    )  # fmt: skip
    return (
        alt.layer(diagonal.encode(x=x, y=y), line, point, data=table("reliability"))
        .properties(width=108, height=108)
        .facet(
            alt.Facet(
                "model:N",
                sort=deck.models,
                header=alt.Header(title=None, labelLimit=118, labelFontSize=10),
            ),
            columns=5,
            spacing=14,
        )
        .properties(
            title=under(
                "below the dashes: over-confident; size: number of images; pale: fewer than ten"
            )
        )
        .transform_filter(SHOWN)  # before the panels are laid out: none stays empty
    )
