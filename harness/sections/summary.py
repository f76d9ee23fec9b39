"""The summary table, the overview and the trade-offs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.sections.blocks import Block, Cell, Column, Paragraph, Table, Text
from harness.sections.story import Story, section, voids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.results import Dominance


@section("summary", "Summary")
def summary(story: Story) -> list[Block]:
    """The table with a line a model, and the same as a figure."""
    if not story.columns:
        return [Paragraph("The run holds no number that a summary could show.")]
    caption = "Every model on every axis with 95 % intervals. Marked: not worse than the best of the column after Holm."
    return [table(story, caption), *story.chart("overview", "The same numbers at a glance.")]


def table(story: Story, caption: str) -> Table:
    """The summary table."""
    heads = [Column("Model"), Column("Family")]
    for column in story.columns:
        unit = ", %" if column.percent else ""
        heads.append(Column(f"{column.title}{unit}", column.meaning, column.better))
    heads.append(
        Column("Training, s", "Wall time of training, members of an ensemble added up.", "lower")
    )
    rows = tuple(_line(story, model) for model in story.models)
    meanings = (f"{column.title}: {column.meaning}" for column in story.columns)
    shown = [story.summary.get((c.id, model)) for c in story.columns for model in story.models]
    notes = (*meanings, *voids(shown))
    families = tuple(story.families[model] for model in story.models)
    return Table(
        "models",
        caption,
        tuple(heads),
        rows,
        tuple(story.models),
        families,
        filterable=True,
        notes=notes,
    )


def _line(story: Story, model: str) -> tuple[Cell, ...]:
    cells = [story.cell(column, model) for column in story.columns]
    return (Text(model), Text(story.families[model]), *cells, _cost(story, model))


def _cost(story: Story, model: str) -> Cell:
    training = next(one["training"] for one in story.run["models"] if one["name"] == model)
    return Text("–") if training is None else Text(f"{training['seconds']:.0f}")


@section("trade-offs", "Trade-offs")
def trade_offs(story: Story) -> list[Block]:
    """Any number against any other, and who is dominated."""
    return [*story.chart("trade-off", "Two columns of the summary against each other, with 95 % intervals as bars."), *_pareto(story)]  # fmt: skip


def _pareto(story: Story) -> list[Block]:
    """Who is dominated; the rest is the front."""
    everyone = story.results.dominance
    if len(everyone) < 2:
        return []
    beaten = [one for one in everyone if one.by]
    left_out = len(story.models) - len(everyone)
    text = (
        f"{len(everyone) - len(beaten)} of {len(everyone)} models are on the Pareto front: no other is at least as "
        "good in every ranked column and better in one. This goes by the values; the last column of the table asks "
        "for a difference beyond its interval in every column."
    )
    many = "One model takes" if left_out == 1 else f"{left_out} models take"
    text += f" {many} no part: a number of it is void or missing." if left_out else ""
    lead = Paragraph(text, "Pareto front.")
    return [lead, _dominated(story, beaten)] if beaten else [lead]


def _dominated(story: Story, beaten: Sequence[Dominance]) -> Table:
    rows = tuple(
        (Text(one.model), Text(story.families.get(one.model, "")), Text(", ".join(one.by)), Text(", ".join(one.surely) or "–"))
        for one in beaten
    )  # fmt: skip
    heads = (
        Column("Model"),
        Column("Family"),
        Column("Dominated by", "At least as good in every ranked column and better in one."),
        Column("Beyond the noise by", "Better in every column beyond the interval."),
    )
    names = tuple(one.model for one in beaten)
    families = tuple(story.families.get(name, "") for name in names)
    caption = "Pareto table: models that another one dominates."
    return Table("pareto", caption, heads, rows, names, families)
