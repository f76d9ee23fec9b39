"""Robust accuracy over budgets, and what training saw of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from harness.figures.parts import SHOWN, colour, shape, table, tip, tips
from harness.figures.registry import figure

if TYPE_CHECKING:
    from harness.figures.deck import Deck


@figure(
    "security-curves",
    "Robust accuracy over the attacker's budget",
    "A panel an attack, a line a model in the colour of its family, bands are 95 % intervals. "
    "Lines that fall late belong to robust models.",
    "robust",
)
def security_curves(deck: Deck) -> alt.TopLevelMixin:
    """Accuracy against eps, a panel an attack, the worst of all first."""
    panels = list(dict.fromkeys(record["panel"] for record in deck.datasets["robust"]))
    attacks = list(dict.fromkeys(panel.rpartition(", ")[0] for panel in panels))
    # A line an attack, the worst of all first; the norms side by side.
    panels.sort(
        key=lambda panel: (not panel.startswith("worst"), attacks.index(panel.rpartition(", ")[0]))
    )
    x = alt.X("eps:Q", axis=alt.Axis(title="eps, in pixel units of [0, 1]", tickCount=5))
    y = alt.Y("value:Q", scale=alt.Scale(domain=[0, 100]), title="robust accuracy (%)")
    base = alt.Chart().transform_filter(SHOWN)
    tint = colour(deck)
    band = base.mark_area(fillOpacity=0.12, opacity=1).encode(
        x=x,
        y=alt.Y("low:Q", title="robust accuracy (%)"),
        y2="high:Q",
        color=tint,
        detail="model:N",
    )
    line = base.mark_line(strokeWidth=1.5).encode(x=x, y=y, color=tint, detail="model:N")
    point = base.mark_point(filled=True, size=22, opacity=1).encode(
        x=x, y=y, color=tint, shape=shape(deck),
        tooltip=[*tips("robust accuracy", ".2f"), tip("eps:Q", "eps", "g"), tip("panel:N", "attack")],
    )  # fmt: skip
    return (
        alt.layer(band, line, point, data=table("robust"))
        .properties(width=270, height=170)
        .facet(alt.Facet("panel:N", sort=panels, title=None), columns=2)
        .resolve_scale(x="independent")
        .resolve_axis(x="independent")
    )


@figure(
    "training",
    "Robust accuracy while training",
    "A line an adversarially trained model: accuracy under a PGD probe after each epoch. A line "
    "that falls to zero is catastrophic overfitting.",
    "training",
)
def training(deck: Deck) -> alt.TopLevelMixin:
    """Accuracy under the training probe by epoch."""
    base = alt.Chart(table("training")).transform_filter(SHOWN)
    epochs = sorted({record["epoch"] for record in deck.datasets["training"]})
    x = alt.X("epoch:Q", axis=alt.Axis(title="epoch", values=epochs, format="d", labelOverlap=True))
    y = alt.Y("probe:Q", scale=alt.Scale(domain=[0, 100]), title="accuracy under a PGD probe (%)")
    tint = colour(deck)
    line = base.mark_line().encode(x=x, y=y, color=tint, detail="model:N")
    point = base.mark_point(filled=True, size=36, opacity=1).encode(
        x=x, y=y, color=tint, shape=shape(deck),
        tooltip=[tip("model:N", "model"), tip("epoch:Q", "epoch"), tip("probe:Q", "accuracy", ".1f")],
    )  # fmt: skip
    return alt.layer(line, point).properties(width=560, height=240)
