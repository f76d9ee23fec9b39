"""Known deviations of torchattacks 3.5.1, each shown on a minimal case by running the library.

A version that mends one of them fails its test: then mend the catalogue.
"""

import importlib.metadata
import importlib.util
import inspect
import time
from pathlib import Path

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
    untrained,
)
from torch import nn

from harness.core.registry import registry
from harness.core.rng import global_state
from harness.core.threat import Threat
from harness.core.translation import Call

torchattacks = pytest.importorskip("torchattacks")


@pytest.fixture(autouse=True)
def _seeded():
    """The library draws from, and seeds, the global generators."""
    with global_state(0):
        yield


def _plug(name, x, y, threat, *, model=None, noise=None, **params):
    plug = registry.get("attack", name)
    given = {} if noise is None else {"noise": noise}
    rng = torch.Generator().manual_seed(0)
    found = plug.function(
        model or robust(), x, y, threat, rng=rng, **plug.complete(params), **given
    )
    return found[0] if isinstance(found, tuple) else found


def _rows_that_differ(a, b):
    return int((a != b).flatten(1).any(1).sum())


# ---------------------------------------------------------------- AutoAttack


def test_t1_autoattack_takes_10_steps_where_the_official_takes_100():
    own = torchattacks.AutoAttack(untrained(), eps=0.1, seed=0)._autoattack.attacks
    names = [(part.attack, getattr(part, "steps", getattr(part, "n_queries", 0))) for part in own]
    assert names == [("APGD", 10), ("APGDT", 10), ("FAB", 10), ("Square", 5000)]
    official = inspect.signature(pytest.importorskip("pyautoattack.autopgd_base").APGDAttack)
    assert official.parameters["n_iter"].default == 100
    how = registry.get("attack", "torchattacks/autoattack").meta["translation"](
        Threat("linf", 0.1), Call()
    )
    cured = [value for path, value in how.settings.items() if path.endswith(".steps")]
    assert cured == [100, 100, 100]


def test_t1b_apgd_starts_an_ulp_away_from_the_official_one():
    """(eps t) / max against eps (t / max); once the start is given, L-inf is equal bit for bit."""
    pytest.importorskip("pyautoattack")
    x, y = held_out(32)
    threat = Threat("linf", 0.1)
    noise = (torch.rand(x.shape) * 2 - 1) * 0.1
    for loss in ("ce", "dlr"):
        how = {"loss": loss, "steps": 50}
        theirs, official = (
            _plug(f"{n}/apgd", x, y, threat, **how) for n in ("torchattacks", "autoattack")
        )
        assert 0 < (theirs - official).abs().max() < 1e-3
        theirs, official = (
            _plug(f"{n}/apgd", x, y, threat, noise=noise, **how)
            for n in ("torchattacks", "autoattack")
        )
        assert torch.equal(theirs, official)


def test_t1c_square_stretches_its_schedule_and_autoattack_does_not():
    """The libraries agree bit for bit; only the default of `resc_schedule` in AutoAttack differs."""
    pyautoattack = pytest.importorskip("pyautoattack")
    official = pyautoattack.AutoAttack(untrained(), eps=0.1, seed=0)
    own = torchattacks.AutoAttack(untrained(), eps=0.1, seed=0)._autoattack.attacks[3]
    assert (own.rescale_schedule, official.square.rescale_schedule) == (True, False)
    x, y = held_out(64)
    found = {}
    for norm, eps in (("linf", 0.1), ("l2", 1.5)):
        for rescale in (True, False):
            both = [
                _plug(f"{n}/square", x, y, Threat(norm, eps), queries=100, rescale=rescale)
                for n in ("torchattacks", "autoattack")
            ]
            assert torch.equal(*both)
            found[norm, rescale] = robust_accuracy(robust(), both[0], y)
    assert found["l2", True] > found["l2", False]


def test_t1d_the_targeted_loss_of_apgdt_rounds_in_another_order():
    """z1 - z3 / 2 - z4 / 2 against z1 - (z3 + z4) / 2: the last bit, of which the sign makes more."""
    official = pytest.importorskip("pyautoattack.autopgd_base").APGDAttack_targeted(None, eps=0.1)
    x, y = held_out(64)
    with torch.no_grad():
        logits = robust()(x)
    official.y_target = logits.argsort(1)[:, -3]
    theirs = torchattacks.APGDT(untrained()).dlr_loss_targeted(logits, y, official.y_target)
    reference = official.dlr_loss_targeted(logits, y)
    torch.testing.assert_close(theirs, reference, rtol=1e-5, atol=1e-6)
    assert not torch.equal(theirs, reference)


