"""One concept of attack, by all its implementations, on one model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from harness.core.threat import Threat
from harness.crosscheck import attacks
from harness.jobs import Done
from harness.jobs.inputs import images

if TYPE_CHECKING:
    from harness.core.types import Job
    from harness.jobs.bench import Bench

ARRAYS = ("x_adv", "success", "distance")


def perform(job: Job, bench: Bench) -> Done:
    """Arrays: `<implementation>/{x_adv,success,distance}`. Facts: the rest of each run, conditions."""
    shown, model = images(bench, job.params["split"]), bench.model(job.params["model"])
    threat = Threat(job.params["norm"], job.params["eps"])
    plugs = attacks.implementations(job.params["concept"], threat.norm)
    spec = {name: job.params[name] for name in ("steps", "queries")} | job.params["shared"]
    seed = job.seed % 2**31
    if job.params["protocol"] == "lockstep":
        start = job.params["random_start"]
        found = attacks.lockstep(
            plugs, model, shown.x, shown.y, threat, spec=spec, seed=seed, random_start=start
        )
    else:
        found = attacks.native(plugs, model, shown.x, shown.y, threat, spec=spec, seed=seed)
    ran: list[attacks.Ran] = []
    for one in found:
        ran.append(one)
        bench.progress(len(ran) / len(plugs))
    arrays = {
        f"{one.implementation}/{name}": np.asarray(getattr(one, name))
        for one in ran
        for name in ARRAYS
        if one.outcome == "ok"
    }
    facts = [{key: value for key, value in asdict(one).items() if key not in ARRAYS} for one in ran]
    held = attacks.conditions(model, shown.x, shown.y, ran)
    return Done(arrays, {"ran": facts, "conditions": held})
