"""What every model is asked: predictions, attacks, OOD scores, second witnesses of calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.registry import registry
from harness.core.types import Use, digest_of
from harness.corruptions import MNIST_C
from harness.plan import cost
from harness.plan.drafting import completed, searching
from harness.plan.types import Question

if TYPE_CHECKING:
    from harness.plan.drafting import Draft, Plain
    from harness.suite import AttackSpec, ModelSpec

FITTED = "fit"  # name of the split on which detectors are fitted


def predictions(draft: Draft, spec: ModelSpec, seed: int) -> None:
    """Logits on every split of the suite."""
    for case, reference in evaluated(draft).items():
        if spec.ensemble is not None:
            _combined(draft, spec, seed, case, reference)
        else:
            predicted(draft, spec, seed, case, reference)


def evaluated(draft: Draft) -> dict[str, Plain]:
    """Case -> split, of all splits on which every model predicts."""
    found = {part: draft.split(part) for part in ("test", "val") if part in draft.parts}
    shift = draft.suite.shift
    if shift is None:
        return found
    for name in MNIST_C if shift.corruptions == "all" else shift.corruptions:
        if shift.data:
            found[name] = draft.split("test", data=Use(shift.data, {"corruption": name}))
        else:
            found[name] = draft.split("test", corruption=name)
    return found


def predicted(
    draft: Draft, spec: ModelSpec, seed: int, case: str, reference: Plain, member: int = 0
) -> str:
    """Logits of one network on one split; the job's digest."""
    params, inputs, needs = draft.about(spec, seed, member)
    title = f"predict {spec.name} on {case}" + (f" (member {member})" if member else "")
    return draft.add(
        Question("predict", spec.name, seed, case, member),
        title,
        params | {"split": reference},
        inputs=inputs | {"split": digest_of(reference)},
        needs=needs,
        seconds=cost.forward(spec, draft.images(reference)),
        group=inputs["model"],
    )


def _combined(draft: Draft, spec: ModelSpec, seed: int, case: str, reference: Plain) -> None:
    """An ensemble's logits, from what its members predicted: no pass is made twice."""
    base = draft.suite.model(spec.ensemble or "")
    members = [predicted(draft, base, seed, case, reference, m) for m in range(spec.size or 0)]
    draft.add(
        Question("combine", spec.name, seed, case),
        f"combine {spec.name} on {case}",
        {"of": "predict"},
        inputs={str(i): digest for i, digest in enumerate(members)},
        needs=members,
        seconds=0.01,
    )


def attacked(draft: Draft, spec: ModelSpec, seed: int, attack: AttackSpec) -> None:
    """One attack at all its budgets."""
    params, inputs, needs = draft.about(spec, seed)
    reference, budgets = draft.attack_split(attack.images), _budgets(draft, spec, attack)
    use = searching(attack.use, cost.numerics(draft.device)["search"])
    params |= {"attack": use, "norm": attack.norm, "eps": list(budgets), "split": reference}
    draft.add(
        Question("attack", spec.name, seed, f"{attack.name} {attack.norm}"),
        f"attack {spec.name} with {attack.name} {attack.norm}",
        params,
        inputs=inputs | {"split": digest_of(reference)},
        needs=needs,
        plugs=[("attack", attack.use.name)],
        seconds=cost.attack(spec, use, len(budgets), draft.images(reference)),
        group=inputs["model"],
    )


def _budgets(draft: Draft, spec: ModelSpec, attack: AttackSpec) -> tuple[float, ...]:
    """Budgets of an attack on a model: "training" means its own, or the middle one."""
    if attack.eps != "training":
        return attack.eps
    own = spec.training_budget or draft.suite.middle_budget
    return (own,) if own else (0.1,)


def scored(draft: Draft, spec: ModelSpec, seed: int, detector: Use) -> None:
    """Scores of the ID test set and of every OOD set."""
    if spec.ensemble is None:
        _scored(draft, spec, seed, detector, 0)
        return
    base = draft.suite.model(spec.ensemble)
    members = [_scored(draft, base, seed, detector, m) for m in range(spec.size or 0)]
    draft.add(
        Question("combine", spec.name, seed, f"detector {detector.name}"),
        f"combine {spec.name}'s {detector.name} scores",
        {"of": "score"},
        inputs={str(i): digest for i, digest in enumerate(members)},
        needs=members,
        seconds=0.01,
    )


def _scored(draft: Draft, spec: ModelSpec, seed: int, detector: Use, member: int) -> str:
    ood = draft.suite.ood
    assert ood is not None
    params, inputs, needs = draft.about(spec, seed, member)
    splits = {FITTED: draft.split("train", ood.fit_images), **draft.ood_splits()}
    params |= {
        "detector": completed("detector", detector),
        "splits": splits,
        "like": draft.suite.data.plain(),
    }
    total = sum(draft.images(reference) for reference in splits.values())
    return draft.add(
        Question("score", spec.name, seed, detector.name, member),
        f"score {spec.name} with {detector.name}" + (f" (member {member})" if member else ""),
        params,
        inputs=inputs | {role: digest_of(reference) for role, reference in splits.items()},
        needs=needs,
        plugs=[("detector", detector.name)],
        seconds=cost.detector(spec, detector.name, total),
        group=inputs["model"],
    )


def witnessed(draft: Draft, spec: ModelSpec, seed: int) -> None:
    """Calibration figures of one model by every library that has them."""
    calibration = draft.suite.calibration
    if calibration is None:
        return
    plugs = [
        plug.name
        for plug in registry.plugs("metric")
        if plug.library is not None and plug.meta.get("axis") == "calibration"
    ]
    parts = [part for part in ("test", "val") if part in draft.parts]
    needs = {part: draft.answer("predict", spec, seed, part) for part in parts}
    draft.add(
        Question("witness", spec.name, seed),
        f"second witnesses of {spec.name}'s calibration",
        {"bins": calibration.bins, "metrics": plugs},
        inputs=needs,
        needs=needs.values(),
        plugs=[("metric", name) for name in plugs],
        seconds=0.3,
        group="witness",
    )
