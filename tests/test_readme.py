"""What the README shows is what the project does: each block of code is run, each name is looked up."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from harness.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def block(language: str, holding: str) -> str:
    (found,) = [code for name, code in BLOCKS if name == language and holding in code]
    return found


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_lines_do_all_the_set_up():
    """Catches a third step, a resolver that pip is not, or a test line that CI would not find."""
    lines = [line for _, code in BLOCKS for line in code.splitlines() if "-m venv" in line]
    assert len(lines) == 2
    assert all("pip install -q --no-deps -r requirements.txt" in line for line in lines)
    assert lines[0].endswith("harness run suites/full.yaml --data digits")
    assert "pytest" in lines[1]


def test_the_example_of_a_new_corruption_works(tmp_path):
    """Catches a signature, a registry or a suite grammar that the example no longer fits."""
    (tmp_path / "mine.yaml").write_text(
        "data: digits\nmodels: {Baseline: {network: lenet5}}\nshift: {corruptions: [salt]}\n",
        encoding="utf-8",
    )
    asked = """
from pathlib import Path
from harness.suite import load
assert load(Path("mine.yaml")).shift.corruptions == ("salt",)
x = np.zeros((50, 1, 28, 28), np.float32)
print(float(salt(x, rng=np.random.default_rng(0)).mean()))
"""
    share = float(run(block("python", "salt") + asked, tmp_path))
    assert share == pytest.approx(0.1, abs=0.01)


def test_the_example_of_a_curve_works(tmp_path):
    """Catches an import or an argument that the public name no longer has."""
    before = """
import torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10)).eval()
x, y = torch.rand(8, 1, 28, 28), torch.arange(8)
"""
    shown = run(before + block("python", "security_curve"), tmp_path)
    assert shown.count("[") == 3


def test_the_suite_of_your_own_model_validates(tmp_path):
    """Catches keys that a suite no longer knows."""
    (tmp_path / "mine.yaml").write_text(block("yaml", "factory"), encoding="utf-8")
    asked = """
from pathlib import Path
from harness.suite import load
print([attack.name for attack in load(Path("mine.yaml")).attacks])
"""
    assert run(asked, tmp_path).strip() == "['pgd', 'theirs']"


def test_every_command_is_in_the_table_and_every_room_on_the_map():
    """Catches a command that nobody finds, and a room that moved."""
    commands = set(get_command(app).commands)
    assert set(re.findall(r"^\| `harness (\w+)", README, re.MULTILINE)) == commands
    table = README.split("## Map of the rooms")[1].split("\n\n")
    rooms = "".join(part for part in table if part.startswith("| room"))
    named = set(re.findall(r"`(?:harness/)?(\w+)(?:\.py)?/?`", rooms))
    there = {path.stem for path in (ROOT / "harness").iterdir() if not path.name.startswith("_")}
    assert there - {"py"} <= named
