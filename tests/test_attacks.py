"""In-house attacks: a closed form, the libraries bit by bit, and what an attack must leave alone."""

import copy
import math
import random
import sys

import numpy as np
import pytest
import torch
import torchattacks  # noqa: TID253 -- the peer of half of these tests
from torch import nn

from harness.attacks import run_attack
from harness.attacks.apgd import Pace
from harness.attacks.losses import DIRECTIONS, LOSSES
from harness.attacks.runner import settle
from harness.core.errors import ContractViolation, InputError
from harness.core.registry import Plug, registry
from harness.core.threat import NORMS, Threat

OURS = [plug for plug in registry.plugs("attack") if plug.library is None]
FIXED = [plug for plug in OURS if plug.meta["goal"] == "maximise"]
GRADIENT = [plug for plug in FIXED if plug.meta["gradient"]]
SHORT = {"steps": 10, "queries": 30, "search_steps": 2}
RADII = {"linf": 0.1, "l2": 1.0, "l1": 5.0}


def cases(plugs):
    return [
        pytest.param(plug, norm, id=f"{plug.name}-{norm}")
        for plug in plugs
        for norm in plug.meta["norms"]
    ]


def short(plug, **params):
    known = {parameter.name for parameter in plug.parameters}
    return {name: value for name, value in {**SHORT, **params}.items() if name in known}


class Model:
    """A classifier of the contract, round any module."""

    head = None
    digest = "test"

    def __init__(self, module, num_classes=10):
        self.module, self.num_classes = module.eval(), num_classes

    def __call__(self, x):
        return self.module(x)

    def features(self, x):
        raise NotImplementedError


def sequential(*layers, seed=0):
    """Layers given as (type, arguments...), with weights of their own seed."""
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(seed)
        return nn.Sequential(*(kind(*arguments) for kind, *arguments in layers)).eval()


def small_network(seed=0):
    return sequential(
        (nn.Conv2d, 1, 8, 3, 1, 1), (nn.ReLU,), (nn.MaxPool2d, 4), (nn.Flatten,), (nn.Linear, 72, 10), seed=seed
    )  # fmt: skip


