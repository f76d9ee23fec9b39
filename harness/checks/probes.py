"""What is measured of a model before any attack is believed: facts as plain data, no verdicts.

Seconds on a CPU: k images (64 on digits, 256 on MNIST), a few passes each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from harness.attacks.gradients import fastest, slope
from harness.attacks.guard import untouched
from harness.attacks.losses import margin
from harness.core.lazy import Lazy
from harness.core.registry import registry
from harness.core.rng import torch_rng
from harness.core.threat import Threat

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from harness.core.types import Classifier
else:
    torch = Lazy("torch")

PASSES = 5  # identical passes, to see randomness
DRAWS = 100  # of the loss landscape and of random noise
MASKED_EPS = 0.3  # where nothing undefended stands
WIDTH = 4 / 255  # half width of the box of the loss landscape
Facts = dict[str, Any]


def probe(model: Classifier, x: torch.Tensor, y: torch.Tensor, seed: int) -> Facts:
    """All facts about a model that need no attack.

    Args:
        model: the classifier as it is going to be attacked.
        x: (k, C, H, W) images in [0, 1].
        y: (k,) labels.
        seed: of random draws.
    """
    with untouched(model.module):  # also the generators, which a randomised model draws from
        return _probe(model, x, y, seed)


def _probe(model: Classifier, x: torch.Tensor, y: torch.Tensor, seed: int) -> Facts:
    with torch.no_grad():
        logits = model(x)
    return {
        "k": len(x),
        "classes": model.num_classes,
        "clean": float((logits.argmax(1) == y).float().mean()),
        "training": [
            name or "model" for name, part in model.module.named_modules() if part.training
        ],
        **_outputs(logits, y),
        **_randomness(model, x, y),
        **_gradients(model, x, y),
        **_scalings(model, x, y),
        **_alone(model, x, logits),
        "autograd_calls": autograd_calls(model, x[:8]),
        "landscape": landscape(model, x, y, seed),
    }


def _outputs(logits: torch.Tensor, y: torch.Tensor) -> Facts:
    total = logits.double().logsumexp(1)
    sums = logits.sum(1)
    best = logits.topk(2, dim=1).values
    return {
        "matched": matched(logits.argmax(1).cpu().numpy(), y.cpu().numpy(), logits.shape[1]),
        "lead": float((best[:, 0] - best[:, 1]).median()),
        "logit_min": float(logits.min()),
        "logit_max": float(logits.max()),
        "row_sum_gap": float((sums - 1).abs().max()),
        "logsumexp_gap": float(total.abs().max()),
    }


def matched(predicted: np.ndarray, y: np.ndarray, classes: int) -> float:
    """Accuracy under the matching of outputs to labels that makes it largest.

    A network whose outputs stand in another order than the labels is right under it, and wrong
    without.
    """
    pairs = np.zeros((classes, classes))
    np.add.at(pairs, (predicted, y), 1)
    rows, columns = linear_sum_assignment(pairs, maximize=True)
    return float(pairs[rows, columns].sum() / len(y))


def _randomness(model: Classifier, x: torch.Tensor, y: torch.Tensor) -> Facts:
    """Differences between identical passes, of labels and of normalised logits."""
    with torch.no_grad():
        runs = [model(x) for _ in range(PASSES)]
    right = [int((run.argmax(1) == y).sum()) for run in runs]
    units = [run / run.norm(dim=1, keepdim=True).clamp_min(1e-12) for run in runs]
    gap = max(float((unit - units[0]).norm(dim=1).max()) for unit in units)
    return {"right_min": min(right), "right_max": max(right), "random_gap": gap}


def _gradients(model: Classifier, x: torch.Tensor, y: torch.Tensor) -> Facts:
    """Rows without a usable gradient, by loss and precision."""
    try:
        ce = slope(model, x, y, "ce").gradient
    except RuntimeError as error:  # no graph from the logits back to the images
        return {"graph": str(error).partition("\n")[0], "flat": _flat(model, x)}
    of_margin = slope(model, x, y, "margin").gradient
    return {
        "graph": "",
        "zero_ce": _zero_rows(ce),
        "zero_margin": _zero_rows(of_margin),
        "zero_ce_float64": _zero_rows_float64(model, x, y),
        "not_finite": int((~ce.isfinite()).flatten(1).any(1).sum()),
        "slope_error": _slope_error(model, x, y, of_margin),
        "flat": _flat(model, x),
    }


def _flat(model: Classifier, x: torch.Tensor, step: float = 1e-4) -> float:
    """Share of images whose logits keep every bit when all pixels move by a little.

    Near 1 where the images are rounded inside the model, near 0 elsewhere.
    """
    with torch.no_grad():
        here, there = model(x), model((x - step).abs())
    return float((here == there).all(1).float().mean())


def _zero_rows(gradient: torch.Tensor) -> int:
    return int((gradient == 0).flatten(1).all(1).sum())


def _zero_rows_float64(model: Classifier, x: torch.Tensor, y: torch.Tensor) -> int | None:
    """The same in float64, which tells saturation from masking; None if the model takes none."""
    to = getattr(model, "to", None)
    if to is None:
        return None
    try:
        precise: Callable[[torch.Tensor], torch.Tensor] = to(dtype=torch.float64)
        return _zero_rows(slope(precise, x.double(), y, "ce").gradient)
    except (RuntimeError, TypeError):
        return None


def _slope_error(
    model: Classifier, x: torch.Tensor, y: torch.Tensor, gradient: torch.Tensor, step: float = 1e-3
) -> float:
    """Median gap between the margin's change along its gradient and what the gradient promises.

    Relative to the promise; near 0 for a true gradient of a smooth model, near 1 or more for one
    that is detached, replaced (straight-through) or of another function.
    """
    length = gradient.flatten(1).norm(dim=1)
    usable = length > 1e-12
    if not bool(usable.any()):
        return 0.0
    view = (-1, *[1] * (x.ndim - 1))
    ahead = step * gradient / length.clamp_min(1e-12).view(view)
    with torch.no_grad():
        change = margin(model(x + ahead), y) - margin(model(x - ahead), y)
    promised = 2 * step * length
    gap = (change - promised).abs() / promised.clamp_min(1e-12)
    return float(gap[usable].median())


def _scalings(model: Classifier, x: torch.Tensor, y: torch.Tensor) -> Facts:
    """Range of the inputs, and accuracy as another loader might have prepared them."""
    mean, spread = x.mean(), x.std().clamp_min(1e-6)
    others = {
        "x 255": x * 255,
        "/ 255": x / 255,
        "standardised": (x - mean) / spread,
        "2x - 1": 2 * x - 1,
        "(x + 1) / 2": (x + 1) / 2,
        "scaled back from standardised": x * spread + mean,
        "inverted": 1 - x,
        "with channels reversed": x.flip(1),
        "mirrored": x.flip(3),
    }
    if x.shape[2] == x.shape[3]:
        others["transposed"] = x.transpose(2, 3)
    with torch.no_grad():
        right = {
            name: float((model(z).argmax(1) == y).float().mean()) for name, z in others.items()
        }
    return {"input_min": float(x.min()), "input_max": float(x.max()), "scalings": right}


def _alone(model: Classifier, x: torch.Tensor, logits: torch.Tensor) -> Facts:
    """Labels that change when a sample is looked at alone, and how far its logits move.

    The distance is relative to the spread of the sample's logits.
    """
    with torch.no_grad():
        alone = torch.cat([model(row[None]) for row in x])
    gap = (alone - logits).abs().amax(1) / (logits.amax(1) - logits.amin(1)).clamp_min(1e-12)
    flips = int((alone.argmax(1) != logits.argmax(1)).sum())
    return {"flips_alone": flips, "gap_alone": float(gap.median())}


def autograd_calls(model: Classifier, x: torch.Tensor) -> int:
    """How often the forward pass itself asks autograd for gradients (test-time optimisation)."""
    calls = 0
    grad, backward = torch.autograd.grad, torch.autograd.backward

    def count_grad(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- autograd's own signature
        nonlocal calls
        calls += 1
        return grad(*args, **kwargs)

    def count_backward(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        nonlocal calls
        calls += 1
        return backward(*args, **kwargs)

    torch.autograd.grad, torch.autograd.backward = count_grad, count_backward
    try:
        with torch.enable_grad():
            model(x)
    finally:
        torch.autograd.grad, torch.autograd.backward = grad, backward
    return calls


def landscape(
    model: Classifier, x: torch.Tensor, y: torch.Tensor, seed: int, images: int = 16
) -> float:
    """Mean relative change of the loss over random points of a small box, each cut at 1."""
    some, labels = x[:images], y[:images]
    rng = torch_rng(seed, "landscape")
    loss = torch.nn.functional.cross_entropy
    with torch.no_grad():
        here = loss(model(some), labels, reduction="none")
        changes = []
        for _ in range(DRAWS // 5):
            noise = (2 * torch.rand(some.shape, generator=rng) - 1).to(some) * WIDTH
            there = loss(model((some + noise).clamp(0, 1)), labels, reduction="none")
            changes.append(((there - here).abs() / here.abs().clamp_min(1e-2)).clamp_max(1))
    return float(torch.stack(changes).mean())


def noise_breaks(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    threat: Threat,
    seed: int,
    draws: int = DRAWS,
) -> np.ndarray:
    """(N,) bool: samples that random points on the sphere of the budget break (check H46)."""
    rng = torch_rng(seed, "noise")
    with torch.no_grad():
        broken = model(x).argmax(1) != y
        for _ in range(draws):
            left = (~broken).nonzero()[:, 0]
            up = torch.rand((len(left), *x.shape[1:]), generator=rng).to(x) < 0.5
            there = (x[left] + torch.where(up, threat.eps, -threat.eps)).clamp(0, 1)
            broken[left] = model(there).argmax(1) != y[left]
    return broken.cpu().numpy()


# ---------------------------------------------------------------- what needs an attack


def at_eps_zero(model: Classifier, x: torch.Tensor, y: torch.Tensor, seed: int) -> Facts:
    """Predictions that change between the images and what comes back from an empty ball."""
    from harness.attacks import run_attack
    from harness.attacks.runner import predict

    plug = registry.get("attack", "pgd")
    found = run_attack(plug, {"steps": 1}, model, x, y, Threat("linf", 0.0), seed=seed)
    return {"eps_zero_changed": int((found.prediction != predict(model, x)).sum())}


def parity(
    model: Classifier, x: torch.Tensor, y: torch.Tensor, theirs: Callable[..., Any]
) -> Facts:
    """How far a library's view of the model is from the model: labels, logits, gradient signs."""
    with torch.no_grad():
        logits = model(x)
    other, gradient = theirs(model, x, y)
    ours = slope(model, x, y, "ce").gradient
    other, gradient = torch.as_tensor(other), torch.as_tensor(gradient).reshape(ours.shape)
    clear = ours.abs() > 1e-3 * ours.abs().amax(dim=tuple(range(1, ours.ndim)), keepdim=True)
    agree = (ours.sign() == gradient.sign())[clear]
    return {
        "labels": int((other.argmax(1) != logits.argmax(1)).sum()),
        "logits": float((other - logits).abs().max()),
        "signs": float(agree.float().mean()) if len(agree) else 1.0,
    }