def test_t1e_the_first_squares_are_larger_than_an_oblong_image():
    """The official code bounds a square by the shorter side; on square images the bits are equal."""
    official = pytest.importorskip("pyautoattack.square").SquareAttack
    for height, alike in ((28, True), (8, False)):
        x = held_out(4)[0][:, :, :height]
        module = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 10))
        y = module(x).argmax(1)
        found = []
        for attack in (
            torchattacks.Square(module, eps=0.01, n_queries=3, resc_schedule=False),
            official(module, eps=0.01, n_queries=3, resc_schedule=False),
        ):
            attack.init_hyperparam(x)
            torch.default_generator.manual_seed(0)
            found.append(attack.attack_single_run(x, y)[1])
        assert torch.equal(*found) == alike


def test_t23_autoattack_targets_every_class_where_the_official_takes_nine():
    pyautoattack = pytest.importorskip("pyautoattack")
    own = torchattacks.AutoAttack(untrained(), n_classes=100, seed=0)._autoattack.attacks
    assert [own[place].n_target_classes for place in (1, 2)] == [99, 99]
    official = pyautoattack.AutoAttack(untrained(), seed=0)
    targets = (official.apgd_targeted.n_target_classes, official.fab.n_target_classes)
    assert targets == (9, 9)


def test_t18_autoattack_is_seeded_with_the_clock(monkeypatch):
    attack = torchattacks.AutoAttack(untrained(), eps=0.1)
    assert attack.get_seed() != 0
    monkeypatch.setattr(time, "time", iter([1.0, 2.0]).__next__)  # the real one may stand still
    assert [attack.get_seed(), attack.get_seed()] == [1.0, 2.0]


def test_t19_targeted_apgd_needs_four_classes():
    x, y = held_out(4)

    class Three(nn.Module):
        def forward(self, images):
            return standard().module(images)[:, :3]

    model = nn.Sequential(Three(), nn.Linear(3, 3, bias=False)).eval()
    model[1].weight.data = torch.eye(3)
    y = model(x).argmax(1)
    with pytest.raises((IndexError, RuntimeError)):
        torchattacks.APGDT(model, eps=0.001, n_classes=3, steps=2)(x, y)


# ---------------------------------------------------------------- Carlini and Wagner


def _cw(model, x, y, **params):
    return torchattacks.CW(model, **({"c": 10.0, "steps": 100, "lr": 0.05} | params))(x, y)


def test_t2_cw_never_moves_pixels_that_are_0_or_1():
    x, y = held_out(16)
    edge = (x == 0) | (x == 1)
    moved = _cw(standard().module, x, y) != x
    assert edge.float().mean() > 0.2
    assert moved[edge].sum() == 0
    assert moved[~edge].float().mean() > 0.5
    cured = _plug(
        "torchattacks/cw", x, y, Threat("l2", 9.0), model=standard(), const=10.0, steps=100
    )
    assert (cured != x)[edge].float().mean() > 0.1


def test_t3_cw_finds_nothing_where_logits_are_negative():
    x, y = held_out(16)
    below, same, above = (
        robust_accuracy(net, _cw(net.module, x, y), y)
        for net in (Net(Scaled(standard().module, offset=o)) for o in (-100.0, 0.0, 100.0))
    )
    assert same == above == 0.0
    assert below == robust_accuracy(standard(), x, y)
    net = Net(Scaled(standard().module, offset=-100.0))
    cured = _plug(
        "torchattacks/cw", x, y, Threat("l2", 9.0), model=net, const=10.0, steps=100, step_size=0.05
    )
    assert robust_accuracy(net, cured, y) == 0.0


def test_t3b_cw_stops_the_whole_batch_when_its_cost_rises():
    x, y = held_out(16)
    together = _cw(standard().module, x, y, lr=0.3, c=1.0)
    alone = torch.cat(
        [_cw(standard().module, x[i : i + 1], y[i : i + 1], lr=0.3, c=1.0) for i in range(16)]
    )
    assert (together - alone).abs().flatten(1).amax(1).gt(1e-3).sum() >= 4


# ---------------------------------------------------------------- DeepFool and others


def test_t3c_cw_does_not_search_for_its_constant():
    """What the paper finds by binary search is an argument, and one constant serves all images."""
    assert set(inspect.signature(torchattacks.CW).parameters) == {
        "model",
        "c",
        "kappa",
        "steps",
        "lr",
    }
    x, y = held_out(16)
    small, large = (_cw(standard().module, x, y, c=c) for c in (0.01, 100.0))
    assert robust_accuracy(standard(), small, y) > robust_accuracy(standard(), large, y)
    with torch.no_grad():
        both = (standard()(small).argmax(1) != y) & (standard()(large).argmax(1) != y)
    assert (small - x)[both].flatten(1).norm(dim=1).sum() < (large - x)[both].flatten(1).norm(
        dim=1
    ).sum()


