"""One concept of attack, by all its implementations, on one model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from harness.core.threat import Threat
from harness.crosscheck import attacks, diagnosis
from harness.crosscheck.verdicts import Subject
from harness.jobs import Done
from harness.jobs.inputs import images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.core.types import Classifier, Job
    from harness.jobs.bench import Bench
    from harness.jobs.inputs import Images

ARRAYS = ("x_adv", "success", "distance")


def perform(job: Job, bench: Bench) -> Done:
    """Arrays: `<implementation>/{x_adv,success,distance}`. Facts: the rest of each run, conditions."""
    shown, model = images(bench, job.params["split"]), bench.model(job.params["model"])
    threat = Threat(job.params["norm"], job.params["eps"])
    plugs = attacks.implementations(job.params["concept"], threat.norm)
    spec = {name: job.params[name] for name in ("steps", "queries")}
    shared = job.params["shared"]
    seed = job.seed % 2**31
    if job.params["protocol"] == "lockstep":
        start = job.params["random_start"]
        found = attacks.lockstep(
            plugs,
            model,
            shown.x,
            shown.y,
            threat,
            spec=spec | shared,
            seed=seed,
            random_start=start,
        )
    else:
        found = attacks.native(
            plugs, model, shown.x, shown.y, threat, spec=spec, shared=shared, seed=seed
        )
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
    held = attacks.conditions(model, shown.x, shown.y, ran)
    ran = _diagnosed(job, model, shown, ran, held)
    facts = [{key: value for key, value in asdict(one).items() if key not in ARRAYS} for one in ran]
    return Done(arrays, {"ran": facts, "conditions": held})


def _diagnosed(
    job: Job, model: Classifier, shown: Images, ran: list[attacks.Ran], held: Mapping[str, int]
) -> list[attacks.Ran]:
    """The runs, with the probable cause in those that differ from ours for no known reason."""
    params, seed = job.params, job.seed % 2**31
    threat = Threat(params["norm"], params["eps"])
    subject = Subject(
        params["concept"], "", "", params["protocol"], threat.norm, params["minimise"],
        {name: count for name, count in held.items() if count},
    )  # fmt: skip
    plugs = attacks.implementations(params["concept"], threat.norm)
    if params["protocol"] == "native":
        return diagnosis.explained(subject, ran, plugs, model, shown.x, shown.y, threat, seed=seed)
    case = diagnosis.lockstep_case(
        model, shown.x, shown.y, threat,
        concept=params["concept"],
        spec={name: params[name] for name in ("steps", "queries")} | params["shared"],
        seed=seed,
        random_start=params["random_start"],
    )  # fmt: skip
    return diagnosis.diagnosed(subject, ran, plugs, case)
