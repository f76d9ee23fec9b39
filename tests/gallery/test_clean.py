"""No false alarm: what is sound raises no FAIL, no void, and no WARN that names a planted fault.

Plain networks, adversarially trained ones and ensembles of five seeds; every attack that steps as
ours does, every detector, every calibration metric, by every library that is installed.
"""

import functools

import numpy as np
import pytest
import small_nets
import torch
import torch.nn.functional as F

from harness import metrics, models
from harness.checks import CHECKS, probes, raised, trials
from harness.core.registry import registry
from harness.core.rng import global_state
from harness.core.threat import Threat
from harness.core.types import Split
from harness.crosscheck import attacks, calibration
from harness.crosscheck.comparison import rows
from harness.crosscheck.verdicts import Subject, pairs
from harness.data import load
from harness.jobs.bench import gather
from harness.jobs.score import FITTED, NOISE, _neighbours, _noise, _seen

SEEDS = range(5)
ALARMS = ("different", "failed")
SEARCH = ("H22", "H23", "H24", "H25", "H28")  # how well a sound attack searched: no planted fault
K = 64


@functools.cache
def network(seed, eps=0.0):
    """A small network of its own seed, frozen; with `eps` trained on signed steps of that length."""
    x, y = small_nets.digits()
    with global_state(seed), torch.enable_grad(), small_nets._one_thread():
        net = small_nets.cnn()
        optimiser = torch.optim.Adam(net.parameters(), 2e-3)
        for _ in range(150):
            at = torch.randint(0, 1300, (64,))
            points = x[at] + eps * small_nets.gradient(net, x[at], y[at]).sign() if eps else x[at]
            optimiser.zero_grad()
            F.cross_entropy(net(points.clamp(0, 1)), y[at]).backward()
            optimiser.step()
    return models.freeze(net, in_shape=(1, 28, 28))


def kinds(seed):
    """A plain network, an adversarially trained one and an ensemble."""
    plain = network(seed)
    return plain, network(seed, 0.1), models.Ensemble([plain, network((seed + 1) % len(SEEDS))])


def alarms(model, x, y, seed):
    """Complaints about a model and the search on it that would be false."""
    found = raised("model", probes.probe(model, x, y, seed) | trials.at_eps_zero(model, x, y, seed))
    searched, _ = trials.search(model, x, y, Threat("linf", 0.1), steps=10, seed=seed)
    found += [one for one in raised("attack", searched) if one.check not in SEARCH]
    return [one for one in found if one.level != "INFO"]


def disagreements(model, x, y, seed):
    """Rows of the ledger that name a fault where there is none, and images that left the ball."""
    bad = []
    for concept, start in (("fgsm", False), ("pgd", False), ("pgd", True)):
        plugs = attacks.implementations(concept, "linf")
        threat, spec = Threat("linf", 0.1), {"steps": 5, "queries": 10}
        ran = list(
            attacks.lockstep(plugs, model, x, y, threat, spec=spec, seed=seed, random_start=start)
        )
        held = attacks.conditions(model, x, y, ran)
        facts = {name: count for name, count in held.items() if count}
        subject = Subject(concept, concept, "m", "lockstep", "linf", facts=facts)
        bad += [row for row in pairs(subject, ran) if row.verdict in ALARMS]
        bad += [one for one in ran if one.violations or one.claimed_wrongly]
    return bad


@pytest.mark.parametrize("seed", SEEDS)
def test_models_and_attacks(seed):
    """Catches thresholds that sound networks trip, and libraries blamed for rounding."""
    x, y = small_nets.held_out(K)
    for model in kinds(seed):
        assert alarms(model, x, y, seed) == []
        assert disagreements(model, x[:32], y[:32], seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_metrics(seed):
    """Catches a ledger that takes a library's known conventions for faults."""
    x, y = small_nets.held_out(400)
    for model in kinds(seed):
        with torch.no_grad():
            logits = model(x).double().numpy()
        compared = calibration.comparisons(metrics.softmax(logits), y.numpy())
        assert [row for row in rows(compared) if row.verdict in ALARMS] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_detectors(seed):
    """Catches leaks, neighbours and signs that are seen where there are none."""
    images, labels = small_nets.digits()
    model = network(seed)

    def split(name, rows_):
        return Split(name, images[rows_].numpy(), labels[rows_].numpy(), name)

    seen = {FITTED: gather(model, split("fit", slice(0, 600)), 500, "cpu")}
    seen["id"] = gather(model, split("id", slice(1300, 1600)), 500, "cpu")
    seen[NOISE] = gather(model, _noise(seen["id"].x), 500, "cpu")
    shares = {"seen": _seen(seen)}
    assert CHECKS["H82"](shares) == []
    for plug in registry.plugs("detector"):
        rng = torch.Generator().manual_seed(seed)
        scorer = plug.function(seen[FITTED], model=model, rng=rng)
        noise = np.asarray(scorer(seen[NOISE]), np.float64)
        facts = {"neighbours": _neighbours(scorer, seen[NOISE], noise)}
        assert CHECKS["H86"](facts) == [], plug.name


@pytest.mark.data
def test_mnist(data_dir):
    """The same on MNIST, on a network of one short training."""
    mnist = load("mnist", data_dir)
    x, y = torch.from_numpy(mnist.train.x[:6000]), torch.from_numpy(mnist.train.y[:6000])
    with global_state(0), torch.enable_grad(), small_nets._one_thread():
        net = small_nets.cnn()
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        for at in torch.randperm(6000).split(64):
            optimiser.zero_grad()
            F.cross_entropy(net(x[at]), y[at]).backward()
            optimiser.step()
    model = models.freeze(net, in_shape=(1, 28, 28))
    test, labels = (
        torch.from_numpy(mnist.test.x[5000:5128]),
        torch.from_numpy(mnist.test.y[5000:5128]),
    )
    assert alarms(model, test, labels, 0) == []
    assert disagreements(model, test[:32], labels[:32], 0) == []
