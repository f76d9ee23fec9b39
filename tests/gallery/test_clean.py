"""No false alarm: what is sound raises no FAIL, no void, and no WARN that names a planted fault.

Plain networks, adversarially trained ones and ensembles of five seeds, on digits and on MNIST; every
attack that steps as ours does, every detector, every calibration metric, by every library that is
installed.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

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
from harness.metrics import auroc

SEEDS = range(5)
ALARMS = ("different", "failed")
SEARCH = ("H22", "H23", "H24", "H25", "H28")  # how well a sound attack searched: no planted fault
K = 64


@dataclass(frozen=True, eq=False)  # hashed by identity, so that networks on it can be cached
class World:
    """Images to train on, images that no network has seen, and others of no class."""

    x: torch.Tensor
    y: torch.Tensor
    test: torch.Tensor
    labels: torch.Tensor
    strangers: torch.Tensor


@functools.cache
def digits() -> World:
    """Scikit-learn's digits; its strangers are digits whose blocks of seven pixels are shuffled."""
    x, y = small_nets.digits()
    return World(x[:1300], y[:1300], x[1300:], y[1300:], shuffled(x[1300:]))


@functools.cache
def mnist(folder: Path) -> World:
    """A part of MNIST, its harder test images first; its strangers are pieces of clothing."""
    data = load("mnist", folder)
    x, y, test, labels = (
        torch.from_numpy(part[:rows_].copy())
        for part, rows_ in ((data.train.x, 3000), (data.train.y, 3000), (data.test.x, 500), (data.test.y, 500))
    )  # fmt: skip
    strangers = load("fashion-mnist", folder).test.x[:200].copy()
    return World(x, y, test, labels, torch.from_numpy(strangers))


def shuffled(x):
    """(N, 1, 28, 28) images whose sixteen blocks stand in another order."""
    blocks = x.unfold(2, 7, 7).unfold(3, 7, 7).reshape(-1, 1, 16, 7, 7)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    square = blocks[:, :, order].reshape(-1, 1, 4, 4, 7, 7)
    return square.transpose(3, 4).reshape(-1, 1, 28, 28)


@pytest.fixture(params=["digits", pytest.param("mnist", marks=pytest.mark.data)])
def world(request) -> World:
    if request.param == "digits":
        return digits()
    return mnist(request.getfixturevalue("data_dir"))


@functools.cache
def network(world, seed, eps=0.0):
    """A small network of its own seed, frozen; with `eps` trained on signed steps of that length."""
    with global_state(seed), torch.enable_grad(), small_nets._one_thread():
        net = small_nets.cnn()
        optimiser = torch.optim.Adam(net.parameters(), 2e-3)
        for _ in range(150):
            at = torch.randint(0, len(world.x), (64,))
            x, y = world.x[at], world.y[at]
            points = x + eps * small_nets.gradient(net, x, y).sign() if eps else x
            optimiser.zero_grad()
            F.cross_entropy(net(points.clamp(0, 1)), y).backward()
            optimiser.step()
    return models.freeze(net, in_shape=(1, 28, 28))


def kinds(world, seed):
    """A plain network, an adversarially trained one and an ensemble."""
    plain, another = network(world, seed), network(world, (seed + 1) % len(SEEDS))
    return plain, network(world, seed, 0.1), models.Ensemble([plain, another])


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
def test_models_and_attacks(world, seed):
    """Catches thresholds that sound networks trip, and libraries blamed for rounding."""
    x, y = world.test[:K].clone(), world.labels[:K].clone()  # some libraries write into their input
    for model in kinds(world, seed):
        assert alarms(model, x, y, seed) == []
        assert disagreements(model, x[:32], y[:32], seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_metrics(world, seed):
    """Catches a ledger that takes a library's known conventions for faults."""
    for model in kinds(world, seed):
        with torch.no_grad():
            logits = model(world.test[:400]).double().numpy()
        compared = calibration.comparisons(metrics.softmax(logits), world.labels[:400].numpy())
        assert [row for row in rows(compared) if row.verdict in ALARMS] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_detectors(world, seed):
    """Catches leaks, neighbours, ranges and signs that are seen where there are none."""
    sets = {
        FITTED: (world.x[:600], world.y[:600]),
        "id": (world.test[:300], world.labels[:300]),
        "strangers": (world.strangers, None),
    }
    splits = {
        name: Split(name, x.numpy(), None if y is None else y.numpy(), name)
        for name, (x, y) in sets.items()
    }
    splits[NOISE] = _noise(splits["id"].x)
    for model in kinds(world, seed):
        seen = {name: gather(model, split, 500, "cpu") for name, split in splits.items()}
        ranges = {name: (float(one.x.min()), float(one.x.max())) for name, one in seen.items()}
        assert CHECKS["H82"]({"seen": _seen(seen), "ranges": ranges}) == []
        for plug in registry.plugs("detector"):
            if plug.meta.get("needs") == "features" and model.head is None:
                continue
            rng = torch.Generator().manual_seed(seed)
            scorer = plug.function(seen[FITTED], model=model, rng=rng)
            scores = {name: np.asarray(scorer(one), np.float64) for name, one in seen.items()}
            facts = {
                "detector": plug.name,
                "n": {name: len(values) for name, values in scores.items()},
                "neighbours": _neighbours(scorer, seen[NOISE], scores[NOISE]),
                "noise_auroc": auroc(scores["id"], scores[NOISE]),
                "auroc": {"strangers": auroc(scores["id"], scores["strangers"])},
            }
            assert CHECKS["H86"](facts) == [], plug.name
            # that noise looks familiar is no fault of the gallery: a flipped sign is, a FAIL
            assert [one for one in CHECKS["H81"](facts) if one.voids] == [], plug.name
