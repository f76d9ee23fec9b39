"""The calibration figures of one model by every other implementation, beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness import metrics
from harness.core.errors import MissingLibrary
from harness.core.registry import registry
from harness.jobs import Done

if TYPE_CHECKING:
    from harness.core.registry import Plug
    from harness.core.types import Job
    from harness.jobs.bench import Bench


def perform(job: Job, bench: Bench) -> Done:
    """Facts: scaling -> plug -> {value} or {error}; a library that fails says so and costs no job."""
    test = bench.record(job.inputs["test"])
    scales = {"none": 1.0}
    if "val" in job.inputs:
        held_out = bench.record(job.inputs["val"]).arrays
        scales["temperature"] = metrics.fit_temperature(held_out["logits"], held_out["labels"])
    labels = test.arrays["labels"]
    found: dict[str, Any] = {}
    for scaling, temperature in scales.items():
        probs = metrics.softmax(test.arrays["logits"].astype(np.float64) / temperature)
        found[scaling] = {
            name: _value(registry.get("metric", name), probs, labels, job.params["bins"])
            for name in job.params["metrics"]
        }
    return Done(facts={"witnesses": found, "n": len(labels)})


def _value(plug: Plug, probs: np.ndarray, labels: np.ndarray, bins: int) -> dict[str, Any]:
    known = {parameter.name for parameter in plug.parameters}
    params = {"bins": bins} if "bins" in known else {}
    try:
        return {"value": float(plug.require().function(probs, labels, **params))}
    except MissingLibrary as error:
        return {"missing": str(error)}
    except Exception as error:  # noqa: BLE001 -- whatever a library raises is its verdict
        return {"error": f"{type(error).__name__}: {error}"}
