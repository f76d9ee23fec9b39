"""The security curve: a closed form, every budget by itself, a library, and any number of threads."""

import itertools

import numpy as np
import pytest
import torch
import torchattacks  # noqa: TID253 -- the peer of a test here
from small_nets import digits, held_out, robust, standard
from torch import nn

from harness import security_curve
from harness.attacks.frontier import SHARD, Frontier, Hunt, find
from harness.attacks.gradients import Slope, slope
from harness.attacks.losses import Loss
from harness.core.errors import InputError, ModelError

BUDGETS = (0.02, 0.05, 0.1, 0.15, 0.2)
NETS = {"standard": standard, "robust": robust}


class Linear(nn.Module):
    """Two classes of 8 x 8 images by one weight vector."""

    in_shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = (x.flatten(1) - 0.5) @ self.weight
        return torch.stack([value, -value], 1)


@pytest.mark.parametrize("mode", ["bisect", "exact"])
@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_a_linear_model_falls_where_the_closed_form_says(norm, dual, mode):
    """Catches a budget that is skipped or read in another norm, and a pilot that reports its guess.

    A linear classifier falls at |w x + b| / |w|, in the dual norm; images lie far from the box.
    """
    model = Linear()
    x = 0.5 + 0.02 * torch.randn((40, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model(x)
        away = (logits[:, 0].abs() / model.weight.norm(dual)).numpy()
    budgets = np.quantile(away, [0.2, 0.4, 0.6, 0.8]) * 1.0001
    found = security_curve(
        model, x, logits.argmax(1), norm=norm, budgets=budgets, mode=mode, arithmetic="plain"
    )
    first = np.append(budgets, np.inf)[np.searchsorted(budgets, away)]
    assert found.first_broken.tolist() == first.tolist()


@pytest.mark.parametrize("which", NETS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_bisection_finds_what_every_budget_by_itself_finds(which, norm):
    """Catches samples that are called broken or robust at budgets where nobody looked, wrongly."""
    x, y = held_out(120)
    budgets = [eps * (1 if norm == "linf" else 8) for eps in BUDGETS]
    how = {"norm": norm, "budgets": budgets, "steps": 15, "arithmetic": "float32"}
    fast = security_curve(NETS[which]().module, x, y, mode="bisect", **how)
    slow = security_curve(NETS[which]().module, x, y, mode="exact", **how)
    lost = fast.robust_accuracy - slow.robust_accuracy
    assert ((lost >= 0) & (lost <= 1 / len(x))).all()
    assert fast.gradients.mean() < slow.gradients.mean()
    assert 0.05 < slow.robust_accuracy.mean() < 0.95


@pytest.mark.parametrize("which", NETS)
def test_it_is_no_weaker_than_torchattacks_at_any_budget(which):
    """Catches a search that is fast because it finds less."""
    x, y = held_out(150)
    module = NETS[which]().module
    ours = security_curve(module, x, y, budgets=BUDGETS, steps=20)
    for eps, share in zip(BUDGETS, ours.robust_accuracy, strict=True):
        peer = torchattacks.PGD(module, eps=eps, alpha=2.5 * eps / 20, steps=20)
        with torch.random.fork_rng(), torch.no_grad():
            torch.random.default_generator.manual_seed(0)
            with torch.enable_grad():
                there = peer(x, y)
            theirs = float((module(there).argmax(1) == y).float().mean())
        assert share <= theirs + 1 / len(x)


@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
def test_what_broke_a_sample_breaks_it_and_lies_in_the_ball(arithmetic):
    """Catches success by another arithmetic's logits, and points of a larger ball."""
    x, y = held_out(120)
    module = standard().module
    found = security_curve(module, x, y, budgets=BUDGETS, steps=15, arithmetic=arithmetic)
    with torch.no_grad():
        label = module(torch.from_numpy(found.x_adv)).argmax(1).numpy()
    fell = np.isfinite(found.first_broken)
    assert (label[fell] == found.prediction[fell]).all()
    assert (label[fell] != y.numpy()[fell]).all()
    away = np.abs(found.x_adv - x.numpy()).reshape(len(x), -1).max(1)
    assert (away[fell] <= found.first_broken[fell] * (1 + 1e-5) + 1e-6).all()
    assert found.x_adv.min() >= 0
    assert found.x_adv.max() <= 1
    assert fell.sum() > 0


def test_threads_change_nothing():
    """Catches shards cut by the number of threads, or that share a stream or a buffer."""
    x, y = (values[1300 : 1300 + SHARD + 44] for values in digits())
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(security_curve(standard().module, x, y, budgets=BUDGETS, steps=6))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    one, three = found
    assert (one.first_broken == three.first_broken).all()
    assert (one.x_adv == three.x_adv).all()
    assert (one.gradients == three.gradients).all()


def test_samples_that_hold_meet_every_start_with_all_steps():
    """Catches a step or a start saved on samples that are called robust."""
    x, y = held_out(60)
    steps, restarts = 7, 3
    found = security_curve(
        robust().module, x, y, budgets=[0.05], steps=steps, restarts=restarts, pilot=0
    )
    held = np.isinf(found.first_broken)
    assert 0 < held.sum() < len(x)
    starts = found.gradients[held] / steps
    assert set(starts) <= {restarts, restarts + 1}  # one more from close to a mistake, see below
    assert (starts == restarts).mean() > 0.8
    assert (found.gradients[~held] < steps * (restarts + 1) + 1).all()


class Gap(nn.Module):
    """Three classes; of the spread of the logits, the second lies the image's mean below the first."""

    in_shape = (1, 8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gap, one = x.flatten(1).mean(1), torch.ones(len(x))
        return torch.stack([7 * one, 7 - 4 * gap, 3 * one], 1)


@pytest.mark.parametrize("mode", ["bisect", "exact"])
@pytest.mark.parametrize(("restarts", "starts"), [(0, [1, 1, 1]), (1, [2, 1, 1]), (2, [3, 2, 2])])
def test_who_ends_close_to_a_mistake_meets_one_random_start_more(restarts, starts, mode):
    """Catches a start more for all or for nobody, more than one, and one from the same image again.

    Gaps of 0.01, 0.03 and 0.5 of the spread of the logits, where 0.02 is close.
    """
    x = torch.ones((3, 1, 8, 8)) * torch.tensor([0.01, 0.03, 0.5])[:, None, None, None]
    found = security_curve(
        Gap(), x, torch.zeros(3), budgets=[1e-3], steps=4, restarts=restarts, pilot=0, mode=mode
    )
    assert np.isinf(found.first_broken).all()
    assert found.gradients.tolist() == [4 * each for each in starts]


class Undefined(Linear):
    """No number for bright images, a class that is ruled out for all."""

    def __init__(self, *, bright: float) -> None:
        super().__init__()
        self.bright = bright

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = torch.where(
            x.amax((1, 2, 3))[:, None] > self.bright, torch.nan, super().forward(x)
        )
        return torch.cat([logits, torch.full_like(logits[:, :1], -torch.inf)], 1)


def test_nan_is_neither_right_nor_wrong():
    """Catches argmax of NaN, which is the first class: such images would stand at every budget; and
    minus infinity, by which a class is ruled out, taken for one."""
    x, y = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(8)
    how = {"budgets": [0.01], "steps": 2, "arithmetic": "plain"}
    with pytest.raises(ModelError, match="NaN or infinite for 8 of 8 images"):
        security_curve(Undefined(bright=0.5), x, y, **how)
    assert 0 <= security_curve(Undefined(bright=2), x, y, **how).robust_accuracy[0] <= 1


class Seen:
    """Slopes of a model, and the points at which they were asked for."""

    def __init__(self, model) -> None:
        self.model, self.points = model, []

    def __call__(self, x: torch.Tensor, y: torch.Tensor, loss: Loss) -> Slope:
        self.points.append(x.clone())
        return slope(self.model, x, y, loss)


def hunted(count: int, budgets: list[float], hunt: Hunt) -> tuple[Seen, Frontier]:
    x, y = held_out(count)
    model = standard()
    seen = Seen(model)
    return seen, find(model, x, y, "linf", budgets, hunt, seed=0, direction=seen)


def test_nobody_waits_for_another_to_begin_at_the_next_budget():
    """Catches a batch that shrinks to its stragglers at every budget: the slowest sample decides."""
    seen, found = hunted(60, list(BUDGETS), Hunt(steps=10, pilot=0))
    assert len(seen.points) == found.gradients.max() > 20


def test_every_start_is_another_point():
    """Catches restarts from one and the same start: they would find nothing new."""
    seen, found = hunted(12, [1e-6], Hunt(steps=1, restarts=3, pilot=0))
    assert len(seen.points) == found.gradients.max() == 3
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(seen.points, 2))


def test_the_pilot_spares_gradients_and_changes_nothing():
    """Catches a pilot whose finds are lost, or that does not try the smaller balls."""
    _, slow = hunted(60, list(BUDGETS), Hunt(steps=20, pilot=0))
    _, fast = hunted(60, list(BUDGETS), Hunt(steps=20))
    assert (fast.first_broken <= slow.first_broken).all()
    assert fast.gradients.mean() < 0.8 * slow.gradients.mean()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"budgets": []}, "budgets"),
        ({"budgets": [0.1, -0.1]}, "budgets"),
        ({"budgets": [np.inf]}, "budgets"),
        ({"budgets": [0.1], "steps": 0}, "steps"),
        ({"budgets": [0.1], "restarts": 0.5}, "whole numbers"),
        ({"budgets": [0.1], "steps": True}, "whole numbers"),
        ({"budgets": [0.1], "step_size": np.nan}, "step_size"),
        ({"budgets": [0.1], "step_size": -0.1}, "step_size"),
        ({"budgets": [0.1], "loss": "mse"}, "unknown loss 'mse'"),
        ({"budgets": [0.1], "mode": "fast"}, "mode"),
        ({"budgets": [0.1], "norm": "l3"}, "norm"),
    ],
)
def test_senseless_requests_are_refused(how, message):
    """Catches a curve of nothing, and one that never ends."""
    x, y = held_out(4)
    with pytest.raises(InputError, match=message):
        security_curve(standard().module, x, y, **how)
