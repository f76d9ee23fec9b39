"""An ensemble's record from its members' records: no forward pass is made twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax, logsumexp

from harness.detectors import combine_members
from harness.jobs import Done

if TYPE_CHECKING:
    from harness.core.types import Artifact, Job
    from harness.jobs.bench import Bench


def perform(job: Job, bench: Bench) -> Done:
    """Log mean probabilities (of "predict"), or mean standardised scores (of "score")."""
    members = [bench.record(job.inputs[str(index)]) for index in range(len(job.inputs))]
    if job.params["of"] == "predict":
        shared = {name: members[0].arrays[name] for name in ("ids", "labels")}
        return Done({"logits": mean_log_probabilities(members), **shared}, dict(members[0].facts))
    return Done(_scores(members), dict(members[0].facts))


def mean_log_probabilities(members: list[Artifact]) -> np.ndarray:
    """(N, K) float32: logarithm of the mean of the members' softmax."""
    logs = [log_softmax(member.arrays["logits"].astype(np.float64), axis=1) for member in members]
    return (logsumexp(np.stack(logs), axis=0) - np.log(len(logs))).astype(np.float32)


def _scores(members: list[Artifact]) -> dict[str, np.ndarray]:
    fitted = [member.arrays["fit"] for member in members]
    names = [name for name in members[0].arrays if name != "fit"]
    return {name: combine_members(fitted, [m.arrays[name] for m in members]) for name in names}
