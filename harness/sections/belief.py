"""Whether to believe it: findings, the ledger, the flags."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness.sections.blocks import (
    Block,
    Bullets,
    Cell,
    Column,
    Detail,
    Number,
    Paragraph,
    Table,
    Text,
)
from harness.sections.story import Story, section

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.results.run import CheckFacts, Flag
    from harness.results.verdicts import Finding, LedgerRow
    from harness.sections.blocks import Tone

TONES: dict[str, Tone] = {
    "holds": "good", "does not hold": "bad", "undecided": "warn", "not measured": "plain",
    "identical": "good", "equivalent": "good", "explained": "plain", "different": "bad", "failed": "bad",
    "FAIL": "bad", "WARN": "warn", "INFO": "plain",
}  # fmt: skip


def _counted(words: Sequence[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(words).most_common())


def _fell(found: Sequence[Finding]) -> str:
    count = Counter(one.verdict for one in found)
    words = {
        "holds": "hold",
        "does not hold": "do not hold",
        "undecided": "are undecided",
        "not measured": "were not measured",
    }
    return ", ".join(f"{count[verdict]} {words[verdict]}" for verdict in words if count[verdict])


@section("findings", "Findings")
def findings(story: Story) -> list[Block]:
    """The claims of the study, as measured here; nothing where none of them was."""
    found = story.results.findings
    measured = [one for one in found if one.verdict != "not measured"]
    if not measured:
        return []
    lead = (
        f"{len(found)} claims of the study, each decided by paired tests on per-image outcomes: {_fell(found)}. The rules "
        "were fixed before the first full run: a claim about every member falls with one comparison that does not hold, so "
        "a claim can be mostly right and still not hold; the figure shows how its comparisons fell."
    )
    heads = (
        Column("Id"),
        Column("Claim"),
        Column("Verdict"),
        Column("Effect", "With its 95 % interval."),
        Column("Unit"),
        Column("Decided by", "The comparison whose effect this is."),
    )
    rows = tuple(
        (Text(one.id), Text(one.claim), Text(one.verdict, TONES[one.verdict]), _effect(one.effect, one.low, one.high, one.unit), Text(one.unit), Text(_decisive(one)))
        for one in measured
    )  # fmt: skip
    note = (
        "Effect: of the deciding comparison. Positive speaks for the claim; where two are claimed to be alike it is the "
        "first minus the second."
    )
    caption = "The study's claims and what this run says of them."
    table = Table("claims", caption, heads, rows, notes=(note,))
    bars = story.chart("findings", "How the comparisons behind each finding fell.")
    return [Paragraph(lead), table, *bars, *_behind(measured), *_beyond(found)]


def _beyond(found: Sequence[Finding]) -> list[Detail]:
    """The claims that this run cannot speak of, and why, folded."""
    rows = tuple(
        (Text(one.id), Text(one.claim), Text(one.note or _decisive(one)))
        for one in found
        if one.verdict == "not measured"
    )
    heads = (Column("Id"), Column("Claim"), Column("Why"))
    table = Table("unmeasured", "The study's claims that this run says nothing of.", heads, rows)
    return [Detail("The claims that were not measured", (table,))] if rows else []


def _decisive(one: Finding) -> str:
    """The comparison that a finding's note names as decisive, or its only one."""
    if len(one.parts) == 1:
        return one.parts[0].what
    lead = "Decided by: "
    first = next((part for part in one.note.split(". ") if part.startswith(lead)), "")
    return first.removeprefix(lead).removesuffix(".")


def _effect(value: float | None, low: float | None, high: float | None, unit: str) -> Number:
    small = unit not in ("points", "share", "%")
    return Number(
        value,
        low,
        high,
        digits=4 if small else 2,
        signed=True,
    )


def _behind(found: Sequence[Finding]) -> list[Detail]:
    """Every comparison, folded twice."""
    parts = tuple(_parts(one) for one in found if one.parts)
    return [Detail("The comparisons behind each finding", parts)] if parts else []


def _parts(one: Finding) -> Detail:
    rows = tuple(
        (
            Text(part.what),
            _effect(part.effect, part.low, part.high, part.unit or one.unit),
            Text(part.unit or one.unit),
            Text(part.verdict, TONES[part.verdict]),
        )
        for part in one.parts
    )
    heads = (Column("Comparison"), Column("Effect"), Column("Unit"), Column("Verdict"))
    table = Table(f"finding-{one.id}", f"{one.id}: {one.rule}.", heads, rows)
    note = [Paragraph(one.note)] if one.note else []
    return Detail(
        f"{one.id}: {one.claim} ({one.verdict}; {len(one.parts)} comparisons)", (*note, table)
    )


