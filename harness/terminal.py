"""Tables in the terminal."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from harness.plan.cost import MACHINE
from harness.progress import left_text
from harness.statistics import detectable_difference, least_discordance, least_samples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from harness.engine import Outcome
    from harness.plan import Plan
    from harness.results import LedgerRow
    from harness.results.verdicts import Examined

SHOWN = (".md", ".html", ".csv")
DISCORDANCE = 0.02  # share of images on which two models disagree, guessed for the power line


def show_plan(
    console: Console,
    plan: Plan,
    states: Mapping[str, str],
    seconds: float,
    workers: int,
    *,
    every: bool,
) -> None:
    """Print jobs by kind and state (or each one), the time left and what n can show.

    Args:
        console: where to.
        plan: the plan.
        states: digest -> "cached", "new" or "changed: why".
        seconds: expected wall time of what is not cached.
        workers: processes that it is reckoned for.
        every: a line a job instead of a line a kind.
    """
    if every:
        for job in plan.jobs:
            console.print(f"{states[job.digest]:<12} {job.title}", markup=False, soft_wrap=True)
    else:
        console.print(_by_kind(plan, states))
    ahead = sum(state != "cached" for state in states.values())
    took = left_text(seconds).removesuffix(" left") or "nothing"
    about = f"about {took} with {workers} workers on {MACHINE}"
    console.print(f"{len(plan.jobs)} jobs, {ahead} to do; {about}", soft_wrap=True)
    if plan.suite.attack_images:
        console.print(power_line(plan.suite.attack_images), soft_wrap=True)


def power_line(n: int) -> str:
    """What `n` attacked images can show of two models that disagree on DISCORDANCE of them."""
    least, guess = detectable_difference(n, DISCORDANCE), f"{100 * DISCORDANCE:.0f} %"
    if math.isfinite(least):
        return (
            f"With {n} attacked images a paired difference of {100 * least:.1f} points is seen with "
            f"80 % power (if models disagree on {guess} of the images)."
        )
    wanted = [f"{least_samples(DISCORDANCE)} images"]
    if math.isfinite(share := least_discordance(n)):
        wanted.append(f"a disagreement on {math.ceil(1000 * share) / 10:.1f} %")
    return (
        f"With {n} attacked images no paired difference is seen with 80 % power if models disagree "
        f"on {guess} of the images, even if it all goes one way: that takes {' or '.join(wanted)}."
    )


def _by_kind(plan: Plan, states: Mapping[str, str]) -> Table:
    counts = Counter((job.kind, states[job.digest]) for job in plan.jobs)
    table = Table("jobs", "kind", "state", box=None, pad_edge=False, header_style="bold")
    for (kind, state), count in counts.items():
        table.add_row(str(count), kind, state)
    return table


def show_finished(console: Console, folder: Path, outcome: Outcome, paths: Sequence[Path]) -> None:
    """Print the summary table, what failed and where the reports lie."""
    from harness.report import show

    show(console, folder, [path for path in paths if path.suffix in SHOWN])
    for reason in dict.fromkeys(outcome.failed.values()):
        console.print(f"failed: {reason}", markup=False, soft_wrap=True)
    if outcome.failed or outcome.skipped:
        console.print(
            f"INCOMPLETE: {len(outcome.failed)} jobs failed and {len(outcome.skipped)} were skipped; "
            "the same command tries them again.",
            soft_wrap=True,
        )


def show_examined(console: Console, found: Sequence[Examined]) -> None:
    """Print every examination, and how many failed."""
    heads = ("part", "what", "expected", "seen", "")
    table = Table(*heads, box=None, pad_edge=False, header_style="bold")
    part = ""
    for one in found:
        tone = {"FAIL": "bold red", "ok": "green"}.get(one.status, "dim")
        cells = ("" if one.part == part else one.part, one.what, one.expected, one.seen)
        table.add_row(*(Text(cell) for cell in cells), Text(one.status, style=tone))
        part = one.part
    console.print(table)
    counts = Counter(one.status for one in found)
    seconds = sum(one.seconds for one in found)
    verdict = f"{counts['FAIL']} FAIL" if counts["FAIL"] else "this installation can be believed"
    console.print(f"{counts['ok']} ok, {verdict}; {seconds:.0f} seconds", soft_wrap=True)


def show_ledger(
    console: Console, rows: Sequence[LedgerRow], failing: Sequence[LedgerRow], paths: Sequence[Path]
) -> None:
    """Print how many pairs came to which verdict, every pair that is not equal, and the paths."""
    table = Table(
        "what", "a", "b", "model", "protocol", "verdict", "why", box=None, header_style="bold"
    )
    for row in rows:
        if row.verdict not in ("identical", "equivalent"):
            cells = (row.what, row.a, row.b, row.model, row.protocol, row.verdict, row.explanation)
            table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    counts = Counter(row.verdict for row in rows)
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))
    console.print(f"{len(failing)} fail" if failing else "none fails")
    for path in paths:
        if path.suffix in SHOWN:
            console.print(str(path), markup=False, soft_wrap=True)
