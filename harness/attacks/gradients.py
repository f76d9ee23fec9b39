"""The gradient of a loss with respect to the images, and to nothing else.

Three arithmetics give a direction to search in; what is found is judged by the model itself.

- "plain": the model's own passes, through autograd. With it our attacks have the bits of the
  libraries.
- "float32": the same network with its passes written out (`passes`), or, where it cannot be traced,
  a channels_last copy. Another order of sums, so other last bits, and less time.
- "bfloat16": as "float32", with convolutions and products in bfloat16.

In the last two cross-entropy is climbed by its log-odds: the same direction, which does not vanish
where the softmax saturates.
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from harness.attacks.losses import DIRECTIONS, LOSSES
from harness.core.errors import ModelError
from harness.core.lazy import Lazy
from harness.core.rng import torch_rng

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import nn

    from harness.attacks.losses import Loss, LossFunction
    from harness.attacks.passes import Program
    from harness.core.types import Classifier
else:
    torch = Lazy("torch")

Arithmetic = Literal["plain", "float32", "bfloat16"]
Reduction = Literal["sum", "mean"]


class Slope(NamedTuple):
    """What one pass forward and back gives at a batch of points."""

    loss: torch.Tensor  # (N,)
    logits: torch.Tensor  # (N, K)
    gradient: torch.Tensor  # shaped as the images


class Search(Protocol):
    """Images and labels to loss, logits and the input gradient of the summed loss.

    Where the direction of the gradient is all that counts: its scale is anyone's.
    """

    def __call__(self, x: torch.Tensor, y: torch.Tensor, loss: Loss) -> Slope:
        """The slope at `x`; parameters get no gradient."""
        ...


def slope(
    model: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    loss: Loss,
    divisor: int = 1,
    losses: Mapping[Loss, LossFunction] = LOSSES,
) -> Slope:
    """Loss, logits and input gradient of (sum of losses) / divisor; parameters get no gradient.

    Args:
        model: images to logits.
        x: (N, C, H, W).
        y: (N,) labels.
        loss: which of `losses`.
        losses: what the names mean.
        divisor: N for a mean over the batch. Rows that saturate then underflow sooner; beside that
            only the scale of the gradient depends on it.

    Raises:
        ModelError: no path of differentiable operations leads from the images to the logits.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        logits = model(point)
        values = losses[loss](logits, y)
        total = values.sum() if divisor == 1 else values.sum() / divisor
        gradient = None
        if total.requires_grad:
            (gradient,) = torch.autograd.grad(total, point, allow_unused=True)
    if gradient is None:
        raise ModelError(
            "no gradient reaches the images: the model detaches or rounds them, or leaves PyTorch\n"
            "attacks by scores alone (square) still apply"
        )
    return Slope(values.detach(), logits.detach(), gradient)


@functools.cache
def fastest(device: str = "cpu") -> Arithmetic:
    """The rule for the search direction: "bfloat16" where the processor multiplies it natively.

    On a CPU that is AVX512-BF16 or AMX; elsewhere bfloat16 is emulated and slower than float32.
    The system is asked and not torch, which a plan does without.
    """
    if device != "cpu":
        return "bfloat16"
    told = Path("/proc/cpuinfo")
    able = set(told.read_text(encoding="utf-8").split()) if told.is_file() else set[str]()
    return "bfloat16" if able & {"avx512_bf16", "amx_bf16"} else "float32"


def search(
    model: Classifier, x: torch.Tensor, arithmetic: Arithmetic, block: int | None = None
) -> Search:
    """How to get slopes of `model` in an arithmetic.

    Args:
        model: the classifier; its passes are counted where it counts (`counting.Counted`).
        x: (N, C, H, W) images of the kind to come; a few are passed to compare with the model.
        arithmetic: see the head of this file.
        block: images at a time; by the rule of `block_size` if None.
    """
    if arithmetic == "plain":
        whole: Search = lambda x, y, loss: slope(model, x, y, loss)  # noqa: E731 -- a Search
        return _Blocks(whole, block) if block else whole
    return _Blocks(_fast(model, x, arithmetic), block or block_size(x), _noted(model))


