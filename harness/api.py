"""What the command line and a notebook call."""

from __future__ import annotations

import fnmatch
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import data
from harness.core.errors import DataError, InputError, SuiteError, suggest
from harness.core.registry import registry
from harness.core.types import Use, digest_of
from harness.engine import Inline, Outcome, Place, Processes, execute, pending
from harness.plan import Plan, changes, code_digest, estimate, expand
from harness.store import Store, default_root
from harness.suite import Suite
from harness.suite import load as load_suite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from harness.compare import Comparison
    from harness.core.types import Job
    from harness.results import LedgerRow
    from harness.results.verdicts import Examined

SHIPPED = "harness_suites"
ASSEMBLED = ".assembled"


@dataclass(frozen=True)
class Options:
    """What the command line sets; it overrides the suite.

    Args:
        data: data set to use instead of the suite's.
        data_dir: where data sets lie.
        out: folder for the reports.
        only: pattern of model names.
        limit: test images to use; None for all.
        seeds: instead of the suite's; empty keeps those.
        device: "auto", "cpu" or "cuda".
        jobs: worker processes; 0 means one a core.
        store: folder of finished work; None for the default.
    """

    data: str | None = None
    data_dir: Path = Path("data")
    out: Path = Path("reports")
    only: str = ""
    limit: int | None = None
    seeds: tuple[int, ...] = ()
    device: str = "auto"
    jobs: int = 0
    store: Path | None = None

    @property
    def workers(self) -> int:
        """Worker processes: never more than cores."""
        cores = len(os.sched_getaffinity(0))
        return min(self.jobs or cores, cores)


# ---------------------------------------------------------------- suites


def load(suite: Path | str, options: Options = Options()) -> Suite:
    """The suite at a path, or the shipped one of that name.

    Raises:
        InputError: the suite says something that cannot be.
    """
    path = find_suite(Path(suite))
    loaded = load_suite(path, data=options.data, seeds=options.seeds, limit=options.limit)
    return only(loaded, options.only) if options.only else loaded


def find_suite(path: Path) -> Path:
    """`path` if it is there, else the shipped suite of that name."""
    if path.is_file():
        return path
    shipped = {found.name: found for found in shipped_suites()}
    name = path.name if path.suffix else f"{path.name}.yaml"
    if name in shipped and path.parent.name in ("", "suites"):
        return shipped[name]
    raise SuiteError(
        f"no such file, and no shipped suite of that name. {suggest(name, shipped)}", str(path)
    )


def shipped_suites() -> list[Path]:
    """The suites that come with the harness."""
    import importlib.util

    spec = importlib.util.find_spec(SHIPPED)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return sorted(path for folder in folders for path in Path(folder).glob("*.yaml"))


def only(suite: Suite, pattern: str) -> Suite:
    """The suite with the models whose name matches, and the baseline, which others are held against.

    Raises:
        InputError: no model matches.
    """
    names = [model.name for model in suite.models]
    kept = {name for name in names if fnmatch.fnmatchcase(name.lower(), pattern.lower())}
    if not kept:
        raise InputError(f"--only {pattern!r} matches no model. Known: {', '.join(names)}.")
    kept |= {suite.baseline} | {suite.model(name).ensemble or "" for name in kept}
    return suite.model_copy(update={"models": tuple(m for m in suite.models if m.name in kept)})


# ---------------------------------------------------------------- plans


@dataclass(frozen=True)
class Ready:
    """A plan with the places that it needs."""

    plan: Plan
    store: Store
    options: Options
    device: str
    place: Place = field(init=False)

    def __post_init__(self) -> None:
        place = Place(self.store.root, self.options.data_dir, self.device)
        object.__setattr__(self, "place", place)

    @property
    def ahead(self) -> list[Job]:
        """Jobs that are not in the store."""
        return pending(self.plan.jobs, self.store)