def images(n=32, seed=1, shape=(1, 12, 12), dtype=torch.float32):
    return torch.rand((n, *shape), generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture
def scene():
    """A network, images, and the labels that it gives them: every sample starts right."""
    model, x = Model(small_network()), images()
    with torch.no_grad():
        return model, x, model(x).argmax(1)


def attack(name, model, x, y, threat, seed=0, **params):
    plug = registry.get("attack", name)
    return plug.function(model, x, y, threat, **params, rng=torch.Generator().manual_seed(seed))


# --- a linear model: the closed form ------------------------------------------------------------


def linear_scene(dtype=torch.float64):
    """Two classes, grey images far from the box."""
    module = sequential((nn.Flatten,), (nn.Linear, 144, 2)).to(dtype)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        module[1].weight.copy_(torch.randn((2, 144), generator=generator, dtype=dtype))
    x = torch.full((16, 1, 12, 12), 0.5, dtype=dtype) + 0.01 * images(16, dtype=dtype)
    model = Model(module, 2)
    with torch.no_grad():
        return model, x, model(x).argmax(1)


def margin_drop(model, x, y, z):
    with torch.no_grad():
        sign = 1 - 2 * y.to(x.dtype)
        return sign * ((model(x) - model(z)) @ torch.tensor([1.0, -1.0], dtype=x.dtype))


@pytest.mark.parametrize(("plug", "norm"), cases(GRADIENT))
@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_gradient_attacks_reach_the_optimum_of_a_linear_model(plug, norm, loss):
    """Catches a wrong sign, half steps, a wrong projection, gradients mixed between samples.

    The best margin drop in a ball is eps times the dual norm of the difference of the weights. Steps
    of eps / 4, since in L2 what is left of a random start shrinks by 1 + step / eps a step only:
    with the default step of eps / 16 two per cent are missing after 40.
    """
    model, x, y = linear_scene()
    eps = {"linf": 0.05, "l2": 0.3, "l1": 0.4}[norm]
    weights = model.module[1].weight
    order = {"linf": 1, "l2": 2, "l1": math.inf}[norm]
    best = eps * torch.linalg.vector_norm(weights[0] - weights[1], order)
    z = plug.function(
        model, x, y, Threat(norm, eps),
        **short(plug, steps=40, step_size=eps / 4, loss=loss, keep="best"), rng=torch.Generator().manual_seed(0),
    )  # fmt: skip
    reached = margin_drop(model, x, y, z) / best
    assert reached.min() >= 0.99
    assert reached.max() <= 1 + 1e-6


@pytest.mark.parametrize("norm", NORMS)
def test_random_noise_of_that_size_is_far_from_the_optimum(norm):
    """Shows that the test above can fail."""
    model, x, y = linear_scene()
    weights = model.module[1].weight
    order = {"linf": 1, "l2": 2, "l1": math.inf}[norm]
    best = 0.05 * torch.linalg.vector_norm(weights[0] - weights[1], order)
    z = Threat(norm, 0.05).sample(x, torch.Generator().manual_seed(0))
    assert (margin_drop(model, x, y, z) / best).abs().max() < 0.7


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_deepfool_finds_the_distance_to_a_linear_boundary(norm):
    """Catches a dual norm in place of the norm, and an overshoot that is applied every step."""
    model, x, y = linear_scene()
    weights = model.module[1].weight
    order = {"linf": 1, "l2": 2}[norm]
    with torch.no_grad():
        gap = (model(x)[:, 0] - model(x)[:, 1]).abs()
    nearest = gap / torch.linalg.vector_norm(weights[0] - weights[1], order)
    z = attack("deepfool", model, x, y, Threat(norm, math.inf))
    with torch.no_grad():
        assert (model(z).argmax(1) != y).all()
    distance = Threat(norm, 1.0).distance(z - x)
    assert torch.allclose(distance, 1.02 * (nearest + 1e-4), rtol=1e-3)


def test_cw_comes_near_the_distance_to_a_linear_boundary():
    """Catches a margin of the wrong sign, a constant that is never searched, a distance not squared."""
    model, x, y = linear_scene(torch.float32)
    weights = model.module[1].weight
    with torch.no_grad():
        gap = (model(x)[:, 0] - model(x)[:, 1]).abs()
    nearest = gap / torch.linalg.vector_norm(weights[0] - weights[1])
    z = attack(
        "cw",
        model,
        x,
        y,
        Threat("l2", math.inf),
        steps=200,
        step_size=0.02,
        search_steps=8,
        const=0.01,
    )
    with torch.no_grad():
        assert (model(z).argmax(1) != y).all()
    distance = Threat("l2", 1.0).distance(z - x)
    assert (distance >= nearest - 1e-5).all()
    assert (distance / nearest).median() < 1.1


# --- the libraries, bit by bit ------------------------------------------------------------------


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.3])
def test_fgsm_and_pgd_have_the_bits_of_torchattacks(scene, eps):
    """Catches another order of projection and clipping, another reduction, another step."""
    model, x, y = scene
    threat = Threat("linf", eps)
    theirs = torchattacks.FGSM(model.module, eps)(x, y)
    assert torch.equal(attack("fgsm", model, x, y, threat, reduction="mean"), theirs)
    theirs = torchattacks.PGD(model.module, eps, eps / 8, 10, random_start=False)(x, y)
    mine = attack(
        "pgd", model, x, y, threat, steps=10, step_size=eps / 8, restarts=0, reduction="mean"
    )
    assert torch.equal(mine, theirs)
    other = attack("pgd", model, x, y, threat, steps=10, step_size=eps / 7.9, restarts=0)
    assert not torch.equal(other, theirs)


def test_an_injected_start_has_the_bits_of_torchattacks_random_start(scene):
    """Catches a start that is not clipped, or noise that is ignored or drawn again."""
    model, x, y = scene
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(5)
        theirs = torchattacks.PGD(model.module, 0.1, 0.02, 10, random_start=True)(x, y)
        torch.random.default_generator.manual_seed(5)
        noise = torch.empty_like(x).uniform_(-0.1, 0.1)
    mine = attack(
        "pgd",
        model,
        x,
        y,
        Threat("linf", 0.1),
        steps=10,
        step_size=0.02,
        reduction="mean",
        noise=noise,
    )
    assert torch.equal(mine, theirs)


