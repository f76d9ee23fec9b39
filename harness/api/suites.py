"""What the command line sets, and suites found by it."""

from __future__ import annotations

import fnmatch
import glob
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import InputError, SuiteError, suggest
from harness.suite import load as load_suite

if TYPE_CHECKING:
    from harness.suite import Suite

SHIPPED = "harness_suites"


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


def replay(suite: Path | str, options: Options) -> str:
    """One command that makes the report again; where data and finished work lie is the reader's.

    >>> replay("suites/smoke.yaml", Options(data="digits", only="PGD*"))
    "harness run suites/smoke.yaml --data digits --only 'PGD*'"
    """
    parts = ["harness", "run", _spelled(Path(suite))]
    parts += ["--data", options.data] if options.data else []
    parts += [part for seed in options.seeds for part in ("--seed", str(seed))]
    parts += ["--limit", str(options.limit)] if options.limit else []
    parts += ["--only", options.only] if options.only else []
    return shlex.join(parts)


def replay_one(suite: Path | str, options: Options, model: str, seed: int) -> str:
    """One command that does the jobs of one model and seed again, with their digests."""
    return replay(suite, replace(options, only=glob.escape(model), seeds=(seed,)))


def _spelled(suite: Path) -> str:
    """A suite as the command line finds it; of a path of this machine only the name is told."""
    if not suite.is_file():
        return f"suites/{find_suite(suite).name}"
    return suite.name if suite.is_absolute() else suite.as_posix()
