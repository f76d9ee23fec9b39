"""A classifier as a faulty attack would see it: other images, other logits, another gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.lazy import Lazy

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from harness.core.types import Classifier

    Layer = Callable[[torch.Tensor], torch.Tensor]
    Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    Passed = Callable[[torch.Tensor, list[torch.Tensor]], torch.Tensor]
else:
    torch = Lazy("torch")


class Viewed:
    """A classifier with something before it, and something after it.

    Args:
        inner: the classifier.
        before: on the images.
        after: on the logits.
        passed: on the gradient of a step with respect to the images, given those of the steps before.
    """

    head = None

    def __init__(
        self,
        inner: Classifier,
        before: Layer | None = None,
        after: Layer | None = None,
        passed: Passed | None = None,
    ) -> None:
        self.num_classes, self.digest, self.module = inner.num_classes, inner.digest, inner.module
        self.inner, self.before, self.after, self.passed = inner, before, after, passed
        self.earlier: list[torch.Tensor] = []

    def renewed(self) -> Viewed:
        """The same without a memory of earlier steps."""
        return Viewed(self.inner, self.before, self.after, self.passed)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) logits."""
        shown = x if self.before is None else self.before(x)
        if self.passed is not None and shown.requires_grad:
            shown = shown.view_as(shown)
            shown.register_hook(self._pass)
        logits = self.inner(shown)
        return logits if self.after is None else self.after(logits)

    def _pass(self, gradient: torch.Tensor) -> torch.Tensor:
        assert self.passed is not None
        changed = self.passed(gradient, self.earlier)
        self.earlier.append(gradient)
        return changed

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """None are given: see `head`."""
        raise NotImplementedError


# ---------------------------------------------------------------- logits


def rounded(kind: str) -> Layer:
    """Logits that pass through a type of half precision, and so do their gradients."""
    return lambda logits: logits.to(getattr(torch, kind)).to(logits)


def only(y: torch.Tensor) -> Layer:
    """Logits of which only the label's has a gradient."""

    def after(logits: torch.Tensor) -> torch.Tensor:
        own = torch.zeros_like(logits).scatter(1, y[:, None], 1)
        return logits.detach() + own * (logits - logits.detach())

    return after


def climbing(loss: Loss, y: torch.Tensor) -> Layer:
    """Logits whose gradient is that of another loss, whichever is taken of them."""

    def after(logits: torch.Tensor) -> torch.Tensor:
        if not logits.requires_grad:
            return logits
        with torch.enable_grad():
            known = logits.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(known, y), known)
        found = logits.view_as(logits)
        found.register_hook(lambda _: gradient)
        return found

    return after


def smoothed(share: float) -> Loss:
    """Cross-entropy with smoothed labels."""
    return lambda z, y: torch.nn.functional.cross_entropy(
        z, y, reduction="sum", label_smoothing=share
    )


def binary(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Every class by itself."""
    wanted = torch.nn.functional.one_hot(y, z.shape[1]).to(z)
    return torch.nn.functional.binary_cross_entropy_with_logits(z, wanted, reduction="sum")


def entropy(z: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Of the softmax, without labels."""
    return -(z.softmax(1) * z.log_softmax(1)).sum()


def probability(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """What the label lacks to certainty."""
    return -z.softmax(1).gather(1, y[:, None]).sum()


def others(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """All other logits, less the label's."""
    return z.sum() - 2 * z.gather(1, y[:, None]).sum()


def hinge(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The margin until the sample is wrong, as Carlini and Wagner cut it."""
    best = z.scatter(1, y[:, None], -torch.inf).amax(1)
    return (best - z.gather(1, y[:, None]).squeeze(1)).clamp_max(0).sum()


def squared(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Squared distance of the probabilities to one-hot."""
    wanted = torch.nn.functional.one_hot(y, z.shape[1]).to(z)
    return (z.softmax(1) - wanted).square().sum()


LOSSES: dict[str, Loss] = {
    "cross-entropy with labels smoothed by 0.1": smoothed(0.1),
    "cross-entropy with labels smoothed by 0.2": smoothed(0.2),
    "binary cross-entropy of every class": binary,
    "the entropy, without labels": entropy,
    "the label's probability": probability,
    "the sum of the other logits less the label's": others,
    "the margin, cut where the sample is wrong": hinge,
    "the squared error of the probabilities": squared,
}


def softmax(logits: torch.Tensor) -> torch.Tensor:
    """Probabilities in the place of logits."""
    return logits.softmax(1)


def reverse(logits: torch.Tensor) -> torch.Tensor:
    """`logits`, with the gradient's sign flipped: 2 detach(z) - z has the value z, slope -1."""
    return 2 * logits.detach() - logits


# ---------------------------------------------------------------- gradients


def _underflowing(gradient: torch.Tensor, _: list[torch.Tensor]) -> torch.Tensor:
    return gradient.half().to(gradient)


def _added(gradient: torch.Tensor, earlier: list[torch.Tensor]) -> torch.Tensor:
    return gradient + sum(earlier)


def _turned(gradient: torch.Tensor, earlier: list[torch.Tensor]) -> torch.Tensor:
    return -gradient if len(earlier) % 2 else gradient


def _turned_first(gradient: torch.Tensor, earlier: list[torch.Tensor]) -> torch.Tensor:
    return gradient if len(earlier) % 2 else -gradient


def _kept(gradient: torch.Tensor, earlier: list[torch.Tensor]) -> torch.Tensor:
    return earlier[0] if earlier else gradient


def _filled(gradient: torch.Tensor, _: list[torch.Tensor]) -> torch.Tensor:
    return gradient.masked_fill(gradient == 0, 1e-30)


def _drained(gradient: torch.Tensor, _: list[torch.Tensor]) -> torch.Tensor:
    return gradient.masked_fill(gradient == 0, -1e-30)


def _upwards(gradient: torch.Tensor, _: list[torch.Tensor]) -> torch.Tensor:
    return gradient.abs()


def _shared(gradient: torch.Tensor, _: list[torch.Tensor]) -> torch.Tensor:
    return gradient.sum(0, keepdim=True).expand_as(gradient)


def _of_row_before(gradient: torch.Tensor, _: list[torch.Tensor]) -> torch.Tensor:
    return gradient.roll(1, 0)


def _of_row_after(gradient: torch.Tensor, _: list[torch.Tensor]) -> torch.Tensor:
    return gradient.roll(-1, 0)


def _grey(gradient: torch.Tensor, _: list[torch.Tensor]) -> torch.Tensor:
    return gradient.mean(1, keepdim=True).expand_as(gradient)


GRADIENTS: dict[str, Passed] = {
    "gradients in half precision (float16): small ones underflow to zero": _underflowing,
    "gradients add up: they are not set back to zero between steps": _added,
    "the sign is flipped at every second step": _turned,
    "the sign is flipped at the first step and every second one after": _turned_first,
    "the gradient is that of the first step throughout (a stale gradient)": _kept,
    "a gradient of zero counts as positive: flat pixels step up": _filled,
    "a gradient of zero counts as negative: flat pixels step down": _drained,
    "the sign of the gradient is lost: every pixel steps up": _upwards,
    "the gradient is summed over the batch: one step for all rows": _shared,
    "the gradient of the row before in the batch: rows and gradients do not match": _of_row_before,
    "the gradient of the row after in the batch: rows and gradients do not match": _of_row_after,
    "the gradient is averaged over the channels": _grey,
}
"""What may become of the gradient of a step, given those of the steps before."""