def test_mean_and_sum_differ_by_an_exact_factor_in_batches_of_a_power_of_two(scene):
    model, x, y = scene
    threat = Threat("linf", 0.1)
    both = [
        attack("pgd", model, x, y, threat, restarts=0, reduction=how) for how in ("mean", "sum")
    ]
    assert torch.equal(*both)


def test_mifgsm_and_pgd_in_l2_follow_torchattacks(scene):
    """Catches momentum of signs (Foolbox's, F2) and a step that is not normalised."""
    model, x, y = scene
    theirs = torchattacks.MIFGSM(model.module, 0.1, 0.02, 10)(x, y)
    mine = attack("mifgsm", model, x, y, Threat("linf", 0.1), step_size=0.02, reduction="mean")
    assert torch.equal(mine, theirs)
    theirs = torchattacks.PGDL2(model.module, 1.0, 0.2, 10, random_start=False)(x, y)
    mine = attack(
        "pgd", model, x, y, Threat("l2", 1.0), steps=10, step_size=0.2, restarts=0, reduction="mean"
    )
    assert (mine - theirs).flatten(1).abs().amax(1).median() < 1e-5
    with torch.no_grad():
        assert torch.equal(model(mine).argmax(1), model(theirs).argmax(1))


@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.04), ("l2", 0.25)])
def test_apgd_breaks_the_samples_that_the_official_code_breaks(scene, loss, norm, eps):
    """Catches a wrong checkpoint, momentum at the first step, a step halved at the wrong place."""
    paa = pytest.importorskip("pyautoattack.autopgd_base")
    model, x, y = scene
    with torch.random.fork_rng():
        theirs = paa.APGDAttack(
            model.module, n_iter=40, norm={"linf": "Linf", "l2": "L2"}[norm], eps=eps, seed=3, loss=loss, device="cpu"
        )  # fmt: skip
        fallen = model(theirs.perturb(x, y)).argmax(1) != y
        torch.random.default_generator.manual_seed(3)
        strongest = theirs.perturb(x, y, best_loss=True)
    found = {
        keep: attack("apgd", model, x, y, Threat(norm, eps), seed=3, steps=40, loss=loss, keep=keep)
        for keep in ("best", "first")
    }
    assert 0 < fallen.sum() < len(x)
    for z in found.values():
        assert torch.equal(model(z).argmax(1) != y, fallen)
    gap = (found["best"] - strongest)[~fallen].flatten(1).abs().amax(1)
    assert gap.median() < 1e-6
    if norm == "linf":
        assert torch.equal(found["best"][~fallen], strongest[~fallen])


def test_apgd_looks_at_the_papers_checkpoints():
    """p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06), of 100 steps."""
    shares, wanted = [0.0, 0.22], []
    while shares[-1] < 1:
        wanted.append(round(100 * shares[-1]))
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    assert Pace(100, 0.75, "ce", "first", "plain").checkpoints()[: len(wanted)] == wanted


