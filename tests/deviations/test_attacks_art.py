"""Known deviations of ART 1.20.1, each shown on a minimal case by running the library.

A version that mends one of them fails its test: then mend the catalogue.
"""

import functools
import importlib
import inspect
import sys
import warnings
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from small_nets import (
    Counting,
    Net,
    Scaled,
    gradient,
    held_out,
    pgd,
    robust,
    robust_accuracy,
    saturated,
    standard,
)
from torch import nn

from harness.core.registry import registry
from harness.core.rng import global_state
from harness.core.threat import Threat

utils = pytest.importorskip("art.utils")
evasion = pytest.importorskip("art.attacks.evasion")
PyTorchClassifier = pytest.importorskip("art.estimators.classification").PyTorchClassifier


@pytest.fixture(autouse=True)
def _seeded():
    """The library draws from the global generators of NumPy and torch."""
    with global_state(0):
        yield


def classifier(module, reduction="mean", clip_values=(0.0, 1.0)):
    loss = nn.CrossEntropyLoss(reduction=reduction)
    return PyTorchClassifier(
        module, loss, (1, 28, 28), 10, clip_values=clip_values, device_type="cpu"
    )


def arrays(rows):
    x, y = held_out(rows)
    return x.numpy(), y.numpy()


def right(net, x, y):
    return robust_accuracy(net, torch.from_numpy(np.asarray(x)), torch.from_numpy(y))


def wrong_rows(net, rows=200):
    x, y = held_out(rows)
    with torch.no_grad():
        wrong = net(x).argmax(1) != y
    return x[wrong].numpy(), y[wrong].numpy()


def _plug(name, x, y, threat, *, model, **params):
    plug = registry.get("attack", name)
    rng = torch.Generator().manual_seed(0)
    return plug.function(model, x, y, threat, rng=rng, **plug.complete(params))


# ---------------------------------------------------------------- the classifier


class Inverted(nn.Sequential):
    def forward(self, x):
        return super().forward(1 - x)


def test_a1_the_forward_of_a_sequential_subclass_is_skipped():
    x, _ = held_out(4)
    model = Inverted(*standard().module.children()).eval()
    seen = torch.from_numpy(classifier(model).predict(x.numpy()))
    with torch.no_grad():
        assert (seen - model(x)).abs().max() > 1
        assert torch.equal(seen, standard()(x))
    assert torch.equal(
        torch.from_numpy(classifier(Counting(model)).predict(x.numpy())), model(x).detach()
    )


def test_a4_predict_advances_the_generator_of_torch():
    estimator, (x, y) = classifier(Counting(standard().module)), arrays(4)
    before = torch.random.get_rng_state()
    estimator.loss_gradient(x, np.eye(10)[y])
    assert torch.equal(torch.random.get_rng_state(), before)
    estimator.predict(x)
    assert not torch.equal(torch.random.get_rng_state(), before)


def test_a11_the_model_is_left_in_eval_mode():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.BatchNorm1d(10)).train()
    evasion.FastGradientMethod(classifier(model), eps=0.1).generate(*arrays(4))
    assert not any(part.training for part in model.modules())


def test_a19_gradients_are_left_in_the_parameters():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    evasion.FastGradientMethod(classifier(model), eps=0.1).generate(*arrays(4))
    assert all(weight.grad is not None for weight in model.parameters())


def test_a20_float64_is_refused_or_fails_after_the_work_is_done():
    x, y = arrays(4)
    wide = x.astype(np.float64)
    model = Counting(standard().module)
    assert (
        evasion.FastGradientMethod(classifier(model), eps=0.1).generate(wide, y).dtype == np.float32
    )
    model.backwards = 0
    attack = evasion.ProjectedGradientDescent(classifier(model), max_iter=7, verbose=False)
    with pytest.raises(RuntimeError, match=r"(?i)double|float"):
        attack.generate(wide, y)
    assert model.backwards == 7
    net = standard().module.double()
    try:
        with pytest.raises(RuntimeError, match=r"(?i)double|float"):
            evasion.FastGradientMethod(classifier(Counting(net)), eps=0.1).generate(x, y)
    finally:
        net.float()