def test_t4_deepfool_stalls_at_the_boundary():
    x, y = held_out(32)
    net = standard()
    stuck = []
    for steps in (15, 30):
        found = torchattacks.DeepFool(net.module, steps=steps)(x, y)
        with torch.no_grad():
            right = net(found).argmax(1) == y
            top = net(found).topk(2, 1).values
        assert (top[right, 0] - top[right, 1]).max() < 1e-4
        stuck.append(int(right.sum()))
    assert stuck[0] >= 4
    assert stuck[1] >= stuck[0] - 1
    assert (
        robust_accuracy(net, _plug("foolbox/deepfool", x, y, Threat("l2", 9.0), model=net), y) == 0
    )


def test_t4b_deepfool_takes_one_image_at_a_time():
    sizes = []

    class Watched(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return standard().module(x)

    torchattacks.DeepFool(Watched(), steps=2)(*held_out(4))
    assert set(sizes) == {1}


def test_t5_targeted_apgd_in_l2_uses_the_step_of_the_first_row_for_all():
    pytest.importorskip("pyautoattack")
    x, y = held_out(40)
    with torch.no_grad():
        right = robust()(x).argmax(1) == y
    x, y = x[right][:9], y[right][:9]
    swapped = torch.cat([x[8:9], x[1:8]]), torch.cat([y[8:9], y[1:8]])

    def changes(norm, eps, attack):
        first, second = (attack(norm, eps)(*pair) for pair in ((x[:8], y[:8]), swapped))
        return (first[1:] - second[1:]).abs().max()

    def theirs(norm, eps):
        return torchattacks.APGDT(robust().module, norm=norm, eps=eps, steps=30, n_classes=2)

    def official(norm, eps):
        kind = pytest.importorskip("pyautoattack.autopgd_base").APGDAttack_targeted
        attack = kind(robust().module, n_iter=30, norm=norm, eps=eps, seed=0, n_target_classes=1)
        return attack.perturb

    small = 0.3  # too small to break a row, so that all rows stay in the batch
    assert changes("L2", small, theirs) > 1e-4
    assert changes("Linf", 0.01, theirs) == 0
    assert changes("L2", small, official) == 0


class Blinks(nn.Module):
    """A model whose gradient vanishes in its first call only."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.weight = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, x):
        self.calls += 1
        return standard().module(x) * (0.0 if self.calls == 1 else 1.0)


def test_t6_mifgsm_never_moves_a_row_whose_gradient_vanished_once():
    """Division by a mean of 0 gives NaN, the momentum keeps it, and sign(NaN) is 0."""
    x, y = held_out(4)
    assert torch.equal(torchattacks.MIFGSM(Blinks(), eps=0.1, alpha=0.02, steps=5)(x, y), x)
    moved = torchattacks.BIM(Blinks(), eps=0.1, alpha=0.02, steps=5)(x, y)
    assert (moved != x).flatten(1).any(1).all()


@pytest.mark.parametrize("name", ["APGD", "APGDT", "Square", "FAB"])
def test_t7_the_global_generator_is_seeded(name):
    x, y = held_out(4)
    options = {"n_queries": 3} if name == "Square" else {"steps": 2}
    states = []
    for seed in (1, 2):
        torch.default_generator.manual_seed(seed)
        getattr(torchattacks, name)(robust().module, eps=0.05, **options)(x, y)
        states.append(torch.random.get_rng_state())
    assert torch.equal(*states)


def test_t8_an_attack_cannot_hold_a_list_of_tensors():
    attack = torchattacks.PGD(untrained())
    with pytest.raises(RuntimeError, match="ambiguous"):
        attack.starts = [torch.zeros(2), torch.ones(2)]


def test_t8b_a_model_without_parameters_makes_it_print(capsys):
    torchattacks.PGD(nn.Flatten())
    assert "Failed to set device automatically" in capsys.readouterr().out


def test_t9_the_random_start_of_pgdl2_is_not_uniform_in_the_ball():
    """A radius uniform in (0, eps), where uniform in 784 dimensions nearly all mass is at eps."""
    x, y = torch.full((256, 1, 28, 28), 0.5), torch.zeros(256, dtype=torch.long)
    start = torchattacks.PGDL2(untrained(), eps=1.0, steps=0)(x, y)
    assert (start - x).flatten(1).norm(dim=1).mean() == pytest.approx(0.5, abs=0.06)
    even = Threat("l2", 1.0).sample(x, torch.Generator().manual_seed(0))
    assert (even - x).flatten(1).norm(dim=1).mean() > 0.99


def test_t9b_pgdl2_computes_its_norms_in_its_own_way():
    """g / (norm + 1e-10) and eps / norm: an ulp from ours and Foolbox's, which the steps amplify."""
    x, y = held_out(32)
    net, eps, step = robust(), 1.5, 0.15
    z = x.clone()
    for _ in range(10):
        slope = gradient(net, z, y, "mean")
        z = z + step * (slope / (slope.flatten(1).norm(dim=1) + 1e-10).view(-1, 1, 1, 1))
        delta = z - x
        factor = (eps / delta.flatten(1).norm(dim=1)).clamp(max=1)
        z = (x + delta * factor.view(-1, 1, 1, 1)).clamp(0, 1)
    found = torchattacks.PGDL2(net.module, eps=eps, alpha=step, steps=10, random_start=False)(x, y)
    assert torch.equal(found, z)
    ours = _plug("pgd", x, y, Threat("l2", eps), steps=10, step_size=step, restarts=0)
    assert 0 < (found - ours).abs().flatten(1).amax(1).median() < 1e-5


def test_t10_bim_projects_with_other_rounding_than_pgd():
    """Bounds x - eps and x + eps, against x + clamp(z - x): an ulp, which the sign may amplify."""
    x, y = held_out(64)
    net, eps, step = robust(), 0.1, 0.013

    def bounds(steps):
        z = x.clone()
        for _ in range(steps):
            z = z + step * gradient(net, z, y, "mean").sign()
            z = torch.minimum(torch.maximum(z, x - eps), x + eps).clamp(0, 1)
        return z

    found = torchattacks.BIM(net.module, eps=eps, alpha=step, steps=20)(x, y)
    assert torch.equal(found, bounds(20))
    ours = pgd(net, x, y, eps, step, 20, reduction="mean")
    assert _rows_that_differ(found, ours) > 16
    assert robust_accuracy(net, found, y) == pytest.approx(robust_accuracy(net, ours, y), abs=0.02)


def test_t10b_bim_with_0_steps_takes_the_number_of_the_paper():
    assert torchattacks.BIM(untrained(), eps=8 / 255, steps=0).steps == 10
    assert torchattacks.BIM(untrained(), eps=4 / 255, steps=0).steps == 5


def test_t11_train_mode_comes_back_in_layers_that_were_frozen():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.BatchNorm1d(10)).train()
    model[2].eval()
    torchattacks.FGSM(model, eps=0.1)(*held_out(4))
    assert model[2].training