@pytest.mark.parametrize("loss", ["margin", "ce"])
@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.05), ("l2", 0.4)])
@pytest.mark.parametrize("shape", [(1, 11, 11), (3, 15, 15)], ids=["grey", "colour"])
def test_square_finds_the_images_of_the_official_code(loss, rescale, norm, eps, shape):
    """Catches a schedule off by one, a window on the wrong place, bumps of another shape.

    Sides of 11 and 15, since in L2 the official code crashes on 12, 13 or 14: its sixth bump of two
    pixels lies beyond the edge. Ours cuts it off there.
    """
    paa = pytest.importorskip("pyautoattack.square")
    depth, side, _ = shape
    pixels = 4 * (side - 2) ** 2
    network = sequential(
        (nn.Conv2d, depth, 4, 3), (nn.ReLU,), (nn.Flatten,), (nn.Linear, pixels, 10)
    )
    model, x = Model(network), images(16, shape=shape)
    with torch.no_grad():
        y = model(x).argmax(1)
    with torch.random.fork_rng():
        theirs = paa.SquareAttack(
            model.module, norm={"linf": "Linf", "l2": "L2"}[norm], n_queries=60, eps=eps,
            seed=5, loss=loss, resc_schedule=rescale, device="cpu",
        ).perturb(x, y)  # fmt: skip
    mine = attack(
        "square", model, x, y, Threat(norm, eps), seed=5, queries=60, loss=loss, rescale=rescale
    )
    assert not torch.equal(mine, x)
    assert (mine - theirs).abs().max() < (1e-7 if norm == "linf" else 1e-3)
    with torch.no_grad():
        assert torch.equal(model(mine).argmax(1), model(theirs).argmax(1))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_deepfool_agrees_with_foolbox(scene, norm):
    foolbox = pytest.importorskip("foolbox")
    model, x, y = scene
    theirs = getattr(
        foolbox.attacks, {"linf": "LinfDeepFoolAttack", "l2": "L2DeepFoolAttack"}[norm]
    )(loss="logits")
    raw, _, _ = theirs(
        foolbox.PyTorchModel(model.module, bounds=(0, 1), device="cpu"), x, y, epsilons=None
    )
    mine = attack("deepfool", model, x, y, Threat(norm, math.inf))
    with torch.no_grad():
        assert (model(mine).argmax(1) != y).all()
    ours, wanted = (Threat(norm, 1.0).distance(z - x) for z in (mine, raw))
    assert ((ours / wanted).median() - 1).abs() < 0.02


# --- every attack -------------------------------------------------------------------------------


@pytest.mark.parametrize(("plug", "norm"), cases(FIXED))
def test_what_an_attack_returns_lies_in_ball_and_box(scene, plug, norm):
    """Catches a missing projection and a missing clip; measured before the runner mends it."""
    model, x, y = scene
    threat = Threat(norm, RADII[norm])
    z = plug.function(model, x, y, threat, **short(plug), rng=torch.Generator().manual_seed(0))
    assert z.min() >= 0
    assert z.max() <= 1
    assert (threat.distance((z - x).double()) <= threat.eps * (1 + 1e-6) + 3e-5).all()
    assert settle(x, z, threat).violations == 0
    assert not torch.equal(z, x)


@pytest.mark.parametrize(("plug", "norm"), cases(FIXED))
def test_radius_zero_gives_the_images_themselves(scene, plug, norm):
    """Catches a start outside the ball and a division by the radius."""
    model, x, y = scene
    z = plug.function(
        model, x, y, Threat(norm, 0.0), **short(plug), rng=torch.Generator().manual_seed(0)
    )
    assert torch.equal(z, x)


@pytest.mark.parametrize(("plug", "norm"), cases(OURS))
def test_an_attack_breaks_samples_and_keeps_its_input(scene, plug, norm):
    """Catches an attack that does nothing, that edits its input, or that leaves gradients behind."""
    model, x, y = scene
    model.module.requires_grad_()
    kept, state = x.clone(), copy.deepcopy(model.module.state_dict())
    eps = {"linf": 0.3, "l2": 3.0, "l1": 30.0}[norm]
    z = plug.function(
        model, x, y, Threat(norm, eps),
        # a step in L1 moves one pixel: one of length 1 turns it round, and the climb goes in circles
        **short(plug, steps=60, step_size=0.3, const=10.0), rng=torch.Generator().manual_seed(0),
    )  # fmt: skip
    one_pixel = plug.name == "fgsm" and norm == "l1"  # the steepest step in L1: a start, no more
    with torch.no_grad():
        assert (model(z).argmax(1) != y).float().mean() > (0.0 if one_pixel else 0.5)
    assert torch.equal(x, kept)
    assert all(torch.equal(state[name], value) for name, value in model.module.state_dict().items())
    assert all(weight.grad is None for weight in model.module.parameters())
    assert not z.requires_grad


@pytest.mark.parametrize(("plug", "norm"), cases(OURS))
def test_float64_is_kept(plug, norm):
    """Catches a cast to float32, as pyautoattack's."""
    model, x = Model(small_network().double()), images(8, dtype=torch.float64)
    with torch.no_grad():
        y = model(x).argmax(1)
    z = plug.function(
        model, x, y, Threat(norm, RADII[norm]), **short(plug), rng=torch.Generator().manual_seed(0)
    )
    assert z.dtype == torch.float64