def test_a17_without_clip_values_nothing_is_clipped():
    x, y = arrays(8)
    free = classifier(Counting(standard().module), clip_values=None)
    found = evasion.ProjectedGradientDescent(free, eps=0.3, max_iter=5, verbose=False).generate(
        x, y
    )
    assert found.max() == pytest.approx(1.3, abs=1e-6)


# ---------------------------------------------------------------- AutoAttack and Auto-PGD


def test_a2_autoattack_needs_a_package_that_it_does_not_use():
    x, y = arrays(4)
    attack = evasion.AutoAttack(
        classifier(Counting(standard().module)),
        attacks=[evasion.FastGradientMethod(classifier(Counting(standard().module)), eps=0.1)],
    )
    assert attack.parallel_pool_size == 0
    with (
        mock.patch.dict(sys.modules, {"multiprocess": None}),
        pytest.raises(ImportError, match="multiprocess"),
    ):
        attack.generate(x, y)
    import importlib.metadata

    needs = [
        r
        for r in importlib.metadata.requires("adversarial-robustness-toolbox")
        if "multiprocess" in r
    ]
    assert all("extra ==" in need for need in needs)


def test_a2b_autoattack_is_another_composition_than_the_official_one():
    own = evasion.AutoAttack(classifier(Counting(standard().module)), eps=0.1)
    parts = [
        (type(part).__name__, part.max_iter, getattr(part, "loss_type", None), part.targeted)
        for part in own.attacks
    ]
    assert parts == [
        ("AutoProjectedGradientDescent", 100, "cross_entropy", False),
        ("AutoProjectedGradientDescent", 100, "difference_logits_ratio", False),
        ("DeepFool", 100, None, False),
        ("SquareAttack", 5000, None, False),
    ]
    assert [own.attacks[0].nb_random_init, own.attacks[3].nb_restarts] == [5, 5]
    assert own.attacks[0].eps_step == 0.1
    official = pytest.importorskip("pyautoattack").AutoAttack(nn.Identity(), eps=0.1, seed=0)
    assert official.attacks_to_run == ["apgd-ce", "apgd-t", "fab-t", "square"]


class Plane(nn.Module):
    """Class 0 until `weights` . x reaches a bound, then class 1."""

    def __init__(self, weights, bound):
        super().__init__()
        self.weights = nn.Parameter(weights, requires_grad=False)
        self.bound = bound

    def forward(self, x):
        beyond = x.flatten(1) @ self.weights - self.bound
        return torch.stack([torch.zeros_like(beyond), beyond, *[beyond * 0 - 99] * 8], 1)


def _in_autoattack(attack, module, eps):
    """What ART's AutoAttack makes of one image of class 0 by one of its parts; whether it counts."""
    x, y = np.full((1, 1, 28, 28), 0.5, np.float32), np.eye(10)[[0]]
    found, robust_still = importlib.import_module("art.attacks.evasion.auto_attack").run_attack(
        x, y, np.array([True]), attack, classifier(module), norm="inf", eps=eps
    )
    return found, not robust_still[0]


def test_a2c_deepfool_takes_the_shortest_way_in_l2_whatever_the_norm():
    """One pixel weighs ten times the others: in L-inf all move alike, in L2 it moves ten times as far."""
    weights = torch.ones(784)
    weights[0] = 10.0
    module = Plane(weights, float(weights.sum()) * (0.5 + 0.05))  # 0.05 away in L-inf
    deepfool = evasion.DeepFool(classifier(module), epsilon=1e-3, verbose=False)
    assert "norm" not in deepfool.attack_params
    assert not _in_autoattack(deepfool, module, 0.2)[1]
    assert _in_autoattack(deepfool, module, 0.46)[1]
    x, y = torch.full((1, 1, 28, 28), 0.5), torch.tensor([0])
    official = pytest.importorskip("pyautoattack.fab_pt").FABAttack_PT(
        module, n_iter=5, eps=0.06, targeted=True, n_target_classes=1, device="cpu"
    )
    assert module(official.perturb(x, y)).argmax(1) == 1