@section("ledger", "Cross-check ledger")
def ledger(story: Story) -> list[Block]:
    """Every implementation against another."""
    rows = story.results.ledger
    if not rows:
        return []
    lead = f"{len(rows)} comparisons of two implementations of the same thing: {_counted([row.verdict for row in rows])}."
    heads = (
        Column("What"), Column("A"), Column("B"), Column("Verdict"), Column("Why"), Column("Model"), Column("Protocol", "Lockstep: same start, steps and batches. Native: as users call it."),
        Column("Difference", "Paired difference A - B of the headline quantity, in points, with its 95 % interval."),
        Column("Agree, %", "Share of images with the same outcome."), Column("Largest", "Largest absolute difference of the outputs."), Column("n"),
    )  # fmt: skip
    spelt = story.deck.spelt
    open_ = tuple(
        _line(row, spelt) for row in rows if row.verdict not in ("identical", "equivalent")
    )
    table = Table(
        "ledger-all",
        "The whole ledger.",
        heads,
        tuple(_line(row, spelt) for row in rows),
        filterable=True,
    )
    short = Table("ledger-open", "What is neither identical nor equivalent.", heads, open_)
    return [
        Paragraph(lead),
        *([short] if open_ else []),
        *_envelope(rows, spelt),
        *story.chart(
            "ledger",
            "Paired differences in points, of the comparisons that differ, or whose interval reaches, beyond half a hundredth of a point.",
        ),
        Detail(f"All {len(rows)} comparisons", (table,)),
    ]


def _envelope(rows: Sequence[LedgerRow], spelt: Callable[[str], str]) -> list[Block]:
    """How far each implementation is behind the strongest outcome over all: whom to trust."""
    behind: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for row in rows:
        for name, share in zip((row.a, row.b), row.envelope, strict=True):
            if share is not None:
                behind.setdefault((row.what, row.protocol), {}).setdefault(name, {})[row.model] = (
                    share
                )
    names = list(dict.fromkeys(name for found in behind.values() for name in found))
    if not names:
        return []
    heads = (Column("What"), Column("Protocol"), *(Column(name) for name in names))
    lines = tuple(
        (Text(spelt(what)), Text(protocol), *(_share(found.get(name, {})) for name in names))
        for (what, protocol), found in behind.items()
    )
    caption = (
        "Distance from the envelope, in per cent of the images, mean over models: another "
        "implementation broke them and this one did not (or at a distance one per cent smaller)."
    )
    return [Table("ledger-envelope", caption, heads, lines)]


def _share(models: Mapping[str, float]) -> Number:
    if not models:
        return Number(None, note="not compared")
    return Number(100 * sum(models.values()) / len(models), digits=1)


def _line(row: LedgerRow, spelt: Callable[[str], str]) -> tuple[Cell, ...]:
    why = ": ".join(part for part in (row.deviation, row.explanation) if part)
    agree = None if row.agreement is None else 100 * row.agreement
    points = [None if part is None else 100 * part for part in (row.difference, row.low, row.high)]
    return (
        Text(spelt(row.what)), Text(row.a), Text(row.b), Text(row.verdict, TONES.get(row.verdict, "plain")), Text(why), Text(row.model), Text(row.protocol),
        Number(*points, digits=2, signed=True), Number(agree), Text("–" if row.largest is None else f"{row.largest:.2g}"), Text(f"{row.n:,}"),
    )  # fmt: skip


@section("flags", "Checks and flags")
def flags(story: Story) -> list[Block]:
    """Every check that was raised, with what it means."""
    run = story.run
    if not run["checks"]:
        return []
    raised = Counter(flag["check"] for flag in run["flags"])
    levels = _counted([flag["level"] for flag in run["flags"]]) or "none"
    lead = (
        f"{len(run['checks'])} checks ran and {len(raised)} were raised; {len(run['flags'])} flags: {levels}. A pass is not a proof: the "
        "checks are neither necessary nor sufficient (Carlini et al. 2019). FAIL voids a number, WARN marks it, INFO only tells."
    )
    checks = [check for check in run["checks"] if raised[check["id"]]]
    order = {"FAIL": 0, "WARN": 1, "INFO": 2}
    worst = {
        id_: min(levels, key=order.__getitem__) for id_, levels in _levels(run["flags"]).items()
    }
    checks.sort(key=lambda check: (order[worst[check["id"]]], check["id"]))
    quiet = ", ".join(
        f"{check['id']} {check['title']}" for check in run["checks"] if not raised[check["id"]]
    )
    passed = [Detail("Checks that were not raised", (Paragraph(quiet + "."),))] if quiet else []
    return [
        Paragraph(lead),
        *(_check(check, worst[check["id"]], run["flags"]) for check in checks),
        *passed,
    ]


def _levels(flags: Sequence[Flag]) -> dict[str, list[str]]:
    """Check -> levels at which it was raised: a check may warn here and void there."""
    found: dict[str, list[str]] = {}
    for flag in flags:
        found.setdefault(flag["check"], []).append(flag["level"])
    return found


def _check(check: CheckFacts, level: str, flags: Sequence[Flag]) -> Detail:
    found = [flag for flag in flags if flag["check"] == check["id"]]
    heads = (Column("Level"), Column("Model"), Column("Case"), Column("Message"))
    rows = tuple(
        (
            Text(flag["level"], TONES[flag["level"]]),
            Text(flag["model"] or "all"),
            Text(flag["case"]),
            Text(flag["message"]),
        )
        for flag in found
    )
    words = Bullets((
        Paragraph(check["raised_if"], "Raised if."),
        Paragraph(check["explanation"], "Explanation."),
        Paragraph(check["what_to_do"], "What to do."),
    ))  # fmt: skip
    table = Table(f"check-{check['id']}", f"Where {check['id']} was raised.", heads, rows)
    return Detail(
        f"{check['id']} {level}: {check['title']} (raised {_times(max(len(found), check['cells']))})",
        (words, table),
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