@pytest.mark.parametrize(("plug", "norm"), cases(OURS))
def test_the_same_generator_gives_the_same_images(scene, plug, norm):
    """Catches a global generator."""
    model, x, y = scene
    runs = [
        plug.function(
            model,
            x,
            y,
            Threat(norm, RADII[norm]),
            **short(plug),
            rng=torch.Generator().manual_seed(seed),
        )
        for seed in (4, 4)
    ]
    assert torch.equal(*runs)


# --- PGD's own parameters -----------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("norm", NORMS)
def test_the_curve_of_fgsm_is_fgsm_at_each_budget(scene, norm, reduction):
    """Catches one gradient shared by batches or budgets that it is not the gradient of."""
    model, x, y = scene
    y = y.clone()
    y[0] = (y[0] + 1) % 10  # wrong clean
    budgets = [RADII[norm] * share for share in (2.0, 0.3, 1000.0, 1.0)]
    plug = registry.get("attack", "fgsm")
    broken, spent = plug.meta["curve"](model, x, y, norm, budgets, seed=0, reduction=reduction)
    for at, eps in enumerate(budgets):
        one = run_attack(plug, {"reduction": reduction}, model, x, y, Threat(norm, eps), seed=0)
        assert (broken[:, at] == one.success).all()
    assert 0 < broken.mean() < 1
    assert spent == {"forwards": 1.0, "backwards": 1.0}


@pytest.mark.parametrize(
    ("plug", "params"), [("fgsm", {"restarts": 1}), ("pgd", {"keep": "final"})]
)
def test_what_differs_by_budget_is_left_to_be_attacked_budget_by_budget(scene, plug, params):
    """Catches random starts of one radius, or early leaving, under parameters that forbid them."""
    model, x, y = scene
    curve = registry.get("attack", plug).meta["curve"]
    assert curve(model, x, y, "linf", [0.1, 0.2], seed=0, **params) is None


def test_restarts_go_to_survivors_only_and_break_no_fewer(scene):
    """Catches a restart that overwrites a success, or that sees samples already broken."""
    model, x, y = scene
    seen = []

    class Watched(Model):
        def __call__(self, given):
            seen.append(len(given))
            return super().__call__(given)

    threat = Threat("linf", 0.03)
    broken = []
    for restarts in (1, 2, 6):
        z = attack("pgd", model, x, y, threat, steps=4, restarts=restarts)
        with torch.no_grad():
            broken.append(model(z).argmax(1) != y)
    assert 0 < broken[0].sum() < broken[2].sum() < len(x)
    assert (broken[1] | ~broken[0]).all()
    attack("pgd", Watched(model.module), x, y, threat, steps=4, restarts=2)
    assert seen[:4] == [len(x)] * 4
    assert seen[5] == len(x) - int(broken[0].sum())


def test_best_never_loses_a_success_and_first_breaks_the_same(scene):
    """Catches a final iterate in place of the best (H22)."""
    model, x, y = scene
    with torch.no_grad():
        broken = {
            keep: model(
                attack("pgd", model, x, y, Threat("linf", 0.03), steps=6, step_size=0.06, keep=keep)
            ).argmax(1)
            != y
            for keep in ("final", "best", "first")
        }
    assert torch.equal(broken["best"], broken["first"])
    assert (broken["best"] | ~broken["final"]).all()
    assert broken["best"].sum() > broken["final"].sum()


def test_the_best_of_a_sample_that_never_fell_has_the_highest_loss(scene):
    model, x, y = scene
    threat, losses = Threat("linf", 0.01), []

    def trace(*, restart, step, loss, label):
        losses.append(loss)

    plug = registry.get("attack", "pgd").function
    z = plug(
        model, x, y, threat, steps=5, keep="best", rng=torch.Generator().manual_seed(0), trace=trace
    )
    with torch.no_grad():
        logits = model(z)
    right = logits.argmax(1) == y
    highest = torch.stack(losses).amax(0)
    assert right.any()
    assert (LOSSES["ce"](logits, y)[right] >= highest[right] - 1e-6).all()