def search(
    model: Classifier, x: torch.Tensor, y: torch.Tensor, threat: Threat, *, steps: int, seed: int
) -> tuple[Facts, np.ndarray]:
    """How well PGD searched: what it lost again, and what more steps, starts or losses would find.

    Args:
        model: the classifier.
        x: (k, C, H, W) images.
        y: (k,) labels.
        threat: the budget at which the model is judged.
        steps: of PGD.
        seed: of its starts.

    Returns:
        Facts for the checks on attacks, and the (k, C, H, W) images, for check H45.
    """
    from harness.attacks import run_attack

    plug, watch = registry.get("attack", "pgd"), Watch()
    quick = {"steps": steps, "arithmetic": fastest(x.device.type)}
    first = run_attack(plug, quick, model, x, y, threat, seed=seed, trace=watch, batch_size=len(x))
    facts: Facts = {
        "k": len(x),
        "steps": steps,
        "eps": threat.eps,
        "step_size": 2.5 * threat.eps / steps,
        "loss": "ce",
    }
    facts |= watch.facts(y, first.success)
    standing = torch.from_numpy(~first.success)
    facts["standing"] = int(standing.sum())
    left, labels = x[standing], y[standing]
    ahead = first.x_adv.to(x)[standing] - left

    def broken(params: dict[str, Any], noise: torch.Tensor | None = None, salt: int = 0) -> int:
        if not len(left):
            return 0
        asked = quick | {"keep": "first"} | params
        found = run_attack(
            plug,
            asked,
            model,
            left,
            labels,
            threat,
            seed=seed + salt,
            noise=noise,
            batch_size=len(left),
        )
        return int(found.success.sum())

    facts["doubled"] = broken({"step_size": facts["step_size"]}, noise=ahead)
    facts["restarted"] = broken({}, salt=1)
    facts["losses"] = {
        name: broken({"loss": name})
        for name in ("margin", "dlr")
        if name == "margin" or model.num_classes > 2
    }
    return facts, first.x_adv.numpy()