def test_t12_an_exception_leaves_the_model_in_eval_mode():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 10)).train()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        torchattacks.FGSM(model, eps=0.1)(*held_out(4))
    assert not model.training


@pytest.mark.parametrize("name", ["CW", "DeepFool", "PGD", "FGSM", "APGD", "Square"])
def test_t13_cw_and_deepfool_leave_gradients_in_the_parameters(name):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    options = {"n_queries": 2} if name == "Square" else {} if name == "FGSM" else {"steps": 2}
    x, _ = held_out(4)
    y = model(x).argmax(1)
    getattr(torchattacks, name)(model, **options)(x, y)
    polluted = any(weight.grad is not None for weight in model.parameters())
    assert polluted == (name in ("CW", "DeepFool"))


def test_t14_images_outside_the_box_move_by_more_than_eps():
    x, y = held_out(4)
    x = x * 1.4 - 0.2
    found = torchattacks.FGSM(standard().module, eps=0.1)(x, y)
    assert (found - x).abs().max() == pytest.approx(0.2, abs=1e-6)
    assert found.min() >= 0


def test_t15_the_normalisation_hook_costs_bits():
    x, y = held_out(16)
    mean, std = 0.1307, 0.3081

    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = standard().module

        def forward(self, images):
            return self.inner((images - mean) / std)

    inside = torchattacks.FGSM(Normalised().eval(), eps=0.1)(x, y)
    attack = torchattacks.FGSM(standard().module, eps=0.1)
    attack.set_normalization_used([mean], [std])
    outside = attack((x - mean) / std, y) * std + mean
    assert not torch.equal(inside, outside)
    assert (inside - outside).abs().median() < 1e-6


def test_t16_labels_are_required():
    for name in ("FGSM", "PGD", "CW", "DeepFool", "APGD", "Square"):
        with pytest.raises(AttributeError):
            getattr(torchattacks, name)(standard().module)(held_out(2)[0])


