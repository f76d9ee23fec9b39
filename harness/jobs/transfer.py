"""Images made for the other models, shown to this one: check H45."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.attacks.runner import predict
from harness.jobs import Done
from harness.jobs.inputs import images

if TYPE_CHECKING:
    from harness.core.types import Job
    from harness.jobs.bench import Bench


def perform(job: Job, bench: Bench) -> Done:
    """Arrays: broken (k,) bool, wrong on the image made for any other model; ids (k,).

    Facts: how many of them each of the others broke. The images are those that the probes made,
    at budgets no larger than this model's own.
    """
    import torch

    shown, model = images(bench, job.params["split"]), bench.model(job.params["model"])
    ids = shown.ids[: job.params["k"]]
    labels = shown.y[: len(ids)].numpy()
    broken, by = np.zeros(len(ids), bool), dict[str, int]()
    for name in job.params["others"]:
        record = bench.record(job.inputs[name])
        if record.status != "ok" or not np.array_equal(record.arrays["ids"], ids):
            continue
        theirs = torch.from_numpy(record.arrays["x_adv"]).to(bench.device)
        wrong = predict(model, theirs) != labels
        by[name], broken = int(wrong.sum()), broken | wrong
    return Done({"broken": broken, "ids": ids}, {"by": by})
