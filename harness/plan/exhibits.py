"""Example images for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.types import digest_of
from harness.plan.axes import evaluated
from harness.plan.drafting import completed
from harness.plan.types import Question

if TYPE_CHECKING:
    from harness.plan.drafting import Draft, Plain

SHOWN = ("fgsm", "pgd")  # attacks whose images the report shows


def exhibits(draft: Draft) -> None:
    """Example images for the report: of the first seed, seen by the baseline or the first model."""
    suite = draft.suite
    spec = suite.model(suite.baseline) if suite.baseline else suite.models[0]
    params, inputs, needs = draft.about(spec, suite.seeds[0])
    split = draft.attack_split()
    shown = {name: ref for name, ref in evaluated(draft).items() if name != "val"}
    shown |= {name: ref for name, ref in draft.ood_splits().items() if name != "id"}
    params |= {
        "attacks": _shown_attacks(draft),
        "augmentations": _shown_augmentations(draft),
        "split": split,
        "shown": shown,
        "like": suite.data.plain(),
    }
    draft.add(
        Question("exhibit", spec.name, suite.seeds[0]),
        "draw examples",
        params,
        inputs=inputs | {name: digest_of(reference) for name, reference in shown.items()},
        needs=needs,
        seconds=1.0,
        group=inputs["model"],
    )


def _shown_attacks(draft: Draft) -> Plain:
    """FGSM and PGD at the middle budget, where the suite has them."""
    eps = draft.suite.middle_budget
    found: Plain = {}
    for attack in draft.suite.attacks:
        if attack.eps == "training" or attack.norm != "linf" or attack.name not in SHOWN:
            continue
        middle = eps if eps in attack.eps else attack.eps[len(attack.eps) // 2]
        use = completed("attack", attack.use)
        found[attack.name] = {"use": use, "norm": "linf", "eps": middle}
    return found


def _shown_augmentations(draft: Draft) -> Plain:
    """Every augmentation of the suite, in its first and other settings."""
    found: Plain = {}
    for model in draft.suite.models:
        if len(model.train) == 1 and "eps" not in model.train[0].params:
            found[model.name.replace(" ", "-")] = completed("recipe", model.train[0])
    return found
