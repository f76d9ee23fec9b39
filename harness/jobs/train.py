"""A network trained by its recipe."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from harness import models
from harness.core.types import Use
from harness.jobs import Done
from harness.store import WEIGHTS
from harness.training import Settings, train

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from harness.core.types import Job
    from harness.jobs.bench import Bench


def perform(job: Job, bench: Bench) -> Done:
    """Files: the weights. Facts: classes and shape of the data, the training's history and health."""
    data, held_out = bench.split(job.params["train"]), bench.split(job.params["val"])
    shape, classes = data.x.shape[1:], len(data.classes)
    build = models.builder(_use(job.params["network"]), num_classes=classes, in_shape=shape)
    trained = train(
        build,
        data,
        held_out,
        [_use(step) for step in job.params["steps"]],
        Settings(**job.params["training"]),
        seed=job.seed,
        device=bench.device,
        progress=lambda fraction, left: bench.progress(fraction),
    )
    weights = models.weights_bytes(trained.state)
    facts = {
        "classes": classes,
        "shape": list(shape),
        "images": len(data),
        "arithmetic": job.params["training"]["arithmetic"],
        "weights": hashlib.sha256(weights).hexdigest(),
    }
    return Done(facts=facts | trained.facts, files={WEIGHTS: weights})


def _use(plain: Mapping[str, Any]) -> Use:
    return Use(plain["use"], {key: value for key, value in plain.items() if key != "use"})
