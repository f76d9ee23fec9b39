"""Whether to believe it: the ledger and the findings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from harness.figures.parts import ROW, table, tip
from harness.figures.registry import figure
from harness.figures.style import FAINT, LEDGER, VERDICTS

if TYPE_CHECKING:
    from harness.figures.deck import Deck


LINE = 12  # height of a line of a claim


def _raised(lines: int) -> dict[str, Any]:
    """Labels of several lines start at the middle of their bar: lift each by half of what follows."""
    lifts = [
        {"test": rf"length(split(datum.label, '\n')) === {count}", "value": -LINE * (count - 1) / 2}
        for count in range(2, lines + 1)
    ]
    return {"condition": lifts, "value": 0}


@figure(
    "ledger",
    "Where two implementations differ",
    "A line a comparison whose difference or interval can be seen at a hundredth of a point: the "
    "paired difference in points with its 95 % interval, in the colour of its verdict.",
    "ledger",
)
def ledger(deck: Deck) -> alt.TopLevelMixin:
    """Paired differences of the ledger."""
    names = list(dict.fromkeys(record["row"] for record in deck.datasets["ledger"]))
    found = {record["verdict"] for record in deck.datasets["ledger"]}
    known = [verdict for verdict in LEDGER if verdict in found]
    legend = alt.Legend(orient="bottom", title=None)
    tint = alt.Color(
        "verdict:N",
        legend=legend,
        scale=alt.Scale(domain=known, range=[LEDGER[v][0] for v in known]),
    )
    form = alt.Shape(
        "verdict:N",
        legend=legend,
        scale=alt.Scale(domain=known, range=[LEDGER[v][1] for v in known]),
    )
    axis = alt.Axis(title=None, grid=True, ticks=False, domain=False, labelLimit=400)
    y = alt.Y("row:N", sort=names, axis=axis)
    title = "difference, first minus second (points); ours is first"
    base = alt.Chart(table("ledger"))
    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color=FAINT).encode(x="zero:Q")
    bars = base.mark_rule(strokeWidth=1.5).encode(
        x=alt.X("low:Q", title=title), x2="high:Q", y=y, color=tint
    )
    points = base.mark_point(filled=True, size=45, opacity=1).encode(
        x=alt.X("value:Q", title=title), y=y, color=tint, shape=form,
        tooltip=[tip("row:N", "comparison"), tip("verdict:N", "verdict"), tip("value:Q", "difference", ".2f"), tip("why:N", "why")],
    )  # fmt: skip
    return alt.layer(zero, bars, points).properties(width=270, height=alt.Step(ROW))


@figure(
    "findings",
    "How the parts of each finding fell",
    "A bar a finding: the shares of its comparisons that hold, are undecided, do not hold, or "
    "could not be measured.",
    "findings",
)
def findings(deck: Deck) -> alt.TopLevelMixin:
    """Counts of part verdicts, as shares of each finding."""
    names = list(dict.fromkeys(record["finding"] for record in deck.datasets["findings"]))
    found = {record["verdict"] for record in deck.datasets["findings"]}
    order = [verdict for verdict in VERDICTS if verdict in found]
    tint = alt.Color(
        "verdict:N",
        scale=alt.Scale(domain=order, range=[VERDICTS[verdict] for verdict in order]),
        legend=alt.Legend(orient="bottom", title=None),
    )
    lines = max((name.count("\n") for name in names), default=0) + 1
    axis = alt.Axis(
        title=None, ticks=False, domain=False, labelLimit=480, labelExpr=r"split(datum.label, '\n')",
        labelLineHeight=LINE, labelOffset=_raised(lines),
    )  # fmt: skip
    return (
        alt.Chart(table("findings"))
        .transform_calculate(rank=f"indexof({order}, datum.verdict)")
        .mark_bar(height={"band": 0.72})
        .encode(
            x=alt.X("count():Q", stack="normalize", axis=alt.Axis(title="share of comparisons", format="%")),
            y=alt.Y("finding:N", sort=names, axis=axis),
            color=tint,
            order="rank:Q",
            tooltip=[tip("finding:N", "finding"), tip("verdict:N", "verdict"), tip("count():Q", "comparisons")],
        )
        .properties(width=190, height=alt.Step(LINE * lines + 5))
    )  # fmt: skip
