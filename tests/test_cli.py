"""The command line: what it answers, how fast it starts, and what it leaves unimported."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import Listing, app
from harness.core.errors import HarnessError

SUITES = Path(__file__).parents[1] / "suites"
HEAVY = ("torch", "torchvision", "torchattacks", "art", "foolbox", "netcal", "pytorch_ood")


def cli(*arguments: str):
    """What the command line says, in this process."""
    return CliRunner().invoke(app, list(arguments), catch_exceptions=True)


def alone(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, which then tells what it has imported."""
    start = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('IMPORTED', *(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr))\n"
        "from harness.cli import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", start, *arguments],
        cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip


# ---------------------------------------------------------------- starting


def test_help_is_quick_and_says_what_there_is():
    """Catches a heavy import at the top of cli.py; processor time, so that a busy machine may be slow."""
    before = os.times()
    said = alone("--help")
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system  # fmt: skip
    assert spent < 0.5
    commands = "run validate plan ls report compare crosscheck schema explain"
    for command in commands.split():
        assert command in said.stdout
    assert said.stderr.split() == ["IMPORTED"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("validate", "full"),
        ("plan", "smoke"),
        ("schema",),
        ("explain", "H44"),
        *(("ls", listing.value) for listing in Listing),
    ],
    ids=" ".join,
)
def test_commands_that_compute_nothing_import_nothing_heavy(arguments, tmp_path):
    said = alone(*arguments, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert said.stderr.splitlines()[-1].split() == ["IMPORTED"]
    assert said.stdout.strip()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "it wrote files"


# ---------------------------------------------------------------- listings


@pytest.mark.parametrize(
    ("listing", "names"),
    [
        ("models", ["lenet5", "lenet5-large"]),
        ("attacks", ["fgsm", "pgd", "square", "torchattacks/pgd", "art/pgd", "foolbox/pgd"]),
        ("detectors", ["msp", "mls", "pytorch_ood/energy", "pytorch_ood/vim"]),
        ("corruptions", ["fog", "impulse_noise", "canny_edges"]),
        ("metrics", ["ece", "brier"]),
        ("recipes", ["cutout", "mixup", "fgsm", "pgd"]),
        ("data", ["digits", "mnist", "letters", "npz", "folder"]),
        ("adapters", ["harness", "torchattacks", "art", "netcal"]),
        ("suites", ["full", "smoke", "crosscheck", "own-model"]),
    ],
)
def test_ls_lists_every_kind(listing, names, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    said = cli("ls", listing).output
    listed = {line.split()[0] for line in said.splitlines() if line.strip()}
    assert set(names) <= listed


def test_ls_says_what_is_missing_and_how_to_get_it(tmp_path, monkeypatch):
    """Catches a listing that shows a library or a data set as there when it is not."""
    import importlib.util

    monkeypatch.setenv("COLUMNS", "300")
    data = cli("ls", "data", "--data-dir", str(tmp_path)).output
    assert any("mnist" in line and "missing" in line for line in data.splitlines())
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "foolbox" else find(name, *rest)
    )  # fmt: skip
    assert "pip install foolbox==3.3.4" in cli("ls", "adapters").output
    assert "missing: pip install foolbox==3.3.4" in cli("ls", "attacks").output


# ---------------------------------------------------------------- validate, explain


def test_every_shipped_suite_is_valid():
    for path in SUITES.glob("*.yaml"):
        said = cli("validate", str(path))
        assert said.exit_code == 0, said.output
    assert "25 models" in cli("validate", "full").output


def test_explain_knows_checks_and_suggests_for_a_slip():
    assert "white box" in cli("explain", "H44").output
    assert cli("explain", "h44").output == cli("explain", "H44").output
    slip = cli("explain", "H4x")
    assert isinstance(slip.exception, HarnessError)
    assert "Did you mean 'H" in str(slip.exception)


def test_explain_knows_every_deviation_of_the_catalogue():
    from harness.crosscheck.catalogue import load

    for entry in load():
        assert entry.name in cli("explain", entry.id).output


def test_an_error_is_one_line_and_exit_code_2():
    """Catches a traceback where a message is due."""
    said = alone("explain", "H4x")
    assert said.returncode == 2
    assert said.stderr.startswith("error: unknown check or deviation 'H4X'")
    assert "Traceback" not in said.stderr


# ---------------------------------------------------------------- schema


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(cli("schema").output)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def plain(path: Path):
    """A suite as an editor sees it: parsed by another mode of the YAML library than ours."""
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(path.read_text())


@pytest.mark.parametrize("name", ["full", "smoke", "crosscheck", "own-model"])
def test_the_schema_accepts_the_shipped_suites(validator, name):
    assert [error.message for error in validator.iter_errors(plain(SUITES / f"{name}.yaml"))] == []


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ((), "modles"),
        (("models", "Baseline"), "netwrk"),
        (("ood",), "neer"),
        (("shift",), "corruption"),
        (("attacks", 0), "step"),
    ],
)
def test_the_schema_refuses_an_unknown_key(validator, place, key):
    suite = plain(SUITES / "smoke.yaml")
    node = suite
    for step in place:
        node = node[step]
    node[key] = 1
    assert not validator.is_valid(suite)


@pytest.mark.parametrize(
    ("use", "valid"),
    [
        ({"use": "pgd", "eps": 0.1, "steps": 0}, False),
        ({"use": "pgd", "eps": 0.1, "steps": "40"}, False),
        ({"use": "pgd", "eps": 0.1, "loss": "cross"}, False),
        ({"use": "square", "eps": 0.1, "restarts": 0}, False),
        ({"use": "pgd", "eps": 0.1, "restarts": 0, "step_size": None}, True),
        ({"use": "pgd", "eps": 0.1, "steps": {"digits": 20, "other": 40}}, True),
        ({"use": "pgd", "eps": 0.1, "loss": {"digits": "ce", "other": "dlr"}}, True),
    ],
)
def test_the_schema_knows_types_and_ranges(validator, use, valid):
    """Catches a schema that lets an editor accept what the loader refuses, or the reverse."""
    suite = plain(SUITES / "smoke.yaml") | {"attacks": [use]}
    assert validator.is_valid(suite) is valid


def test_a_section_may_depend_on_the_data_set(validator):
    """Catches a schema that is stricter than the loader."""
    suite = plain(SUITES / "smoke.yaml")
    suite["ood"] = {"mnist": {"near": "kmnist"}, "other": None}
    assert validator.is_valid(suite)


def test_the_plan_is_shown_in_time():
    """Catches a plan that reads images or builds networks; generous, for a busy machine."""
    started = time.process_time()
    said = cli("plan", "smoke", "--all")
    assert said.exit_code == 0
    assert "train Baseline" in said.output
    assert time.process_time() - started < 10


def test_the_translation_to_each_library_is_shown_whole(monkeypatch):
    """Catches names cut by the width of a terminal, and settings of users that are not told."""
    monkeypatch.setenv("COLUMNS", "60")
    narrow = cli("ls", "attacks", "--params").output
    assert "\u2026" not in narrow
    monkeypatch.setenv("COLUMNS", "1000")
    wide = cli("ls", "attacks", "--params").output
    for name in ("torchattacks.PGD(", "art.attacks.evasion.", "foolbox.attacks.", "pyautoattack."):
        assert name in wide
    assert "its users get steps=10, rescale=True" in wide