def test_the_trace_tells_loss_and_label_of_the_iterate_that_enters_each_step(scene):
    """Catches a trace off by one step, of the wrong rows, or of the batch mean."""
    model, x, y = scene
    told = []
    plug = registry.get("attack", "pgd").function
    threat = Threat("linf", 0.05)
    plug(
        model, x, y, threat, steps=6, restarts=2, rng=torch.Generator().manual_seed(0),
        trace=lambda **now: told.append(now),
    )  # fmt: skip
    assert [(now["restart"], now["step"]) for now in told] == [
        (r, s) for r in (0, 1) for s in range(6)
    ]
    with torch.no_grad():
        start = threat.sample(x, torch.Generator().manual_seed(0))
        assert torch.allclose(told[0]["loss"], LOSSES["ce"](model(start), y))
        assert torch.equal(told[0]["label"], model(start).argmax(1))
    left = told[6]["loss"].isnan()
    assert left.any()
    assert (told[6]["label"][left] == -1).all()


@pytest.mark.parametrize(
    "params", [{"steps": 0}, {"step_size": 0.0}, {"step_size": -1.0}, {"restarts": -1}]
)
def test_senseless_parameters_are_refused(scene, params):
    with pytest.raises(InputError):
        attack("pgd", *scene, Threat("linf", 0.1), **params)


# --- losses -------------------------------------------------------------------------------------


def test_losses_by_hand():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0], [0.0, 3.0, 1.0, 2.0]])
    y = torch.tensor([0, 2])
    assert torch.allclose(LOSSES["ce"](logits, y), -logits.log_softmax(1)[[0, 1], y])
    assert LOSSES["margin"](logits, y).tolist() == [-1.0, 2.0]
    assert torch.allclose(LOSSES["dlr"](logits, y), torch.tensor([-0.5, 1.0]))
    with pytest.raises(InputError, match="3 classes"):
        LOSSES["dlr"](logits[:, :2], torch.tensor([0, 1]))


def test_the_log_odds_rank_and_point_as_cross_entropy_but_never_vanish():
    """Catches a saturated softmax, on which cross-entropy gives no direction at all."""
    logits = torch.randn(20, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.arange(20) % 10
    known = logits.clone().requires_grad_()
    (ce,) = torch.autograd.grad(LOSSES["ce"](known, y).sum(), known)
    (odds,) = torch.autograd.grad(DIRECTIONS["ce"](known, y).sum(), known)
    assert torch.allclose(torch.cosine_similarity(ce, odds), torch.ones(20, dtype=torch.float64))
    assert torch.equal(LOSSES["ce"](logits, y).argsort(), DIRECTIONS["ce"](logits, y).argsort())
    saturated = torch.tensor([[200.0, 0.0, 1.0]]).requires_grad_()
    (ce,) = torch.autograd.grad(LOSSES["ce"](saturated, torch.tensor([0])).sum(), saturated)
    (odds,) = torch.autograd.grad(DIRECTIONS["ce"](saturated, torch.tensor([0])).sum(), saturated)
    assert ce.abs().max() == 0
    assert odds.abs().max() > 0.5


# --- the runner trusts nobody -------------------------------------------------------------------


def plug_of(function, **meta):
    return Plug(
        "attack", "test/plug", function, None, (), {"goal": "maximise", "norms": NORMS, **meta}
    )


def run(function, scene, threat=None, **kwargs):
    model, x, y = scene
    meta = kwargs.pop("meta", {})
    return run_attack(
        plug_of(function, **meta), {}, model, x, y, threat or Threat("linf", 0.1), seed=0, **kwargs
    )


def test_success_is_judged_by_our_own_forward_pass(scene):
    model, x, y = scene
    outcome = run(lambda m, x, y, t, rng: (x, torch.ones(len(x), dtype=torch.bool)), scene)
    assert not outcome.success.any()
    assert outcome.claimed.all()
    assert (outcome.prediction == y.numpy()).all()
    wrong = run_attack(
        plug_of(lambda m, x, y, t, rng: x), {}, model, x, (y + 1) % 10, Threat("linf", 0.1), seed=0
    )
    assert wrong.success.all()


def test_points_outside_ball_or_box_are_counted_projected_and_judged_again(scene):
    """Catches an attack that wins by leaving the ball, and a tolerance that is too wide."""
    x = scene[1]

    def far(m, x, y, t, rng):
        z = x.clone()
        z[:3] = x[:3] + 0.25
        return z

    outcome = run(far, scene)
    assert outcome.violations == 3
    # 0.25 - 0.1 beyond the ball; beyond the box further where a pixel was bright.
    assert outcome.worst == pytest.approx(max(0.15, float(x[:3].max()) + 0.25 - 1), abs=1e-6)
    assert outcome.distance.max() <= 0.1 + 1e-6
    assert outcome.x_adv.max() <= 1
    nearly = run(lambda m, x, y, t, rng: (x + 0.1 * (1 + 5e-7)).clamp(0, 1), scene)
    assert nearly.violations == 0


def test_a_minimum_norm_attack_may_leave_the_ball_but_not_be_judged_outside(scene):
    outcome = run(lambda m, x, y, t, rng: 1 - x, scene, meta={"goal": "minimise"})
    assert outcome.violations == 0
    assert outcome.distance.max() <= 0.1 + 1e-6
    free = run(
        lambda m, x, y, t, rng: 1 - x, scene, Threat("linf", math.inf), meta={"goal": "minimise"}
    )
    assert free.distance.max() > 0.9


def test_a_crash_is_no_result(scene):
    """Catches clean images that stand in for an attack that failed (AttackBench)."""

    def crash(m, x, y, t, rng):
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        run(crash, scene)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda m, x, y, t, rng: x[:-1], "shape"),
        (lambda m, x, y, t, rng: x * math.nan, "finite"),
        (lambda m, x, y, t, rng: (x * 255).byte(), "float"),
        (lambda m, x, y, t, rng: x.numpy(), "tensor"),
    ],
)
def test_what_is_no_image_is_refused(scene, function, message):
    with pytest.raises(ContractViolation, match=message):
        run(function, scene)


