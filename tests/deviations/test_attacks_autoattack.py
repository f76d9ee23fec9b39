"""Known deviations of pyautoattack 0.2.0, each shown on a minimal case by running the library.

A version that mends one of them fails its test: then mend the catalogue.
"""

import importlib.metadata
import inspect
import logging
import sys

import pytest
import torch
from small_nets import Counting, Net, Scaled, held_out, robust, standard, untrained
from torch import nn

from harness.core.rng import global_state

pyautoattack = pytest.importorskip("pyautoattack")
apgd = pytest.importorskip("pyautoattack.autopgd_base")
fab = pytest.importorskip("pyautoattack.fab_pt")
square = pytest.importorskip("pyautoattack.square")
checks = pytest.importorskip("pyautoattack.checks")


@pytest.fixture(autouse=True)
def _as_it_was():
    """The library seeds the global generator, stops the tracer and remembers what it counted."""
    tracer, counted = sys.gettrace(), dict(checks.funcs)
    with global_state(0):
        yield
    sys.settrace(tracer)
    checks.funcs.update(counted)


def _small(model, *, attacks=("apgd-ce",), steps=3, seed=0, eps=0.1):
    attack = pyautoattack.AutoAttack(
        model, attacks=list(attacks), version="custom", eps=eps, seed=seed
    )
    attack.apgd.n_restarts = 1
    attack.apgd.n_iter, attack.fab.n_iter, attack.square.n_queries = steps, steps, steps
    return attack


def test_p1_the_model_is_attacked_in_whatever_mode_it_is():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.BatchNorm1d(10)).train()
    before = model[2].running_mean.clone()
    apgd.APGDAttack(model, n_iter=2, eps=0.1).perturb(*held_out(8))
    assert model.training
    assert not torch.equal(model[2].running_mean, before)


def test_p2_progress_goes_to_a_silent_logger(capfd, caplog):
    x, y = held_out(8)
    with caplog.at_level(logging.DEBUG, logger="auto-attack"):
        _small(robust().module).run_standard_evaluation(x, y)
    assert any("robust accuracy" in record.message for record in caplog.records)
    assert capfd.readouterr().out == ""


def test_p3_the_wheel_carries_a_checkpoint_of_44_megabytes():
    files = importlib.metadata.files("pyautoattack") or []
    sizes = {file.name: file.size or 0 for file in files}
    assert sizes["model_test.pt"] > 40e6


def test_p4_the_tracer_is_switched_off():
    """Coverage and debuggers end here."""
    x, y = held_out(2)
    old = sys.gettrace()

    def tracer(*_):
        return None

    sys.settrace(tracer)
    try:
        _small(robust().module).run_standard_evaluation(x, y)
        seen = sys.gettrace()
    finally:
        sys.settrace(old)
    assert seen is None


class Dynamic(nn.Module):
    """Computes a gradient while it predicts."""

    def __init__(self):
        super().__init__()
        self.module = standard().module

    def forward(self, x):
        with torch.enable_grad():
            point = x.detach().clone().requires_grad_()
            torch.autograd.grad(self.module(point).sum(), point)
        return self.module(x)


def test_p4b_once_a_model_was_dynamic_all_later_ones_are(caplog):
    x, _ = held_out(2)
    log = logging.getLogger("auto-attack")
    checks.funcs.update(dict.fromkeys(checks.funcs, 0))
    for model, count in ((standard().module, 0), (Dynamic(), 1), (standard().module, 2)):
        checks.check_dynamic(model, x, logger=log)
        assert sum("dynamic defense" in record.message for record in caplog.records) == count


def test_p5_the_result_depends_on_the_batch_size_and_the_seed():
    x, y = held_out(40)

    def run(size, seed):
        attack = _small(robust().module, attacks=["square"], steps=30, seed=seed)
        return attack.run_standard_evaluation(x, y, batch_size=size)[0]

    assert torch.equal(run(40, 0), run(40, 0))
    assert not torch.equal(run(40, 0), run(10, 0))
    assert not torch.equal(run(40, 0), run(40, 1))


def test_p5b_without_a_seed_it_takes_the_clock():
    attack = pyautoattack.AutoAttack(untrained(), eps=0.1)
    assert attack.get_seed() != attack.get_seed()


def test_p6_fab_needs_the_labels_that_the_others_do_without():
    x, _ = held_out(4)
    net = robust().module
    apgd.APGDAttack(net, n_iter=1, eps=0.1).perturb(x)
    square.SquareAttack(net, n_queries=1, eps=0.1).perturb(x)
    with pytest.raises(TypeError):
        fab.FABAttack_PT(net, n_iter=1, eps=0.1, device="cpu").perturb(x)


def test_p7_the_signature_is_not_that_of_the_repository():
    names = set(inspect.signature(pyautoattack.AutoAttack).parameters)
    assert names == {"model", "attacks", "device", "eps", "norm", "seed", "version"}
    with pytest.raises(TypeError, match="verbose"):
        pyautoattack.AutoAttack(untrained(), verbose=False)
    x, y = held_out(4)
    result = _small(robust().module).run_standard_evaluation(x, y)
    assert isinstance(result, tuple)
    assert len(result) == 2


