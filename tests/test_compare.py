"""Two runs against one another: pairing, corrections, gates, errors and Markdown."""

import copy
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy import stats
from synthetic_results import NASTY, make, study

from harness.cli import main
from harness.compare import compare, parse_gate, to_markdown
from harness.core.errors import InputError, UnknownName

MODELS = [replace(study()[0], radius=0.2), *study()[1:3]]


def made(models=MODELS, **options):
    return make(models=models, n=400, attacked=200, faults=False, **options)


@pytest.fixture(scope="module")
def base():
    return made()


@pytest.fixture(scope="module")
def weaker():
    """The baseline falls sooner; everything else is drawn as before."""
    return made([replace(MODELS[0], radius=0.15), *MODELS[1:]])


def against(folder, before, after, *gates, **options):
    before.write(folder / "before")
    after.write(folder / "after")
    wanted = [parse_gate(gate) for gate in gates]
    return compare(folder / "before", folder / "after", gates=wanted, **options)


def with_run(results, **fields):
    run = copy.deepcopy(dict(results.run))
    return replace(results, run={**run, **fields})


def found(comparison, model, column):
    return next(c for c in comparison.changes if (c.model, c.column) == (model, column))


# ---------------------------------------------------------------- gates


def test_a_run_against_itself_changes_nothing(tmp_path, base):
    """Catches noise of the comparison itself."""
    same = against(tmp_path, base, base, "robust_accuracy=0.01", "ece=0.001")
    assert {change.verdict for change in same.changes} == {"no change shown"}
    assert all(change.before == change.after for change in same.changes)
    assert same.exit_code == 0
    assert not same.only_before
    assert not same.only_after
    assert not same.notes
    assert not same.untested
    assert to_markdown(same).startswith("# Not worse beyond the margin: robust_accuracy, ece\n")


def test_a_regression_is_exit_code_1(tmp_path, base, weaker):
    """Catches runs taken the wrong way round."""
    worse = against(tmp_path, base, weaker, "robust=0.01")
    assert worse.exit_code == 1
    change = found(worse, "baseline", "robust")
    assert change.verdict == "worse"
    assert change.low <= change.after - change.before <= change.high < -0.01
    assert to_markdown(worse).startswith("# Worse beyond the margin: robust\n")
    (tmp_path / "turned").mkdir()
    better = against(tmp_path / "turned", weaker, base, "robust=0.01")
    assert better.exit_code == 0
    assert found(better, "baseline", "robust").verdict == "better"


def test_a_drop_inside_the_margin_passes(tmp_path, base, weaker):
    """Catches any significant drop taken for a regression."""
    result = against(tmp_path, base, weaker, "robust=0.2")
    assert result.exit_code == 0
    assert found(result, "baseline", "robust").verdict == "worse"


def test_what_the_data_cannot_tell_is_exit_code_3(tmp_path, base):
    """Catches a missing regression taken for none."""
    other = made([replace(MODELS[0], skill=MODELS[0].skill - 0.02), *MODELS[1:]])
    result = against(tmp_path, base, other, "clean=0.0001")
    assert result.exit_code == 3
    assert to_markdown(result).startswith("# The data can't tell: clean\n")


def test_a_regression_outweighs_what_is_undecided(tmp_path, base, weaker):
    """Catches the last gate deciding."""
    result = against(tmp_path, base, weaker, "clean=0.0001", "robust=0.01", "shift=0.0001")
    assert result.exit_code == 1


def test_lower_is_better_for_errors(tmp_path, base):
    """Catches a growing ECE taken for progress."""
    dull = made([replace(MODELS[0], sharp=0.3), *MODELS[1:]])
    result = against(tmp_path, base, dull, "ece=0.01", "brier=0.01")
    assert found(result, "baseline", "ece").after > found(result, "baseline", "ece").before
    assert result.exit_code == 1
    (tmp_path / "turned").mkdir()
    assert against(tmp_path / "turned", dull, base, "ece=0.01").exit_code == 0


def test_a_metric_gates_every_column_of_it(tmp_path, base):
    """Catches `accuracy` that means the clean one alone."""
    near = made([replace(MODELS[0], near=1.0), *MODELS[1:]])
    result = against(tmp_path, base, near, "auroc=0.05", "accuracy=0.5")
    auroc, accuracy = result.gates
    assert {change.column for change, _ in auroc.changes} == {"auroc kmnist", "auroc fashion-mnist"}
    assert {change.column for change, _ in accuracy.changes} == {"clean", "shift"}
    assert (auroc.verdict, accuracy.verdict) == ("regression", "no regression")