def meddle(m, x, y, t, rng):
    """Everything that libraries are known to do to a model and a process."""
    network = m.module
    network.train()
    torch.nn.functional.cross_entropy(network(x), y).backward()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    torch.random.default_generator.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002, TID251 -- what a library does
    random.seed(1)  # noqa: TID251 -- what a library does
    sys.settrace(None)
    x.zero_()
    y.zero_()
    return x


def process_state():
    """Of every global generator."""
    numpy = np.random.get_state()[1].tobytes()  # noqa: NPY002 -- compared, not drawn from
    return torch.random.get_rng_state().numpy().tobytes(), numpy, random.getstate()


def norm_scene():
    network = sequential((nn.BatchNorm2d, 1), (nn.Flatten,), (nn.Linear, 144, 10))
    network[0].eval()
    return Model(network), images(), torch.arange(32) % 10


@pytest.mark.parametrize("crash", [False, True])
def test_model_and_process_are_left_as_they_were(crash):
    """Catches train() on a frozen batch norm, polluted gradients, global seeds, a lost tracer."""
    model, x, y = norm_scene()
    model.module.train()
    model.module[0].eval()
    weight = model.module[2].weight
    weight.grad = torch.ones_like(weight)
    state, kept = copy.deepcopy(model.module.state_dict()), (x.clone(), y.clone())
    before = process_state()

    def attack_(m, x, y, t, rng):
        meddle(m, x, y, t, rng)
        if crash:
            raise KeyError("crash")
        return x

    def tracer(*_):
        return None

    old = sys.gettrace()
    sys.settrace(tracer)
    try:
        if crash:
            with pytest.raises(KeyError):
                run(attack_, (model, x, y))
        else:
            run(attack_, (model, x, y))
        traced = sys.gettrace()
    finally:
        sys.settrace(old)
    assert traced is tracer
    assert [part.training for part in model.module.modules()] == [True, False, True, True]
    assert torch.equal(weight.grad, torch.ones_like(weight))
    assert model.module[2].bias.grad is None
    assert all(parameter.requires_grad for parameter in model.module.parameters())
    assert all(torch.equal(state[name], value) for name, value in model.module.state_dict().items())
    assert process_state() == before
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])


def one_step_of_training(module):
    with torch.no_grad():
        next(module.parameters()).sub_(1e-3)