def independent(
    model: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    budgets: list[float],
    *,
    steps: int,
    seed: int,
) -> Facts:
    """Accuracy under PGD at each budget by itself, in a quarter of the steps, and in the whole box."""
    from harness.attacks import run_attack

    plug = registry.get("attack", "pgd")
    asked = {"keep": "first", "arithmetic": fastest(x.device.type)}

    def right(eps: float, steps: int) -> np.ndarray:
        params = asked | {"steps": steps}
        return ~run_attack(plug, params, model, x, y, Threat("linf", eps), seed=seed).success

    whole = right(1.0, steps)
    curve = {eps: right(eps, max(1, steps // 4)) for eps in budgets}
    return {
        "budgets": list(curve),
        "accuracy": [float(stood.mean()) for stood in curve.values()],
        "whole_box": float(whole.mean()),
        "stubborn": np.flatnonzero(whole).tolist(),
    }


def known_broken(model: Classifier, x: torch.Tensor, y: torch.Tensor, *, seed: int) -> Facts:
    """Share of images that stay right on networks whose gradients are masked on purpose (H51).

    The masks change nothing about what a network can tell apart, so every attack set worth its name
    breaks them as it breaks the network itself.

    Args:
        model: an undefended network.
        x: (k, C, H, W) images.
        y: (k,) labels.
        seed: of the attacks.

    Returns:
        Mask -> (share that our attacks leave right, share without the mask).
    """
    from harness.checks.masks import MASKS

    threat = Threat("linf", MASKED_EPS)
    open_share = _left(model, x, y, threat, seed)
    return {
        name: (_left(mask(model), x, y, threat, seed), open_share) for name, mask in MASKS.items()
    }


def _left(model: Classifier, x: torch.Tensor, y: torch.Tensor, threat: Threat, seed: int) -> float:
    """Share that margin PGD and, where that fails, Square leave right."""
    from harness.attacks import run_attack

    left = torch.ones(len(x), dtype=torch.bool)
    for name, params in (
        ("pgd", {"steps": 20, "loss": "margin", "keep": "first"}),
        ("square", {"queries": 300}),
    ):
        if bool(left.any()):
            found = run_attack(
                registry.get("attack", name), params, model, x[left], y[left], threat, seed=seed
            )
            left[left.clone()] = torch.from_numpy(~found.success)
    return float(left.float().mean())


class Watch:
    """A trace that remembers the loss and label of every step."""

    def __init__(self) -> None:
        self.losses: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def __call__(self, *, restart: int, step: int, loss: torch.Tensor, label: torch.Tensor) -> None:
        """Remember one step."""
        self.losses.append(loss.float().cpu().numpy().copy())
        self.labels.append(label.cpu().numpy().copy())

    def facts(self, y: torch.Tensor, success: np.ndarray) -> Facts:
        """Samples wrong at some step and right at the last, and the share whose loss still moved."""
        labels, losses = np.stack(self.labels), np.stack(self.losses)
        once = (labels != y.cpu().numpy()).any(0)
        best = np.maximum.accumulate(losses, axis=0)
        low, span = losses.min(0), np.ptp(best, axis=0)
        scaled = (best - low) / np.where(span > 0, span, 1.0)
        late = scaled[-min(10, len(scaled)) :]
        moved = (np.ptp(late, axis=0) > 0.05) & ~success
        return {"lost": int((once & ~success).sum()), "moving": float(moved.mean())}
