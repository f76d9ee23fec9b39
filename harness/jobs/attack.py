"""One attack on one model at a list of budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.attacks import run_attack
from harness.attacks.runner import predict
from harness.core.registry import registry
from harness.core.threat import Threat
from harness.jobs import Done
from harness.jobs.inputs import Images, images

if TYPE_CHECKING:
    from harness.attacks.runner import AttackOutcome
    from harness.core.registry import Plug
    from harness.core.types import Classifier, Job
    from harness.jobs.bench import Bench


def perform(job: Job, bench: Bench) -> Done:
    """Arrays: eps (B,), broken (N, B) bool, clean (N,) bool, ids (N,), labels (N,).

    Facts: forwards and backwards a sample; and, of attacks that are run budget by budget, what the
    checks on attacks want to know.
    """
    use = dict(job.params["attack"])
    plug = registry.get("attack", use.pop("use")).require()
    shown, model = images(bench, job.params["split"]), bench.model(job.params["model"])
    clean = predict(model, shown.x) == shown.y.numpy()
    broken, facts = _together(job, bench, plug, use, model, shown) or _each(
        job, bench, plug, use, model, shown
    )
    arrays = {"eps": np.array(job.params["eps"]), "broken": broken | ~clean[:, None]}
    known = {"clean": clean, "ids": shown.ids, "labels": shown.y.numpy()}
    return Done(known | arrays, facts | {"n": len(clean)})


def _together(
    job: Job, bench: Bench, plug: Plug, params: dict[str, Any], model: Classifier, shown: Images
) -> tuple[np.ndarray, dict[str, Any]] | None:
    """All budgets at once; None where the attack, with these parameters, knows no such way."""
    curve = plug.meta.get("curve")
    return curve and curve(
        model, shown.x, shown.y, job.params["norm"], job.params["eps"], seed=job.seed,
        progress=bench.progress, **params,
    )  # fmt: skip


def _each(
    job: Job, bench: Bench, plug: Plug, params: dict[str, Any], model: Classifier, shown: Images
) -> tuple[np.ndarray, dict[str, Any]]:
    """Every budget by itself, judged by us."""
    found = []
    budgets = job.params["eps"]
    for done, eps in enumerate(budgets, 1):
        threat = Threat(job.params["norm"], eps)
        found.append(
            run_attack(
                plug, params, model, shown.x, shown.y, threat,
                seed=job.seed, batch_size=job.numerics["attack_batch"],
            )
        )  # fmt: skip
        bench.progress(done / len(budgets))
    return np.stack([one.success for one in found], axis=1), _facts(found)


def _facts(found: list[AttackOutcome]) -> dict[str, Any]:
    """What the checks on attacks want to know, summed over the budgets."""
    claimed = [one.claimed & ~one.success for one in found if one.claimed is not None]
    return {
        "forwards": sum(one.forwards for one in found),
        "backwards": sum(one.backwards for one in found),
        "violations": sum(one.violations for one in found),
        "worst_violation": max(one.worst for one in found),
        "unboxed": sum(one.unboxed for one in found),
        "astray": sum(one.astray for one in found),
        "reach": max(one.reach for one in found),
        "claimed_wrongly": sum(int(wrongly.sum()) for wrongly in claimed),
        "unmoved": int((found[-1].distance == 0).sum()),
    }