@pytest.mark.parametrize(
    "change",
    [one_step_of_training, lambda module: module.half().float(), lambda module: module.half()],
)
def test_an_attack_that_changes_the_weights_is_refused_and_they_are_put_back(change):
    """Catches a defence that trains on while it is attacked, and a library that lowers the precision:
    whoever comes next would attack, and be blamed for, another model."""
    model, x, y = norm_scene()
    before = copy.deepcopy(model.module.state_dict())
    weight = model.module[2].weight

    def attack_(m, x, y, t, rng):
        change(m.module)
        return x

    with pytest.raises(ContractViolation, match="changes the model's weights"):
        run(attack_, (model, x, y))
    after = model.module.state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert all(value.dtype == before[name].dtype for name, value in after.items())
    assert model.module[2].weight is weight


def test_batches_have_streams_of_their_own_and_passes_are_counted(scene):
    """Catches a batch that is skipped, noise repeated in every batch, passes that are not counted."""
    model, x, y = scene
    outcome = run(lambda m, x, y, t, rng: t.sample(x, rng), scene, batch_size=8)
    shift = (outcome.x_adv - x).view(4, 8, -1)
    assert not torch.equal(shift[0], shift[1])
    plug = registry.get("attack", "pgd")
    counted = run_attack(plug, {"steps": 7}, model, x, y, Threat("linf", 0.1), seed=0, batch_size=8)
    assert (counted.forwards, counted.backwards) == (7.0, 7.0)
    fast = run_attack(
        plug,
        {"steps": 7, "arithmetic": "float32"},
        model,
        x,
        y,
        Threat("linf", 0.1),
        seed=0,
        batch_size=8,
    )
    assert (fast.forwards, fast.backwards) == (7.0, 7.0)
    libraries = run(lambda m, x, y, t, rng: torchattacks.PGD(m.module, 0.1, 0.02, 5)(x, y), scene)
    assert (libraries.forwards, libraries.backwards) == (5.0, 5.0)


@pytest.mark.parametrize("name", ["pgd", "apgd"])
@pytest.mark.parametrize("arithmetic", ["plain", "float32"])
@pytest.mark.parametrize("params", [{"keep": "first"}, {"keep": "best", "restarts": 2}, {}])
def test_the_number_of_threads_changes_nothing(name, arithmetic, params, scene):
    """Catches samples that no thread takes or two take, a share joined in another order, passes
    that are lost in counting, and threads that are not given back."""
    model, x, y = scene
    given = {"steps": 9, "arithmetic": arithmetic, **params}
    before, found = torch.get_num_threads(), {}
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found[threads] = run_attack(
                registry.get("attack", name), given, model, x, y, Threat("linf", 0.1), seed=3
            )
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for threads in (2, 5):
        assert (found[threads].prediction == found[1].prediction).all()
        assert found[threads].forwards == found[1].forwards
        assert found[threads].backwards == found[1].backwards
        same = (found[threads].x_adv - found[1].x_adv).abs().flatten(1).amax(1) < 1e-5
        assert same.float().mean() > 0.9  # a step by a sign may turn with the last bit


def test_radius_zero_is_judged_without_an_attack(scene):
    def never(m, x, y, t, rng):
        raise AssertionError

    outcome = run(never, scene, Threat("linf", 0.0))
    assert not outcome.success.any()
    assert outcome.distance.max() == 0


def test_bad_input_is_refused(scene):
    model, x, y = scene
    for images_, labels in (
        (x + 1, y),
        (x, y + 10),
        (x, -1 - y),
        (x.double(), y),
        (x, y[:-1]),
        (x * math.nan, y),
    ):
        with pytest.raises(InputError):
            run(lambda m, x, y, t, rng: x, (model, images_, labels))
    with pytest.raises(InputError, match="l1"):
        run(lambda m, x, y, t, rng: x, scene, Threat("l1", 1.0), meta={"norms": ("linf",)})
    with pytest.raises(InputError, match="noise"):
        run(lambda m, x, y, t, rng: x, scene, noise=x)
    with pytest.raises(InputError, match="trace"):
        run_attack(
            registry.get("attack", "pgd"), {}, model, x, y, Threat("linf", 0.1), seed=0, batch_size=8,
            trace=lambda **_: None,
        )  # fmt: skip
