"""From a suite to a plan with all that it needs; nothing runs yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness import data
from harness.api.shelf import Shelf
from harness.api.suites import find_suite, load
from harness.core.errors import DataError, InputError
from harness.core.registry import registry
from harness.engine import Place, pending
from harness.plan import Plan, changes, estimate, expand
from harness.store import Store, default_root

if TYPE_CHECKING:
    from rich.console import Console

    from harness.api.suites import Options
    from harness.core.types import Job
    from harness.suite import Suite


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
        DataError: a data set is missing, or has one class only.
    """
    shelf = Shelf(options.data_dir)
    classes = data.load(suite.data.name, options.data_dir, **suite.data.params).classes
    if len(classes) < 2:
        raise DataError(
            f"{suite.data.name} has {len(classes)} class: there is nothing to tell apart"
        )
    plan = expand(
        suite,
        fingerprint=shelf.fingerprint,
        size=shelf.size,
        parts=shelf.parts(suite.data),
        classes=classes,
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
