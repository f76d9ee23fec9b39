"""What the checks want to know besides the axes' own records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.types import digest_of
from harness.plan import cost
from harness.plan.axes import predicted
from harness.plan.types import Question

if TYPE_CHECKING:
    from harness.core.registry import Kind
    from harness.plan.drafting import Draft
    from harness.suite import ModelSpec

PROBED = (64, 256)  # images of a probe: for small test splits, and for large ones
ATTACKERS = ("torchattacks", "art", "foolbox", "autoattack")


def probed(draft: Draft, spec: ModelSpec, seed: int) -> None:
    """What the checks want to know of one model, at its training budget or the middle one."""
    params, inputs, needs = draft.about(spec, seed)
    reference = draft.attack_split()
    k = PROBED[0] if draft.images(reference) < 1000 else PROBED[1]
    crosschecked = draft.suite.crosscheck.models if draft.suite.crosscheck else ()
    # Accuracy that rises with the budget is seen at every other budget as well.
    curves = [a.eps for a in draft.suite.attacks if a.norm == "linf" and a.eps != "training"]
    params |= {
        "split": reference,
        "k": k,
        "eps": spec.training_budget or draft.suite.middle_budget or 0.1,
        "steps": 40,
        "budgets": sorted({eps for budgets in curves for eps in budgets})[::2],
        "libraries": list(ATTACKERS) if spec.name in crosschecked else [],
        "plain": spec.name == draft.suite.baseline and spec.training_budget is None,
    }
    asked = [f"{name}/pgd" for name in params["libraries"] if name != "autoattack"]
    plugs: list[tuple[Kind, str]] = [("attack", "pgd")]
    plugs.extend(("attack", name) for name in asked)
    draft.add(
        Question("probe", spec.name, seed),
        f"probe {spec.name}",
        params,
        inputs=inputs | {"split": digest_of(reference)},
        needs=needs,
        plugs=plugs,
        seconds=cost.attack(spec, {"steps": 40}, 64, k),
        group=inputs["model"],
    )


def checked(draft: Draft, seed: int) -> None:
    """What the checks want to know beyond one model: the identity, and images of the others."""
    plain = next((spec for spec in draft.suite.models if spec.ensemble is None), None)
    if draft.suite.shift is not None and plain is not None:
        predicted(draft, plain, seed, "identity", draft.split("test", corruption="identity"))
    if draft.suite.attacks and len(draft.suite.models) > 1:
        for spec in draft.suite.models:
            _transferred(draft, spec, seed)


def _transferred(draft: Draft, spec: ModelSpec, seed: int) -> None:
    """Images that the probes of the other models made, in balls no larger than this model's."""
    own = draft.jobs[draft.answers[Question("probe", spec.name, seed)]].params
    probes = {
        f"probe {other.name}": draft.answers[Question("probe", other.name, seed)]
        for other in draft.suite.models
        if other.name != spec.name
    }
    smaller = {
        role: digest
        for role, digest in probes.items()
        if draft.jobs[digest].params["eps"] <= own["eps"]
    }
    params, inputs, needs = draft.about(spec, seed)
    params |= {"split": own["split"], "k": own["k"], "others": sorted(smaller)}
    draft.add(
        Question("transfer", spec.name, seed),
        f"show {spec.name} the images made for the others",
        params,
        inputs=inputs | {"split": digest_of(own["split"])} | smaller,
        needs=(*needs, *smaller.values()),
        seconds=cost.forward(spec, own["k"] * len(smaller)),
        group=inputs["model"],
    )
