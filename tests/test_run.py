"""Whole runs, end to end, on the smallest study that has every axis."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from harness import api

SUITE = """\
title: Tiny
data: digits
limit: 60
training: {epochs: 1}
models:
  Baseline: {network: {use: lenet5, channels: [4, 8], hidden: 16}}
  FGSM training: {network: {use: lenet5, channels: [4, 8], hidden: 16}, train: {use: fgsm, eps: 0.1}}
attack_images: 20
checks: false
attacks: [{use: fgsm, eps: [0.05, 0.1]}, {use: pgd, eps: 0.1, steps: 3}]
shift: {corruptions: [fog]}
ood: {near: letters, detectors: [msp]}
baseline: Baseline
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("run")
    (place / "tiny.yaml").write_text(SUITE)
    return place


@pytest.fixture(scope="module")
def finished(place) -> api.Finished:
    return api.run(place / "tiny.yaml", api.Options(jobs=1, out=place / "a", store=place / "one"))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_all_that_it_promises(finished):
    assert finished.complete
    names = {path.name for path in finished.folder.iterdir()}
    assert {
        "results.csv", "summary.csv", "report.md", "report.html", "run.json", "outcomes", "figures",
    } <= names  # fmt: skip
    assert "for testing only" in (finished.folder / "report.md").read_text().lower()


def test_every_row_has_n_or_a_reason(finished):
    found = rows(finished.folder)
    assert {row["axis"] for row in found} >= {"clean", "adversarial", "shift", "ood", "calibration"}
    for row in found:
        assert int(row["n"]) > 0 if row["status"] == "ok" else row["note"], row


def test_the_same_suite_again_does_nothing(finished, place):
    """Catches a report that is rewritten, and a job that is done twice."""
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")}
    options = api.Options(jobs=1, out=place / "a", store=place / "one")
    again = api.run(place / "tiny.yaml", options)
    assert again.outcome.done == 0
    assert {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")} == before


def test_results_do_not_depend_on_store_process_or_workers(finished, place):
    said = subprocess.run(
        [sys.executable, "-m", "harness.cli", "run", "tiny.yaml", "--jobs", "2", "--store", "two", "--out", "b"],
        cwd=place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    ours, theirs = (folder / "results.csv" for folder in (finished.folder, place / "b/tiny-digits"))
    assert ours.read_bytes() == theirs.read_bytes()
