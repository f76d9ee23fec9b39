"""The ledger's jobs: the same thing by all its implementations."""

from __future__ import annotations

import itertools
from types import MappingProxyType
from typing import TYPE_CHECKING

from harness.core.registry import registry
from harness.core.types import digest_of
from harness.crosscheck.attacks import LOCKSTEP, implementations
from harness.plan import cost
from harness.plan.types import Question

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.core.registry import Kind
    from harness.core.threat import Norm
    from harness.core.types import Use
    from harness.plan.drafting import Draft, Plain
    from harness.suite import Crosscheck, ModelSpec

STARTS = (False, True)  # from x itself, and from a random point
ASCENTS = 19  # of AutoAttack: APGD on the cross-entropy, nine targets each of APGD-T and FAB-T


def crosschecked(draft: Draft) -> None:
    """Every concept by all its implementations, on a few models of the first seed."""
    check = draft.suite.crosscheck
    if check is None:
        return
    for name in check.models or (draft.suite.baseline or draft.suite.models[0].name,):
        spec = draft.suite.model(name)
        asked = itertools.product(_protocols(check, name), check.concepts, check.eps)
        for protocol, concept, norm in asked:
            both = (protocol, concept.name) == ("lockstep", "pgd")
            for start in STARTS if both else STARTS[:1]:
                _attacked(draft, spec, protocol, concept, norm, random_start=start)
        if check.metrics:
            _calibration_compared(draft, spec)
            _ood_compared(draft, spec)
    if check.boundary_cases:
        _compared(draft, "boundary", Question("compared", "", draft.suite.seeds[0], "boundary"), {})


def _protocols(check: Crosscheck, model: str) -> list[str]:
    """The protocols in which one model's attacks are compared."""
    native = not check.native_models or model in check.native_models
    return [protocol for protocol in check.protocols if protocol != "native" or native]


def _attacked(
    draft: Draft, spec: ModelSpec, protocol: str, concept: Use, norm: Norm, *, random_start: bool
) -> None:
    """One attack by all its implementations."""
    check = draft.suite.crosscheck
    assert check is not None
    plugs = implementations(concept.name, norm)
    if len(plugs) < 2 or (protocol == "lockstep" and concept.name not in LOCKSTEP):
        return
    minimise = plugs[0].meta.get("goal") == "minimise"
    count = check.minimum_norm_images if minimise else check.images
    seed = draft.suite.seeds[0]
    params, inputs, needs = draft.about(spec, seed)
    reference = draft.attack_split(count)
    params |= {
        "protocol": protocol,
        "concept": concept.name,
        "shared": dict(concept.params),
        "norm": norm,
        "eps": check.eps[norm],
        "steps": check.steps,
        "queries": check.queries,
        "random_start": random_start,
        "minimise": minimise,
        "implementations": [plug.name for plug in plugs],
        "split": reference,
    }
    ending = "".join(f" {key} {value}" for key, value in concept.params.items())
    ending += " from a random start" if random_start else ""
    draft.add(
        Question("crosscheck", spec.name, seed, f"{protocol} {concept.name} {norm}{ending}"),
        f"cross-check {concept.name} {norm} on {spec.name}, {protocol}{ending}",
        params,
        inputs=inputs | {"split": digest_of(reference)},
        needs=needs,
        plugs=[("attack", plug.name) for plug in plugs],
        seconds=len(plugs) * _seconds(spec, concept, check, count, minimise=minimise),
        group=inputs["model"],
    )


def _seconds(
    spec: ModelSpec, concept: Use, check: Crosscheck, count: int, *, minimise: bool
) -> float:
    """Expected seconds of one implementation."""
    asked = {"steps": check.steps, "queries": check.queries, **concept.params}
    parts: list[Plain] = [{"steps": asked["steps"]}]
    if concept.name == "autoattack":
        parts = [{"steps": ASCENTS * asked["steps"]}, {"queries": asked["queries"]}]
    elif concept.name == "square":
        parts = [{"queries": asked["queries"]}]
    # an attack for the smallest perturbation takes an image, a class and a constant at a time
    times = 20 if minimise else 1
    return times * sum(cost.attack(spec, part, 1, count) for part in parts)


def _calibration_compared(draft: Draft, spec: ModelSpec) -> None:
    """Calibration metrics of one model by all their implementations."""
    seed, calibration = draft.suite.seeds[0], draft.suite.calibration
    if calibration is None:
        return
    needs = {"test": draft.answer("predict", spec, seed, "test")}
    question = Question("compared", spec.name, seed, "calibration")
    _compared(draft, "calibration", question, {"bins": calibration.bins}, needs, needs.values())


def _ood_compared(draft: Draft, spec: ModelSpec) -> None:
    """Scores of one model, and what ranks them, by all their implementations."""
    seed = draft.suite.seeds[0]
    if draft.suite.ood is None or not draft.suite.ood.sets:
        return
    params, inputs, needs = draft.about(spec, seed)
    splits = draft.ood_splits()
    params |= {"splits": splits, "like": draft.suite.data.plain()}
    inputs |= {role: digest_of(reference) for role, reference in splits.items()}
    _compared(draft, "ood", Question("compared", spec.name, seed, "ood"), params, inputs, needs)


def _compared(
    draft: Draft,
    of: str,
    question: Question,
    params: Plain,
    inputs: Mapping[str, str] = MappingProxyType({}),
    needs: Iterable[str] = (),
) -> None:
    """Metrics and scores by every implementation that there is."""
    assert draft.suite.crosscheck is not None
    asked: list[Kind] = ["metric"] if of == "calibration" else ["metric", "detector"]
    plugs: list[tuple[Kind, str]] = [
        (kind, plug.name) for kind in asked for plug in registry.plugs(kind)
    ]
    draft.add(
        question,
        f"compare {of} by all implementations"
        + (f" on {question.model}" if question.model else ""),
        params | {"of": of, "protocols": list(draft.suite.crosscheck.protocols)},
        inputs=inputs,
        needs=needs,
        plugs=plugs,
        seconds=3.0,
        group="witness",
    )