def prepare(suite: Suite, options: Options, folder: Path = Path()) -> Ready:
    """The plan of a suite here and now.

    Args:
        suite: resolved.
        options: where data and finished work lie.
        folder: of the suite's file: a user's model is looked for there first.

    Raises:
        DataError: a data set is missing.
    """
    shelf = Shelf(options.data_dir)
    plan = expand(
        suite,
        fingerprint=shelf.fingerprint,
        size=shelf.size,
        parts=shelf.parts(suite.data),
        classes=data.load(suite.data.name, options.data_dir, **suite.data.params).classes,
        device=resolve_device(options.device),
        places=(folder, options.data_dir, Path()),
    )
    store = Store(options.store or default_root())
    return Ready(plan, store, options, resolve_device(options.device))


def try_out(ready: Ready) -> None:
    """Look at what the user brings before anything runs, so that a fault in it costs nothing.

    Raises:
        DataError: images or labels of a data set of the user's are not what they should be.
        ModelError: a model of the user's cannot be built, or is no classifier of these images.
    """
    from harness.jobs.bench import Bench

    ahead, use = ready.ahead, ready.plan.suite.data
    bench = Bench(ready.store, ready.options.data_dir, ready.device)
    if ahead and registry.get("data", use.name).meta.get("own"):
        for part in Shelf(ready.options.data_dir).parts(use):
            getattr(bench.dataset(use.plain()), part)
    for job in ahead:
        model = job.params.get("model", {})
        if "factory" in model:
            bench.model(model)


class Shelf:
    """The data sets on disk, by their files: no image is read.

    Args:
        data_dir: where they lie; what is missing is downloaded there.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._fingerprints: dict[str, str] = {}
        self._sizes: dict[tuple[str, str], int] = {}

    def size(self, use: Use, part: str) -> int:
        """Images in a part of a data set.

        Raises:
            DataError: there is no such part, and it cannot be downloaded.
        """
        key = digest_of(use.plain()), part
        if key not in self._sizes:
            self._sizes[key] = data.size(use.name, part, self.data_dir, **use.params)
        return self._sizes[key]

    def parts(self, use: Use) -> tuple[str, ...]:
        """The parts that a data set has, of "train", "val" and "test".

        Raises:
            DataError: it is missing, and cannot be downloaded.
        """
        return data.parts(use.name, self.data_dir, **use.params)

    def fingerprint(self, use: Use) -> str:
        """Digest of a data set: its files' bytes, its parameters and the code that reads it."""
        key = digest_of(use.plain())
        if key not in self._fingerprints:
            plug = registry.get("data", use.name)
            files = data.fingerprint(use.name, self.data_dir, **use.params)
            code = code_digest([plug.function.__module__])
            self._fingerprints[key] = digest_of([files, plug.complete(use.params), code])
        return self._fingerprints[key]


def resolve_device(device: str) -> str:
    """Device to use, "cpu" or "cuda"; torch is imported only where a GPU could be there.

    Raises:
        InputError: "cuda" was asked for and there is none.
    """
    if device == "cpu":
        return "cpu"
    found = Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()
    if found:
        import torch

        found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise InputError("--device cuda, but torch sees no GPU here: use --device cpu or auto")
    return "cuda" if found else "cpu"


def show_plan(suite: Path, options: Options, console: Console, *, every: bool = False) -> None:
    """Print the jobs of a suite, what is cached and why not, and how long the rest takes."""
    from harness import terminal

    ready = prepare(load(suite, options), options, folder=find_suite(suite).parent)
    ahead = {job.digest for job in ready.ahead}
    stored = ready.store.jobs() if ahead else []
    states = {
        job.digest: "cached" if job.digest not in ahead else _told(changes(job, stored))
        for job in ready.plan.jobs
    }
    seconds = estimate(ready.ahead, options.workers)
    terminal.show_plan(console, ready.plan, states, seconds, options.workers, every=every)


def _told(reasons: tuple[str, ...]) -> str:
    return f"changed: {', '.join(reasons)}" if reasons else "new"


# ---------------------------------------------------------------- running


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


# ---------------------------------------------------------------- the cross-check


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


def replay(suite: Path | str, options: Options) -> str:
    """One command that makes the report again."""
    parts = ["harness", "run", f"suites/{Path(suite).name}"]
    parts += ["--data", options.data] if options.data else []
    parts += [part for seed in options.seeds for part in ("--seed", str(seed))]
    parts += ["--limit", str(options.limit)] if options.limit else []
    parts += ["--only", f"'{options.only}'"] if options.only else []
    return " ".join(parts)


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
