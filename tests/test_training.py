"""The training loop: determinism, health, and networks trained side by side.

Each test says which wrong implementation it would catch. The images are drawn here: a bar at one
of four heights under noise, which a small network learns in a hundred steps.
"""

import contextlib
import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import nn

from harness import models
from harness.core.errors import DataError, ModelError
from harness.core.registry import registry
from harness.core.rng import global_state, numpy_rng
from harness.core.types import Split, Use, array_digest
from harness.models.stack import Stack
from harness.recipes import Recipe, Step
from harness.training import Settings, catastrophe, chance, train, train_many
from harness.training.course import Course
from harness.training.narrow import Narrow
from harness.training.optimiser import BETAS, AdamW
from harness.training.run import Run, one_cycle

SHAPE, CLASSES = (1, 16, 16), 4
BUILD = models.builder(
    Use("lenet5", {"channels": (4, 8), "hidden": 16}), num_classes=CLASSES, in_shape=SHAPE
)
QUICK = Settings(epochs=2, batch_size=32, learning_rate=5e-3)
HALF = replace(QUICK, arithmetic="bfloat16")
PGD = Use("pgd", {"eps": 0.1, "steps": 2})


def bars(n, seed, name="bars", noise=0.3):
    rng = numpy_rng(seed, name)
    y = rng.integers(CLASSES, size=n)
    x = noise * rng.random((n, *SHAPE), dtype=np.float32)
    for image, label in zip(x, y, strict=True):
        image[0, 4 * label + 1 : 4 * label + 3] += 0.6
    x = x.astype(np.float32).clip(0, 1)
    return Split(name, x, y, array_digest(x, y), tuple("abcd"))


DATA, HELD_OUT = bars(320, 0), bars(60, 1, "held out")


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


# ---------------------------------------------------------------- what is learnt


@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
@pytest.mark.parametrize("steps", [[], [Use("cutout", {"size": 4})], [Use("mixup")], [PGD]])
def test_a_network_learns_under_every_recipe(steps, arithmetic):
    """Catches a step that is not taken, labels that no longer belong to images, and grads off."""
    settings = Settings(epochs=8, batch_size=32, learning_rate=1e-2, arithmetic=arithmetic)
    trained = train(BUILD, DATA, HELD_OUT, steps, settings, seed=0)
    assert trained.history[-1]["val_accuracy"] > 0.95
    assert len(trained.history) == 8
    assert trained.facts["flags"] == {}


def test_adversarial_training_makes_robust():
    """Catches an attack whose images are not what is learnt from."""
    settings = Settings(epochs=8, batch_size=32, learning_rate=1e-2)
    noisy, held_out = bars(320, 0, noise=0.9), bars(60, 1, "held out", noise=0.9)
    robust = train(BUILD, noisy, held_out, [Use("pgd", {"eps": 0.2, "steps": 5})], settings, seed=0)
    # The same network without the training, probed alike: an attack on no part of the batch.
    plain = train(
        BUILD, noisy, held_out, [Use("pgd", {"eps": 0.2, "portion": 0.0})], settings, seed=0
    )
    gain = robust.history[-1]["probe_accuracy"] - plain.history[-1]["probe_accuracy"]
    assert gain > 0.1


def test_plain_training_of_one_layer_is_logistic_regression():
    """Catches a loss that is not the mean cross-entropy: scikit-learn minimises the same."""

    def one_layer(seed):
        with torch.random.fork_rng():
            network = nn.Sequential(nn.Flatten(), nn.Linear(256, CLASSES))
        nn.init.zeros_(network[1].weight)
        nn.init.zeros_(network[1].bias)
        return network

    settings = Settings(epochs=60, batch_size=320, learning_rate=2e-2)
    ours = train(one_layer, DATA, HELD_OUT, [], settings, seed=0)
    flat = DATA.x.reshape(len(DATA), -1)
    theirs = LogisticRegression(C=np.inf, max_iter=60).fit(flat, DATA.y)
    logits = torch.from_numpy(HELD_OUT.x).flatten(1) @ ours.state["1.weight"].T
    guess = theirs.predict(HELD_OUT.x.reshape(60, -1))
    assert ((logits + ours.state["1.bias"]).argmax(1).numpy() == guess).mean() > 0.97
    assert ours.history[-1]["loss"] < 0.05