def test_a_metric_beside_the_summary_can_be_gated(tmp_path, base):
    """Catches gates that know the summary's columns only."""
    result = against(tmp_path, base, base, "nll=0.01")
    assert {change.cell[2] for change, _ in result.gates[0].changes} == {"nll"}
    assert result.exit_code == 0


def test_a_gated_number_that_is_gone_is_undecided(tmp_path, base):
    """Catches a failed job that opens the gate."""
    rows = [
        replace(row, value=None, low=None, high=None, status="failed")
        if (row.model, row.axis) == ("large", "shift") else row
        for row in base.rows
    ]  # fmt: skip
    result = against(tmp_path, base, replace(base, rows=tuple(rows)), "shift=0.01")
    assert result.exit_code == 3
    assert result.gates[0].missing == ("large: shift accuracy corruption=mean",)
    assert "Gated, and not measured after" in to_markdown(result)


def test_without_gates_the_exit_code_is_0(tmp_path, base, weaker):
    result = against(tmp_path, base, weaker)
    assert result.exit_code == 0
    assert to_markdown(result).startswith(
        "# 0 better, 1 worse of 24 headline numbers; nothing is gated"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("robust", "NAME=MARGIN"),
        ("=0.1", "NAME=MARGIN"),
        ("robust=much", "NAME=MARGIN"),
        ("robust=nan", "NAME=MARGIN"),
        ("robust=0", "above 0"),
        ("robust=-0.01", "above 0"),
        ("robust=inf", "above 0"),
    ],
)
def test_gates_that_mean_nothing_are_refused(text, said):
    with pytest.raises(InputError, match=said):
        parse_gate(text)


def test_unknown_metrics_are_refused_with_the_nearest(tmp_path, base):
    """Catches a misspelt gate that never closes."""
    with pytest.raises(UnknownName, match="Did you mean 'robust_accuracy'"):
        against(tmp_path, base, base, "robust_acuracy=0.01")
    with pytest.raises(InputError, match="no per-sample outcomes"):
        against(tmp_path, base, base, "aupr_out=0.01")


# ---------------------------------------------------------------- pairing and correction


def taken(results, name, keep):
    """Results with one table's rows chosen, in the order given."""
    tables = dict(results.outcomes)
    tables[name] = tables[name].take(pa.array(keep(tables[name])))
    return replace(results, outcomes=tables)


def test_images_are_paired_by_id(tmp_path, base):
    """Catches pairing by position: the same outcomes in another order are the same outcomes."""
    backwards = taken(base, "shift", lambda table: np.arange(len(table))[::-1])
    result = against(tmp_path, base, backwards, "shift=0.001")
    assert found(result, "baseline", "shift").low == found(result, "baseline", "shift").high == 0
    assert result.exit_code == 0


def test_only_common_images_are_compared(tmp_path, base):
    """Catches images of one run alone in a paired test."""
    half = taken(base, "clean", lambda table: np.flatnonzero(table["id"].to_numpy() < 150))
    change = found(against(tmp_path, base, half), "baseline", "clean")
    assert change.images == 150
    clean = base.outcomes["clean"].to_pandas().query("model == 'baseline' and id < 150")
    assert change.before == pytest.approx((clean.label == clean.prediction).mean())


def right(results, model):
    table = results.outcomes["clean"].filter(
        pc.equal(results.outcomes["clean"]["model"].cast("string"), model)
    )
    return table["label"].to_numpy() == table["prediction"].to_numpy()


def test_p_values_are_mcnemars_after_holm(tmp_path, base):
    """Catches unpaired tests, and a family that is one column or all there is."""
    other = made([replace(m, skill=m.skill - 2.5 * (m is MODELS[0])) for m in MODELS])
    result = against(tmp_path, base, other)
    before, after = right(base, "baseline"), right(other, "baseline")
    wins, losses = int((after & ~before).sum()), int((before & ~after).sum())
    raw = stats.binomtest(wins, wins + losses).pvalue
    family = sorted((c for c in result.changes if c.column), key=lambda c: c.p)
    change = found(result, "baseline", "clean")
    assert change.after - change.before == pytest.approx((wins - losses) / len(before))
    assert change.p == pytest.approx(min(1, raw * (len(family) - family.index(change))), rel=1e-6)
    assert len(family) == 3 * 8
    assert len(result.changes) > len(family)


