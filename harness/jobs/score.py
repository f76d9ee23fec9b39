"""A detector fitted on training data, and its scores of the ID test set and every OOD set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.core.errors import ContractViolation
from harness.core.registry import registry
from harness.core.rng import numpy_rng, torch_rng
from harness.core.types import Evidence, Split, array_digest
from harness.jobs import Done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.core.types import Job, Scorer
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
    facts = {
        "n": {name: len(values) for name, values in scores.items()},
        "ranges": {name: [float(one.x.min()), float(one.x.max())] for name, one in seen.items()},
        "seen": _seen(seen),
        "neighbours": _neighbours(scorer, seen[NOISE], scores[NOISE]),
    }
    return Done(scores, facts)


def _seen(splits: Mapping[str, Evidence]) -> dict[str, float]:
    """Share of each test set's images that are among those that the detector was fitted on."""
    known = set(_marks(splits[FITTED].x))
    return {
        name: float(np.mean([mark in known for mark in _marks(one.x)]))
        for name, one in splits.items()
        if name not in (FITTED, NOISE)
    }


def _marks(x: np.ndarray) -> list[int]:
    return [hash(row.tobytes()) for row in x]


def _neighbours(scorer: Scorer, noise: Evidence, whole: np.ndarray) -> float:
    """How far the scores of half of the noise, asked for again, move; relative to their spread."""
    half = slice(0, len(whole) // 2)
    features = None if noise.features is None else noise.features[half]
    again = np.asarray(scorer(Evidence(noise.logits[half], features, noise.x[half])), np.float64)
    return float(np.abs(again - whole[half]).max() / max(np.ptp(whole), 1e-12))


def _noise(like: np.ndarray) -> Split:
    """Uniform noise in the shape of the test images; the same for every model and detector."""
    shape = (NOISE_IMAGES, *like.shape[1:])
    x = numpy_rng(0, "uniform noise").random(shape, dtype=np.float32)
    return Split(NOISE, x, None, array_digest(x))
