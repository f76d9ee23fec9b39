"""The ledger beyond attacks: boundary cases, directions, and what a run keeps of them."""

import csv
from dataclasses import replace

import pytest

from harness import api
from harness.core.registry import registry
from harness.crosscheck import boundary, direction
from harness.crosscheck.comparison import rows
from harness.ledger import failing

FINE = {"identical", "equivalent", "explained", "not comparable"}


@pytest.fixture
def break_plug(monkeypatch):
    """Put a broken function in the place of a plug's."""

    def put(kind, name, function):
        plug = registry.get(kind, name)
        broken = replace(plug, function=function(plug.function))
        monkeypatch.setitem(registry._plugs, (kind, name), broken)

    return put


def lines(case):
    return rows(boundary.comparisons(case))


# ------------------------------------------------------------ boundary cases


@pytest.mark.parametrize("case", [*boundary.CALIBRATION, *boundary.RANKING])
def test_no_false_alarm_at_the_boundary(case):
    """Catches a definition of ours that breaks where the issue says: 0, 1/K, 1, edges, one sample."""
    found = lines(case)
    assert {line.verdict for line in found} <= FINE
    assert {line.protocol for line in found if line.verdict == "explained"} <= {"native"}


@pytest.mark.parametrize(
    ("case", "deviation"),
    [
        ("probabilities exactly 0 and 1", "C2"),
        ("confidence on a bin edge", "C1"),
        ("two classes", "C7"),
    ],
)
def test_a_case_shows_the_deviation_that_it_was_made_for(case, deviation):
    """Catches a case that does not reach its boundary."""
    assert deviation in {line.deviation for line in lines(case)}


def mixed(share):
    return lambda p: (1 - share) * p + share / p.shape[1]


FAULTS = {
    "confidence on a bin edge": mixed(1e-9),
    "probabilities exactly 0 and 1": mixed(0.1),
    "empty bins": lambda p: p**2 / (p**2).sum(1, keepdims=True),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_at_the_boundary_is_found(break_plug, case):
    """Catches bins closed on the other side, and tolerances that swallow a boundary."""
    break_plug("metric", "ece", lambda f: lambda p, y, **k: f(FAULTS[case](p), y, **k))
    found = [
        line
        for line in lines(case)
        if line.what.startswith("ECE") and line.a == "harness" and line.protocol == "lockstep"
    ]
    assert len(found) == 2
    assert {line.verdict for line in found} == {"different"}


def test_a_library_that_answers_nan_has_failed(break_plug):
    """Catches NaN that passes for agreement, and that no JSON can hold."""
    break_plug("metric", "netcal/ece", lambda f: lambda p, y, **k: float("nan"))
    broken = [
        line
        for line in lines("empty bins")
        if "netcal" in (line.a, line.b) and line.what.startswith("ECE")
    ]
    seen = {line.verdict for line in broken if line.protocol == "lockstep"}
    assert seen == {"failed"}


# ------------------------------------------------------------ directions


def test_every_detector_points_upwards():
    found = rows(direction.comparisons())
    assert len(found) == len(registry.plugs("detector"))
    assert {line.verdict for line in found} <= {"identical", "equivalent"}


@pytest.mark.parametrize("name", ["msp", "pytorch_ood/knn", "pytorch_ood/react"])
def test_a_flipped_detector_is_different(break_plug, name):
    """Catches a library's score taken for its negative."""
    break_plug("detector", name, lambda f: lambda fit, **k: lambda seen: -f(fit, **k)(seen))
    concept = name.rpartition("/")[2]
    bad = [line for line in rows(direction.comparisons()) if line.verdict == "different"]
    assert {line.what for line in bad} == {f"direction of {concept}"}


# ------------------------------------------------------------ in a run

SUITE = """\
title: Tiny
data: digits
limit: 64
training: {epochs: 1}
models:
  Baseline: {network: {use: lenet5, channels: [4, 8], hidden: 16}}
  Two: {ensemble: Baseline, size: 2}
checks: false
ood: {near: letters, detectors: [msp]}
crosscheck: {models: [Baseline, Two], concepts: [fgsm], eps: {linf: 0.1}, images: 32}
baseline: Baseline
"""
PAIRS = ["seconds", "forwards", "backwards", "envelope"]


@pytest.fixture(scope="module")
def checked(tmp_path_factory) -> api.Checked:
    place = tmp_path_factory.mktemp("ledger")
    (place / "tiny.yaml").write_text(SUITE)
    options = api.Options(jobs=1, out=place / "out", store=place / "store")
    return api.crosscheck(place / "tiny.yaml", options)


@pytest.mark.slow
def test_a_run_compares_attacks_calibration_and_scores_of_every_model(checked):
    """Catches an ensemble without logits, and a kind that never reaches the ledger."""
    seen = {(line.kind, line.model) for line in checked.rows}
    assert seen == {(k, m) for k in ("attack", "calibration", "ood") for m in ("Baseline", "Two")}
    assert {line.protocol for line in checked.rows} == {"lockstep"}
    assert not checked.failing
    assert not failing(checked.rows)
    assert failing(checked.rows, strict=True), "AUPR is not comparable, which --strict counts"


@pytest.mark.slow
def test_the_ledger_is_a_csv_with_its_costs(checked):
    with (checked.folder / "crosscheck.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0])[:4] == ["what", "kind", "a", "b"]
    assert {f"{name}_{side}" for name in PAIRS for side in "ab"} < set(found[0])
    assert len(found) == len(checked.rows)
    attack = next(line for line in found if line["kind"] == "attack")
    assert float(attack["backwards_a"]) == 1
    assert float(attack["seconds_b"]) > 0
    assert float(attack["low"]) <= float(attack["difference"]) <= float(attack["high"])
    assert attack["envelope_a"] == "0"
