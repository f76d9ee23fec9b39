"""How the numbers were made: run.json, with the machine and every job in chapters of their own."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from harness.axes.adversarial import headline_budgets
from harness.axes.view import Who
from harness.core.registry import registry
from harness.provenance.lineage import Made, lineage
from harness.provenance.machine import hardware, revision, versions
from harness.results.titles import attack_title, spelt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.axes.view import View
    from harness.core.types import Artifact, Use
    from harness.engine import Outcome
    from harness.results.run import (
        AttackFacts,
        DetectorFacts,
        Model,
        Run,
        SplitFacts,
        Training,
    )
    from harness.suite import AttackSpec, ModelSpec

OWN = "Made here from the test images, seeded, with the parameters that MNIST-C publishes."
ROLES = {"train": "training", "val": "validation", "test": "test"}

__all__ = ["Made", "hardware", "lineage", "recipe_text", "revision", "run", "versions"]


def run(view: View, outcome: Outcome, made: Made) -> Run:
    """run.json of a finished plan."""
    suite = view.suite
    began = datetime.datetime.fromtimestamp(made.started, datetime.UTC)
    return {
        "suite": suite.name,
        "title": suite.title or suite.name,
        "question": suite.question,
        "dataset": suite.data.name,
        "classes": list(view.classes),
        "limit": suite.limit,
        "only": made.only,
        "seeds": list(suite.seeds),
        "baseline": suite.baseline,
        "headline_budgets": list(headline_budgets(suite)),
        "models": [_model(view, spec) for spec in suite.models],
        "corruptions": list(view.corruptions),
        "splits": list(_splits(view)),
        "attacks": [_attack(view, attack) for attack in suite.attacks],
        "detectors": _detectors(view),
        "headline_detector": _headline_detector(view),
        "hardware": hardware(made.device),
        "versions": versions(),
        "revision": revision(),
        "command": made.command,
        "started": began.isoformat(timespec="seconds"),
        "seconds": made.seconds,
        "workers": made.workers,
        "memory": outcome.memory,
        "times": _times(view, outcome),
        "jobs": lineage(view, outcome, made),
        "checks": [],
        "flags": [],
        "missing": list(_missing()),
        "resolved": suite.model_dump(mode="json"),
    }


# ---------------------------------------------------------------- models


def _model(view: View, spec: ModelSpec) -> Model:
    seed = view.suite.seeds[0]
    network = view.suite.model(spec.ensemble).network if spec.ensemble else spec.network
    trained = list(_trainings(view, spec, seed))
    facts = [artifact.facts for artifact in trained]
    return {
        "name": spec.name,
        "family": spec.family,
        "description": _description(spec, network),
        "parameters": sum(int(one.get("parameters", 0)) for one in facts),
        "members": spec.size or 1,
        "training": _training(view, spec, trained) if trained else None,
        "weights": str(facts[0].get("weights", "")) if facts else _brought(view, Who(spec, seed)),
    }


def _brought(view: View, who: Who) -> str:
    """SHA-256 of the weights that a user brought, or "" where the factory is all there is."""
    job = view.job("predict", who, "test")
    return str(job.params["model"].get("weights_digest", "")) if job is not None else ""


def _trainings(view: View, spec: ModelSpec, seed: int) -> Iterator[Artifact]:
    """Records of the trainings that a model rests on."""
    base = view.suite.model(spec.ensemble) if spec.ensemble else spec
    for member in range(spec.size or 1):
        record = view.record("train", Who(base, seed), member=member)
        if record is not None and record.status == "ok":
            yield record


def _description(spec: ModelSpec, network: Use | None) -> str:
    if spec.factory:
        return f"brought by the user: {spec.factory}"
    name = network.name if network else ""
    return f"mean probabilities of {spec.size} {name}" if spec.ensemble else name


def recipe_text(spec: ModelSpec) -> str:
    """The steps of a recipe in one line.

    >>> from harness.suite import ModelSpec
    >>> recipe_text(ModelSpec(name="a", family="a", network="lenet5", train=["cutout", {"use": "pgd", "eps": 0.1}]))
    'cutout, then pgd (eps 0.1)'
    """
    steps: list[str] = []
    for step in spec.train:
        shown = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in step.params.items())
        steps.append(f"{step.name} ({shown})" if shown else step.name)
    return ", then ".join(steps) or "plain"


def _training(view: View, spec: ModelSpec, trained: list[Artifact]) -> Training:
    base = view.suite.model(spec.ensemble) if spec.ensemble else spec
    attack = next((step.name for step in base.train if "eps" in step.params), "")
    notes = dict.fromkeys(str(record.facts.get("note", "")) for record in trained)
    passes = trained[0].facts.get("passes")
    return {
        "recipe": recipe_text(base),
        "epochs": base.training.epochs,
        "seconds": sum(record.seconds for record in trained),
        "passes": None if passes is None else float(passes),
        "eps": base.training_budget,
        "attack": attack,
        "arithmetic": str(trained[0].facts["arithmetic"]),
        "note": "; ".join(note for note in notes if note),
    }


# ---------------------------------------------------------------- what was measured, and with what


def _splits(view: View) -> Iterator[SplitFacts]:
    ood = view.suite.ood
    near, far = (ood.near, ood.far) if ood else ((), ())
    for reference in view.plan.splits.values():
        use = dict(reference["data"])
        name = str(use.pop("use"))
        corruption = str(use.get("corruption") or reference.get("corruption", {}).get("use", ""))
        if corruption and corruption not in view.corruptions:
            continue  # the identity, which only a check looks at
        if corruption:
            role = "corruptions"
        elif name in near or name in far:
            role = "near OOD" if name in near else "far OOD"
        else:
            limited = view.suite.limit is not None  # all test images are drawn then
            fewer = reference["part"] == "test" and len(reference["take"]) > limited
            role = "attacked" if fewer else ROLES[reference["part"]]
        yield _split(view, reference, role, corruption or name)


def drawn(takes: Sequence[int], n: int, seed: int) -> str:
    """How `n` images were drawn, or "" for all: a draw of more than there are takes them all.

    >>> drawn([1000, 200, 200], 200, 0)
    '1,000 of them, stratified by class, seed 0 then 200 of them, stratified by class, seed 0'
    >>> drawn([10_000], 1200, 0)
    ''
    """
    real = [take for place, take in enumerate(takes) if take < min(takes[:place], default=take + 1)]
    if real and real[-1] > n:
        return ""
    return " then ".join(f"{take:,} of them, stratified by class, seed {seed}" for take in real)


def _split(view: View, reference: Mapping[str, Any], role: str, name: str) -> SplitFacts:
    n = view.plan.images.get(_key(reference), 0)
    draw = drawn(reference["take"], n, reference["seed"])
    use = dict(reference["data"])
    plug = registry.get("data", use.pop("use"))
    return {
        "role": role,
        "name": name,
        "title": spelt(name),
        "n": n,
        "digest": str(reference["fingerprint"]),
        "source": OWN if "corruption" in reference else plug.summary,
        "draw": draw,
    }


def _key(reference: Mapping[str, Any]) -> str:
    from harness.core.types import digest_of

    return digest_of(dict(reference))


def _attack(view: View, attack: AttackSpec) -> AttackFacts:
    plug = registry.get("attack", attack.use.name)
    params = plug.complete(attack.use.params)
    budgets: set[float] = set()
    n = 0
    for who in view.everyone():
        job = view.job("attack", who, f"{attack.name} {attack.norm}")
        if job is not None:
            budgets |= set(job.params["eps"])
            n = view.plan.images.get(job.inputs["split"], 0)
            params = {key: value for key, value in job.params["attack"].items() if key != "use"}
    return {
        "name": attack.name,
        "title": attack_title(attack.name, plug.name),
        "summary": plug.summary,
        "norm": attack.norm,
        "params": {"use": plug.name, **params},
        "budgets": sorted(budgets),
        "n": n,
        "knowledge": "white box" if plug.meta.get("gradient", True) else "black box",
        "goal": "untargeted",
        "headline": attack.headline and attack.eps != "training",
    }


def _detectors(view: View) -> list[DetectorFacts]:
    uses = view.suite.ood.detectors if view.suite.ood else ()
    found: list[DetectorFacts] = []
    for use in uses:
        plug = registry.get("detector", use.name)
        found.append({
            "name": use.name, "title": spelt(use.name.rpartition("/")[2]), "summary": plug.summary,
            "params": plug.complete(use.params),
        })  # fmt: skip
    return found


def _headline_detector(view: View) -> str:
    """The maximum softmax, as in the study; else the suite's first."""
    names = [use.name for use in view.suite.ood.detectors] if view.suite.ood else []
    return "msp" if "msp" in names else next(iter(names), "")


# ---------------------------------------------------------------- the run


def _times(view: View, outcome: Outcome) -> dict[str, float]:
    found: dict[str, float] = {}
    for digest, seconds in outcome.compute.items():
        kind = view.plan.job(digest).kind
        found[kind] = found.get(kind, 0.0) + seconds
    return found


def _missing() -> Iterator[str]:
    """What the run does not hold beyond failed jobs and what the report sees for itself."""
    for library in registry.libraries():
        if not library.installed:
            yield f"{library.name} is not installed: its witnesses are missing (pip install {library.install})."
