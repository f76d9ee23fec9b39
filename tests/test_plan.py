"""Plans: what a digest depends on, and what it must not depend on."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness import api
from harness.attacks.gradients import fastest
from harness.core.errors import DataError, ModelError
from harness.core.types import Use, digest_of
from harness.plan import changes, code_digest, cost, estimate, expand
from harness.plan.digests import identity
from harness.suite import Suite, load
from harness.terminal import power_line

SUITES = Path(__file__).parent.parent / "suites"
SIZES = {"train": 1200, "val": 97, "test": 500}


def planned(suite: Suite, fingerprint: str = "f", device: str = "cpu"):
    return expand(
        suite,
        fingerprint=lambda use: fingerprint + use.name,
        size=lambda use, part: SIZES[part],
        classes=tuple("0123456789"),
        device=device,
        places=(SUITES,),
    )


def smoke(tmp_path: Path, *edits: tuple[str, str]) -> Suite:
    text = (SUITES / "smoke.yaml").read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "smoke.yaml"
    path.write_text(text)
    return load(path)


def digests(suite: Suite, **options) -> dict[str, str]:
    return {job.title: job.digest for job in planned(suite, **options).jobs}


def test_needs_come_before_jobs_and_all_are_there():
    jobs = planned(load(SUITES / "full.yaml", data="digits")).jobs
    seen: set[str] = set()
    for job in jobs:
        assert set(job.needs) <= seen, job.title
        seen.add(job.digest)
    assert len(seen) == len(jobs)


def test_the_study_is_31_networks_and_25_models():
    plan = planned(load(SUITES / "full.yaml", data="digits"))
    assert sum(job.kind == "train" for job in plan.jobs) == 31
    measured = {question.model for question in plan.answers if question.kind == "attack"}
    assert len(measured) == 25


def test_ensembles_share_their_members_with_the_baseline():
    plan = planned(load(SUITES / "full.yaml", data="digits"))
    trained = [question for question in plan.answers if question.kind == "train"]
    members = [question.member for question in trained if question.model == "Baseline"]
    assert sorted(members) == list(range(10))


def test_attacks_of_a_suite_search_in_the_fastest_arithmetic():
    """Catches defaults that are filled in as if the suite had asked for them."""
    plan = planned(load(SUITES / "full.yaml", data="digits"))
    given = [job.params["attack"] for job in plan.jobs if job.kind == "attack"]
    found = {(use["use"], use.get("arithmetic")) for use in given}
    assert found == {("fgsm", None), ("pgd", fastest()), ("square", fastest())}


@pytest.mark.parametrize(
    ("said", "searched"),
    [("arithmetic: float32", "float32"), ("keep: final", "plain"), ("keep: first", fastest())],
)
def test_a_suite_may_say_how_an_attack_searches(tmp_path, said, searched):
    """Final iterates keep the bits of the libraries."""
    suite = smoke(tmp_path, ("use: pgd,", f"use: pgd, {said},"))
    (use,) = {str(j.params["attack"]): j.params["attack"] for j in planned(suite).jobs if j.kind == "attack" and j.params["attack"]["use"] == "pgd"}.values()  # fmt: skip
    assert use["arithmetic"] == searched


@pytest.mark.parametrize(
    ("said", "trained"),
    [
        ("epochs: 5", fastest()),
        ("epochs: 5, arithmetic: float32", "float32"),
        ("epochs: 5, arithmetic: bfloat16", "bfloat16"),
    ],
)
def test_a_suite_may_say_how_networks_are_trained(tmp_path, said, trained):
    """Catches a default that overrides what a suite asks for, and one that is left to the job,
    whose digest would then not tell two arithmetics apart."""
    jobs = planned(smoke(tmp_path, ("epochs: 5", said))).jobs
    (job,) = [job for job in jobs if job.kind == "train"]
    assert job.params["training"]["arithmetic"] == trained


def test_two_arithmetics_of_training_are_two_digests(tmp_path):
    """Catches weights of one arithmetic served for the other, and a price that is the same."""
    full, half = (
        [
            job
            for job in planned(
                smoke(tmp_path, ("epochs: 5", f"epochs: 5, arithmetic: {name}"))
            ).jobs
            if job.kind == "train"
        ]
        for name in ("float32", "bfloat16")
    )
    assert full[0].digest != half[0].digest
    assert full[0].cost > half[0].cost


@pytest.mark.parametrize(
    ("edit", "changed", "kept"),
    [
        (("eps: 0.1", "eps: 0.2"), "attack Baseline with pgd linf", "train Baseline"),
        (("epochs: 5", "epochs: 6"), "train Baseline", None),
        (("[msp]", "[mls]"), None, "train Baseline"),
        (("attack_images: 100", "attack_images: 99"), "attack Baseline with pgd linf", "predict Baseline on test"),
    ],
)  # fmt: skip
def test_a_digest_follows_its_parameters_and_no_others(tmp_path, edit, changed, kept):
    """Catches a key that forgets a parameter, and one that holds the whole suite."""
    before, after = digests(smoke(tmp_path)), digests(smoke(tmp_path, edit))
    if changed:
        assert before[changed] != after[changed]
    if kept:
        assert before[kept] == after[kept]


def test_a_digest_does_not_follow_comments_titles_or_order(tmp_path):
    before = digests(smoke(tmp_path))
    edits = (
        ("title: Smoke", "title: Another # comment"),
        ("[fog, impulse_noise]", "[impulse_noise, fog]"),
    )
    assert digests(smoke(tmp_path, *edits)) == before


def test_data_seed_and_device_change_every_digest(tmp_path):
    suite = smoke(tmp_path)
    before = set(digests(suite).values())
    assert not before & set(digests(suite, fingerprint="g").values())
    assert not before & set(digests(suite, device="cuda").values())
    assert not before & set(digests(suite.model_copy(update={"seeds": (1,)})).values())


def test_members_have_seeds_of_their_own(tmp_path):
    plan = planned(load(SUITES / "full.yaml", data="digits"))
    seeds = [job.seed for job in plan.jobs if job.title.startswith("train Baseline")]
    assert len(set(seeds)) == 10


def test_why_a_job_is_not_cached(tmp_path):
    before, after = planned(smoke(tmp_path)), planned(smoke(tmp_path, ("eps: 0.1", "eps: 0.2")))
    attack = next(job for job in after.jobs if job.kind == "attack")
    stored = [vars_of(job) for job in before.jobs]
    assert changes(attack, stored) == ("parameters",)
    assert changes(replace(attack, code="other", params=stored_params(before)), stored) == ("code",)
    assert changes(attack, []) == ()


def vars_of(job):
    from dataclasses import asdict

    return asdict(job)


def stored_params(plan):
    return next(job.params for job in plan.jobs if job.kind == "attack")


def test_paths_are_not_in_a_digest():
    """Catches a cache that is cold after the folder was moved."""
    fields = {
        "kind": "predict", "params": {"model": {"factory": "a:b", "path": "x"}, "n": 1}, "seed": 0,
        "inputs": {}, "code": "", "libraries": {}, "numerics": {},
    }  # fmt: skip
    moved = fields | {"params": {"model": {"factory": "a:b", "path": "y"}, "n": 1}}
    assert digest_of(identity(fields)) == digest_of(identity(moved))


def test_code_reaches_through_imports(tmp_path, monkeypatch):
    """Catches a digest of one file only."""
    from harness.plan import digests as room

    seen = room._closure(frozenset({"harness.jobs.attack"}))
    assert {"harness.attacks.runner", "harness.core.threat", "harness.jobs.bench"} <= seen
    assert "harness.report" not in seen
    assert code_digest(["harness.jobs.attack"]) != code_digest(["harness.jobs.train"])


def test_an_interval_can_change_without_training_again():
    """Catches statistics that jobs import, by whatever path: a store then goes cold for a word."""
    from harness.plan import digests as room

    for kind in ("train", "attack", "predict", "score"):
        seen = room._closure(frozenset({f"harness.jobs.{kind}"}))
        assert not {module for module in seen if module.startswith("harness.statistics")}


def test_costs_keep_proportion():
    """Catches a price that forgets steps, members, budgets, or what the attack in training takes."""
    price = {job.title: job.cost for job in planned(load(SUITES / "full.yaml", data="digits")).jobs}
    pgd = {
        name: price[f"attack {name} with pgd linf"] for name in ("Baseline", "Ensemble 5", "Large")
    }
    assert pgd["Ensemble 5"] == pytest.approx(5 * pgd["Baseline"])
    assert 1.5 * pgd["Baseline"] < pgd["Large"] < 4 * pgd["Baseline"]
    assert 5 < pgd["Baseline"] / price["attack Baseline with fgsm linf"] < 40
    # An attack's steps are in float32, what is learnt from may be dearer or cheaper.
    step = cost.PASS / {"float32": cost.PASS, "bfloat16": cost.QUICK_PASS}[fastest()]
    plain = price["train Baseline"]
    assert price["train PGD training 0.1"] == pytest.approx((1 + 5 * step) * plain)
    assert price["train CutOut then PGD"] == pytest.approx((1 + 2.5 * step) * plain)
    assert price["train FGSM training 0.1"] == pytest.approx((1 + step) * plain)
    odin, softmax = (price[f"score Baseline with {name}"] for name in ("pytorch_ood/odin", "msp"))
    assert odin > 10 * softmax  # ODIN asks the network again; the others have what is stored


def test_more_steps_queries_and_budgets_cost_more():
    """Catches a price that forgets one of them; twice the steps take nearly twice as long."""
    spec = load(SUITES / "full.yaml", data="digits").models[0]
    forty, eighty = (cost.attack(spec, {"steps": steps}, 8, 100) for steps in (40, 80))
    assert 1.9 < eighty / forty < 2
    assert cost.attack(spec, {"steps": 40, "restarts": 5}, 8, 100) > 4.9 * forty
    assert cost.attack(spec, {"steps": 40, "arithmetic": "bfloat16"}, 8, 100) < forty
    assert cost.attack(spec, {"steps": 40}, 15, 100) == pytest.approx(
        forty * 4 / math.log2(9), rel=0.01
    )
    assert cost.attack(spec, {"queries": 1000}, 1, 10) > 1.9 * cost.attack(
        spec, {"queries": 500}, 1, 10
    )
    assert cost.attack(spec, {}, 8, 100) > cost.attack(spec, {}, 1, 100)
    assert cost.forward(spec, 200) == 2 * cost.forward(spec, 100)


def test_no_digest_knows_of_costs(monkeypatch):
    """Catches a store that goes cold because an estimate was mended."""
    from harness.plan import digests as room

    suite = load(SUITES / "full.yaml", data="digits")
    before = planned(suite).jobs
    monkeypatch.setattr(cost, "PASS", 7.0)
    monkeypatch.setattr(cost, "FORWARD", 7.0)
    after = planned(suite).jobs
    assert [job.digest for job in after] == [job.digest for job in before]
    assert sum(job.cost for job in after) > sum(job.cost for job in before)
    jobs = {
        f"harness.jobs.{path.stem}" for path in (SUITES.parent / "harness" / "jobs").glob("*.py")
    }
    assert "harness.plan.cost" not in room._closure(frozenset(jobs - {"harness.jobs.__init__"}))


def test_estimate_is_graham_s_rule(tmp_path):
    jobs = planned(smoke(tmp_path)).jobs
    some = [replace(jobs[0], cost=c, digest=str(c)) for c in (3.0, 3.0, 2.0, 2.0, 2.0)]
    assert estimate(some, 2) == 7.0
    assert estimate(some, 1) == 12.0


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (10_000, "difference of 0.4 points is seen with 80 % power"),
        (250, "no paired difference is seen .* that takes 394 images or a disagreement on 3.2 %"),
        (3, "no paired difference is seen .* that takes 394 images[.]"),
    ],
)
def test_the_plan_says_what_so_many_images_can_show(n, said):
    """Catches "a difference of inf points"."""
    assert re.search(said, power_line(n))


def test_missing_data_names_the_way_out(tmp_path, monkeypatch):
    suite = load(SUITES / "full.yaml")
    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(DataError, match="--data digits"):
        api.prepare(suite, api.Options(data_dir=tmp_path))


def refuse(*args):
    raise OSError("no network in tests")


def test_missing_weights_are_named_before_anything_runs(tmp_path):
    with pytest.raises(ModelError, match="mnist_lenet5_clntrained"):
        expand(
            load(SUITES / "own-model.yaml"),
            fingerprint=lambda use: "f",
            size=lambda use, part: SIZES[part],
            places=(tmp_path,),
        )


def test_a_data_set_is_a_use(tmp_path):
    assert smoke(tmp_path).data == Use("digits")
