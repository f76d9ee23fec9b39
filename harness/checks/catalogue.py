"""What a check is, and all of them by name."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.core.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Level = Literal["FAIL", "WARN", "INFO"]
Stage = Literal["model", "attack", "relation", "report", "axis", "training"]
CHAPTERS = ("model", "attack", "relations", "reporting", "axes", "training")


@dataclass(frozen=True, slots=True)
class Complaint:
    """One check raised on one cell.

    Args:
        check: its id, for example "H44".
        level: FAIL voids the numbers of its cell, WARN marks them, INFO is only recorded.
        message: what was seen, with its figures.
        model: name of the model, or "" for the whole run.
        case: case of the rows that it concerns, or "" for all of the model's.
    """

    check: str
    level: Level
    message: str
    model: str = ""
    case: str = ""

    @property
    def voids(self) -> bool:
        """Whether the numbers of its cell are no results."""
        return self.level == "FAIL"


Finding = str | tuple[Level, str]
"""What a check function yields: a message at the check's own level, or with a level of its own."""


@dataclass(frozen=True, slots=True)
class Check:
    """One named check.

    Args:
        id: for example "H44".
        title: a few words.
        level: that it raises, unless a finding says otherwise.
        stage: what its function reads.
        raised_if: the condition, one sentence.
        explanation: what it means.
        what_to_do: for the reader, or the user.
        function: facts -> findings; empty means it passed.
    """

    id: str
    title: str
    level: Level
    stage: Stage
    raised_if: str
    explanation: str
    what_to_do: str
    function: Callable[[Any], Iterable[Finding]]

    def __call__(self, facts: Any, model: str = "", case: str = "") -> list[Complaint]:  # noqa: ANN401
        """The complaints of this check about `facts`."""
        found: list[Complaint] = []
        for finding in self.function(facts):
            level, message = finding if isinstance(finding, tuple) else (self.level, finding)
            found.append(Complaint(self.id, level, message, model, case))
        return found


_CHECKS: dict[str, Check] = {}


def check(
    id: str,
    title: str,
    level: Level,
    stage: Stage,
    *,
    raised_if: str,
    explanation: str,
    what_to_do: str,
) -> Callable[[Callable[[Any], Iterable[Finding]]], Callable[[Any], Iterable[Finding]]]:
    """Decorator: make a function a named check."""

    def decorate(
        function: Callable[[Any], Iterable[Finding]],
    ) -> Callable[[Any], Iterable[Finding]]:
        if id in _CHECKS:
            raise ValueError(f"check {id} is defined twice")
        _CHECKS[id] = Check(id, title, level, stage, raised_if, explanation, what_to_do, function)
        return function

    return decorate


class _All:
    """All checks by id; the chapters are imported at first use."""

    def __getitem__(self, name: str) -> Check:
        self._load()
        if name not in _CHECKS:
            raise UnknownName("check", name, _CHECKS)
        return _CHECKS[name]

    def __iter__(self) -> Iterator[Check]:
        self._load()
        return iter(sorted(_CHECKS.values(), key=lambda one: one.id))

    @staticmethod
    def _load() -> None:
        for chapter in CHAPTERS:
            importlib.import_module(f"harness.checks.{chapter}")


CHECKS = _All()


def raised(stage: Stage, facts: Any, model: str = "", case: str = "") -> list[Complaint]:  # noqa: ANN401
    """Complaints of all checks of a stage about the same facts."""
    return [
        complaint for one in CHECKS if one.stage == stage for complaint in one(facts, model, case)
    ]


def explain(name: str) -> str:
    """The paragraph of a check, as `harness explain` prints it.

    Raises:
        UnknownName: there is no such check.
    """
    one = CHECKS[name.upper()]
    return (
        f"{one.id} {one.title} ({one.level})\n\n"
        f"Raised if: {one.raised_if}\n\n"
        f"Explanation: {one.explanation}\n\n"
        f"What to do: {one.what_to_do}"
    )
