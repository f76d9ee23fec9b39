"""What is measured of a model before any attack is believed: facts as plain data, no verdicts.

Seconds on a CPU: k images (64 on digits, 256 on MNIST), a few passes each.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from harness.attacks.gradients import slope
from harness.attacks.guard import untouched
from harness.attacks.losses import margin
from harness.core.errors import ModelError
from harness.core.lazy import Lazy
from harness.core.rng import torch_rng

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from harness.core.types import Classifier
else:
    torch = Lazy("torch")

PASSES = 5  # identical passes, to see randomness
BESIDE = 0.02  # of the way to random images
STEPS = (1e-3, 1e-4, 1e-5)  # in L2, along a gradient; shorter ones drown in float32
SIDES = 8  # random directions
SIDE_STEP = 1e-4  # of a pixel, along a random direction, in which logits change less
GRAIN = 1e-5  # of the largest logit, below which float32 shows no change
DRAWS = 20  # of points of the loss landscape
WIDTH = 4 / 255  # half width of the box of the loss landscape
VALUES = 16  # different outputs, at most, from which no precision can be told
BOUND = 1e-3  # of the spread of the outputs, within which the largest are as large as can be
WAYS = (("down", 1, 2), ("up", -1, 2), ("right", 1, 3), ("left", -1, 3))  # sign and axis
OFF_GRID = 5e-3  # of the last decimal, that float32 leaves a rounded number away from it
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
        **_gradients(model, x, y, seed),
        **_scalings(model, x, y),
        **_alone(model, x, logits),
        "autograd_calls": autograd_calls(model, x[:8]),
        "landscape": landscape(model, x, y, seed),
    }


def _outputs(logits: torch.Tensor, y: torch.Tensor) -> Facts:
    total = logits.double().logsumexp(1)
    sums = logits.sum(1)
    best = logits.topk(2, dim=1).values
    spread = (logits.max() - logits.min()).clamp_min(1e-12)
    live = logits[:, (logits != logits[:1]).any(0)]  # an output that never changes is no bound
    return {
        "not_finite_outputs": int((~logits.isfinite()).any(1).sum()),
        "at_most": float((logits.max() - best[:, 0] < BOUND * spread).float().mean()),
        "at_least": float((live == logits.min()).float().mean().nan_to_num(0.0)),
        "twins": _twins(logits),
        "negated": float((logits.argmin(1) == y).float().mean()),
        "matched": matched(logits.argmax(1).cpu().numpy(), y.cpu().numpy(), logits.shape[1]),
        "lead": float((best[:, 0] - best[:, 1]).median()),
        "logit_min": float(logits.min()),
        "logit_max": float(logits.max()),
        "row_sum_gap": float((sums - 1).abs().max()),
        "column_sum_gap": float((logits.sum(0) - 1).abs().max()),
        "rounded": rounded(logits.double().cpu().numpy()),
        "sum_spread": float((sums.max() - sums.min()) / sums.abs().max().clamp_min(1e-12)),
        "logsumexp_gap": float(total.abs().max()),
        "logsumexp_spread": float(total.max() - total.min()),
    }


def _twins(logits: torch.Tensor) -> str:
    """The first two outputs that are the same for all images, or ""."""
    _, kinds, counts = logits.unique(dim=1, return_inverse=True, return_counts=True)
    shared = (counts[kinds] > 1).nonzero().flatten()
    pair = (kinds == kinds[shared[0]]).nonzero().flatten().tolist() if len(shared) else []
    return " and ".join(str(place) for place in pair[:2])


def rounded(outputs: np.ndarray) -> str:
    """The type or the number of decimals that all outputs are rounded to, or "".

    >>> rounded(np.arange(100).reshape(10, 10) / 8)
    'bfloat16'
    """
    if len(np.unique(outputs)) <= VALUES:
        return ""
    exact = torch.from_numpy(outputs)
    for kind in ("bfloat16", "float16"):
        if bool((exact.to(getattr(torch, kind)).double() == exact).all()):
            return kind
    for decimals in (1, 2, 3):
        grid = outputs * 10**decimals
        if np.abs(grid - np.round(grid)).max() < OFF_GRID:
            return f"{decimals} decimals"
    return ""


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


def _gradients(model: Classifier, x: torch.Tensor, y: torch.Tensor, seed: int) -> Facts:
    """Rows without a usable gradient, by loss and precision."""
    try:
        ce = slope(model, x, y, "ce").gradient
    except (ModelError, RuntimeError) as error:  # no graph from the logits back to the images
        return {"graph": str(error).partition("\n")[0], "flat": _flat(model, x)}
    of_margin = slope(model, x, y, "margin").gradient
    return {
        "graph": "",
        "zero_ce": _zero_rows(ce),
        "zero_margin": _zero_rows(of_margin),
        "zero_ce_float64": _zero_rows_float64(model, x, y),
        "not_finite": int((~ce.isfinite()).flatten(1).any(1).sum()),
        "slope_error": _slope_error(model, x, y, seed),
        "side_error": _side_error(model, x, y, seed),
        "flat": _flat(model, x),
    }


def _flat(model: Classifier, x: torch.Tensor, step: float = 1e-6) -> float:
    """Share of images whose logits keep every bit when all pixels move by a little.

    Near 1 where the images are rounded inside the model, near 0 elsewhere. Pixels of 8 bits lie where
    rounding is flat; where a model cuts off, it is flat half a level above them.
    """
    starts = x * (1 - 2 * step), x * (1 - 1 / 255) + 0.5 / 255
    with torch.no_grad():
        kept = [model(start) == model(start + step) for start in starts]
    return max(float(same.all(1).float().mean()) for same in kept)


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


def _slope_error(model: Classifier, x: torch.Tensor, y: torch.Tensor, seed: int) -> float:
    """Median gap between the margin's change along its gradient and what the gradient promises.

    Relative to the promise, beside the images and not at them: on an even background all places of
    a pooling window tie, and there is no gradient. Of several lengths of step the one that suits
    best: on a strongly curved network only short ones keep the promise. Near 0 for a true gradient, near 1 or more at every
    length for one that is detached, replaced (straight-through) or of another function.
    """
    noise = torch.rand(x.shape, generator=torch_rng(seed, "slope")).to(x)
    x = x + BESIDE * (noise - x)
    gradient = slope(model, x, y, "margin").gradient
    length = gradient.flatten(1).norm(dim=1)
    usable = length > 1e-12
    if not bool(usable.any()):
        return 0.0
    view = (-1, *[1] * (x.ndim - 1))
    unit = gradient / length.clamp_min(1e-12).view(view)
    gaps: list[float] = []
    for step in STEPS:
        with torch.no_grad():
            change = margin(model(x + step * unit), y) - margin(model(x - step * unit), y)
        gap = (change / (2 * step * length.clamp_min(1e-12)) - 1).abs()
        gaps.append(float(gap[usable].median()))
    return min(gaps)


def _side_error(model: Classifier, x: torch.Tensor, y: torch.Tensor, seed: int) -> float:
    """Median gap between the margin's changes in random directions and what the gradient promises.

    Relative to the changes, by their root mean square over the directions of an image. Along itself,
    half a gradient still keeps its promise; here it shows that it lacks the other half.
    """
    rng = torch_rng(seed, "sides")
    x = x + BESIDE * (torch.rand(x.shape, generator=rng).to(x) - x)
    here = slope(model, x, y, "margin")
    changes, promised = [], []
    for _ in range(SIDES):
        side = torch.randn(x.shape, generator=rng).to(x)
        promised.append((here.gradient * side).flatten(1).sum(1))
        with torch.no_grad():
            ahead, back = (margin(model(x + by * side), y) for by in (SIDE_STEP, -SIDE_STEP))
        changes.append((ahead - back) / (2 * SIDE_STEP))
    seen = torch.stack(changes)
    grain = GRAIN * math.sqrt(SIDES) * here.logits.abs().amax(1) / (2 * SIDE_STEP)
    gap = (seen - torch.stack(promised)).norm(dim=0) / (seen.norm(dim=0) + grain)
    return float(gap.nan_to_num(0.0).median())


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
        "upside down": x.flip(2),
        "turned by half": x.flip(2, 3),
        "with more contrast (gamma 2.2)": x.clamp(0, 1) ** 2.2,
        "with less contrast (gamma 1/2.2)": x.clamp(0, 1) ** (1 / 2.2),
        "with their mean added": x + mean,
        "with their mean taken off": x - mean,
        **{
            f"shifted {way} by {by}": x.roll(sign * by, axis)
            for way, sign, axis in WAYS
            for by in (2, 3, 4)
        },
    }
    if x.shape[2] == x.shape[3]:
        others["transposed"] = x.transpose(2, 3)
        others["turned by a quarter to the left"] = x.rot90(1, (2, 3))
        others["turned by a quarter to the right"] = x.rot90(-1, (2, 3))
    with torch.no_grad():
        right = {
            name: float((model(z).argmax(1) == y).float().mean()) for name, z in others.items()
        }
    return {"input_min": float(x.min()), "input_max": float(x.max()), "scalings": right}


def _alone(model: Classifier, x: torch.Tensor, logits: torch.Tensor) -> Facts:
    """Labels that change when a sample is looked at alone, and how far its logits move.

    The distance is relative to the spread of the sample's logits. Besides, the share of samples that
    get the answer of the sample which stood in their place in an earlier batch.
    """
    with torch.no_grad():
        alone = torch.cat([model(row[None]) for row in x])
        turned = model(x.flip(0))
    earlier = (turned == logits).all(1) & (logits != logits.flip(0)).any(1)
    gap = (alone - logits).abs().amax(1) / (logits.amax(1) - logits.amin(1)).clamp_min(1e-12)
    flips = int((alone.argmax(1) != logits.argmax(1)).sum())
    return {
        "flips_alone": flips,
        "gap_alone": float(gap.median()),
        "earlier": float(earlier.float().mean()),
    }


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
        for _ in range(DRAWS):
            noise = (2 * torch.rand(some.shape, generator=rng) - 1).to(some) * WIDTH
            there = loss(model((some + noise).clamp(0, 1)), labels, reduction="none")
            changes.append(((there - here).abs() / here.abs().clamp_min(1e-2)).clamp_max(1))
    return float(torch.stack(changes).mean())
