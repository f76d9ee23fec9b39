"""How one job is done. One chapter a kind, each with `perform(job, bench) -> Done`."""

from __future__ import annotations

import importlib
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.core.errors import InputError
from harness.core.types import Artifact, Job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.jobs.bench import Bench


@dataclass(frozen=True, slots=True)
class Done:
    """What a chapter hands back.

    Args:
        arrays: per-sample arrays by name.
        facts: small plain results.
        files: further files by name, for example the weights.
    """

    arrays: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


def perform(job: Job, bench: Bench) -> Artifact:
    """Do a job and store what came of it; a crash is stored as a failure with its reason.

    Args:
        job: what to do; everything that it needs is in the bench's store.
        bench: loads splits, models and records, and keeps what the next job may want again.

    Returns:
        The artifact, without its arrays.
    """
    started = time.perf_counter()
    files: Mapping[str, bytes] = {}
    try:
        done = importlib.import_module(f"harness.jobs.{job.kind}").perform(job, bench)
    except Exception as error:  # noqa: BLE001 -- whatever a model, a library or a disk raises
        seconds = time.perf_counter() - started
        artifact = Artifact(job.digest, "failed", _reason(error), seconds, {"trace": _trace(error)})
    else:
        seconds, files = time.perf_counter() - started, done.files
        artifact = Artifact(job.digest, "ok", "", seconds, done.facts, done.arrays)
    bench.store.write(job, artifact, files)
    return Artifact(artifact.digest, artifact.status, artifact.reason, seconds, artifact.facts)


def _reason(error: Exception) -> str:
    """One line: what happened, and the error's type unless it is one of ours."""
    text = str(error) or "no message"
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def _trace(error: Exception) -> list[str]:
    """The last calls before the error, without machine paths."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return [
        f"{frame.filename.rpartition('site-packages/')[2].rpartition('/')[2]}:{frame.lineno} {frame.name}"
        for frame in frames
    ]