def test_a2d_autoattack_accepts_what_lies_a_little_outside_the_ball():
    """The official FAB compares with eps itself, and its ascents are projected."""
    module = Plane(torch.ones(784), 784 * (0.5 + 0.1 - 1e-6))

    def beyond(excess):
        def generate(x, y):
            return x + np.float32(0.1 * (1 + excess))

        return _in_autoattack(SimpleNamespace(generate=generate, targeted=False), module, 0.1)

    found, counts = beyond(9e-5)
    assert counts
    assert np.abs(found - 0.5).max() > 0.1 + 5e-6
    assert not beyond(2e-4)[1]


def test_a2e_autoattack_takes_no_seed():
    """It draws from NumPy's global generator; the official one seeds each of its parts."""
    assert "seed" not in inspect.signature(evasion.AutoAttack).parameters
    x, y = arrays(2)

    def run(part):
        return part(classifier(Counting(standard().module)), eps=0.01, max_iter=1, verbose=False)

    parts = (functools.partial(evasion.AutoProjectedGradientDescent, loss_type="cross_entropy"),)
    for part in (*parts, evasion.SquareAttack):
        state = np.random.get_state()  # noqa: NPY002 -- what the library draws from
        first, second = run(part).generate(x, y), run(part).generate(x, y)
        np.random.set_state(state)  # noqa: NPY002
        assert not np.array_equal(first, second)
        assert np.array_equal(first, run(part).generate(x, y))


def _apgd(net, x, y, eps, **options):
    given = {
        "eps": eps,
        "eps_step": 2 * eps,
        "nb_random_init": 1,
        "verbose": False,
        "loss_type": "cross_entropy",
        "batch_size": len(x),
    } | options
    return evasion.AutoProjectedGradientDescent(classifier(Counting(net.module)), **given).generate(
        x, y
    )


def test_a3_apgd_returns_noise_for_rows_that_it_did_not_break():
    x, y = arrays(64)
    net = robust()
    found = _apgd(net, x, y, 0.05, max_iter=10)
    with torch.no_grad():
        still = (net(torch.from_numpy(found)).argmax(1) == torch.from_numpy(y)).numpy()
    assert still.sum() > 10
    moved = np.abs(found - x)[still].reshape(still.sum(), -1).mean(1)
    assert (moved > 0.005).all()
    official = pytest.importorskip("pyautoattack.autopgd_base").APGDAttack
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    theirs = official(net.module, n_iter=10, eps=0.05, seed=0).perturb(images, labels).detach()
    kept = net(theirs).argmax(1) == labels
    assert torch.equal(theirs[kept], images[kept])


def test_a3b_apgd_keeps_the_last_iterate_instead_of_any_that_was_wrong():
    """A row that is wrong at an earlier step and right at the last counts as robust."""

    class Flickers(nn.Module):
        """Right about x and at the end, wrong at all gradient steps before."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1), requires_grad=False)
            self.wrong = 0

        def forward(self, x):
            logits = torch.zeros(len(x), 10) + x.flatten(1).sum(1, keepdim=True) * 0
            logits[:, 3] = 5
            if x.requires_grad:
                logits[:, 4] = 9
                self.wrong += len(x)
            return logits

    model = Flickers()
    x, y = np.full((1, 1, 28, 28), 0.5, dtype=np.float32), np.array([3])
    found = _apgd(Net(model), x, y, 0.1, max_iter=3)
    assert model.wrong == 3
    start_only = np.abs(found - x).reshape(-1)
    assert 0 < start_only.max() <= 0.1 + 1e-6


def _last_step(losses):
    """Step of ART's APGD after 10 iterations and two looks at it, over the first one."""
    x, y = arrays(1)
    attack = evasion.AutoProjectedGradientDescent(
        classifier(Counting(standard().module)),
        eps=0.1,
        eps_step=0.2,
        max_iter=10,
        nb_random_init=1,
        loss_type="cross_entropy",
        verbose=False,
    )
    told = [np.array([loss], np.float32) for loss in losses]
    with mock.patch.object(attack.estimator, "compute_loss", side_effect=told):
        attack.generate(x, y)
    return float(attack.eta_w_j_m_1.squeeze()) / 0.2


