"""run.json: what each job rests on, and the command that does it again (check H66)."""

import hashlib
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import api, cli, provenance
from harness.api.running import Finished
from harness.api.suites import replay, replay_one
from harness.axes.view import View
from harness.core.types import Artifact
from harness.engine import Outcome
from harness.report.dictionary import meanings
from harness.results.run import JobFacts

SUITE = """\
title: Tiny
data: digits
seeds: [0, 1]
training: {epochs: 1}
models:
  Baseline: {network: {use: lenet5, channels: [4, 8], hidden: 16}}
  Ensemble 2: {ensemble: Baseline, size: 2}
  Ensemble 3: {ensemble: Baseline, size: 3}
  "What's [FGSM]?": {network: {use: lenet5, channels: [4, 8], hidden: 16}, train: {use: fgsm, eps: 0.1}}
  PGD: {network: {use: lenet5, channels: [4, 8], hidden: 16}, train: {use: pgd, eps: 0.1}}
attack_images: 20
attacks: [{use: pgd, eps: 0.1, steps: 3}]
shift: {corruptions: [fog]}
ood: {near: letters, detectors: [msp]}
crosscheck: {concepts: [fgsm], models: [Baseline], images: 8}
baseline: Baseline
"""


class Weighed:
    """A store in which every training is done; its weights are called after it."""

    def read(self, digest: str) -> Artifact:
        return Artifact(digest, "ok", facts={"weights": f"weights of {digest}"})


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("provenance") / "tiny.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def ready(suite) -> api.Ready:
    return api.prepare(api.load(suite), api.Options(), folder=suite.parent)


def made(suite: Path) -> provenance.Made:
    return provenance.Made(
        started=0.0, seconds=0.0, workers=1, command=replay(suite, api.Options()),
        again=partial(replay_one, suite, api.Options()), only="", device="cpu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def jobs(suite, ready) -> dict[str, JobFacts]:
    view = View(ready.plan, Weighed())  # pyright: ignore[reportArgumentType] -- reads are all it needs
    return provenance.lineage(view, Outcome(0, 0, {}, {}, 0.0), made(suite))


def test_every_replay_is_a_command_whose_plan_has_the_job(suite, jobs, monkeypatch):
    """Catches names that the shell or the pattern takes apart, another seed, and siblings left out."""
    monkeypatch.chdir(suite.parent)
    said = []

    def run(path, options, **_):
        said.append((path, options))
        return Finished(path, Outcome(0, 0, {}, {}, 0.0), ())

    monkeypatch.setattr(api, "run", run)
    monkeypatch.setattr(Finished, "show", lambda *_: None)
    commands: dict[str, list[str]] = {}
    for digest, job in jobs.items():
        commands.setdefault(job["replay"], []).append(digest)
    for command, wanted in commands.items():
        program, *words = shlex.split(command)
        assert program == "harness"
        assert CliRunner().invoke(cli.app, words).exit_code == 0, command
        path, options = said.pop()
        again = api.prepare(api.load(path, options), options, folder=suite.parent)
        assert set(wanted) <= {job.digest for job in again.plan.jobs}, command


def test_a_replay_is_no_longer_than_it_must_be(jobs):
    """Catches a command that does the whole study for each row."""
    whole = {job["kind"] for job in jobs.values() if "--only" not in job["replay"]}
    assert whole <= {"transfer", "compared"}, whole
    alone = {job["replay"] for job in jobs.values() if job["model"] == "PGD" and job["kind"] == "attack"}  # fmt: skip
    assert alone == {f"harness run tiny.yaml --seed {seed} --only PGD" for seed in (0, 1)}


def test_weights_and_data_of_every_job(ready, jobs):
    """Catches the weights of another seed, one member for the ensemble, and OOD sets left out."""
    trained = {job.digest for job in ready.plan.jobs if job.kind == "train"}
    for digest, job in jobs.items():
        rests_on = {one.removeprefix("weights of ") for one in job["weights"]}
        assert rests_on <= trained
        if job["kind"] == "train":
            assert rests_on == {digest}
        if job["kind"] == "combine":
            assert len(rests_on) == int(job["model"].removeprefix("Ensemble "))
        if job["kind"] in ("attack", "predict"):
            assert rests_on == set(ready.plan.job(digest).needs)
        if job["kind"] == "score":
            assert set(job["data"]) == {"digits", "letters"}
        if job["model"]:
            assert job["data"]["digits"] == ready.plan.splits[next(iter(ready.plan.splits))]["fingerprint"]  # fmt: skip
            assert re.fullmatch("[0-9a-f]{64}", job["data"]["digits"])


@pytest.mark.parametrize(
    ("given", "said"),
    [("full", "suites/full.yaml"), ("suites/full.yaml", "suites/full.yaml")],
)
def test_a_shipped_suite_is_called_as_it_is_found(tmp_path, monkeypatch, given, said):
    """Catches a command that names a file that is not there."""
    monkeypatch.chdir(tmp_path)
    assert replay(given, api.Options(limit=5, seeds=(3,))) == f"harness run {said} --seed 3 --limit 5"  # fmt: skip


def test_no_path_of_this_machine_is_told(tmp_path):
    """Catches a home folder in a published report."""
    (tmp_path / "mine.yaml").write_text("")
    assert replay(tmp_path / "mine.yaml", api.Options(data_dir=tmp_path)) == "harness run mine.yaml"


def test_every_key_of_a_job_is_documented():
    assert set(meanings(JobFacts)) == set(JobFacts.__annotations__)


def test_a_user_s_weights_are_those_of_the_file(tmp_path):
    """Catches a model that one brings whose numbers rest on weights without a digest."""
    (tmp_path / "mine.py").write_text("def network(): ...")
    (tmp_path / "mine.pt").write_bytes(b"weights")
    models = "models: {Mine: {factory: 'mine:network', weights: mine.pt}}"
    (tmp_path / "mine.yaml").write_text(
        f"data: digits\n{models}\nattacks: [{{use: fgsm, eps: 0.1}}]\n"
    )
    suite = api.load(tmp_path / "mine.yaml")
    plan = api.prepare(suite, api.Options(), folder=tmp_path).plan
    view = View(plan, Weighed())  # pyright: ignore[reportArgumentType] -- reads are all it needs
    digest = hashlib.sha256(b"weights").hexdigest()
    assert provenance._model(view, suite.models[0])["weights"] == digest
    jobs = provenance.lineage(view, Outcome(0, 0, {}, {}, 0.0), made(tmp_path / "mine.yaml"))
    assert {tuple(job["weights"]) for job in jobs.values() if job["kind"] == "attack"} == {
        (digest,)
    }
