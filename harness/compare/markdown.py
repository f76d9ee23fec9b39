"""A comparison as Markdown for a pull request: the verdict first, then what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.text import decimal, markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from harness.compare.changes import Change
    from harness.compare.comparison import Comparison
    from harness.compare.gates import GateResult, Verdict

SHOWN = 12  # lines of a list; a pull request is read, not searched
PERCENT = ("accuracy", "robust_accuracy")
WORDS: dict[Verdict, str] = {
    "no regression": "holds",
    "regression": "**worse**",
    "undecided": "undecided",
}


def to_markdown(comparison: Comparison) -> str:
    """The comparison as GitHub shows it; all names are escaped."""
    parts = [
        f"# {markdown(comparison.verdict)}",
        f"Before: {markdown(comparison.before)}. After: {markdown(comparison.after)}. "
        "Differences are after minus before, paired by image, with 95 % intervals.",
        *_gates(comparison.gates),
        *_changes(comparison),
        *_list("Only before", comparison.only_before),
        *_list("Only after", comparison.only_after),
        *_list("What else differs", comparison.notes),
    ]
    return "\n\n".join(parts) + "\n"


# ---------------------------------------------------------------- gates


def _gates(results: Sequence[GateResult]) -> Iterator[str]:
    if not results:
        return
    yield "## Gates"
    heads = ("Gate", "Margin", "Verdict", "Weakest", "Change")
    yield _table(heads, [_gate(result) for result in results])
    gone = [text for result in results for text in result.missing]
    yield from _list("Gated, and not measured after", gone)


def _gate(result: GateResult) -> tuple[str, ...]:
    weakest = min((change for change, _ in result.changes), key=lambda c: c.gain[0], default=None)
    shown = ("", "") if weakest is None else (markdown(_what(weakest)), _difference(weakest))
    name, margin = markdown(result.gate.name), f"{result.gate.margin:g}"
    return name, margin, WORDS[result.verdict], *shown


# ---------------------------------------------------------------- changes


def _changes(comparison: Comparison) -> Iterator[str]:
    top = [change for change in comparison.changes if change.column]
    rest = [change for change in comparison.changes if not change.column]
    yield from _family("Headline numbers", top)
    yield from _family("Single attacks, corruptions and other numbers", rest)
    if comparison.untested:
        yield f"{comparison.untested} more numbers changed that have no per-sample outcomes to test."


def _family(title: str, family: Sequence[Change]) -> Iterator[str]:
    """What changed beyond noise, the smallest p first."""
    if not family:
        return
    changed = sorted((c for c in family if c.verdict != "no change shown"), key=lambda c: c.p)
    yield f"## {title}"
    yield (
        f"{len(changed)} of {len(family)} changed beyond noise (p below 0.05 after Holm over all "
        f"{len(family)})."
    )
    if changed:
        heads = ("Model", "Number", "Before", "After", "Change", "Verdict", "p")
        yield _table(heads, [_change(change) for change in changed[:SHOWN]])
    if len(changed) > SHOWN:
        yield f"And {len(changed) - SHOWN} more."


def _change(change: Change) -> tuple[str, ...]:
    return (
        markdown(change.model), markdown(_name(change)), _value(change, change.before),
        _value(change, change.after), _difference(change), change.verdict, f"{change.p:.2g}",
    )  # fmt: skip


def _what(change: Change) -> str:
    return f"{change.model}, {_name(change)}"


def _name(change: Change) -> str:
    """Column of the summary, or metric and case."""
    _, case, metric = change.cell
    return change.column or f"{metric} {case}".strip()


def _value(change: Change, value: float) -> str:
    factor, digits = (100, 2) if change.cell[2] in PERCENT else (1, 4)
    return decimal(factor * value, digits)


def _difference(change: Change) -> str:
    factor, digits = (100, 2) if change.cell[2] in PERCENT else (1, 4)
    ends = (change.after - change.before, change.low, change.high)
    value, low, high = (decimal(factor * end, digits, signed=True) for end in ends)
    return markdown(f"{value} [{low}, {high}]")


# ---------------------------------------------------------------- blocks


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    if not items:
        return
    yield f"## {title}"
    shown = [f"- {markdown(item)}" for item in items[:SHOWN]]
    more = [f"- and {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    yield "\n".join([*shown, *more])
