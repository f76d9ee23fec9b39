"""What sections look things up in, and the list that they are registered in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.figures import Deck, charts
from harness.results.summary import Column as SummaryColumn
from harness.results.summary import columns, headline
from harness.sections.blocks import Block, Chart, Images, Number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.core.types import Row
    from harness.results import Results
    from harness.results.run import Run

MANY = 5000  # from here on a percentage deserves its second decimal


@dataclass(frozen=True)
class Story:
    """Results, as sections look at them.

    Args:
        results: of a run.
    """

    results: Results

    @cached_property
    def run(self) -> Run:
        """How the numbers were made."""
        return self.results.run

    @cached_property
    def rows(self) -> list[Row]:
        """One row a number, over all seeds where there are several; whatever its status."""
        return headline(self.results.rows)

    @cached_property
    def deck(self) -> Deck:
        """The same results, as figures look at them."""
        return Deck(self.results)

    @cached_property
    def columns(self) -> list[SummaryColumn]:
        """Columns of the summary."""
        return columns(self.run, self.rows)

    @cached_property
    def summary(self) -> dict[tuple[str, str], Row]:
        """(column id, model) -> its row."""
        return {
            (column.id, row.model): row
            for column in self.columns
            for row in self.rows
            if column.matches(row)
        }

    @cached_property
    def best(self) -> set[tuple[str, str]]:
        """(column id, model) of all that are not worse than the best of their column."""
        return {(s.column, s.model) for s in self.results.standings if s.best}

    @cached_property
    def models(self) -> list[str]:
        """Names of the models, in the order of the report."""
        return self.deck.models

    @cached_property
    def families(self) -> dict[str, str]:
        """Model -> family."""
        return self.deck.families

    @cached_property
    def specs(self) -> dict[str, dict[str, Any]]:
        """Name -> Vega-Lite specification of the charts that this run can fill."""
        return {one.name: one.spec(self.deck) for one in charts() if one.name in self.drawn}

    @cached_property
    def drawn(self) -> set[str]:
        """Names of the charts that this run can fill."""
        return {one.name for one in charts() if one.possible(self.deck)}

    def chart(self, name: str, caption: str) -> list[Chart]:
        """The chart in a list, or an empty one where the run can't fill it."""
        return [Chart(name, caption)] if name in self.drawn else []

    def images(self, *names: str) -> list[Images]:
        """Those of the galleries that the run holds."""
        held = {gallery.name for gallery in self.results.galleries}
        return [Images(name) for name in names if name in held]

    def number(self, row: Row | None, *, percent: bool, best: bool = False) -> Number:
        """A row as a cell."""
        if row is None:
            return Number(None, status="skipped", note="not measured")
        scale = 100.0 if percent else 1.0
        value, low, high = (
            None if part is None else part * scale for part in (row.value, row.low, row.high)
        )
        return Number(value, low, high, digits(row, percent=percent), row.status, best, row.note or " ".join(row.flags))  # fmt: skip

    def cell(self, column: SummaryColumn, model: str) -> Number:
        """A number of the summary as a cell; a column that does not apply is an empty cell."""
        row = self.summary.get((column.id, model))
        if row is None and not column.ranked:
            return Number(None, note="does not apply")
        best = (column.id, model) in self.best
        return self.number(row, percent=column.percent, best=best)


def voids(rows: Iterable[Row | None]) -> list[str]:
    """Why numbers of a table are void, a line a model and reason."""
    found: dict[tuple[str, str], None] = {}
    for row in rows:
        if row is not None and row.status == "void":
            found[row.model, row.note or f"see {', '.join(row.flags)}"] = None
    return [f"void, {model}: {reason}" for model, reason in found]


def digits(row: Row, *, percent: bool) -> int:
    """Decimals worth showing for a number of so many samples."""
    if percent:
        return 2 if row.n >= MANY else 1
    if row.metric.startswith(("auroc", "aupr", "fpr")):
        return 4 if row.n >= MANY else 3
    return 2 if row.metric == "relative_error" else 4


Tell = Callable[[Story], list[Block]]
SECTIONS: list[tuple[str, str, Tell]] = []


def section(name: str, title: str) -> Callable[[Tell], Tell]:
    """Decorator: add a section to the report; `harness.sections.ORDER` says where."""

    def decorate(tell: Tell) -> Tell:
        SECTIONS.append((name, title, tell))
        return tell

    return decorate
