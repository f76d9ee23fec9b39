"""Metrics and scores by all their implementations: on one model's outputs, or on boundary cases."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax as softmax_as_given

from harness import metrics
from harness.core.registry import registry
from harness.core.rng import torch_rng
from harness.crosscheck import boundary, calibration, direction, ood
from harness.jobs import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.core.types import Job
    from harness.crosscheck.comparison import Comparison
    from harness.jobs.bench import Bench

    Groups = dict[str, list[Comparison]]


def perform(job: Job, bench: Bench) -> Done:
    """Facts: `groups`, a list of comparisons a case; explanations hold within a case."""
    groups = OF[job.params["of"]](job, bench)
    return Done(facts={"groups": {case: _plain(found) for case, found in groups.items()}})


def _plain(found: Sequence[Comparison]) -> list[dict[str, Any]]:
    return [asdict(one) for one in found]


def _calibration(job: Job, bench: Bench) -> Groups:
    """Of a model's probabilities on the test split."""
    found = bench.record(job.inputs["test"]).arrays
    logits, labels = found["logits"], found["labels"]
    probs = metrics.softmax(logits.astype(np.float64))
    native = softmax_as_given(logits.astype(np.float32), axis=1)
    lines = calibration.comparisons(
        probs, labels, native=native, bins=job.params["bins"], protocols=job.params["protocols"]
    )
    return {"test": lines}


def _ood(job: Job, bench: Bench) -> Groups:
    """Of a model's scores of the test split and every OOD set, and of what ranks them."""
    like, batch = job.params["like"], job.numerics["predict_batch"]
    seen = {
        name: bench.evidence(job.params["model"], bench.split_like(reference, like), batch)
        for name, reference in job.params["splits"].items()
    }
    inside, model = seen.pop("id"), bench.model(job.params["model"])
    groups: Groups = {}
    for name, outside in seen.items():
        lines = ood.score_comparisons(
            inside, inside, outside, model=model, rng=torch_rng(job.seed, "compared", name)
        )
        for concept in ("msp", "mls"):
            score = registry.get("detector", concept).function(inside, model=model)
            lines += ood.metric_comparisons(score(inside), score(outside), detector=concept)
        groups[name] = [ood.on_set(one, name) for one in lines if one.protocol in job.params["protocols"]]  # fmt: skip
    return groups


def _boundary(job: Job, bench: Bench) -> Groups:
    """Of arrays that belong to no model, and the direction of every detector."""
    cases = [*boundary.CALIBRATION, *boundary.RANKING]
    groups = {case: boundary.comparisons(case, job.params["protocols"]) for case in cases}
    return {**groups, "direction": direction.comparisons()}


OF: dict[str, Callable[[Job, Bench], Groups]] = {
    "calibration": _calibration,
    "ood": _ood,
    "boundary": _boundary,
}
