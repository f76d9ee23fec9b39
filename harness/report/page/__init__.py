"""report.html: one file that needs no network."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2

from harness.figures import charts
from harness.figures.grid import data_url, pixels
from harness.figures.style import family_look
from harness.report import text
from harness.sections.blocks import Number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.figures.deck import Record
    from harness.results import Gallery
    from harness.sections import Section, Story


def page(title: str, intro: str, story: Story, sections: Sequence[Section], script: str) -> str:
    """The page.

    Args:
        title: heading.
        intro: one line below it.
        story: the results.
        sections: what it says.
        script: of `harness.figures.paper.bundle`.
    """
    drawn = [chart for chart in charts() if chart.name in story.specs]
    used = json.dumps(story.specs)
    tables = {
        name: packed(rows)
        for name, rows in story.deck.datasets.items()
        if json.dumps({"name": name}) in used
    }
    return _environment(story).get_template("page.html").render(
        title=title,
        intro=intro,
        sections=sections,
        families=_families(story),
        galleries={gallery.name: gallery for gallery in story.results.galleries},
        alts={chart.name: (chart.title, f"{chart.title}. {chart.alt}") for chart in drawn},
        tables=embedded(tables),
        charts=embedded(story.specs),
        bundle=script,
        style=_resource("page.css"),
        script=_resource("page.js"),
    )  # fmt: skip


def embedded(value: object) -> str:
    """JSON that can stand inside a <script>: nothing in it can end the script."""
    compact = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        compact = compact.replace(character, f"\\u{ord(character):04x}")
    return compact


def packed(rows: Sequence[Record]) -> dict[str, Any]:
    """Records as columns, repeated words as places in a list: a tenth of the bytes."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {
        "length": len(rows),
        "columns": {name: _column([row.get(name) for row in rows]) for name in names},
    }


def _column(values: list[Any]) -> dict[str, Any]:
    if any(isinstance(value, str) for value in values):
        words = {value: place for place, value in enumerate(dict.fromkeys(values))}
        return {"words": list(words), "values": [words[value] for value in values]}
    return {"values": [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]}


def _families(story: Story) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for model in story.models:
        groups.setdefault(story.families[model], []).append(model)
    return list(groups.items())


def _resource(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _environment(story: Story) -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    made.tests["number_cell"] = lambda cell: isinstance(cell, Number)
    made.filters |= {
        "kind": lambda block: type(block).__name__,
        "value": text.number,
        "span": text.interval,
        "colour": _colours(story.families.values()).get,
        "tile": _tile,
    }
    return made


def _colours(families: Iterable[str]) -> Mapping[str, str]:
    """Colour of each family; the baseline's is the page's own ink."""
    names, colours, _ = family_look(families)
    return {
        name: "var(--ink)" if name == "Baseline" else colour
        for name, colour in zip(names, colours, strict=True)
    }


def _tile(gallery: Gallery, row: int, column: int) -> str:
    return data_url(pixels(gallery, row, column))
