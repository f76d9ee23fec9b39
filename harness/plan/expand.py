"""Suite to jobs: the chapters in their order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.plan import axes, crosscheck, exhibits, models, probes
from harness.plan.drafting import Draft

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.core.types import Use
    from harness.plan.types import Plan
    from harness.suite import ModelSpec, Suite


def expand(
    suite: Suite,
    *,
    fingerprint: Callable[[Use], str],
    size: Callable[[Use, str], int],
    parts: tuple[str, ...] = ("train", "val", "test"),
    classes: tuple[str, ...] = (),
    device: str = "cpu",
    places: tuple[Path, ...] = (Path(),),
) -> Plan:
    """The plan of a suite.

    Args:
        suite: resolved.
        fingerprint: digest of a data set's files.
        size: images in a part ("train", "val", "test") of a data set.
        parts: those that the suite's data set has.
        classes: names of the data set's classes, in label order.
        device: "cpu" or "cuda".
        places: where a user's weights are looked for; the first one for factories too.

    Returns:
        Jobs in an order in which each comes after all that it needs.
    """
    draft = Draft(suite, fingerprint, size, parts, classes, device, places)
    for seed in suite.seeds:
        for spec in suite.models:
            models.train(draft, spec, seed)
    for seed in suite.seeds:
        for spec in suite.models:
            _measure(draft, spec, seed)
        if suite.checks:
            probes.checked(draft, seed)
    crosscheck.crosschecked(draft)
    exhibits.exhibits(draft)
    return draft.plan()


def _measure(draft: Draft, spec: ModelSpec, seed: int) -> None:
    """All that one model is asked."""
    suite = draft.suite
    axes.predictions(draft, spec, seed)
    for attack in suite.attacks:
        axes.attacked(draft, spec, seed, attack)
    axes.witnessed(draft, spec, seed)
    if suite.checks and suite.attacks:
        probes.probed(draft, spec, seed)
    for detector in suite.ood.detectors if suite.ood else ():
        axes.scored(draft, spec, seed, detector)