def test_a3c_apgd_counts_new_maxima_where_the_paper_counts_rises():
    """A loss that rises at every step, but has been higher once, halves its step; the official's not."""
    rising = [1 + step / 10 for step in range(12)]
    assert _last_step(rising) == pytest.approx(1)
    assert _last_step([5.0, *rising[1:]]) < 0.6
    official = pytest.importorskip("pyautoattack.autopgd_base").APGDAttack(None, eps=0.1)
    official.device = "cpu"
    steps = torch.tensor([rising[1:]]).T
    assert not official.check_oscillation(steps, 4, 4, None).any()
    assert official.check_oscillation(-steps, 4, 4, None).all()


def test_a3d_apgd_ends_when_every_loss_is_zero():
    """The whole batch ends, and only once all losses are 0; the official one takes all its steps."""
    net = Net(Scaled(standard().module, 1e4))
    x, y = arrays(64)
    with torch.no_grad():
        kept = (net(torch.from_numpy(x)).argmax(1) == torch.from_numpy(y)).numpy()
    x, y = x[kept][:8], y[kept][:8]
    model = Counting(net.module)
    _apgd(Net(model), x, y, 1e-6, max_iter=10)
    assert model.backwards == 2
    model = Counting(net.module)
    pytest.importorskip("pyautoattack.autopgd_base").APGDAttack(
        model, n_iter=10, eps=1e-6, seed=0
    ).perturb(torch.from_numpy(x), torch.from_numpy(y))
    assert model.backwards == 11


def test_a21_apgd_builds_a_second_classifier_without_the_optimiser():
    module = Counting(standard().module)
    given = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    estimator = PyTorchClassifier(
        module,
        nn.CrossEntropyLoss(),
        (1, 28, 28),
        10,
        optimizer=given,
        clip_values=(0, 1),
        device_type="cpu",
    )
    attack = evasion.AutoProjectedGradientDescent(
        estimator, loss_type="cross_entropy", verbose=False
    )
    assert attack.estimator is not estimator
    assert attack.estimator.optimizer is None


# ---------------------------------------------------------------- gradient attacks


def _pgd(net, x, y, reduction="mean", **options):
    given = {"eps": 0.3, "eps_step": 0.05, "max_iter": 10, "batch_size": len(x), "verbose": False}
    estimator = classifier(Counting(net.module), reduction)
    return evasion.ProjectedGradientDescent(estimator, **(given | options)).generate(x, y)


def test_a5_l2_pgd_clips_to_the_box_before_it_projects_on_the_ball():
    x, y = held_out(48)
    net, eps, step = robust(), 1.5, 0.3

    def ours(clip_first):
        z = x.clone()
        for _ in range(10):
            slope = gradient(net, z, y).flatten(1)
            z = z + step * (slope / slope.norm(dim=1, keepdim=True)).view_as(x)
            z = z.clamp(0, 1) if clip_first else z
            delta = (z - x).flatten(1)
            delta = delta * (eps / delta.norm(dim=1, keepdim=True)).clamp(max=1)
            z = x + delta.view_as(x)
            z = z if clip_first else z.clamp(0, 1)
        return z

    found = torch.from_numpy(_pgd(net, x.numpy(), y.numpy(), norm=2, eps=eps, eps_step=step))
    gaps = [(found - ours(first)).abs().flatten(1).amax(1).median() for first in (True, False)]
    assert gaps[0] < 1e-5
    assert gaps[1] > 1e-3
    accuracies = [robust_accuracy(net, ours(first), y) for first in (True, False)]
    assert abs(accuracies[0] - accuracies[1]) <= 3 / 48