def test_ood_scores_of_another_draw_are_not_paired(tmp_path, base):
    """Catches ids of one draw read as those of another."""
    splits = copy.deepcopy(base.run["splits"])
    next(split for split in splits if split["name"] == "kmnist")["digest"] = "ef" * 32
    result = against(tmp_path, base, with_run(base, splits=splits))
    columns = {change.column for change in result.changes}
    assert "auroc fashion-mnist" in columns
    assert "auroc kmnist" not in columns
    assert any("kmnist: cdcdcdcdcdcd before, efefefefefef after" in note for note in result.notes)


def test_the_headline_is_compared_at_the_budgets_of_both(tmp_path, base):
    """Catches means over different budgets held against one another."""
    fewer = with_run(base, headline_budgets=[0.1, 0.2])
    change = found(against(tmp_path, base, fewer), "baseline", "robust")
    assert change.before == change.after
    broken = (
        base.outcomes["adversarial"]
        .to_pandas()
        .query("model == 'baseline' and attack == 'worst' and norm == 'linf'")
        .first_broken
    )
    assert change.before == pytest.approx(np.mean([(broken > eps).mean() for eps in (0.1, 0.2)]))


def test_seeds_are_averaged(tmp_path):
    """Catches the first seed taken for all."""
    seeded = made(MODELS[:1], seeds=2)
    change = found(against(tmp_path, seeded, seeded), "baseline", "clean")
    clean = seeded.outcomes["clean"].to_pandas()
    assert change.before == pytest.approx((clean.label == clean.prediction).mean())


# ---------------------------------------------------------------- runs that do not fit


def test_runs_without_a_common_model_are_refused(tmp_path, base):
    other = made([replace(MODELS[0], name="other")])
    with pytest.raises(
        InputError, match=r"no model stands in both runs: baseline, large.* before, other"
    ):
        against(tmp_path, base, other)


def test_models_can_be_chosen(tmp_path, base):
    """Catches a pattern that is not heeded, and one that matches nothing and passes."""
    assert {c.model for c in against(tmp_path, base, base, models="ens*").changes} == {"ensemble 3"}
    with pytest.raises(InputError, match="matches no model"):
        against(tmp_path, base, base, models="nobody")


def test_other_data_are_refused(tmp_path, base):
    with pytest.raises(InputError, match="'mnist' before, 'digits' after"):
        against(tmp_path, base, with_run(base, dataset="digits"))


def test_other_labels_under_the_same_ids_are_refused(tmp_path, base):
    """Catches two test sets of one name."""
    with pytest.raises(InputError, match="another label after"):
        against(tmp_path, base, made(seed=1))


def test_no_common_seed_is_refused(tmp_path, base):
    with pytest.raises(InputError, match="no seed in common"):
        against(tmp_path, base, with_run(base, seeds=[7]))


def test_a_folder_without_results_is_refused(tmp_path, base):
    base.write(tmp_path / "a")
    with pytest.raises(InputError, match="holds no results"):
        compare(tmp_path / "a", tmp_path / "nowhere")


def test_what_stands_in_one_run_only_is_told(tmp_path, base):
    """Catches models and numbers that vanish in silence."""
    fewer = made(MODELS[:2])
    rows = [row for row in fewer.rows if "fog" not in row.case]
    result = against(tmp_path, base, replace(fewer, rows=tuple(rows)))
    assert "model ensemble 3" in result.only_before
    assert "shift accuracy corruption=fog of 2 of 2 models" in result.only_before
    assert not result.only_after


def test_changed_conditions_are_told(tmp_path, base):
    """Catches another torch, another attack or another suite behind a changed number."""
    attacks = copy.deepcopy(base.run["attacks"])
    attacks[1]["params"]["steps"] = 20
    after = with_run(
        base, versions={**base.run["versions"], "torch": "9.9"}, attacks=attacks,
        resolved={**base.run["resolved"], "seed": 3},
    )  # fmt: skip
    notes = against(tmp_path, base, after).notes
    assert "version of torch: 2.14.1 before, 9.9 after" in notes
    assert any(note.startswith("attack pgd linf:") for note in notes)
    assert "suite.seed: 0 before, 3 after" in notes
    assert len(notes) == 3


def test_changes_without_outcomes_are_counted(tmp_path, base):
    """Catches numbers that change untested and unsaid."""
    rows = [replace(row, value=0.5) if row.metric == "aupr_out" else row for row in base.rows]
    result = against(tmp_path, base, replace(base, rows=tuple(rows)))
    assert result.untested == sum(row.metric == "aupr_out" for row in base.rows)
    assert f"{result.untested} more numbers changed" in to_markdown(result)


# ---------------------------------------------------------------- Markdown