def test_p8_a_custom_list_keeps_five_restarts():
    attack = pyautoattack.AutoAttack(untrained(), attacks=["apgd-ce"], version="custom", seed=0)
    assert (attack.apgd.n_restarts, attack.fab.n_restarts) == (5, 5)
    standard_version = pyautoattack.AutoAttack(untrained(), seed=0)
    assert (standard_version.apgd.n_restarts, standard_version.fab.n_restarts) == (1, 1)
    with pytest.raises(ValueError, match="custom"):
        pyautoattack.AutoAttack(untrained(), attacks=["apgd-ce"])


def test_p9_targeted_apgd_needs_four_classes():
    class Three(nn.Module):
        def forward(self, x):
            return robust().module(x)[:, :3]

    x, _ = held_out(8)
    model = Three()
    y = model(x).argmax(1).detach()
    with pytest.raises(IndexError):
        apgd.APGDAttack_targeted(model, n_iter=2, eps=0.001, n_target_classes=2).perturb(x, y)


def test_p10_float64_is_cast_to_float32():
    x, y = held_out(8)
    found = apgd.APGDAttack(robust().module, n_iter=1, eps=0.1).perturb(x.double(), y)
    assert found.dtype == torch.float32
    model = robust().module.double()
    try:
        with pytest.raises(RuntimeError, match=r"(?i)double|float"):
            apgd.APGDAttack(model, n_iter=1, eps=0.1).perturb(x.double(), y)
    finally:
        model.float()


@pytest.mark.parametrize("name", ["apgd", "apgd-t", "fab-t", "square"])
def test_p11_the_global_generator_is_seeded(name):
    x, y = held_out(4)
    net = robust().module
    made = {
        "apgd": lambda: apgd.APGDAttack(net, n_iter=1, eps=0.05),
        "apgd-t": lambda: apgd.APGDAttack_targeted(net, n_iter=1, eps=0.05, n_target_classes=2),
        "fab-t": lambda: fab.FABAttack_PT(net, n_iter=1, eps=0.05, device="cpu", targeted=True),
        "square": lambda: square.SquareAttack(net, n_queries=2, eps=0.05),
    }[name]
    states = []
    for seed in (1, 2):
        torch.default_generator.manual_seed(seed)
        made().perturb(x, y)
        states.append(torch.random.get_rng_state())
    assert torch.equal(*states)


def test_p12_values_outside_the_box_stay_where_nothing_was_attacked():
    x, y = held_out(64)
    x = x * 1.2 - 0.1
    with torch.no_grad():
        wrong = robust()(x).argmax(1) != y
    found, _ = _small(robust().module).run_standard_evaluation(x, y)
    assert torch.equal(found[wrong], x[wrong])
    assert found.min() < 0


@pytest.mark.parametrize("name", ["apgd", "square", "fab"])
def test_p13_only_fab_leaves_gradients_in_the_parameters(name):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    x, _ = held_out(4)
    y = model(x).argmax(1)
    made = {
        "apgd": lambda: apgd.APGDAttack(model, n_iter=2, eps=0.01),
        "square": lambda: square.SquareAttack(model, n_queries=2, eps=0.01),
        "fab": lambda: fab.FABAttack_PT(model, n_iter=2, eps=0.01, device="cpu"),
    }[name]
    made().perturb(x, y)
    assert any(weight.grad is not None for weight in model.parameters()) == (name == "fab")


def test_p14_misclassified_rows_come_back_clean():
    x, y = held_out(128)
    with torch.no_grad():
        wrong = standard()(x).argmax(1) != y
    x, y = x[wrong][:6], y[wrong][:6]
    for attack in (
        apgd.APGDAttack(standard().module, n_iter=2, eps=0.1),
        square.SquareAttack(standard().module, n_queries=2, eps=0.1),
        fab.FABAttack_PT(standard().module, n_iter=2, eps=0.1, device="cpu"),
    ):
        assert torch.equal(attack.perturb(x.clone(), y.clone()), x)


PASSES = [
    (lambda m: apgd.APGDAttack(m, n_iter=10, eps=0.005), 12, 11),
    (lambda m: apgd.APGDAttack_targeted(m, n_iter=10, eps=0.005), 109, 99),
    (lambda m: square.SquareAttack(m, n_queries=50, eps=0.005), 53, 0),
]


@pytest.mark.parametrize(
    ("made", "forwards", "backwards"), PASSES, ids=["apgd", "apgd-t", "square"]
)
def test_passes_of_the_model(made, forwards, backwards):
    model = Counting(robust().module)
    made(model).perturb(*held_out(16))
    assert (model.forwards, model.backwards) == (forwards, backwards)


def test_the_official_attack_sees_what_a_cross_entropy_cannot():
    """DLR does not change with the scale of the logits: saturated rows fall to it and not to CE."""
    x, y = held_out(48)
    net = Net(Scaled(standard().module, 100.0))

    def robust_rows(loss):
        found = apgd.APGDAttack(net.module, n_iter=30, eps=0.15, loss=loss).perturb(x, y)
        return int((net(found).argmax(1) == y).sum())

    assert robust_rows("dlr") < robust_rows("ce") - 5