def forward(
    model: Classifier, x: torch.Tensor, arithmetic: Arithmetic
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Images to (N, K) logits in an arithmetic, without gradients; the arguments as in `search`.

    For points of which few matter; those are for the model itself to judge.
    """
    if arithmetic == "plain":
        return model
    fast, size, note = _fast(model, x, arithmetic), block_size(x), _noted(model)

    def logits(points: torch.Tensor) -> torch.Tensor:
        if note is not None:
            note(forwards=len(points), backwards=0)
        parts = points.split(size)
        return torch.cat([fast.logits(filled(part, size))[: len(part)] for part in parts])

    return logits


def _noted(model: Classifier) -> Callable[..., None] | None:
    return getattr(model, "note", None)


def _fast(model: Classifier, x: torch.Tensor, arithmetic: Arithmetic) -> WrittenOut | Copied:
    from harness.attacks.together import together

    keep_memory()
    inner: Classifier = getattr(model, "inner", model)
    network = (together(inner) if x.device.type != "cpu" else None) or inner.module
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[arithmetic]
    count = min(EXAMPLES, block_size(x), len(x)) if len(x) else 0
    few = x[torch.linspace(0, len(x) - 1, count).long()]  # images may lie in order of their classes
    for kind in (dtype, torch.float32):
        found = written_out(network, few, kind) or _copied(network, few, kind)
        if found is not None:
            return found
    return Copied(network, few, torch.float32)


def keep_memory() -> None:
    """Let the process keep memory that it frees, up to 64 MiB, for what it allocates next.

    The GNU C library gives blocks above a threshold straight back to the system, and the next pass
    pays for fresh pages: a tenth of its time, and more on a busy machine. The threshold follows the
    largest block of up to 32 MiB that was freed; this block is never touched, so it costs nothing.
    Elsewhere it does nothing.
    """
    torch.empty(2**25 - 2**13, dtype=torch.uint8)


class _Blocks:
    """A search of a block of images at a time, so that activations stay in the cache."""

    def __init__(self, fast: Search, size: int, note: Callable[..., None] | None = None) -> None:
        self.fast, self.size, self.note = fast, size, note

    def __call__(self, x: torch.Tensor, y: torch.Tensor, loss: Loss) -> Slope:
        size = _even(len(x), self.size)
        pairs = zip(x.split(size), y.split(size), strict=True)
        parts = [self._block(*pair, loss) for pair in pairs]
        if self.note is not None:
            self.note(forwards=len(x), backwards=len(x))
        return parts[0] if len(parts) == 1 else Slope(*map(torch.cat, zip(*parts, strict=True)))

    def _block(self, x: torch.Tensor, y: torch.Tensor, loss: Loss) -> Slope:
        found = self.fast(filled(x, self.size), filled(y, self.size), loss)
        return Slope(*(value[: len(x)] for value in found))


def _even(count: int, size: int) -> int:
    """Images in a block, so that blocks are about as large, in whole parts of `size`.

    >>> [_even(count, 256) for count in (0, 100, 256, 300, 1000)]
    [256, 256, 256, 152, 256]
    """
    blocks, part = -(-count // size), max(size // PARTS, 1)
    return size if blocks <= 1 else -(-count // (blocks * part)) * part


def filled(rows: torch.Tensor, size: int) -> torch.Tensor:
    """`rows`, some of them again at the end, so that few lengths of a batch occur.

    Samples leave an attack one by one, and every new length costs the compilation of its
    convolutions, as much as fifty gradients. So there are powers of two up to one of the `PARTS` of
    a block, then whole parts.

    >>> [len(filled(torch.empty(count, 1), 256)) for count in (3, 17, 96, 100)]
    [4, 24, 96, 104]
    """
    count, part = len(rows), max(size // PARTS, 1)
    length = -(-count // part) * part if count > part else 1 << max(count - 1, 0).bit_length()
    if count in (0, length):
        return rows
    return rows[torch.arange(length, device=rows.device) % count]


PARTS = 32  # of a block, in whole multiples of which batches come
EXAMPLES = 32  # images that decide whether a program computes what its network does
CLOSE = {"float32": 1e-4, "bfloat16": 0.05}  # of its logits, relative to the largest difference
ALIKE = {"float32": 0.05, "bfloat16": 0.5}  # of its gradients: of each image, of all together
NOISE = 0.02  # on these images: where all is even, rounding decides between the places of a maximum


def written_out(network: nn.Module, x: torch.Tensor, dtype: torch.dtype) -> WrittenOut | None:
    """The network as a program, or None where it cannot be traced or does not agree.

    In float32 it must agree in its logits and, image by image, in their gradient: a hook or a
    function with a backward pass of its own, such as a straight-through estimator, leaves no trace.
    """
    from harness.attacks.tracing import trace

    if x.device.type != "cpu" or len(x) == 0:
        return None
    point = _stirred(x)
    try:
        exact = WrittenOut(trace(network, point, torch.float32))
        wanted = slope(network, point, _nobody(point), "margin")
        if not _agree(exact(point, _nobody(point), "margin"), wanted, "float32"):
            return None
        fast = exact if dtype == torch.float32 else WrittenOut(trace(network, point, dtype))
        ours = fast(point, _nobody(point), "margin")
    except Exception:  # noqa: BLE001 -- whatever a user's network raises at values that are no tensors
        return None
    return fast if _agree(ours, wanted, str(dtype).removeprefix("torch.")) else None


def _copied(network: nn.Module, x: torch.Tensor, dtype: torch.dtype) -> Copied | None:
    """A copy of the network in an arithmetic, or None where that arithmetic is too coarse for it."""
    copied = Copied(network, x, dtype)
    if dtype == torch.float32 or len(x) == 0:
        return copied
    point = _stirred(x)
    try:
        wanted = slope(network, point, _nobody(point), "margin")
    except (ModelError, RuntimeError):
        return copied  # whoever asks it for a slope will hear the reason
    return copied if _agree(copied(point, _nobody(point), "margin"), wanted, "bfloat16") else None


def _stirred(x: torch.Tensor) -> torch.Tensor:
    noise = torch.rand(x.shape, generator=torch_rng(0, "examples")).to(x)
    return (1 - NOISE) * x + NOISE * noise


def _nobody(x: torch.Tensor) -> torch.Tensor:
    """Labels, whose truth does not matter."""
    return torch.zeros(len(x), dtype=torch.int64, device=x.device)


def _agree(ours: Slope, wanted: Slope, arithmetic: str) -> bool:
    if ours.logits.shape != wanted.logits.shape:
        return False
    one, other = (logits - logits.mean(1, keepdim=True) for logits in (ours.logits, wanted.logits))
    if float((one - other).abs().max()) > CLOSE[arithmetic] * float(other.abs().max()):
        return False  # what is common to all logits of an image decides nothing, and hides the rest
    turned, gradient = (ours.gradient - wanted.gradient).flatten(1), wanted.gradient.flatten(1)
    if arithmetic == "float32":
        return bool((turned.norm(dim=1) <= ALIKE[arithmetic] * gradient.norm(dim=1)).all())
    return float(turned.norm()) <= ALIKE[arithmetic] * float(gradient.norm())


class WrittenOut:
    """Slopes by a program."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def __call__(self, x: torch.Tensor, y: torch.Tensor, loss: Loss) -> Slope:
        """The slope at `x`."""
        with torch.no_grad():
            logits, kept = self.program.forward(x, keep=True)
        values, above = at_logits(logits, y, loss)
        with torch.no_grad():
            return Slope(values, logits, self.program.backward(kept, above))

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) float32."""
        with torch.no_grad():
            return self.program.forward(x, keep=False)[0]


def at_logits(
    logits: torch.Tensor, y: torch.Tensor, loss: Loss
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,) losses, and (N, K) gradient of their sum with respect to the logits."""
    if loss == "dlr":
        with torch.enable_grad():
            known = logits.detach().requires_grad_()
            values = DIRECTIONS[loss](known, y)
            (above,) = torch.autograd.grad(values.sum(), known)
        return values.detach(), above
    # By hand: a tenth of the time of autograd, which for small networks is felt.
    true, others = logits.gather(1, y[:, None]), logits.scatter(1, y[:, None], -torch.inf)
    if loss == "margin":
        reached, rival = others.max(1, keepdim=True)
        above = torch.zeros_like(logits).scatter_(1, rival, 1.0)
    else:
        reached = others.logsumexp(1, keepdim=True)
        above = (others - reached).exp_()
    return (reached - true).squeeze(1), above.scatter_(1, y[:, None], -1.0)


