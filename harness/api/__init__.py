"""What the command line and a notebook call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api.preparing import Ready, prepare, resolve_device, show_plan, try_out
from harness.api.running import Checked, Finished, crosscheck, run
from harness.api.suites import Options, find_suite, load, only, replay, shipped_suites
from harness.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rich.console import Console

    from harness.compare import Comparison
    from harness.results.verdicts import Examined

__all__ = [
    "Checked",
    "Finished",
    "Options",
    "Ready",
    "compare",
    "crosscheck",
    "doctor",
    "find_suite",
    "load",
    "only",
    "prepare",
    "replay",
    "report",
    "resolve_device",
    "run",
    "shipped_suites",
    "show_plan",
    "told",
    "try_out",
]


def doctor(data_dir: Path | None = None, console: Console | None = None) -> tuple[Examined, ...]:
    """Examine whether this installation can be believed, and print what is found.

    Args:
        data_dir: where MNIST and published weights may lie; None examines without.
        console: where to; None prints nothing.
    """
    from rich.console import Console

    from harness import doctor, terminal

    shown, found = console or Console(quiet=True), []
    with shown.status("examining") as status:
        for one in doctor.examine(data_dir):
            found.append(one)
            status.update(f"examining: {one.part}, {one.what}")
    terminal.show_examined(shown, found)
    return tuple(found)


def report(folder: Path, formats: Iterable[str] = ()) -> list[Path]:
    """Make the report of a folder again, from its results alone."""
    from harness.report import render

    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}")
    return render(folder, tuple(formats))


def compare(run_a: Path, run_b: Path, gates: Iterable[str] = (), *, only: str = "") -> Comparison:
    """Run B against run A: what changed, what of it is beyond noise, and whether the gates hold.

    Args:
        run_a: folder of a report, the old one.
        run_b: the new one.
        gates: what must not get worse, as "robust_accuracy=0.01".
        only: pattern of model names.

    Raises:
        InputError: a folder holds no results, a gate is not understood, or nothing can be paired.
    """
    from harness import compare as room

    wanted = [room.parse_gate(gate) for gate in gates]
    return room.compare(run_a, run_b, gates=wanted, models=only)


def told(comparison: Comparison, form: str = "markdown") -> str:
    """A comparison as text: "markdown" for a pull request, "json" for a program."""
    from harness.compare import to_json, to_markdown

    return to_json(comparison) if form == "json" else to_markdown(comparison)
