"""Networks frozen once: what every attack, detector and library sees."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.core.errors import ModelError
from harness.core.types import array_digest, digest_of
from harness.models.layout import channels_last
from harness.models.weights import fit_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.core.types import Classifier
    from harness.models import Shape


class Frozen:
    """A classifier that nothing changes; made by `freeze`.

    In evaluation mode, parameters without gradients, a copy of the network that was given.

    Args:
        module: the network; from now on this object's own.
        num_classes: K.
        head: last linear layer of `module`, or None where its output is not the logits.
        digest: of weights and architecture; the same on every device.
    """

    def __init__(
        self, module: nn.Module, num_classes: int, head: nn.Linear | None, digest: str
    ) -> None:
        self.module, self.num_classes, self.head, self.digest = module, num_classes, head, digest

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) logits of (N, C, H, W) images in [0, 1]."""
        return self.module(x)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, D) input of the last linear layer.

        Raises:
            ModelError: the network does not end in one.
        """
        if self.head is None:
            raise ModelError("the network does not end in a linear layer, so it has no features")
        seen: list[torch.Tensor] = []
        watch = self.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            self.module(x)
        finally:
            watch.remove()
        return seen[-1]

    def to(
        self, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Frozen:
        """A copy on another device or in another precision, for example torch.float64."""
        memo: dict[int, object] = {}
        module = copy.deepcopy(self.module, memo)
        head = None if self.head is None else copy.deepcopy(self.head, memo)
        module.to(device=device, dtype=dtype)
        return Frozen(module, self.num_classes, head, self.digest)


def freeze(
    network: nn.Module,
    state: Mapping[str, torch.Tensor] | None = None,
    *,
    in_shape: Shape | None = None,
    device: str = "cpu",
    architecture: str = "",
) -> Frozen:
    """A frozen copy of `network`, which stays as it is.

    Args:
        network: (N, C, H, W) images in [0, 1] to (N, K) logits.
        state: weights to put into the copy; the network's own if None.
        in_shape: (C, H, W) of an image; the network's attribute `in_shape` if None.
        device: where it computes. On the CPU convolutions run in channels_last where the network
            allows it (`layout`).
        architecture: what its digest holds besides the weights; the printed network if empty.

    Raises:
        ModelError: no image shape is known, the weights do not fit, it is a script, or the network does not turn
            images of that shape into (N, K) logits.
    """
    shape = in_shape or getattr(network, "in_shape", None)
    if shape is None:
        raise ModelError("state in_shape=(C, H, W): the network does not say which images it takes")
    if isinstance(network, torch.jit.ScriptModule):
        raise ModelError(
            "TorchScript takes no hooks: give the nn.Module that the script was made of"
        )
    module = _copy(network)
    if state is not None:
        fit_weights(module, state)
    module.eval().requires_grad_(requires_grad=False).to(device)
    like = next(module.parameters(), torch.zeros((), device=device))
    example = torch.linspace(0, 1, 2 * math.prod(shape), dtype=like.dtype, device=like.device)
    images = example.view(2, *shape)
    if like.device.type == "cpu":
        channels_last(module, images)
    logits, head = _probe(module, images)
    digest = digest_of([architecture or repr(module), state_digest(module.state_dict())])
    return Frozen(module, logits.shape[1], head, digest)


def _copy(network: nn.Module) -> nn.Module:
    """A deep copy; weights that an old `weight_norm` or pruning computed are copied by value."""
    computed = [
        value
        for part in network.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    ]
    return copy.deepcopy(network, {id(value): value.detach().clone() for value in computed})


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256, in hex, of tensors by name; memory format and device do not matter."""
    return digest_of(
        {
            name: [str(tensor.dtype), list(tensor.shape), array_digest(_bytes(tensor))]
            for name, tensor in state.items()
        }
    )


def _bytes(tensor: torch.Tensor):  # noqa: ANN202 -- a NumPy array, whose module is not needed here
    # As bytes, since NumPy has no bfloat16.
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()


def _probe(module: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, nn.Linear | None]:
    """Logits of two images, and the linear layer that gave them."""
    outputs: list[tuple[nn.Linear, torch.Tensor, torch.Tensor]] = []

    def note(layer: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        if isinstance(layer, nn.Linear):
            outputs.append((layer, given[0], out))

    watches = [layer.register_forward_hook(note) for layer in module.modules()]
    try:
        with torch.no_grad():
            logits = module(seen := images.clone())
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(
            f"the network does not take images of shape {tuple(images.shape[1:])}: {error}"
        ) from error
    finally:
        for watch in watches:
            watch.remove()
    if not torch.equal(seen, images):
        raise ModelError(
            "the network changes its images in place, and with them the caller's and an attack's:"
            " write x = x - mean where it says x.sub_(mean), or clone() first"
        )
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != 2:
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelError(
            f"the network must turn (N, C, H, W) images into (N, K) logits, got {got} for N = 2"
        )
    return logits, _last(outputs, logits)


def _last(
    outputs: list[tuple[nn.Linear, torch.Tensor, torch.Tensor]], logits: torch.Tensor
) -> nn.Linear | None:
    """The layer whose (N, D) input became the logits, if the network ends in one."""
    for layer, given, out in reversed(outputs):
        if given.ndim == 2 and torch.equal(out, logits):
            return layer
    return None


class Ensemble:
    """Members whose probabilities are averaged; the "logits" are the logarithm of that mean.

    Args:
        members: at least one, all with the same classes.

    Raises:
        ModelError: no members, or members with different numbers of classes.
    """

    head = None

    def __init__(self, members: Sequence[Classifier]) -> None:
        self.members = tuple(members)
        classes = {member.num_classes for member in self.members}
        if len(classes) != 1:
            raise ModelError(
                f"an ensemble needs members with the same classes, got {sorted(classes)}"
            )
        (self.num_classes,) = classes
        self.module: nn.Module = _MeanSoftmax([member.module for member in self.members]).eval()
        self.digest = digest_of({"ensemble": [member.digest for member in self.members]})

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) log mean probabilities of (N, C, H, W) images in [0, 1]."""
        return self.module(x)

    def __iter__(self) -> Iterator[Classifier]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """None to be had: every member has its own.

        Raises:
            ModelError: always.
        """
        raise ModelError("an ensemble has no features of its own; ask its members")


class _MeanSoftmax(nn.Module):
    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return log_mean_softmax([network(x) for network in self.networks])


def log_mean_softmax(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    """(N, K) logarithm of the mean over members of the softmax of their (N, K) logits.

    In logarithms throughout, so that a class that all members think impossible keeps a finite
    value and a gradient.
    """
    return torch.stack(list(logits)).log_softmax(-1).logsumexp(0) - math.log(len(logits))