def test_a6_images_outside_the_box_stay_outside():
    """The projection comes after the clip and may lead out again."""
    x, y = arrays(16)
    x = x * 1.4 - 0.2
    for found in (
        evasion.FastGradientMethod(classifier(Counting(standard().module)), eps=0.1).generate(x, y),
        _pgd(standard(), x, y, eps=0.1),
    ):
        assert found.min() == pytest.approx(-0.1, abs=1e-6)
        assert found.max() == pytest.approx(1.1, abs=1e-6)


def test_a7_without_labels_it_leads_wrong_rows_to_their_true_class():
    net = standard()
    x, y = wrong_rows(net)
    assert len(x) >= 10
    assert right(net, _pgd(net, x, None, eps=0.1, batch_size=8), y) > 0.2
    assert right(net, _pgd(net, x, y, eps=0.1), y) == 0


def test_a7b_deepfool_never_looks_at_the_labels():
    net = standard()
    x, y = wrong_rows(net)
    attack = evasion.DeepFool(
        classifier(Counting(net.module)), max_iter=20, batch_size=32, verbose=False
    )
    found = attack.generate(x, y)
    assert right(net, found, y) > 0.2
    assert np.array_equal(found, attack.generate(x, (y + 1) % 10))
    cured = _plug(
        "art/deepfool", torch.from_numpy(x), torch.from_numpy(y), Threat("l2", 9.0), model=net
    )
    assert np.array_equal(cured.numpy(), x)


def test_a8_fgm_keeps_one_restart_for_the_whole_batch():
    """Rows that only another restart broke are lost; with no success at all, x comes back."""
    x, y = arrays(48)
    net = robust()
    estimator = classifier(Counting(net.module))

    def fgm(restarts, eps=0.15):
        given = {"eps": eps, "eps_step": eps, "num_random_init": restarts, "batch_size": 48}
        return evasion.FastGradientMethod(estimator, **given).generate(x, y)

    with global_state(3):
        single = np.stack([_broken(net, fgm(1), y) for _ in range(6)])
    with global_state(3):
        kept = _broken(net, fgm(6), y)
    assert kept.sum() < single.any(0).sum()
    assert kept.sum() <= single.sum(1).max() + 1
    assert np.array_equal(fgm(2, eps=1e-7), x)


def _broken(net, found, y):
    with torch.no_grad():
        return (net(torch.from_numpy(found)).argmax(1) != torch.from_numpy(y)).numpy()


def test_a10_the_loss_is_whatever_the_classifier_was_built_with():
    """With the usual mean, the rows of a saturated model depend on batch_size, 32 by default."""
    x, y = held_out(60)
    net = saturated()

    def fgm(reduction, size):
        attack = evasion.FastGradientMethod(
            classifier(Counting(net.module), reduction), eps=0.3, batch_size=size
        )
        return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))

    assert torch.equal(fgm("mean", 60), pgd(net, x, y, 0.3, 0.3, 1, reduction="mean"))
    assert not torch.equal(fgm("mean", 60), fgm("mean", 20))
    assert torch.equal(fgm("sum", 60), fgm("sum", 20))


def test_a12_a_budget_must_be_a_python_number():
    estimator = classifier(Counting(standard().module))
    for kind in (evasion.FastGradientMethod, evasion.ProjectedGradientDescent):
        with pytest.raises(TypeError, match="must have the same type"):
            kind(estimator, eps=np.float32(0.1), eps_step=np.float32(0.1))
        assert kind(estimator, eps=np.float64(0.1), eps_step=0.1).eps == 0.1
        with pytest.raises(ValueError, match="has to be positive"):
            kind(estimator, eps=0.0, eps_step=0.0)
        assert kind(estimator, eps=0.0, eps_step=0.1).eps == 0
    with pytest.raises(ValueError, match="larger than zero"):
        evasion.AutoProjectedGradientDescent(estimator, eps=0.0, loss_type="cross_entropy")


