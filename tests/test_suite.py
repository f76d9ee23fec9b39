"""Suites: what they come to, and what their errors say."""

from pathlib import Path

import pytest

from harness.core.errors import SuiteError, UnknownName
from harness.core.types import Use
from harness.suite import load

SUITES = Path(__file__).parent.parent / "suites"
MINIMAL = "data: digits\nmodels:\n  Baseline: {network: lenet5}\n"


def write(folder: Path, text: str, name: str = "a.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(SuiteError) as caught:
        load(write(folder, text))
    return str(caught.value)


def test_full_suite_is_the_matrix_of_the_study():
    """Catches a matrix that drops a value, and names that are not the study's."""
    suite = load(SUITES / "full.yaml", data="digits")
    names = [model.name for model in suite.models]
    assert len(names) == 25
    assert {"Baseline", "Large", "Ensemble 10", "FGSM training 0.05", "CutOut 1x14"} <= set(names)
    assert suite.model("PGD training 0.2").training_budget == 0.2
    networks = sum(m.network is not None for m in suite.models)
    members = max(m.size or 0 for m in suite.models)
    assert networks + members - 1 == 31  # the first member is the baseline


def test_budgets_follow_the_data_set():
    """Catches a choice by data set that ignores --data."""
    on = {data: load(SUITES / "full.yaml", data=data) for data in ("digits", "mnist")}
    budgets = {d: sorted({m.training_budget for m in s.models} - {None}) for d, s in on.items()}
    assert budgets == {"digits": [0.05, 0.1, 0.2], "mnist": [0.1, 0.2, 0.3]}
    assert on["digits"].middle_budget == 0.1


def test_the_two_orders_are_two_recipes():
    """Catches an order that is lost on the way."""
    suite = load(SUITES / "full.yaml", data="digits")
    steps = [step.name for step in suite.model("CutOut then PGD").train]
    assert steps == ["cutout", "pgd"]
    assert [s.name for s in suite.model("PGD then CutOut").train] == ["pgd", "cutout"]


@pytest.mark.parametrize("name", sorted(path.name for path in SUITES.glob("*.yaml")))
def test_every_shipped_suite_is_valid(name):
    load(SUITES / name, data="digits")


def test_smoke_stands_alone_with_one_attack_in_short():
    suite = load(SUITES / "smoke.yaml")
    (attack,) = suite.attacks
    assert (attack.use, attack.eps, attack.norm) == (Use("pgd"), (0.1,), "linf")


def test_unknown_key_names_line_and_nearest(tmp_path):
    text = complaint(tmp_path, MINIMAL + "modles: {}\n")
    assert "a.yaml:4" in text
    assert "Did you mean 'models'?" in text


def test_unknown_key_of_a_model_names_its_line(tmp_path):
    text = complaint(tmp_path, MINIMAL + "  Other:\n    network: lenet5\n    epoch: 3\n")
    assert "a.yaml:6" in text
    assert "'epoch'" in text


def test_training_said_for_all_models_is_wrong_where_it_is_said(tmp_path):
    """Catches the first model's line for a mistake in the suite's own `training`, and the reverse."""
    for_all = "data: digits\ntraining: {arithmetic: bf16}\nmodels:\n  A: {network: lenet5}\n"
    text = complaint(tmp_path, for_all)
    assert ":2: training.arithmetic" in text
    assert "got 'bf16'" in text
    own = for_all.replace("bf16", "float32").replace("lenet5}", "lenet5, training: {epochs: x}}")
    assert ":4: models.A.training.epochs" in complaint(tmp_path, own)


def test_unknown_plug_names_line_and_nearest(tmp_path):
    text = complaint(tmp_path, MINIMAL + "attacks: [{use: pdg, eps: 0.1}]\n")
    assert "a.yaml:4" in text
    assert "Did you mean 'pgd'?" in text


def test_unknown_parameter_of_a_plug(tmp_path):
    text = complaint(tmp_path, MINIMAL + "attacks: [{use: pgd, eps: 0.1, step: 3}]\n")
    assert "has no parameter 'step'" in text
    assert "Did you mean 'steps'?" in text


def test_wrong_type_shows_what_was_given(tmp_path):
    text = complaint(tmp_path, MINIMAL + "attack_images: many\n")
    assert "a.yaml:4" in text
    assert "'many'" in text


@pytest.mark.parametrize(
    ("eps", "what"),
    [("8", "[0, 1] pixel units"), ("-0.1", "greater than 0"), ("0", "greater than 0")],
)
def test_impossible_budget(tmp_path, eps, what):
    """Catches eps read as 0-255."""
    text = complaint(tmp_path, MINIMAL + f"attacks: [{{use: pgd, eps: {eps}}}]\n")
    assert what in text
    assert "a.yaml:4" in text


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("seeds: [0, 0]", "seeds: seed 0 is given twice, got [0, 0]"),  # two equal runs, no spread
        ("seeds: -1", "seeds: seeds are whole numbers from 0"),
        ("seeds: []", "seeds: give at least one seed"),
        ("seeds: 100000000000000000000", "seeds: seeds are whole numbers from 0"),
        ("attacks: [{use: pgd, eps: []}]", "attacks.pgd.eps: give at least one budget"),
        ("attacks: [{use: pgd, eps: [0.1, 0.1]}]", "attacks.pgd.eps: budget 0.1 is given twice"),
        ("attacks: [{use: pgd, eps: .inf}]", "attacks.pgd.eps.0: Input should be a finite number"),
        ("training: {learning_rate: .inf}", "training.learning_rate: Input should be a finite"),
    ],
)
def test_lists_that_hold_nothing_or_a_thing_twice_and_numbers_that_are_none(tmp_path, line, what):
    """Catches what would crash, or look certain, when all the work is done."""
    text = complaint(tmp_path, MINIMAL + line + "\n")
    assert what in text
    assert "a.yaml:4" in text


