"""What the checks want to know of one model: facts, no verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.checks import probes, trials
from harness.core.registry import registry
from harness.core.threat import Threat
from harness.jobs import Done
from harness.jobs.inputs import images

if TYPE_CHECKING:
    from harness.core.types import Classifier, Job
    from harness.jobs.bench import Bench
    from harness.jobs.inputs import Images

NOISE_IMAGES, MASKED_IMAGES = 200, 32


def perform(job: Job, bench: Bench) -> Done:
    """Arrays: noise (N,) bool and its ids; PGD's images x_adv (k, C, H, W) and the ids.

    Facts: model, parity, attack, and for the plain model known_broken (see `checks.probes` and `checks.trials`).
    """
    shown, model = images(bench, job.params["split"]), bench.model(job.params["model"])
    k, seed = job.params["k"], job.seed
    few, labels = shown.x[:k], shown.y[:k]
    threat = Threat("linf", job.params["eps"])
    facts: dict[str, Any] = {"model": probes.probe(model, few, labels, seed)}
    bench.progress(0.2)
    facts["model"] |= trials.at_eps_zero(model, few, labels, seed)
    facts["model"]["parity"] = _parity(model, shown, job.params["libraries"])
    bench.progress(0.4)
    facts["attack"], found = trials.search(
        model, few, labels, threat, steps=job.params["steps"], seed=seed
    )
    facts["attack"]["curve"] = trials.independent(
        model, few, labels, job.params["budgets"], steps=job.params["steps"], seed=seed
    )
    bench.progress(0.8)
    if job.params["plain"]:
        some = slice(0, MASKED_IMAGES)
        facts["known_broken"] = trials.known_broken(model, few[some], labels[some], seed=seed)
    bench.progress(0.9)
    some = slice(0, NOISE_IMAGES)
    noise = trials.noise_breaks(model, shown.x[some], shown.y[some], threat, seed)
    ids = {"noise_ids": shown.ids[some], "ids": shown.ids[:k]}
    return Done({"noise": noise, "x_adv": found, **ids}, facts)


def _parity(model: Classifier, shown: Images, names: list[str]) -> dict[str, Any]:
    """What each library's wrapper computes, against the model itself."""
    found: dict[str, Any] = {}
    for library in registry.libraries():
        if library.name in names and library.installed and library.parity is not None:
            try:
                found[library.name] = trials.parity(
                    model, shown.x[:32], shown.y[:32], library.parity
                )
            except Exception as error:  # noqa: BLE001 -- whatever a library raises is the fact
                found[library.name] = {"error": f"{type(error).__name__}: {error}"}
    return found