def block_size(x: torch.Tensor) -> int:
    """Images at a time: a power of two, at most 262,144 pixels, from 8 to 256.

    Larger blocks leave the processor's cache; smaller ones spend their time between operations.

    >>> import torch
    >>> [block_size(torch.empty(1, *shape)) for shape in ((1, 28, 28), (3, 32, 32), (3, 224, 224))]
    [256, 64, 8]
    """
    fitting = max(2**18 // max(x[0].numel(), 1), 1)
    return min(max(1 << (fitting.bit_length() - 1), 8), 256)


class Copied:
    """Slopes by autograd on a copy in channels_last, in bfloat16 under autocast."""

    def __init__(self, network: nn.Module, x: torch.Tensor, dtype: torch.dtype) -> None:
        self.dtype, self.network = dtype, copy.deepcopy(network)
        try:
            self.network.to(memory_format=torch.channels_last)
            with torch.no_grad():
                self._logits(x)
        except RuntimeError:  # it views images as rows, or has filters of another rank
            self.network = copy.deepcopy(network)

    def __call__(self, x: torch.Tensor, y: torch.Tensor, loss: Loss) -> Slope:
        """The slope at `x`."""
        return slope(self._logits, x, y, loss, losses=DIRECTIONS)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) float32."""
        with torch.no_grad():
            return self._logits(x)

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        if self.dtype == torch.float32:
            return self.network(x)
        with torch.autocast(x.device.type, dtype=self.dtype):
            return self.network(x).float()
