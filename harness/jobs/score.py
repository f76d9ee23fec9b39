"""A detector fitted on training data, and its scores of the ID test set and every OOD set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.core.errors import ContractViolation
from harness.core.registry import registry
from harness.core.rng import numpy_rng, torch_rng
from harness.core.types import Split, array_digest
from harness.jobs import Done

if TYPE_CHECKING:
    from harness.core.types import Job
    from harness.jobs.bench import Bench

FITTED, NOISE = "fit", "noise"
NOISE_IMAGES = 200  # for the direction of the score: check H81


def perform(job: Job, bench: Bench) -> Done:
    """Arrays: one (N,) float64 a split, higher = more OOD; "fit" holds the training scores."""
    use = dict(job.params["detector"])
    plug = registry.get("detector", use.pop("use")).require()
    model, like = bench.model(job.params["model"]), job.params["like"]
    batch = job.numerics["predict_batch"]
    seen = {
        name: bench.evidence(job.params["model"], bench.split_like(reference, like), batch)
        for name, reference in job.params["splits"].items()
    }
    seen[NOISE] = bench.evidence(job.params["model"], _noise(seen["id"].x), batch)
    scorer = plug.function(
        seen[FITTED], model=model, **use, rng=torch_rng(job.seed, "detector", plug.name)
    )
    scores: dict[str, np.ndarray] = {}
    for done, (name, evidence) in enumerate(seen.items(), 1):
        scores[name] = np.asarray(scorer(evidence), np.float64)
        if scores[name].shape != (len(evidence.logits),) or not np.isfinite(scores[name]).all():
            raise ContractViolation(plug.name, f"scores of {name} are not finite (N,) values")
        bench.progress(done / len(seen))
    return Done(scores, {"n": {name: len(values) for name, values in scores.items()}})


def _noise(like: np.ndarray) -> Split:
    """Uniform noise in the shape of the test images; the same for every model and detector."""
    shape = (NOISE_IMAGES, *like.shape[1:])
    x = numpy_rng(0, "uniform noise").random(shape, dtype=np.float32)
    return Split(NOISE, x, None, array_digest(x))
