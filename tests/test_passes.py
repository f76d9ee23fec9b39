"""Passes written out by hand, against autograd on the same network."""

import copy
import math
from typing import cast

import numba
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness import models
from harness.attacks import kernels
from harness.attacks.gradients import CLOSE, search, slope, written_out
from harness.attacks.losses import DIRECTIONS
from harness.attacks.tracing import trace
from harness.core.errors import ModelError
from harness.core.rng import global_state
from harness.core.types import Use

GREY = (1, 28, 28)


def built(name: str, seed: int = 0) -> models.Frozen:
    return models.freeze(models.build(Use(name), num_classes=10, in_shape=GREY, seed=seed))


class Residual(nn.Module):
    """Two ways through, with strides, groups, an average and a nonlinearity of its own."""

    in_shape = (3, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.gelu(self.norm(self.first(x)))
        x = x + F.relu(self.second(x))
        return self.head(x.mean((2, 3)))


def residual() -> nn.Module:
    with global_state(0):
        return models.freeze(Residual()).module


class Twins(nn.Module):
    """Two first layers of different padding, one of another pooling, and one that nobody reads."""

    in_shape = GREY

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.rough, self.idle = (
            nn.Conv2d(1, 4, 3, padding=padding) for padding in (0, 1, 0, 0)
        )
        self.head = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        F.max_pool2d(F.relu(self.idle(x)), 2)
        inner = F.max_pool2d(F.relu(self.inner(x)), 2)
        outer, rough = F.max_pool2d(F.relu(self.outer(x)), 2), F.max_pool2d(self.rough(x), 2)
        return self.head((inner.mean((2, 3)) + outer.mean((2, 3))) * rough.mean((2, 3)))


def twins() -> nn.Module:
    with global_state(0):
        return models.freeze(Twins()).module


class Odd(nn.Module):
    """Images of odd sides and two channels, a filter that is not square, padded on two sides."""

    in_shape = (2, 13, 17)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(2, 6, (2, 3), padding=(1, 0)), nn.Linear(6 * 7 * 7, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.max_pool2d(F.relu(self.first(x)), 2).flatten(1))


def odd() -> nn.Module:
    with global_state(0):
        return models.freeze(Odd()).module


class Deep(nn.Module):
    """As `Odd`, of many channels, and pooled before its ReLU: a last row and column go unpooled."""

    in_shape = (12, 14, 17)

    def __init__(self, filters: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv2d(12, filters, (2, 3), padding=(1, 2))
        self.head = nn.Linear(filters * 7 * 9, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(F.max_pool2d(self.first(x), 2)).flatten(1))


def deep(filters: int = 6) -> nn.Module:
    with global_state(0):
        return models.freeze(Deep(filters)).module


NETWORKS = {
    "lenet5": lambda: built("lenet5").module,
    "lenet5-large": lambda: built("lenet5-large").module,
    "padded": lambda: built("advertorch-lenet5").module,
    "ensemble": lambda: models.Ensemble([built("lenet5", seed) for seed in range(3)]).module,
    "mixed ensemble": lambda: models.Ensemble([built("lenet5"), built("lenet5-large")]).module,
    "residual": residual,
    "twins": twins,
    "odd": odd,
    "deep": deep,
}


def images(network: nn.Module, count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    shape = getattr(network, "in_shape", GREY)
    return torch.rand(count, *shape, generator=rng), torch.randint(4, (count,), generator=rng)


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_slope_is_that_of_autograd(name, loss):
    """Catches a network that falls back to autograd unseen (as ensembles did, at twice the time),
    a wrong place of the maximum, a ReLU that lets everything back, and padding on one side only."""
    network = NETWORKS[name]()
    x, y = images(network)
    fast = written_out(network, x, torch.float32)
    assert fast is not None
    ours, wanted = fast(x, y, loss), slope(network, x, y, loss, losses=DIRECTIONS)
    torch.testing.assert_close(ours.logits, wanted.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.loss, wanted.loss, rtol=1e-4, atol=1e-5)
    scale = wanted.gradient.abs().max()
    torch.testing.assert_close(ours.gradient / scale, wanted.gradient / scale, rtol=0, atol=1e-4)


def test_an_ensemble_reads_its_images_once():
    """Catches members that each get a line, and images of their own, where one does for all."""
    network = NETWORKS["ensemble"]()
    lines = trace(network, images(network)[0], torch.float32).lines
    (first,) = (line for line in lines if 0 in line.reads)
    assert len(first.writes) == 3


def written(network: nn.Module, dtype: torch.dtype) -> set[str]:
    lines = trace(network, images(network)[0], dtype).lines
    return {type(line.op).__name__ for line in lines}


def test_pooled_convolutions_go_back_from_their_maxima_alone():
    """Catches layers that are written in one go only where that costs more, or never."""
    for name in ("lenet5", "lenet5-large", "padded", "ensemble", "deep"):
        assert "ConvPool" in written(NETWORKS[name](), torch.float32)
    wide = deep(2**19 // (4 * 72) + 1)  # its filters take a number more than are near
    assert "ConvPool" not in written(wide, torch.float32)
    assert "ConvPool" in written(wide, torch.bfloat16)


@pytest.mark.parametrize("name", ["lenet5", "padded", "ensemble"])
def test_bfloat16_points_the_same_way(name):
    """Catches a bfloat16 pass that is wrong beyond its rounding, and a first layer that rounds too."""
    network = NETWORKS[name]()
    x, y = images(network, 512)
    fast = written_out(network, x, torch.bfloat16)
    assert fast is not None
    ours, wanted = fast(x, y, "ce").gradient, slope(network, x, y, "ce").gradient
    same = F.cosine_similarity(ours.flatten(1), wanted.flatten(1))
    assert same.mean() > 0.991  # 0.989 with a first layer in bfloat16
    assert same.min() > 0.95


def test_of_equal_values_the_first_takes_the_gradient():
    """Catches the gradient that goes to every place of a tie: a flat image is nothing but ties."""
    network = built("lenet5").module
    x, y = torch.full((2, *GREY), 0.5), torch.tensor([0, 1])
    fast = written_out(network, x, torch.float32)
    assert fast is not None
    wanted = slope(network, x, y, "margin").gradient
    torch.testing.assert_close(fast(x, y, "margin").gradient, wanted, rtol=1e-3, atol=1e-6)


def test_a_relu_at_exactly_zero_lets_nothing_back():
    """Catches a gradient where nothing is above zero: a black image, filters without bias."""
    network = copy.deepcopy(odd())
    assert isinstance(network, Odd)
    assert network.first.bias is not None
    network.first.bias.data.zero_()
    x, y = torch.zeros(2, *Odd.in_shape), torch.tensor([0, 1])
    fast = written_out(network, x, torch.float32)
    assert fast is not None
    assert not slope(network, x, y, "margin").gradient.any()
    assert not fast(x, y, "margin").gradient.any()


class Thermometer(nn.Module):
    """Reads its images twice, once behind a threshold: no gradient passes there."""

    in_shape = GREY

    def __init__(self, *, smooth: bool) -> None:
        super().__init__()
        self.smooth = smooth
        self.last = nn.Linear(math.prod(GREY), 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hard = self.last((x > 0.5).float().flatten(1))
        return hard + self.last(x.flatten(1)) if self.smooth else hard


@pytest.mark.parametrize("arithmetic", ["plain", "float32", "bfloat16"])
def test_a_part_without_gradient_is_looked_past_and_a_whole_is_refused(arithmetic):
    """Catches a crash at a threshold or a constant inside, and one that passes for no gradient at
    all: a model that nobody can climb would look robust."""
    with global_state(0):
        model, whole = (models.freeze(Thermometer(smooth=smooth)) for smooth in (True, False))
    x, y = images(model.module)
    wanted = slope(model, x, y, "ce").gradient
    found = search(model, x, arithmetic)(x, y, "ce").gradient
    assert wanted.any()
    assert F.cosine_similarity(found.flatten(1), wanted.flatten(1)).min() > 0.99
    with pytest.raises(ModelError, match="no gradient reaches the images"):
        search(whole, x, arithmetic)(x, y, "ce")


class Round(torch.autograd.Function):
    """To quarters; back as if it were not there."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        del ctx
        return (4 * x).round() / 4

    @staticmethod
    def backward(ctx: object, *gradients: torch.Tensor) -> torch.Tensor:
        del ctx
        return gradients[0]


class StraightThrough(Thermometer):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(cast("torch.Tensor", Round.apply(x)).flatten(1))


class Hooked(Thermometer):
    def __init__(self, *, smooth: bool) -> None:
        super().__init__(smooth=smooth)
        self.last.register_full_backward_hook(lambda *seen: (seen[1][0] * 0 + 1,))


@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", [StraightThrough, Hooked])
def test_a_backward_pass_of_its_own_is_not_passed_by(kind, arithmetic):
    """Catches a program that has the logits of a network and another gradient: an evaluator who
    wrote a way past a rounding would attack it without."""
    with global_state(0):
        model = models.freeze(kind(smooth=True))
    x, y = images(model.module)
    wanted = slope(model, x, y, "ce").gradient
    found = search(model, x, arithmetic)(x, y, "ce").gradient
    assert wanted.any()
    assert F.cosine_similarity(found.flatten(1), wanted.flatten(1)).min() > 0.99


class ForBright(nn.Module):
    """Rounds bright images, with a way past the rounding; dark ones it takes as they are."""

    in_shape = GREY

    def __init__(self) -> None:
        super().__init__()
        self.dark, self.bright = (nn.Linear(math.prod(GREY), 4) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        share = torch.sigmoid(60 * (x.mean((1, 2, 3))[:, None] - 0.5))
        rounded = cast("torch.Tensor", Round.apply(x))
        return (1 - share) * self.dark(x.flatten(1)) + share * self.bright(rounded.flatten(1))


def test_a_program_is_compared_on_images_of_all_kinds():
    """Catches a look at the first images alone: data sets lie in order of their classes."""
    with global_state(0):
        model = models.freeze(ForBright())
    x, y = images(model.module, 64)
    x = torch.cat([0.4 * x[:40], 0.6 + 0.4 * x[40:]])
    wanted = slope(model, x, y, "ce").gradient
    found = search(model, x, "float32")(x, y, "ce").gradient
    assert F.cosine_similarity(found.flatten(1), wanted.flatten(1)).min() > 0.99


@pytest.mark.parametrize("name", ["lenet5", "ensemble", "padded"])
def test_what_all_logits_have_in_common_does_not_coarsen_their_differences(name):
    """Catches logits in bfloat16, of which an offset of 3000 leaves steps of 16."""
    network = copy.deepcopy(NETWORKS[name]())
    x, y = images(network, 64)
    wanted = search(models.freeze(network, in_shape=GREY), x, "bfloat16")(x, y, "margin").gradient
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear) and layer.out_features == 10:
            layer.bias.data += 3000
    found = search(models.freeze(network, in_shape=GREY), x, "bfloat16")(x, y, "margin").gradient
    assert F.cosine_similarity(found.flatten(1), wanted.flatten(1)).mean() > 0.98


@pytest.mark.parametrize("raised", [AssertionError, KeyError, IndexError, StopIteration])
def test_whatever_a_network_raises_at_a_trace_it_is_left_to_autograd(raised):
    """Catches a crash where a network's Python looks at types, sizes or devices of its tensors."""

    class Picky(Thermometer):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not isinstance(x, torch.Tensor):
                raise raised("tensors only")
            return super().forward(x)

    with global_state(0):
        model = models.freeze(Picky(smooth=True))
    x, y = images(model.module)
    wanted = slope(model, x, y, "ce").gradient
    found = search(model, x, "float32")(x, y, "ce").gradient
    torch.testing.assert_close(F.normalize(found.flatten(1)), F.normalize(wanted.flatten(1)))


class Branching(nn.Module):
    """Its Python depends on the images."""

    in_shape = GREY

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)[:, :3]
        return flat if float(x.sum()) > 0 else -flat


def test_a_network_that_cannot_be_traced_is_left_to_autograd():
    """Catches a trace of one branch taken for the whole."""
    assert written_out(Branching().eval(), torch.ones(2, *GREY), torch.float32) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_number_of_threads_changes_nothing(dtype):
    """Catches images that are left out, or taken twice, where PyTorch has several threads."""
    network = NETWORKS["padded"]()
    x, y = images(network, 101)
    fast, found = written_out(network, x, dtype), {}
    assert fast is not None
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found[threads] = fast(x, y, "margin").gradient
    finally:
        torch.set_num_threads(before)
    few = CLOSE[str(dtype).removeprefix("torch.")]  # PyTorch's own products differ by the thread
    for threads in (2, 3):
        error = (found[threads] - found[1]).abs().max() / found[1].abs().max()
        assert float(error) < few


def bfloat16(bits: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)


def test_bfloat16_is_rounded_and_read_as_pytorch_does():
    """Catches numbers that are cut off, halves that go up in every case, and bits read as numbers."""
    values = torch.randn(5000, generator=torch.Generator().manual_seed(0)) * 2.0 ** torch.arange(5000).remainder(60)  # fmt: skip
    halves = torch.arange(0x3F800000, 0x3F900000, 0x8000, dtype=torch.int32).view(torch.float32)
    for given in (values, -values, halves, torch.tensor([torch.inf, -torch.inf, 0.0])):
        ours = np.array([kernels._half(value) for value in given.numpy()], np.uint16)
        assert torch.equal(bfloat16(ours), given.bfloat16())
        read = np.array([kernels._whole(one) for one in ours], np.float32)
        assert torch.equal(torch.from_numpy(read), given.bfloat16().float())


def test_kernels_work_where_nothing_can_be_kept(monkeypatch):
    """Catches an installation that can't be written, in a home that can't either, which fails."""
    real = numba.njit

    def njit(*, cache: bool = False, **options: object):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(kernels.numba, "njit", njit)

    @kernels.compiled
    def doubled(x: np.ndarray) -> None:
        for i in range(len(x)):
            x[i] *= 2

    values = np.ones(3)
    doubled(values)
    assert values.tolist() == [2, 2, 2]
