"""A suite from its plan to its report, and the cross-check on the same way."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.preparing import prepare, try_out
from harness.api.suites import Options, find_suite, load, replay, replay_one
from harness.core.errors import SuiteError
from harness.core.types import digest_of
from harness.engine import Inline, Outcome, Processes, execute
from harness.plan import code_digest

if TYPE_CHECKING:
    from rich.console import Console

    from harness.api.preparing import Ready
    from harness.results import LedgerRow

ASSEMBLED = ".assembled"


@dataclass(frozen=True)
class Finished:
    """A run that came to its end.

    Args:
        folder: where the report lies.
        outcome: what became of the jobs.
        paths: the files of the report.
    """

    folder: Path
    outcome: Outcome
    paths: tuple[Path, ...]

    @property
    def ledger(self) -> tuple[LedgerRow, ...]:
        """The cross-check of this run."""
        from harness.results import Results

        return Results.read(self.folder).ledger

    @property
    def complete(self) -> bool:
        """Whether every job was done."""
        return not self.outcome.failed and not self.outcome.skipped

    def show(self, console: Console) -> None:
        """Print the summary table and the paths of the reports."""
        from harness import terminal

        terminal.show_finished(console, self.folder, self.outcome, self.paths)


def run(
    suite: Path | str,
    options: Options = Options(),
    *,
    fail_fast: bool = False,
    console: Console | None = None,
) -> Finished:
    """Do all that a suite asks, and write its report.

    Args:
        suite: a path, or the name of a shipped suite.
        options: what overrides the suite, and where things lie.
        fail_fast: begin no job once one has failed.
        console: where progress is shown; None shows none.

    Raises:
        InputError: the suite, the data or a model cannot be used.
    """
    from rich.console import Console

    from harness.progress import watcher
    from harness.report import render

    started = time.time()
    loaded = load(suite, options)
    ready = prepare(loaded, options, folder=find_suite(Path(suite)).parent)
    try_out(ready)
    watch = watcher(console or Console(quiet=True))
    outcome = _execute(ready, watch, fail_fast=fail_fast)
    folder = options.out / f"{loaded.name}-{loaded.data.name}"
    state = _state(ready, outcome)
    if _assembled(folder) == state:
        return Finished(folder, outcome, tuple(render(folder)))
    from harness import assembly, provenance

    made = provenance.Made(
        started=started,
        seconds=time.time() - started,
        workers=options.workers,
        command=replay(suite, options),
        again=partial(replay_one, suite, options),
        only=options.only,
        device=ready.device,
    )
    assembly.assemble(ready.plan, ready.store, outcome, made).write(folder)
    (folder / ASSEMBLED).write_text(state + "\n", encoding="utf-8")
    return Finished(folder, outcome, tuple(render(folder)))


def _state(ready: Ready, outcome: Outcome) -> str:
    """Digest of all that results depend on: the records, what is missing, the code that reads them."""
    suite = ready.plan.suite.model_dump(mode="json")
    missing = sorted([*outcome.failed.items(), *outcome.skipped.items()])
    code = code_digest(["harness.assembly"])
    return digest_of([suite, [job.digest for job in ready.plan.jobs], missing, code])


def _assembled(folder: Path) -> str:
    """The state that a folder's results were made from, or ""."""
    stamp = folder / ASSEMBLED
    return stamp.read_text(encoding="utf-8").strip() if stamp.is_file() else ""


def _execute(ready: Ready, watch: Any, *, fail_fast: bool) -> Outcome:  # noqa: ANN401
    """The plan through the engine; workers are started only if there is work."""
    if not ready.ahead:
        return Outcome(0, len({job.digest for job in ready.plan.jobs}), {}, {}, 0.0)
    workers = ready.options.workers
    executor = Inline(ready.place) if workers == 1 else Processes(ready.place, workers)
    try:
        return execute(ready.plan.jobs, ready.store, executor, watch, fail_fast=fail_fast)
    finally:
        executor.close()
        watch.close()


@dataclass(frozen=True)
class Checked:
    """A cross-check that came to its end.

    Args:
        folder: where the ledger lies.
        outcome: what became of the jobs.
        rows: the ledger.
        failing: rows whose verdict fails it.
        paths: files of the report.
    """

    folder: Path
    outcome: Outcome
    rows: tuple[LedgerRow, ...]
    failing: tuple[LedgerRow, ...]
    paths: tuple[Path, ...]

    def show(self, console: Console) -> None:
        """Print the ledger and what fails it."""
        from harness import terminal

        terminal.show_ledger(console, self.rows, self.failing, self.paths)


def crosscheck(
    suite: Path | str,
    options: Options = Options(),
    *,
    strict: bool = False,
    console: Console | None = None,
) -> Checked:
    """Compare all implementations that a suite's `crosscheck` section names, and write the ledger.

    Args:
        suite: a path, or the name of a shipped suite.
        options: as for `run`.
        strict: let missing, incomparable, undecided and explained rows fail it, too.
        console: where progress is shown; None shows none.

    Raises:
        InputError: the suite has no such section, or cannot be used.
    """
    from harness.ledger import failing

    loaded = load(suite, options)
    if loaded.crosscheck is None:
        raise SuiteError("the suite has no `crosscheck` section", str(suite))
    finished = run(suite, options, console=console)
    rows = finished.ledger
    bad = tuple(failing(rows, strict=strict))
    if not finished.complete:
        bad = bad or rows
    return Checked(finished.folder, finished.outcome, rows, bad, finished.paths)
