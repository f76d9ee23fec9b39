"""The verdict: which model is safest in which sense, and what each family trades."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness.sections.blocks import Block, Column, Notice, Number, Paragraph, Table, Text
from harness.sections.story import Story, section

if TYPE_CHECKING:
    from harness.results.summary import Column as SummaryColumn


@section("verdict", "Verdict")
def verdict(story: Story) -> list[Block]:
    """Best per axis, and what each family trades."""
    run = story.run
    opening = [Paragraph(run["question"])] if run["question"] else []
    return [
        *notices(story),
        *opening,
        *_lead(story),
        *_best(story),
        *_trades(story),
        *_seeds(story),
        Paragraph("What a word means (eps, Holm, AUROC) stands near the end, under Words."),
    ]


def notices(story: Story) -> list[Block]:
    """What must be said before any number."""
    run, found = story.run, []
    if run["limit"] is not None:
        found.append(
            Notice(
                f"For testing only: no more than {run['limit']} test images were used (--limit)."
            )
        )
    if run["only"]:
        found.append(Notice(f"A part of the suite only: --only {run['only']}."))
    broken = [job for job in run["jobs"].values() if job["status"] != "ok"]
    if broken:
        found.append(Notice(f"Incomplete: {len(broken)} of {len(run['jobs'])} jobs did not finish. What is missing is listed at the end.", "bad"))  # fmt: skip
    void = {(row.model, row.axis) for row in story.rows if row.status == "void"}
    if void:
        models = ", ".join(sorted({model for model, _ in void}))
        found.append(Notice(f"Void numbers: by a check, some numbers must not be believed ({models}). They are shown as void and never ranked; the section on checks says why."))  # fmt: skip
    return list(found)


def _lead(story: Story) -> list[Block]:
    """Whether one model is among the best everywhere, else who comes nearest."""
    standings = story.results.standings
    senses = len({one.column for one in standings})
    count = Counter(one.model for one in standings if one.best)
    if len(story.models) < 2 or not count:
        return []
    most = max(count.values())
    nearest = [model for model in story.models if count[model] == most]
    names = _named(nearest, [model for model in story.models if model not in nearest])
    if most == senses:
        text = f"Among the best in all {senses} senses of the table below: {names}."
    else:
        text = (
            f"No model is among the best in all {senses} senses of the table below. Nearest, with "
            f"{most} of {senses}: {names}."
        )
    return [Paragraph(text, "In short.")]


def _best(story: Story) -> list[Block]:
    rows = [line for column in story.columns if column.ranked for line in _leaders(story, column)]
    if not rows:
        return []
    heads = (
        Column("Safest in the sense of"),
        Column("Best model"),
        Column("Value", "With its 95 % interval."),
        Column("Not worse", "Models whose distance to the best is within the noise."),
    )
    note = "Not worse: a paired test against the best, on the same images, leaves p >= 0.05 after Holm's correction over the column."
    return [Table("best", "The best model in each sense, and all that are not worse.", heads, tuple(rows), notes=(note,))]  # fmt: skip


def _leaders(story: Story, column: SummaryColumn) -> list[tuple[Text | Number, ...]]:
    ok = {
        m: row
        for m in story.models
        if (row := story.summary.get((column.id, m))) and row.status == "ok"
    }
    valued = {model: row.value for model, row in ok.items() if row.value is not None}
    if not valued:
        return []
    sign = 1 if column.better == "higher" else -1
    first = max(valued, key=lambda model: sign * valued[model])
    others = [m for m in story.models if m != first and (column.id, m) in story.best]
    tested = any(standing.column == column.id for standing in story.results.standings)
    shown = (
        _named(others, [m for m in valued if m not in {first, *others}]) if tested else "not tested"
    )
    unit = ", %" if column.percent else ""
    title = f"{column.title}{unit}"
    return [
        (
            Text(f"{column.sense} ({title})" if column.sense else title),
            Text(first),
            story.number(ok[first], percent=column.percent),
            Text(shown),
        )
    ]


def _named(inside: list[str], outside: list[str]) -> str:
    """The names, or, where that is shorter, the names that are left out."""
    if len(inside) <= max(len(outside), 3):
        return ", ".join(inside) or "none"
    return f"all but {', '.join(outside)}" if outside else "all"


def _trades(story: Story) -> list[Block]:
    """A family a line: how many of its members are better or worse than the baseline."""
    columns = [c for c in story.columns if any(x.column == c.id for x in story.results.contrasts)]
    if not columns:
        return []
    families = list(dict.fromkeys(story.families.values()))
    rows = []
    for family in families:
        cells = [_balance(story, column.id, family) for column in columns]
        if any(cell.text for cell in cells):
            rows.append((Text(family), *cells))
    heads = (Column("Family"), *(Column(c.title, c.meaning) for c in columns))
    caption = f"What each family trades against {story.run['baseline']}: members that are better (▲), worse (▼), or neither (=)."
    note = "Better and worse: paired tests on the same images, p < 0.05 after Holm's correction over the column."
    return [Table("trades", caption, heads, tuple(rows), notes=(note,))]


def _balance(story: Story, column: str, family: str) -> Text:
    count = Counter(
        contrast.verdict
        for contrast in story.results.contrasts
        if contrast.column == column and story.families.get(contrast.model) == family
    )
    signs = (("better", "▲"), ("worse", "▼"), ("undecided", "="))
    text = " ".join(f"{sign}{count[verdict]}" for verdict, sign in signs if count[verdict])
    tone = "good" if set(count) == {"better"} else "bad" if set(count) == {"worse"} else "plain"
    return Text(text, tone)


def _seeds(story: Story) -> list[Block]:
    count = len(story.run["seeds"])
    if count == 1:
        text = (
            "One seed: this compares these checkpoints, not the methods that made them. Intervals and tests cover the "
            "draw of the images; another seed may move a model by more, an adversarially trained one above all."
        )
    else:
        text = f"{count} seeds: values are means over seeds, with t intervals over the seeds, no narrower than those over images."
    return [Paragraph(text, "What the intervals cover.")]
