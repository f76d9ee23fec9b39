"""Facts about a model and its training, for the checks of those stages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.checks import raised
from harness.core.registry import registry
from harness.flags.attacks import registry_loss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.axes.view import View, Who
    from harness.checks import Complaint


def model(view: View, who: Who) -> list[Complaint]:
    """What the probe of a model says of the model."""
    record = view.record("probe", who)
    if record is None or record.status != "ok":
        return []
    averaged = any(attack.use.params.get("version") == "rand" for attack in view.suite.attacks)
    facts = {**record.facts["model"], "eot": averaged, "trained": _trained(view, who)}
    found = raised("model", facts, who.name)
    return [placed for one in found for placed in _placed(view, one)]


def _trained(view: View, who: Who) -> float | None:
    """Accuracy on held-out images when the training ended; None for a network from elsewhere."""
    record = view.record("train", who)
    if record is None or record.status != "ok":
        return None
    history = record.facts["attempts"][0]["history"]
    return history[-1].get("val_accuracy") if history else None


def _placed(view: View, one: Complaint) -> Iterator[Complaint]:
    """A wrapper's fault concerns its own library's attacks and no others (H08)."""
    if one.check != "H08":
        yield one
        return
    yield replace(one, case="implementation=other")
    for attack in view.suite.attacks:
        library = registry.get("attack", attack.use.name).library
        if library is not None and f"Backend {library.name} " in one.message:
            yield replace(one, case=f"attack={attack.name} norm={attack.norm}")


def training(view: View, who: Who) -> list[Complaint]:
    """What the record of a training says."""
    record = view.record("train", who)
    if record is None or record.status != "ok":
        return []
    losses = [registry_loss(attack) for attack in view.suite.attacks]
    facts = {
        "flags": record.facts.get("flags", {}),
        "adversarial": who.spec.training_budget is not None,
        "seeds": len(view.suite.seeds),
        "losses": [loss for loss in losses if loss],
    }
    return raised("training", facts, who.name)