def test_names_are_escaped(tmp_path):
    """Catches a model's name that breaks a table or runs in a page."""
    sharp = [MODELS[0], replace(MODELS[1], radius=0.3)]
    text = to_markdown(
        against(tmp_path, made(MODELS[:2], nasty=True), made(sharp, nasty=True), "robust=0.01")
    )
    assert NASTY not in text
    assert re.search(r"(?<!\\)<(?! )", text) is None
    tables = re.findall(r"(?:^\|.*\|\n?)+", text, flags=re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1
        assert max(counts) > 4
    assert r"\<img src=x onerror=alert(1)>\|a" in text


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def folders(tmp_path_factory, base, weaker):
    """Names of folders of results, before and after."""
    where = tmp_path_factory.mktemp("runs")
    for name, results in (("before", base), ("after", weaker)):
        results.write(where / name)
    return str(where / "before"), str(where / "after")


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs `harness compare ...` and gives its exit code and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["harness", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("gates", "turned", "code"),
    [
        ((), False, 0),
        (("robust_accuracy=0.01",), False, 1),
        (("robust_accuracy=0.01",), True, 0),
        (("robust=0.2",), False, 0),
        (("ece=0.5", "robust=0.01"), False, 1),
    ],
)
def test_the_exit_code_of_the_command(command, folders, gates, turned, code):
    """Catches a code that is not handed on, runs in the wrong order, and a gate that is dropped."""
    runs = folders[::-1] if turned else folders
    said = command(*runs, *(part for gate in gates for part in ("--gate", gate)))
    assert said[0] == code
    assert said[1].out.startswith("# ")


def test_the_command_says_when_the_data_cannot_tell(command, tmp_path, folders):
    """Catches exit code 0 where nothing was shown."""
    other = made([replace(MODELS[0], skill=MODELS[0].skill - 0.02), *MODELS[1:]])
    other.write(tmp_path / "other")
    code, said = command(folders[0], tmp_path / "other", "--gate", "clean=0.0001")
    assert code == 3
    assert said.out.startswith("# The data can't tell: clean\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--gate", "robust_acuracy=0.01"), "Did you mean 'robust_accuracy'"),
        (("--gate", "robust_accuracy"), "NAME=MARGIN"),
        (("--only", "nobody*"), "matches no model"),
        (("--format", "yaml"), "yaml"),
    ],
)
def test_bad_input_to_the_command_is_exit_code_2(command, folders, arguments, message):
    """Catches a traceback, and a misspelt gate that stays open."""
    code, said = command(*folders, *arguments)
    assert code == 2
    assert message in said.err
    assert not said.out


def test_a_folder_without_results_is_exit_code_2(command, folders, tmp_path):
    """Catches exit code 1, which would say that something got worse."""
    code, said = command(folders[0], tmp_path)
    assert code == 2
    assert said.err.startswith("error: ")
    assert "holds no results" in said.err


def test_the_command_writes_a_file(command, folders, tmp_path):
    """Catches a file that differs from what is printed, and a folder that must be made first."""
    out = tmp_path / "new" / "comment.md"
    printed = command(*folders, "--gate", "robust=0.01")[1].out
    code, said = command(*folders, "--gate", "robust=0.01", "--out", out)
    assert code == 1
    assert out.read_text() == printed
    assert said.out.split("\n") == ["Worse beyond the margin: robust", str(out), ""]


def test_json_says_what_markdown_says(command, folders):
    """Catches NaN in JSON, verdicts left out, and numbers of another comparison."""
    code, said = command(*folders, "--gate", "robust=0.01", "--format", "json")
    told = json.loads(said.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (told["exit_code"], told["verdict"]) == (code, "Worse beyond the margin: robust")
    (gate,) = told["gates"]
    assert (gate["name"], gate["margin"], gate["verdict"]) == ("robust", 0.01, "regression")
    assert {c["model"]: c["verdict"] for c in gate["changes"]}["baseline"] == "regression"
    found = next(c for c in told["changes"] if (c["model"], c["column"]) == ("baseline", "robust"))
    assert found["verdict"] == "worse"
    assert found["low"] <= found["after"] - found["before"] <= found["high"] < -0.01
    assert (found["axis"], found["metric"], found["better"]) == (
        "adversarial", "robust_accuracy", "higher",
    )  # fmt: skip


def test_the_command_does_not_import_torch(folders):
    """Catches seconds of import in a command that reads tables."""
    code = (
        "import sys\nfrom harness.cli import main\n"
        "try: main()\nexcept SystemExit: pass\nsys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", *folders], check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