def test_a_model_may_be_written_on_top_of_another(tmp_path):
    """Catches a reader that asks for the line of a key that was merged from elsewhere."""
    text = "data: digits\nmodels:\n  A: &a {network: lenet5}\n  B: {<<: *a, train: cutout}\n"
    path = tmp_path / "a.yaml"
    path.write_text(text)
    assert [model.network for model in load(path).models] == [Use("lenet5"), Use("lenet5")]
    path.write_text(text.replace("train", "trian"))
    with pytest.raises(SuiteError, match=r"a\.yaml:4: unknown key 'trian'"):
        load(path)


def test_a_family_may_be_named_and_errors_still_find_the_line(tmp_path):
    """Catches a line that is looked for under the family, which is no key of the file."""
    named = MINIMAL + "  A then B: {family: Mixed, network: lenet5}\n"
    suite = load(write(tmp_path, named))
    assert [(m.name, m.family) for m in suite.models] == [("Baseline", "Baseline"), ("A then B", "Mixed")]  # fmt: skip
    assert "a.yaml:4: unknown key 'netwrk'" in complaint(tmp_path, named.replace("Mixed, network", "Mixed, netwrk"))  # fmt: skip
    assert "a.yaml:4: unknown network" in complaint(tmp_path, named.replace("Mixed, network: lenet5", "Mixed, network: lenet6"))  # fmt: skip


def test_an_attack_without_budget_is_refused(tmp_path):
    assert "H60" in complaint(tmp_path, MINIMAL + "attacks: [pgd]\n")


def test_missing_file_names_its_neighbours(tmp_path):
    write(tmp_path, MINIMAL, "full.yaml")
    with pytest.raises(SuiteError, match=r"Did you mean 'full.yaml'"):
        load(tmp_path / "ful.yaml")


def test_not_yaml_names_the_line(tmp_path):
    assert "a.yaml:3: not YAML" in complaint(tmp_path, "data: digits\nmodels: [\n")


def test_include_is_one_level_and_the_upper_file_wins(tmp_path):
    write(tmp_path, MINIMAL + "seeds: [1]\n", "below.yaml")
    suite = load(
        write(tmp_path, "include: below.yaml\nseeds: [2]\nmodels:\n  Two: {network: lenet5}\n")
    )
    assert suite.seeds == (2,)
    assert [model.name for model in suite.models] == ["Baseline", "Two"]


def test_cyclic_include(tmp_path):
    write(tmp_path, "include: a.yaml\n" + MINIMAL, "below.yaml")
    text = complaint(tmp_path, "include: below.yaml\n")
    assert "a cycle" in text
    assert "a.yaml:1" in text
    write(tmp_path, "include: c.yaml\n" + MINIMAL, "below.yaml")
    assert "one level" in complaint(tmp_path, "include: below.yaml\n")
    assert "a cycle" in complaint(tmp_path, "include: a.yaml\n")


def test_choice_without_a_value_for_the_data_set(tmp_path):
    text = complaint(tmp_path, MINIMAL + "attack_images: {mnist: 3}\n")
    assert "'digits'" in text
    assert "a.yaml:4" in text


def test_each_makes_the_product_in_order(tmp_path):
    text = (
        "data: digits\nmodels:\n"
        "  M: {network: lenet5, train: [{use: cutout, count: {each: [1, 2]}}, {use: mixup, alpha: {each: [0.2, 1]}}]}\n"
    )
    names = [model.name for model in load(write(tmp_path, text)).models]
    assert names == ["M 1 0.2", "M 1 1", "M 2 0.2", "M 2 1"]


def test_ensemble_of_unknown_model(tmp_path):
    text = complaint(tmp_path, MINIMAL + "  E: {ensemble: Base, size: 3}\n")
    assert "Did you mean 'Baseline'?" in text


def test_a_model_has_one_origin(tmp_path):
    text = complaint(tmp_path, MINIMAL + "  E: {network: lenet5, factory: a:b}\n")
    assert "exactly one" in text


def test_duplicate_key_is_refused(tmp_path):
    assert "a.yaml" in complaint(tmp_path, MINIMAL + "data: mnist\n")


def test_command_line_overrides_the_file(tmp_path):
    path = write(tmp_path, MINIMAL)
    suite = load(path, data="mnist", seeds=[3, 4], limit=7)
    assert (suite.data.name, suite.seeds, suite.limit) == ("mnist", (3, 4), 7)
    with pytest.raises(UnknownName, match="Did you mean 'mnist'"):
        load(path, data="mnis")


def test_a_suite_is_data_not_code(tmp_path):
    """Catches a loader that runs tags."""
    text = complaint(tmp_path, MINIMAL + "title: !!python/object/apply:os.system ['true']\n")
    assert "a.yaml:4" in text
    assert "tags" in text
