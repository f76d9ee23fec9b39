"""Whole runs, end to end, on the smallest study that has every axis."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import api
from harness.core.errors import InputError
from harness.store import Store

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
    again = api.run(place / "tiny.yaml", stored(place, out=place / "a"))
    assert again.outcome.done == 0
    assert {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")} == before


def stored(place: Path, **options) -> api.Options:
    """Options with the store of the finished run."""
    return api.Options(**{"jobs": 1, "store": place / "one"} | options)


def harness(place: Path, *words: str, **more) -> subprocess.Popen:
    """The command line as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *words],
        cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=_interruptible, **more,
    )  # fmt: skip


def _interruptible() -> None:
    """A test run in the background of a shell ignores interrupts, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_results_do_not_depend_on_store_process_or_workers(finished, place):
    words = ("run", "tiny.yaml", "--jobs", "2", "--store", "two", "--out", "b")
    with harness(place, *words) as process:
        _, said = process.communicate()
    assert process.returncode == 0, said
    ours, theirs = (folder / "results.csv" for folder in (finished.folder, place / "b/tiny-digits"))
    assert ours.read_bytes() == theirs.read_bytes()
    # The peak is a worker's own: the parent, and what it can ask of its children, has no torch.
    told = json.loads((theirs.parent / "run.json").read_text())
    assert told["memory"] > 2**28


@pytest.mark.parametrize(("blow", "code"), [("SIGKILL", -9), ("SIGINT", 130)])
def test_the_same_command_continues_an_interrupted_run(finished, place, blow, code):
    """Catches a store that keeps half a record, work done twice, and results that differ for it."""
    out, root = place / blow / "reports", place / blow / "store"
    words = ("run", "tiny.yaml", "--jobs", "1", "--store", str(root), "--out", str(out))
    with harness(place, *words) as process:
        while process.poll() is None and len(Store(root).jobs()) < 2:
            time.sleep(0.01)
        process.send_signal(getattr(signal, blow))
        _, said = process.communicate()
    assert process.returncode == code, said
    assert not out.exists()
    if blow == "SIGINT":
        assert "the same command continues" in said
        assert "Traceback" not in said
    kept = {job["title"] for job in Store(root).jobs()}
    again = api.run(place / "tiny.yaml", api.Options(jobs=1, out=out, store=root))
    assert again.complete
    assert (again.outcome.cached, again.outcome.done) == (
        len(kept),
        finished.outcome.done - len(kept),
    )
    assert 2 <= again.outcome.cached < finished.outcome.done
    ours, theirs = (run.folder / "results.csv" for run in (finished, again))
    assert ours.read_bytes() == theirs.read_bytes()


def test_only_some_models_are_reported_and_nothing_is_done_for_it(finished, place):
    """Catches a pattern that is read as a name, and one that changes what a job depends on."""
    options = stored(place, out=place / "some", only="base*")
    some = api.run(place / "tiny.yaml", options)
    assert {row["model"] for row in rows(finished.folder)} == {"Baseline", "FGSM training"}
    assert {row["model"] for row in rows(some.folder)} == {"Baseline"}
    assert some.outcome.done == 0
    with pytest.raises(InputError, match="matches no model"):
        api.run(place / "tiny.yaml", stored(place, only="best*"))


def test_the_store_of_the_environment_is_used(finished, place, monkeypatch):
    monkeypatch.setenv("HARNESS_STORE", str(place / "one"))
    monkeypatch.chdir(place)
    again = api.run(place / "tiny.yaml", stored(place, store=None, out=place / "a"))
    assert again.outcome.done == 0
    assert not (place / ".harness").exists()


BROKEN = """\
from torch import nn

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        if x.requires_grad:
            raise ZeroDivisionError("no gradient of mine")
        return self.head(x.flatten(1))

def network(num_classes, in_shape):
    return Broken()
"""
OWN = """\
data: {use: npz, path: images.npz}
models: {Mine: {factory: "broken_model:network"}}
attacks: [{use: pgd, eps: 0.1, steps: 2}]
attack_images: 6
calibration:
checks: false
shift: {corruptions: [fog, stripe]}
"""


@pytest.fixture
def broken(tmp_path) -> Path:
    """A model whose predictions come and whose gradients crash."""
    import numpy as np

    x = np.random.default_rng(0).random((24, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "images.npz", test_images=x, test_labels=np.arange(24) % 3)
    (tmp_path / "broken_model.py").write_text(BROKEN)
    (tmp_path / "mine.yaml").write_text(OWN)
    return tmp_path


def test_a_failed_job_is_said_everywhere_while_the_rest_goes_on(broken):
    """Catches a crash that ends the run, one that passes for robustness, and an exit code of 0."""
    words = ("run", "mine.yaml", "--data-dir", ".", "--jobs", "1")
    with harness(broken, *words, env=os.environ | {"HARNESS_STORE": str(broken / "mine")}) as run:
        told, said = run.communicate()
    assert run.returncode == 4, said
    assert "INCOMPLETE" in told
    assert "no gradient of mine" in told
    assert (broken / "mine").is_dir()
    folder = broken / "reports/mine-npz"
    found = {(row["axis"], row["status"]) for row in rows(folder)}
    assert {("clean", "ok"), ("shift", "ok"), ("adversarial", "failed")} <= found
    assert ("adversarial", "ok") not in found
    failed = [row for row in rows(folder) if row["status"] == "failed"]
    assert all("no gradient of mine" in row["note"] and not row["value"] for row in failed)
    report = (folder / "report.md").read_text()
    assert "incomplete" in report.lower()
    assert "no gradient of mine" in report


def test_fail_fast_begins_nothing_after_a_failure(broken):
    """The attack, being the longest, comes first: without the option the predictions still come."""
    options = api.Options(data_dir=broken, out=broken / "r", store=broken / "s", jobs=1)
    fast = api.run(broken / "mine.yaml", options, fail_fast=True)
    assert len(fast.outcome.failed) >= 1
    assert len(fast.outcome.skipped) > 0
    slow = api.run(broken / "mine.yaml", options)
    assert not slow.complete
    assert len(slow.outcome.skipped) == 0
    assert slow.outcome.done + slow.outcome.cached > fast.outcome.done