def test_t17_the_mean_over_the_batch_makes_a_result_depend_on_its_batch():
    """1/60 and 1/20 round and underflow each in its own way; a summed loss keeps rows apart."""
    x, y = held_out(60)
    net = saturated()

    def split(attack):
        return torch.cat([attack(x[i : i + 20], y[i : i + 20]) for i in range(0, 60, 20)])

    theirs = torchattacks.FGSM(net.module, eps=0.3)
    assert torch.equal(theirs(x, y), pgd(net, x, y, 0.3, 0.3, 1, reduction="mean"))
    assert _rows_that_differ(theirs(x, y), split(theirs)) >= 1
    summed = pgd(net, x, y, 0.3, 0.3, 1)
    assert torch.equal(summed, split(lambda a, b: pgd(net, a, b, 0.3, 0.3, 1)))


def test_t17b_saturated_rows_do_not_move_and_look_robust():
    """Neither mean nor sum cures it: in float64, or unscaled, the same rows fall."""
    x, y = held_out(64)
    net = saturated()
    still = (gradient(net, x, y) == 0).flatten(1).all(1)
    assert still.sum() > 20
    found = torchattacks.PGD(net.module, eps=0.3, alpha=0.02, steps=20, random_start=False)(x, y)
    assert torch.equal(found[still], x[still])
    assert robust_accuracy(net, found, y) > 0.3
    unscaled = pgd(standard(), x, y, 0.3, 0.02, 20)
    assert robust_accuracy(standard(), unscaled, y) < 0.05
    module = saturated().module.double()
    double = pgd(Net(module), x.double(), y, 0.3, 0.02, 20)
    module.float()
    assert (double != x).flatten(1).any(1).all()


def test_t20_requests_is_pinned_and_never_imported():
    pins = importlib.metadata.requires("torchattacks") or []
    assert any(pin.replace(" ", "") == "requests(~=2.25.1)" for pin in pins), pins
    spec = importlib.util.find_spec("torchattacks")
    sources = Path(spec.submodule_search_locations[0]).rglob("*.py")
    assert not any("import requests" in path.read_text(encoding="utf-8") for path in sources)


def test_t21_tifgsm_takes_colour_images_only():
    with pytest.raises(RuntimeError, match=r"expected input.* to have 3 channels"):
        torchattacks.TIFGSM(standard().module, eps=0.1, steps=1)(*held_out(2))


@pytest.mark.parametrize("name", ["PGDL2", "MIFGSM", "APGD"])
def test_t21b_flat_inputs_are_refused_by_some(name):
    x, y = held_out(2)
    model = nn.Sequential(nn.Unflatten(1, (1, 28, 28)), standard().module).eval()
    assert torchattacks.PGD(model, steps=1)(x.flatten(1), y).shape == (2, 784)
    with pytest.raises((RuntimeError, IndexError)):
        getattr(torchattacks, name)(model, steps=1)(x.flatten(1), y)


def test_t22_misclassified_rows_are_attacked_or_returned_clean():
    """FGSM and PGD move them; APGD and Square do not; CW and DeepFool do not either."""
    x, y = held_out(128)
    with torch.no_grad():
        wrong = standard()(x).argmax(1) != y
    x, y = x[wrong][:6], y[wrong][:6]
    options = {
        "FGSM": {},
        "PGD": {"steps": 2},
        "MIFGSM": {"steps": 2},
        "BIM": {"steps": 2},
        "APGD": {"steps": 2},
        "Square": {"n_queries": 2},
        "DeepFool": {"steps": 2},
    }
    for name, given in options.items():
        found = getattr(torchattacks, name)(standard().module, **given)(x, y)
        assert torch.equal(found, x) == (name in ("APGD", "Square", "DeepFool")), name


PASSES = [
    ("FGSM", {}, 1, 1),
    ("BIM", {"steps": 10}, 10, 10),
    ("PGD", {"steps": 10}, 10, 10),
    ("PGDL2", {"steps": 10}, 10, 10),
    ("MIFGSM", {"steps": 10}, 10, 10),
    ("CW", {"steps": 50}, 50, 50),
    ("APGD", {"steps": 10}, 12, 11),
    ("Square", {"n_queries": 50}, 53, 0),
]


@pytest.mark.parametrize(("name", "options", "forwards", "backwards"), PASSES)
def test_passes_of_the_model(name, options, forwards, backwards):
    model = Counting(robust().module).eval()
    budget = {} if name == "CW" else {"eps": 0.01}
    getattr(torchattacks, name)(model, **budget, **options)(*held_out(16))
    assert (model.forwards, model.backwards) == (forwards, backwards)
