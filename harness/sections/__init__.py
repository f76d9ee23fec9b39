"""What the report says: one function a section, in one ordered list.

A section is a function of a `Story` with `@section`; ORDER says where it stands. It returns blocks
of plain text; the renderers of `harness.report` escape them.
"""

from __future__ import annotations

from harness.sections import axes, belief, method, summary, verdict, words
from harness.sections.blocks import Section
from harness.sections.story import SECTIONS, Story, section

ORDER = (
    "verdict", "summary", "trade-offs", "adversarial", "shift", "ood", "calibration", "findings", "ledger",
    "flags", "examples", "method", "words", "reproduce", "missing",
)  # fmt: skip


def told(story: Story) -> list[Section]:
    """All sections that have something to say, in order; one that is not in ORDER comes last."""
    place = {name: number for number, name in enumerate(ORDER)}
    ordered = sorted(SECTIONS, key=lambda one: place.get(one[0], len(place)))
    made = (Section(name, title, tuple(tell(story))) for name, title, tell in ordered)
    return [one for one in made if one.blocks]


__all__ = [
    "ORDER",
    "Section",
    "Story",
    "axes",
    "belief",
    "method",
    "section",
    "summary",
    "told",
    "verdict",
    "words",
]
