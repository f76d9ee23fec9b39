"""Small trained networks and hand-made ones, for tests of attacks. Trained once a process, in seconds."""

import contextlib
import functools

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from harness.core.rng import global_state


class Net:
    """A classifier, as `harness.core.types.Classifier` describes it; counts batches."""

    def __init__(self, module: nn.Module, classes: int = 10):
        self.module, self.num_classes, self.digest = module, classes, "test"
        self.head = None
        self.forwards = 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.forwards += 1
        return self.module(x)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Counting(nn.Module):
    """Counts forward and backward passes of batches; no Sequential, which ART would take apart (A1)."""

    def __init__(self, module):
        super().__init__()
        self.module, self.forwards, self.backwards = module, 0, 0

    def forward(self, x):
        self.forwards += 1
        out = self.module(x)
        if out.requires_grad:
            out.register_hook(self._count)
        return out

    def _count(self, _):
        self.backwards += 1


class Scaled(nn.Module):
    """Logits of a network times a factor, plus an offset."""

    def __init__(self, module: nn.Module, factor: float = 1.0, offset: float = 0.0):
        super().__init__()
        self.module, self.factor, self.offset = module, factor, offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x) * self.factor + self.offset


@functools.cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """(1797, 1, 28, 28) images in [0, 1], rounded to k/255, and labels; the last 497 are for tests."""
    data = load_digits()
    small = torch.tensor(data.images / 16, dtype=torch.float32)[:, None]
    x = F.interpolate(small, size=28, mode="bilinear", align_corners=False)
    return (x * 255).round() / 255, torch.tensor(data.target, dtype=torch.int64)


def held_out(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Test images and labels; copies, since some libraries write into their input."""
    x, y = digits()
    return x[1300 : 1300 + rows].clone(), y[1300 : 1300 + rows].clone()


def cnn() -> nn.Sequential:
    """Two strided convolutions and two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def untrained() -> nn.Sequential:
    """A network with random weights, made without touching the global generators."""
    with global_state(2):
        return cnn()


@functools.cache
def standard() -> Net:
    """About 91 % right on clean images, 7 % under PGD at eps 0.15."""
    return _train(steps=200, eps=0.0)


@functools.cache
def robust() -> Net:
    """Trained on PGD-3 at eps 0.15: about 75 % right on clean images, 31 % under PGD at eps 0.15."""
    return _train(steps=150, eps=0.15)


def saturated() -> Net:
    """`standard` with logits so large that most softmax maxima are exactly 1 in float32."""
    return Net(Scaled(standard().module, 20.0).eval().requires_grad_(False))


@contextlib.contextmanager
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _train(steps: int, eps: float) -> Net:
    x, y = digits()
    # The caller may be in no_grad; one thread, so that the weights are the same however many there are.
    with global_state(1), torch.enable_grad(), _one_thread():
        net = cnn()
        optimiser = torch.optim.Adam(net.parameters(), 2e-3)
        for _ in range(steps):
            rows = torch.randint(0, 1300, (64,))
            points = _ascend(net, x[rows], y[rows], eps) if eps else x[rows]
            optimiser.zero_grad()
            F.cross_entropy(net(points), y[rows]).backward()
            optimiser.step()
    return Net(net.eval().requires_grad_(False))


def _ascend(net: nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    z = (x + (torch.rand(x.shape) * 2 - 1) * eps).clamp(0, 1)
    return pgd(net, x, y, eps, eps / 2, 3, start=z)


def pgd(net, x, y, eps, step, steps, *, start=None, reduction="sum", clip_first=False):
    """PGD in the L-inf ball by its textbook formula; `clip_first` clips to the box, then projects."""
    z = (x if start is None else start).clone()
    for _ in range(steps):
        z = z + step * gradient(net, z, y, reduction).sign()
        z = z.clamp(0, 1) if clip_first else z
        z = x + (z - x).clamp(-eps, eps)
        z = z if clip_first else z.clamp(0, 1)
    return z.detach()


def gradient(net, x, y, reduction="sum"):
    """Input gradient of the cross-entropy."""
    point = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(F.cross_entropy(net(point), y, reduction=reduction), point)
    return found


def robust_accuracy(net, x, y) -> float:
    """Share of images that are right."""
    with torch.no_grad():
        return float((net(x).argmax(1) == y).float().mean())
