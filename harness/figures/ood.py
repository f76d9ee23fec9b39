"""Telling other images apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import altair as alt

from harness.figures.parts import (
    ROW,
    SHOWN,
    chosen,
    colour,
    is_baseline,
    lines,
    shape,
    table,
    tip,
    tips,
)
from harness.figures.registry import figure
from harness.figures.style import FAINT, SETS

if TYPE_CHECKING:
    from harness.figures.deck import Deck


LARGE = "abs(datum.value) < 10000 ? datum.label : format(datum.value, '~s')"  # 500k, not 500,000


def _choice(name: str, values: list[str], titles: list[str]) -> alt.Parameter:
    bind = alt.binding_select(options=values, labels=titles, name=f"{name} ")
    return alt.param(name, value=values[0], bind=bind)


def _detector(deck: Deck) -> alt.Parameter:
    return _choice("detector", deck.detectors, [deck.title(name) for name in deck.detectors])


def _named(deck: Deck) -> str:
    titles = {name: deck.title(name) for name in deck.detectors}
    return f"'detector: ' + {json.dumps(titles, ensure_ascii=False)}[detector]"


def _sets(deck: Deck) -> list[str]:
    return [deck.title(name) for name in deck.sets]


@figure(
    "auroc-by-family",
    "AUROC on each OOD set",
    "A panel an OOD set, a line a model with its 95 % interval; the dashed line is the baseline.",
    "ood",
)
def auroc_by_family(deck: Deck) -> alt.TopLevelMixin:
    """AUROC of one detector, a panel a set."""
    base = alt.Chart().transform_filter(f"datum.detector === detector && {SHOWN}")
    scale = alt.Scale(zero=False, padding=5)
    axis = alt.Axis(title="AUROC → better", tickCount=5)
    tint = colour(deck)
    bars = base.mark_rule(strokeWidth=1.5).encode(
        x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q", y=lines(deck), color=tint
    )
    points = base.mark_point(filled=True, size=45, opacity=1).encode(
        x=alt.X("value:Q", scale=scale, axis=axis), y=lines(deck), color=tint, shape=shape(deck),
        tooltip=[*tips("AUROC", ".4f"), "set:N"],
    )  # fmt: skip
    reference = (
        alt.Chart()
        .transform_filter(f"datum.detector === detector && {is_baseline(deck)}")
        .mark_rule(strokeDash=[4, 3], color=FAINT)
        .encode(x="value:Q")
    )
    return (
        alt.layer(reference, bars, points, data=table("ood"))
        .properties(width=250, height=alt.Step(ROW))
        .facet(alt.Facet("set:N", sort=_sets(deck), title=None), columns=2, spacing=34)
        .add_params(_detector(deck))
        .properties(title=chosen(_named(deck)))
    )


@figure(
    "ood-scores",
    "Scores on test images and on OOD sets",
    "A panel a detector: the share of images at each score. The less the outlines overlap, the "
    "better the detector tells them apart.",
    "histograms",
)
def ood_scores(deck: Deck) -> alt.TopLevelMixin:
    """Histograms of one model's scores, a panel a detector."""
    model = _choice("model", deck.models, deck.models)
    sets = ["test images", *_sets(deck)]
    look = alt.Scale(domain=sets, range=[SETS[place % len(SETS)] for place in range(len(sets))])
    chart = alt.Chart(table("histograms")).transform_filter("datum.model === model")
    return (
        chart.mark_bar(fillOpacity=0.5, binSpacing=0)
        .encode(
            x=alt.X("low:Q", bin="binned", axis=alt.Axis(title="score → OOD", titleFontSize=9, titlePadding=3, tickCount=2, grid=False, labelOverlap=True, labelExpr=LARGE, labelFontSize=9)),
            x2="high:Q",
            y=alt.Y("share:Q", stack=None, axis=None),
            color=alt.Color("set:N", scale=look, legend=alt.Legend(orient="bottom", title=None)),
            tooltip=[tip("set:N", "set"), tip("low:Q", "score from", ".3g"), tip("high:Q", "to", ".3g"), tip("share:Q", "% of images", ".2f")],
        )
        .properties(width=104, height=70)
        .facet(alt.Facet("detector:N", sort=[deck.title(name) for name in deck.detectors], title=None), columns=5, spacing=14)
        .resolve_scale(x="independent", y="independent")
        .add_params(model)
        .properties(title=chosen("'scores of ' + model + '; up: share of each set of images'"))
    )  # fmt: skip


@figure(
    "roc",
    "ROC curves",
    "A panel an OOD set, a line a model: share of OOD images caught against share of test images "
    "flagged by mistake. The upper left corner is perfect.",
    "roc",
)
def roc(deck: Deck) -> alt.TopLevelMixin:
    """ROC curves of one detector."""
    chart = alt.Chart(table("roc")).transform_filter(f"datum.detector === detector && {SHOWN}")
    return (
        chart.mark_line(strokeWidth=1.4, interpolate="step-after")
        .encode(
            x=alt.X("fpr:Q", title="test images flagged (share)", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("tpr:Q", title="OOD images caught (share)", scale=alt.Scale(domain=[0, 1])),
            order="fpr:Q",
            color=colour(deck),
            detail="model:N",
            tooltip=[tip("model:N", "model"), tip("fpr:Q", "flagged", ".3f"), tip("tpr:Q", "caught", ".3f")],
        )
        .properties(width=270, height=250)
        .facet(alt.Facet("set:N", sort=_sets(deck), title=None), columns=2, spacing=28)
        .add_params(_detector(deck))
        .properties(title=chosen(_named(deck)))
    )  # fmt: skip