def test_a13_tied_logits_give_a_label_of_two_classes():
    assert utils.get_labels_np_array(np.array([[1.0, 1.0, 0.0]])).tolist() == [[1, 1, 0]]


def test_a18_restarts_of_pgd_are_judged_by_a_change_of_prediction():
    """Not by y: a wrong row that a restart makes right counts as a success. NumPy 2 warns besides."""
    x, y = wrong_rows(standard())
    estimator = classifier(Counting(standard().module))
    clean = estimator.predict(x).argmax(1)
    assert (clean != y).all()
    moved = x[np.roll(np.arange(len(x)), 1)]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        success = utils.compute_success_array(estimator, torch.from_numpy(x), np.eye(10)[y], moved)
    after = estimator.predict(moved).argmax(1)
    assert (success == (after != clean)).all()
    assert any("__array__" in str(warning.message) for warning in seen)


def test_a15_an_l1_step_moves_one_pixel_until_it_can_move_no_further():
    x, y = arrays(16)
    found = _pgd(standard(), x, y, norm=1, eps=20.0, eps_step=2.0, max_iter=40)
    assert np.abs(found - x).reshape(16, -1).sum(1).max() < 4
    assert ((found != x).reshape(16, -1).sum(1) <= 4).all()


# ---------------------------------------------------------------- Square and the rest


def test_a14_square_in_l2_divides_by_the_budget_that_it_should_multiply_by():
    """`delta /= norm * sqrt(budget)` for `delta / norm * sqrt(budget)`; the budget may be 0, too."""
    x, y = held_out(48)
    net, threat = standard(), Threat("l2", 2.0)
    found = _plug("art/square", x, y, threat, model=net, queries=400)
    other = _plug("torchattacks/square", x, y, threat, model=net, queries=400, rescale=True)
    assert robust_accuracy(net, found, y) > robust_accuracy(net, other, y) + 0.15
    attack = evasion.SquareAttack(
        classifier(Counting(net.module)), norm=2, eps=1.5, max_iter=30, verbose=False
    )
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError, match="divide by zero"):
        attack.generate(x.numpy(), y.numpy())


def test_a16_the_schedule_of_square_is_stretched_over_its_iterations():
    """Official AutoAttack counts iterations as they are: at 250 of 500 its squares are 16 times larger."""
    attack = evasion.SquareAttack(
        classifier(Counting(standard().module)), max_iter=500, verbose=False
    )
    official = pytest.importorskip("pyautoattack.square").SquareAttack(
        None, n_queries=500, resc_schedule=False
    )
    for step, theirs in ((5, 0.8 / 4), (250, 0.8 / 128)):
        assert attack._get_percentage_of_elements(step) == theirs
    assert [official.p_selection(step) for step in (5, 250)] == [0.8, 0.8 / 8]


def test_a16b_square_keeps_its_stripes_only_where_they_help():
    """The official search starts from the stripes, whatever they do to the margin."""
    module = Plane(torch.ones(784), 784 * 0.6)
    x, y = np.full((32, 1, 28, 28), 0.5, np.float32), np.zeros(32, int)
    found = evasion.SquareAttack(
        classifier(module), eps=0.1, max_iter=1, p_init=0.002, verbose=False
    ).generate(x, y)
    moved = (found != x).reshape(32, -1).sum(1)
    assert set(moved <= 1) == {True, False}  # x and the first square of one pixel, or all stripes
    official = pytest.importorskip("pyautoattack.square").SquareAttack(
        module, eps=0.1, n_queries=1, p_init=0.002, resc_schedule=False
    )
    images = torch.from_numpy(x)
    official.init_hyperparam(images)
    _, points = official.attack_single_run(images, torch.from_numpy(y))
    assert ((points != images).flatten(1).sum(1) >= 783).all()


