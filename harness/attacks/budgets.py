"""What a plug that climbs answers for many budgets at once, in place of a run for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.attacks.frontier import Hunt, find
from harness.attacks.gradients import fastest, slope
from harness.attacks.runner import ATTACK_BATCH, batches, predict
from harness.core.registry import registry
from harness.core.threat import Threat, reach, uphill

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from harness.core.threat import Norm
    from harness.core.types import Classifier


def pgd_curve(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    norm: Norm,
    budgets: Sequence[float],
    *,
    seed: int,
    progress: Callable[[float], None] | None = None,
    **params: Any,  # noqa: ANN401 -- the parameters of the plug "pgd"
) -> tuple[np.ndarray, dict[str, float]] | None:
    """Whom the plug `pgd` breaks at each budget: all budgets together, as in `security_curve`.

    Args:
        model: the classifier.
        x: (N, C, H, W) float32 images in [0, 1].
        y: (N,) int64 true labels.
        norm: "linf", "l2" or "l1".
        budgets: B radii in pixel units, positive, in any order.
        seed: of the starts.
        progress: told the share that is done.
        **params: of the plug; defaults are filled in, the arithmetic by the processor's rule.

    Returns:
        (N, B) whether each sample is broken at each budget; one that is wrong clean, or broken at
        a smaller budget, is. And facts: gradients ("backwards") and passes forward a sample. None
        with `keep: final`: every budget is then a matter of its own.
    """
    given = registry.get("attack", "pgd").complete(params)
    if given["keep"] == "final":
        return None
    arithmetic = params.get("arithmetic") or fastest(x.device.type)
    hunt = Hunt(
        given["steps"], given["step_size"], given["restarts"], given["loss"], arithmetic=arithmetic
    )
    found = find(model, x, y, norm, sorted(budgets), hunt, seed=seed, progress=progress)
    backwards = float(found.gradients.mean())
    forwards = backwards + float(found.forwards.mean())
    broken = found.first_broken[:, None] <= np.array(budgets)
    return broken, {"forwards": forwards, "backwards": backwards}


def fgsm_curve(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    norm: Norm,
    budgets: Sequence[float],
    *,
    seed: int,
    progress: Callable[[float], None] | None = None,
    **params: Any,  # noqa: ANN401 -- the parameters of the plug "fgsm"
) -> tuple[np.ndarray, dict[str, float]] | None:
    """Whom the plug `fgsm` breaks at each budget: from x itself, one gradient serves them all.

    See `pgd_curve` for arguments and result; None with random starts, which differ by budget.
    """
    given = registry.get("attack", "fgsm").complete(params)
    if given["restarts"]:
        return None
    divide = given["reduction"] == "mean"
    broken = np.zeros((len(x), len(budgets)), dtype=bool)
    for rows in batches(len(x), ATTACK_BATCH):
        here, labels = x[rows], y[rows]
        now = slope(model, here, labels, given["loss"], len(here) if divide else 1)
        ahead = uphill(norm, here, now.gradient)
        for at, eps in enumerate(budgets):
            threat = Threat(norm, eps)
            there = threat.project(here, here + reach(threat, here) * ahead)
            broken[rows, at] = predict(model, there) != labels.cpu().numpy()
        if progress is not None:
            progress(rows.stop / len(x))
    return broken, {"forwards": 1.0, "backwards": 1.0}