def small_network():
    with global_state(0):
        return nn.ModuleList([nn.Linear(7, 3), nn.Conv2d(3, 5, 3), nn.Linear(5, 7)])


def test_our_optimiser_has_the_bits_of_pytorchs():
    """Catches a count of steps shared by weights that sit some out, decay that is not decoupled or
    falls on weights without a gradient, and a rate that stays at its first value."""
    ours, theirs = (small_network().to(memory_format=torch.channels_last) for _ in range(2))
    one = AdamW(ours.parameters(), 0.1)
    two = torch.optim.AdamW(theirs.parameters(), betas=BETAS, weight_decay=0.1, fused=True)
    x = torch.rand(9, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for step in range(6):
        for head, conv, hidden in (ours, theirs):
            out = hidden(conv(x).mean((2, 3)))
            (out if step % 3 == 1 else head(out)).square().sum().backward()
        rate = 0.01 * (step + 1)
        two.param_groups[0]["lr"] = rate
        one.step(rate)
        two.step()
        one.forget()
        two.zero_grad()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


def test_an_optimiser_comes_without_a_compiler():
    """Catches torch.optim.AdamW, which costs every worker process a second and a half."""
    code = (
        "import sys, torch; from harness.training.optimiser import AdamW; "
        "one = torch.ones(1, requires_grad=True); made = AdamW([one], 0.0); "
        "one.sum().backward(); made.step(0.1); assert one.item() < 1; "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- determinism


@pytest.mark.parametrize("quick", [QUICK, HALF])
@pytest.mark.parametrize("steps", [[], [Use("cutout", {"size": 4}), PGD], [PGD, Use("mixup")]])
def test_equal_seeds_give_equal_bits_and_others_do_not(steps, quick):
    """Catches a global generator, an order that is not seeded, and a seed that is ignored."""
    one = train(BUILD, DATA, HELD_OUT, steps, quick, seed=1)
    two = train(BUILD, DATA, HELD_OUT, steps, quick, seed=1)
    other = train(BUILD, DATA, HELD_OUT, steps, quick, seed=2)
    assert equal(one.state, two.state)
    assert one.facts == two.facts
    assert not any(torch.equal(one.state[key], other.state[key]) for key in one.state)


@pytest.mark.parametrize("quick", [QUICK, HALF])
def test_a_network_trained_beside_others_has_the_bits_that_it_has_alone(quick):
    """Catches generators shared by the members of an ensemble."""
    steps = [PGD, Use("cutout", {"size": 4})]
    beside = train_many(BUILD, DATA, HELD_OUT, steps, quick, seeds=[3, 4])
    for trained, seed in zip(beside, (3, 4), strict=True):
        alone = train(BUILD, DATA, HELD_OUT, steps, quick, seed=seed)
        assert equal(trained.state, alone.state)
        assert trained.facts == alone.facts


def test_the_seed_decides_weights_and_order_each_by_itself():
    """Catches one stream for both: a network of its own weights still sees the seed's order."""
    fixed = lambda seed: BUILD(0)  # noqa: E731 -- a builder that ignores the seed
    one = train(fixed, DATA, HELD_OUT, [], QUICK, seed=1)
    two = train(fixed, DATA, HELD_OUT, [], QUICK, seed=2)
    assert not equal(one.state, two.state)


def test_training_changes_neither_images_nor_the_callers_network():
    """Catches augmentation in place, and facts that keep the live parameters."""
    x, kept = DATA.x.copy(), []

    def build(seed):
        kept.append(BUILD(seed))
        return kept[-1]

    trained = train(build, DATA, HELD_OUT, [Use("cutout"), PGD], QUICK, seed=0)
    assert np.array_equal(DATA.x, x)
    before = {name: tensor.clone() for name, tensor in trained.state.items()}
    with torch.no_grad():
        kept[0].conv1.weight.zero_()
    assert equal(trained.state, before)
    assert all(parameter.requires_grad for parameter in kept[0].parameters())


class Rows(nn.Module):
    """Views what leaves its convolution as rows, which channels_last does not allow."""

    in_shape = SHAPE

    def __init__(self, seed: int) -> None:
        super().__init__()
        with global_state(seed):
            self.first, self.last = nn.Conv2d(1, 4, 3), nn.Linear(4 * 49, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = F.max_pool2d(F.relu(self.first(x)), 2)
        return self.last(seen.view(len(x), -1))


@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
def test_a_network_that_views_its_activations_as_rows_learns(arithmetic):
    """Catches channels_last forced on everyone, by filters or by pooling: PyTorch refuses the view."""
    settings = replace(QUICK, epochs=4, arithmetic=arithmetic)
    trained = train(Rows, DATA, HELD_OUT, [Use("cutout", {"size": 4}), PGD], settings, seed=0)
    assert trained.history[-1]["val_accuracy"] > 0.8


# ---------------------------------------------------------------- side by side


def test_a_stack_computes_what_its_members_do():
    """Catches rows given to the wrong member, in outputs, image gradients and weight gradients."""
    members = [BUILD(seed).double() for seed in range(3)]
    stack = Stack(members)
    x = torch.rand(12, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    out = stack(x)
    (gradient,) = torch.autograd.grad(out.square().sum(), x, retain_graph=True)
    out.square().sum().backward()
    for index, member in enumerate(members):
        rows = x.detach()[index::3].requires_grad_()
        alone = member(rows)
        torch.testing.assert_close(out[index::3], alone)
        alone.square().sum().backward()
        torch.testing.assert_close(gradient[index::3], rows.grad)
        theirs = stack.stacked["conv1-weight"].grad
        torch.testing.assert_close(theirs[index], member.conv1.weight.grad)
    assert all(
        equal(one, two.state_dict()) for one, two in zip(stack.states(), members, strict=True)
    )


@pytest.mark.parametrize(
    "steps",
    [[], [Use("fgsm", {"eps": 0.1, "portion": 0.5})], [Use("pgd", {"eps": 0.1, "restarts": 0})]],
)
def test_stacked_training_is_training_alone_to_rounding(steps):
    """Catches a loss averaged over members (a smaller step for each), orders mixed up, and a
    portion taken from some members only. In float64, so that rounding stays rounding."""
    data, held_out = (_double(split) for split in (DATA, HELD_OUT))

    def build(seed):
        return BUILD(seed).double()

    settings = Settings(epochs=1, batch_size=32, learning_rate=1e-3)
    stacked = train_many(build, data, held_out, steps, settings, seeds=[5, 6, 7], stacked=True)
    for trained, seed in zip(stacked, (5, 6, 7), strict=True):
        alone = train(build, data, held_out, steps, settings, seed=seed)
        for name, tensor in alone.state.items():
            torch.testing.assert_close(trained.state[name], tensor, rtol=1e-6, atol=1e-8)
        assert trained.history[0]["loss"] == pytest.approx(alone.history[0]["loss"], abs=1e-5)
        assert trained.history[0]["val_accuracy"] == alone.history[0]["val_accuracy"]


def _double(split):
    x = split.x.astype(np.float64)
    return Split(split.name, x, split.y, array_digest(x, split.y), split.classes)


def test_stacked_members_draw_their_own_squares():
    """Catches one augmentation copied to all members."""
    steps = [Use("cutout", {"size": 8}), Use("mixup"), PGD]
    one, two = train_many(BUILD, DATA, HELD_OUT, steps, QUICK, seeds=[1, 1], stacked=True)
    assert not equal(one.state, two.state)


def test_a_stack_refuses_networks_whose_statistics_it_would_lose():
    with torch.random.fork_rng():
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    with pytest.raises(ModelError, match="buffers"):
        Stack([network, network])


# ---------------------------------------------------------------- mixed precision


def test_small_steps_are_kept_in_mixed_precision():
    """Catches weights or moments kept in bfloat16, where a step of a thousandth is rounded away."""
    fresh = BUILD(0).state_dict()
    slow = replace(HALF, learning_rate=2e-5)
    half = train(BUILD, DATA, HELD_OUT, [], slow, seed=0).state
    full = train(BUILD, DATA, HELD_OUT, [], replace(slow, arithmetic="float32"), seed=0).state
    for name, start in fresh.items():
        assert half[name].dtype == torch.float32
        moved, wanted = half[name] - start, full[name] - start
        assert float((moved - wanted).norm() / wanted.norm()) < 0.25


def test_passes_compute_in_bfloat16_and_hand_back_float32(monkeypatch):
    """Catches an arithmetic that is not used, logits or a loss in bfloat16, and validation of
    another network than the one that is kept."""
    inside, lost = [], []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(256, CLASSES)

        def forward(self, x):
            out = self.layer(x.flatten(1))
            inside.append((self.training, out.dtype))
            return out

    entropy = F.cross_entropy

    def watched(logits, *rest, **named):
        lost.append(logits.dtype)
        return entropy(logits, *rest, **named)

    monkeypatch.setattr(F, "cross_entropy", watched)
    with torch.random.fork_rng():
        train(lambda seed: Watched(), DATA, HELD_OUT, [], HALF, seed=0)
    assert set(inside) == {(True, torch.bfloat16), (False, torch.float32)}
    assert set(lost) == {torch.float32}


@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
def test_batch_statistics_are_float32(arithmetic):
    """Catches running means in bfloat16, which stand still at a large mean: the momentum's share of
    what is new is below its last digit."""

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.layer = nn.BatchNorm2d(1, momentum=1e-3), nn.Linear(256, CLASSES)

        def forward(self, x):
            return self.layer(self.norm(x).flatten(1))

    settings = Settings(epochs=20, batch_size=32, arithmetic=arithmetic)
    with torch.random.fork_rng():
        state = train(lambda seed: Normed(), DATA, HELD_OUT, [], settings, seed=0).state
    kept = 0.999**200
    assert state["norm.running_mean"].dtype == torch.float32
    assert float(state["norm.running_mean"]) == pytest.approx((1 - kept) * DATA.x.mean(), rel=0.01)
    wanted = kept + (1 - kept) * DATA.x.var()
    assert float(state["norm.running_var"]) == pytest.approx(wanted, rel=0.01)


def test_stacked_training_in_mixed_precision_learns():
    """Catches kernels that vmap cannot take, and members without gradients."""
    settings = Settings(epochs=8, batch_size=32, learning_rate=1e-2, arithmetic="bfloat16")
    for trained in train_many(BUILD, DATA, HELD_OUT, [PGD], settings, seeds=[0, 1], stacked=True):
        assert trained.history[-1]["val_accuracy"] > 0.95
        assert all(tensor.dtype == torch.float32 for tensor in trained.state.values())


# ---------------------------------------------------------------- layers of few channels


def pooled(x, *args, narrow, **named):
    """Pooled images, and the gradient of a fixed weighing of them."""
    point = x.clone().requires_grad_()
    with Narrow() if narrow else contextlib.nullcontext():
        out = F.max_pool2d(point, *args, **named)
    weight = torch.rand(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    (gradient,) = torch.autograd.grad(out, point, weight)
    return out.detach(), gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("shape", "args", "named"),
    [
        ((3, 6, 8, 10), (2,), {}),
        ((3, 1, 8, 6), ((2, 2), (2, 2)), {}),
        ((3, 20, 4, 4), ([2, 2],), {"stride": 2, "padding": 0, "dilation": 1}),
        ((3, 6, 9, 8), (2,), {}),
        ((3, 16, 8, 8), (2,), {}),
        ((3, 16, 8, 9), (2,), {}),
        ((3, 6, 9, 9), (2,), {"ceil_mode": True}),  # from here on PyTorch's own
        ((3, 6, 8, 8), (2,), {"padding": 1}),
        ((3, 6, 8, 8), (2, 1), {}),
        ((3, 6, 8, 8), (3, 2), {}),
        ((3, 6, 8, 8), (2,), {"dilation": 2}),
    ],
)
def test_pooling_of_few_channels_has_the_bits_of_pytorchs(shape, args, named, layout, dtype):
    """Catches negative numbers compared by their bits, gradients put into the wrong corner, and
    windows that are not two by two. No two numbers are equal here."""
    count = math.prod(shape)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)) - count // 3
    # As many different numbers as bfloat16 has: by their bits, the exponent in the middle.
    numbers = (16000 + order.abs()).to(torch.int16).view(torch.bfloat16).to(dtype) * order.sign()
    x = numbers.to(dtype).view(shape).to(memory_format=layout)
    for ours, theirs in zip(
        pooled(x, *args, narrow=True, **named), pooled(x, *args, narrow=False, **named), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_maxima_get_the_gradient_once(dtype):
    """Catches gradients given to each of four equal values, as in the empty ground of a digit, or
    to another one than PyTorch gives them to."""
    x = torch.randint(2, (50, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(dtype)
    _, gradient = pooled(x, 2, narrow=True)
    assert torch.equal(gradient, pooled(x, 2, narrow=False)[1])
    windows = gradient.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    weight = torch.rand(50, 3, 4, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert torch.equal(windows.sum(4), weight)
    assert torch.equal((windows != 0).sum(4), (weight != 0).to(torch.int64))
    assert not gradient[(x == 0) & (F.max_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3) == 1)].any()  # fmt: skip


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maxima_and_their_gradient_lie_in_memory_as_the_images_do(layout):
    """Catches maxima by pixels, which cannot be viewed as rows, and gradients by pixels for images by channels: the ReLU below then takes the slow way."""
    x = torch.rand(3, 6, 8, 8, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    out, gradient = pooled(x, 2, narrow=True)
    assert out.is_contiguous(memory_format=layout)
    assert gradient.is_contiguous(memory_format=layout)


def test_other_functions_of_few_channels_are_pytorchs():
    """Catches calls by name, or of other ranks, that a rule does not understand, and a mean over
    windows that is skipped where there is something to average."""
    x = torch.rand(3, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        conv = nn.Conv2d(6, 4, 3, padding=1)
    for size in (8, 4, (8, 4), (None, 8)):
        with Narrow():
            averaged = F.adaptive_avg_pool2d(x, size)
        assert torch.equal(averaged, F.adaptive_avg_pool2d(x, size))
    with torch.autocast("cpu", torch.bfloat16):
        theirs = F.conv2d(input=x, weight=conv.weight, bias=conv.bias, padding=1)
        with Narrow():
            ours = F.conv2d(input=x, weight=conv.weight, bias=conv.bias, padding=1)
            bare = nn.functional.max_pool2d(x[0], 2)
            _, where = F.max_pool2d(x, 2, return_indices=True)
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(bare, F.max_pool2d(x, 2)[0])
    assert torch.equal(where, F.max_pool2d(x, 2, return_indices=True)[1])


# ---------------------------------------------------------------- the schedule


def test_the_learning_rate_follows_the_one_cycle_of_torch():
    """Catches another shape: torch's OneCycleLR with the same corners, without its momentum."""
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    steps = 200
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 1.0, total_steps=steps + 1, pct_start=0.3, div_factor=25, final_div_factor=1e9,
        cycle_momentum=False,
    )  # fmt: skip
    for step in range(steps):
        # torch counts its corners from 0 to 0.3 * total - 1.
        assert one_cycle(step / steps) == pytest.approx(optimiser.param_groups[0]["lr"], abs=0.02)
        optimiser.step()
        theirs.step()
    assert one_cycle(1.0) == pytest.approx(0, abs=1e-9)


def test_every_image_is_seen_once_an_epoch():
    """Catches a dropped last batch and sampling with replacement."""
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            if self.training:
                seen.extend(x[:, 0, 0, 0].tolist())
            return self.scale * x.flatten(1)[:, :CLASSES]

    train(lambda seed: Spy(), bars(100, 3), HELD_OUT, [], QUICK, seed=0)
    first, second = seen[:100], seen[100:]
    assert sorted(first) == sorted(second) == sorted(bars(100, 3).x[:, 0, 0, 0].tolist())
    assert first != second


def test_progress_runs_to_one_and_tells_the_time_left():
    told = []
    seeds = [0, 1]
    train_many(
        BUILD, DATA, HELD_OUT, [], QUICK, seeds=seeds, progress=lambda *said: told.append(said)
    )
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert told[-1][1] == pytest.approx(0.0, abs=1e-9)
    assert all(left >= 0 for _, left in told)


def test_splits_without_labels_or_images_are_refused():
    bare = Split("bare", DATA.x, None, "")
    with pytest.raises(DataError, match="labels"):
        train(BUILD, bare, HELD_OUT, [], QUICK, seed=0)
    with pytest.raises(DataError, match="images"):
        train(BUILD, DATA.take(np.arange(0)), HELD_OUT, [], QUICK, seed=0)


# ---------------------------------------------------------------- health


def test_a_collapsed_training_is_stopped_and_repeated_once_with_another_seed():
    """Catches a network at chance that is reported as trained, and endless repetition.

    Labels that nothing can learn: the loss sits at ln K. (Check H90.)
    """
    rng = numpy_rng(0, "noise")
    x, y = rng.random((40, *SHAPE), dtype=np.float32), rng.integers(CLASSES, size=40)
    noise = Split("noise", x, y, array_digest(x, y), tuple("abcd"))
    settings = Settings(epochs=60, batch_size=8, learning_rate=1e-5)
    trained = train(BUILD, noise, HELD_OUT, [Use("fgsm", {"eps": 0.1})], settings, seed=0)
    first, second = trained.attempts
    assert "stopped after 200 steps" in first.collapsed
    assert second.collapsed
    assert first.seed == 0
    assert second.seed != first.seed
    assert (first.pace, second.pace) == (1.0, 0.5)
    assert equal(trained.state, first.state)
    assert trained.facts["flags"].keys() == {"H90"}
    assert [attempt["seed"] for attempt in trained.facts["attempts"]] == [0, second.seed]
    assert len(first.history) == 40


def test_a_slower_pace_means_a_slower_ramp():
    """Catches a retry that is the same training again: at half the pace the budget is smaller."""
    told = []

    def spy(batch, *, model, progress, rng, **params):
        told.append(progress)
        return batch

    params = {"eps": 0.1, "norm": "linf", "portion": 1.0, "ramp": 0.25}
    recipe = Recipe((Step("spy", spy, params, attack=True),))
    course = Course.of(DATA, HELD_OUT, recipe, QUICK, "cpu")
    for pace in (1.0, 0.5):
        Run([BUILD(0)], course, [0], pace).epoch(1, lambda step, steps: None)
    full, half = np.array(told).reshape(2, -1)[:, :10]  # the rest is the probe
    assert full.any()
    np.testing.assert_allclose(half, full / 2)


@pytest.mark.parametrize(
    ("loss", "accuracy", "at_chance"),
    [
        (math.log(10), 0.3, True),
        (math.log(10) * 1.019, 0.3, True),
        (math.log(10) * 0.979, 0.3, False),
        (math.log(10) * 1.021, 0.3, False),
        (1.0, 0.19, True),
        (1.0, 0.21, False),
        (float("nan"), 0.9, True),
    ],
)
def test_chance_is_a_loss_within_two_percent_of_ln_k_or_an_accuracy_below_two_in_k(
    loss, accuracy, at_chance
):
    assert bool(chance(loss, accuracy, 10)) == at_chance


def history(*probes, accuracy=0.95, own=0.9):
    return [
        {"epoch": i + 1, "accuracy": accuracy, "attack_accuracy": own, "probe_accuracy": probe}
        for i, probe in enumerate(probes)
    ]


@pytest.mark.parametrize(
    ("epochs", "says"),
    [
        (history(0.5, 0.7, 0.8), ""),
        (history(0.5, 0.9, 0.71), ""),
        (history(0.5, 0.7, 0.49, 0.8), "from 0.700 to 0.490 by epoch 3"),
        (history(0.7, 0.6, 0.49), "from 0.700 to 0.490"),
        (history(0.5, 0.7, 0.2, accuracy=0.6, own=0.3), ""),
        (history(0.1, 0.2, 0.3), "leaves 0.900 of the held-out images right, PGD 0.300"),
        (history(0.1, 0.2, 0.3, own=0.45), ""),
        ([{"epoch": 1, "accuracy": 0.95}], ""),
    ],
)
def test_catastrophic_overfitting_is_a_fall_under_pgd_or_a_gap_to_the_own_attack(epochs, says):
    """Catches a fall that took two epochs, one counted while nothing is learnt, and a network that
    was never robust to anything but the attack it was trained on."""
    assert says in catastrophe(epochs)
    assert bool(catastrophe(epochs)) == bool(says)


def test_the_probes_are_pgd_and_the_own_attack_on_held_out_images_at_the_full_budget():
    """Catches a probe at the ramp's budget, or on clean images: we attack the same way by hand."""
    use = Use("fgsm", {"eps": 0.25, "ramp": 1.0, "portion": 0.0})
    noisy = bars(320, 0, noise=0.9), bars(60, 1, "held out", noise=0.9)
    trained = train(BUILD, *noisy, [use], QUICK, seed=0)
    model = models.freeze(BUILD(0), trained.state)
    x, y = torch.from_numpy(noisy[1].x), torch.from_numpy(noisy[1].y)
    point = x
    for _ in range(20):
        q = point.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(q), y, reduction="sum"), q)
        point = (x + (q + 0.05 * gradient.sign() - x).clamp(-0.25, 0.25)).clamp(0, 1).detach()
    by_hand = float((model(point).argmax(1) == y).float().mean())
    last = trained.history[-1]
    assert last["probe_accuracy"] == pytest.approx(by_hand, abs=0.1)
    step = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(step), y, reduction="sum"), step)
    signed = (x + 0.25 * gradient.sign()).clamp(0, 1)
    by_hand = float((model(signed).argmax(1) == y).float().mean())
    assert last["attack_accuracy"] == pytest.approx(by_hand, abs=1e-6)
    assert last["probe_accuracy"] < last["val_accuracy"] - 0.2


def test_plain_training_is_not_probed():
    assert "probe_accuracy" not in train(BUILD, DATA, HELD_OUT, [], QUICK, seed=0).history[0]


def test_facts_are_plain_data():
    """Catches tensors in what is stored as JSON."""
    trained = train(BUILD, DATA, HELD_OUT, [PGD], QUICK, seed=0)
    assert json.loads(json.dumps(trained.facts)) == trained.facts
    assert trained.facts["parameters"] == models.describe(BUILD(0))["parameters"]
    clean = {"epoch", "loss", "accuracy", "val_accuracy"}
    assert trained.history[0].keys() == clean | {"attack_accuracy", "probe_accuracy"}


# ---------------------------------------------------------------- the bars, on data that ships


@pytest.mark.slow
def test_a_plain_network_reaches_its_bar_on_digits(tmp_path):
    """One member; the mean of ten is to be at least 0.975 (seen: 0.985)."""
    digits = registry.get("data", "digits").function(tmp_path)
    build = models.builder(Use("lenet5"), num_classes=10, in_shape=(1, 28, 28))
    trained = train(build, digits.train, digits.val, [], Settings(20, 64, 4e-3), seed=0)
    model = models.freeze(build(0), trained.state)
    with torch.no_grad():
        guess = model(torch.from_numpy(digits.test.x)).argmax(1).numpy()
    assert (guess == digits.test.y).mean() >= 0.97