def test_a24_deepfool_overshoots_once_at_the_end():
    x, y = arrays(8)
    x = x * 0.5 + 0.25

    def moved(overshoot):
        attack = evasion.DeepFool(
            classifier(Counting(standard().module)),
            epsilon=overshoot,
            batch_size=8,
            max_iter=20,
            verbose=False,
        )
        return attack.generate(x, y) - x

    assert np.allclose(moved(0.5), 1.5 * moved(0.0), atol=1e-5)


def test_a25_cw_searches_along_each_gradient_instead_of_using_adam():
    x, y = arrays(4)
    model = Counting(standard().module)
    attack = evasion.CarliniL2Method(
        classifier(model),
        max_iter=1,
        binary_search_steps=1,
        initial_const=10.0,
        batch_size=4,
        verbose=False,
    )
    attack.generate(x, y)
    assert model.forwards > 5
    names = set(attack.attack_params)
    assert {"max_halving", "max_doubling", "initial_const"} <= names


PASSES = [
    ("FastGradientMethod", {}, 1, 1),
    ("FastGradientMethod", {"num_random_init": 3}, 9, 3),
    ("BasicIterativeMethod", {"max_iter": 10, "verbose": False}, 12, 10),
    ("ProjectedGradientDescent", {"max_iter": 10, "verbose": False}, 12, 10),
    ("MomentumIterativeMethod", {"max_iter": 10, "verbose": False}, 12, 10),
    ("SquareAttack", {"max_iter": 50, "verbose": False}, 153, 0),
    (
        "AutoProjectedGradientDescent",
        {"max_iter": 10, "nb_random_init": 1, "loss_type": "cross_entropy", "verbose": False},
        23,
        10,
    ),
]


@pytest.mark.parametrize(("name", "options", "forwards", "backwards"), PASSES)
def test_passes_of_the_model(name, options, forwards, backwards):
    """Square needs three passes forward a step, the others two more for a line of the log."""
    model = Counting(robust().module)
    steps = {} if name == "SquareAttack" else {"eps_step": 0.01}
    getattr(evasion, name)(classifier(model), eps=0.01, **steps, **options).generate(*arrays(16))
    extra = 1 if name == "AutoProjectedGradientDescent" else 0
    assert (model.forwards - extra, model.backwards) == (forwards, backwards)


def test_a22_misclassified_rows_are_attacked_or_returned_clean():
    x, y = wrong_rows(standard())
    x, y = x[:6], y[:6]
    quiet = {"verbose": False}
    options = {
        "FastGradientMethod": {},
        "ProjectedGradientDescent": {"max_iter": 2, **quiet},
        "DeepFool": {"max_iter": 2, **quiet},
        "CarliniL2Method": {"max_iter": 2, "binary_search_steps": 2, **quiet},
        "AutoProjectedGradientDescent": {"max_iter": 2, "loss_type": "cross_entropy", **quiet},
        "SquareAttack": {"max_iter": 2, **quiet},
    }
    clean = ("CarliniL2Method", "AutoProjectedGradientDescent", "SquareAttack")
    for name, given in options.items():
        found = getattr(evasion, name)(classifier(Counting(standard().module)), **given).generate(
            x, y
        )
        assert np.array_equal(found, x) == (name in clean), name


def test_a23_images_must_be_arrays_and_labels_may_have_three_shapes():
    x, y = arrays(4)
    attack = evasion.FastGradientMethod(classifier(Counting(standard().module)), eps=0.1)
    expected = attack.generate(x, y)
    for labels in (y[:, None], np.eye(10, dtype=np.float32)[y]):
        assert np.array_equal(attack.generate(x, labels), expected)
    with pytest.raises(AttributeError, match="astype"):
        attack.generate(torch.from_numpy(x), y)
