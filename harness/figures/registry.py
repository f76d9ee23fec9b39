"""The list of charts: each is one function of a deck, for page and paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

    from harness.figures.deck import Deck

Draw = Callable[["Deck"], "alt.TopLevelMixin"]
HIDDEN = "hidden"
"""Vega parameter of every chart with models: a list of the names that are switched off."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart.

    Args:
        name: file name without suffix, and id on the page.
        title: for people.
        alt: what is to be seen, for those who can't see it.
        needs: names of the deck's tables that must not be empty.
        draw: makes the chart.
    """

    name: str
    title: str
    alt: str
    needs: tuple[str, ...]
    draw: Draw

    def possible(self, deck: Deck) -> bool:
        """Whether the run holds what the chart shows."""
        return all(deck.datasets[name] for name in self.needs)

    def spec(self, deck: Deck) -> dict[str, Any]:
        """Vega-Lite specification; it names the deck's tables and does not hold them."""
        from harness.figures.style import config

        spec = self.draw(deck).to_dict(validate=False)
        hidden = {"name": HIDDEN, "value": []}
        spec["params"] = [hidden, *spec.get("params", [])]
        return {**spec, "config": config()}


FIGURES: dict[str, Figure] = {}


def figure(name: str, title: str, alt: str, *needs: str) -> Callable[[Draw], Draw]:
    """Decorator: add a chart to the list."""

    def decorate(draw: Draw) -> Draw:
        FIGURES[name] = Figure(name, title, alt, needs, draw)
        return draw

    return decorate
