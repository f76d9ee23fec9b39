"""The figures: one function a figure, one definition for page and paper (Vega-Lite).

`charts()` lists them in the order of the report; `Deck` lays results out for them; `paper` writes
files. A new figure is one function with `@figure` in a chapter of this room.
"""

from __future__ import annotations

from harness.figures.deck import Deck
from harness.figures.registry import FIGURES, HIDDEN, Figure, figure

ORDER = (
    "overview", "trade-off", "security-curves", "training", "corruption-map", "corruptions-by-family",
    "auroc-by-family", "ood-scores", "roc", "calibration-by-family", "reliability", "findings", "ledger",
)  # fmt: skip


def charts() -> list[Figure]:
    """All charts, in the order of the report; one that is not in ORDER comes last."""
    from harness.figures import adversarial, calibration, evidence, ood, overview, shift

    del adversarial, calibration, evidence, ood, overview, shift  # imported to register
    place = {name: number for number, name in enumerate(ORDER)}
    return sorted(FIGURES.values(), key=lambda one: (place.get(one.name, len(place)), one.name))


__all__ = ["HIDDEN", "Deck", "Figure", "charts", "figure"]
