"""Example images for the report: attacks, augmentations, OOD inputs, corruptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.attacks import run_attack
from harness.core.registry import registry
from harness.core.rng import torch_rng
from harness.core.threat import Threat
from harness.data import stratified
from harness.jobs import Done
from harness.jobs.inputs import images

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from harness.core.types import Job, Split
    from harness.jobs.bench import Bench

SHOWN = 6


def perform(job: Job, bench: Bench) -> Done:
    """Arrays by gallery: `attack/<name>/{clean,result,label,prediction}`, `augmentation/<name>`,
    `split/<name>` and `prediction/<name>`.
    """  # noqa: D205 -- one sentence that does not fit a line
    found: dict[str, np.ndarray] = {}
    for name, attack in job.params["attacks"].items():
        found |= _attacked(job, bench, name, attack)
    for name, step in job.params["augmentations"].items():
        found[f"augmentation/{name}"] = _augmented(job, bench, name, step)
    for name, reference in job.params["shown"].items():
        found |= _shown(job, bench, name, bench.split_like(reference, job.params["like"]))
    return Done(found, {"n": SHOWN})


def _attacked(
    job: Job, bench: Bench, name: str, attack: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    use = dict(attack["use"])
    plug, model = registry.get("attack", use.pop("use")), bench.model(job.params["model"])
    chosen = images(bench, job.params["split"])
    found = run_attack(
        plug,
        use,
        model,
        chosen.x[:SHOWN],
        chosen.y[:SHOWN],
        Threat(attack["norm"], attack["eps"]),
        seed=job.seed,
    )
    return {
        f"attack/{name}/clean": chosen.x[:SHOWN].cpu().numpy(),
        f"attack/{name}/result": found.x_adv.numpy(),
        f"attack/{name}/label": chosen.y[:SHOWN].cpu().numpy(),
        f"attack/{name}/prediction": found.prediction,
    }


def _augmented(job: Job, bench: Bench, name: str, step: Mapping[str, Any]) -> np.ndarray:
    """The same images as an augmentation changes them."""
    import torch

    from harness.recipes import Batch

    use = dict(step)
    plug = registry.get("recipe", use.pop("use"))
    chosen = images(bench, job.params["split"])
    x = chosen.x[:SHOWN]
    y = torch.nn.functional.one_hot(chosen.y[:SHOWN]).to(x)
    return (
        plug.function(Batch(x, y), **use, rng=torch_rng(job.seed, "exhibit", name)).x.cpu().numpy()
    )


def _shown(job: Job, bench: Bench, name: str, split: Split) -> dict[str, np.ndarray]:
    import torch

    few = stratified(split, SHOWN, seed=0)
    model = bench.model(job.params["model"])
    with torch.inference_mode():
        prediction = model(torch.from_numpy(few.x).to(bench.device)).argmax(1).cpu().numpy()
    return {f"split/{name}": few.x, f"prediction/{name}": prediction}
