"""What is installed: the wheel holds every room and its data, and nothing that is not ours; pins."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = {"harness": "harness", "harness_adapters": "adapters", "harness_suites": "suites"}
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([\w.]+)(?: ; (.+))?$")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, tuple[str, str]]:
    """Name -> (version, marker), from requirements.txt."""
    found: dict[str, tuple[str, str]] = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            match = PIN.match(line)
            assert match, f"not pinned exactly: {line}"
            found[normal(match[1])] = match[2], match[3] or ""
    return found


def direct() -> list[str]:
    extras = PROJECT["project"]["optional-dependencies"].values()
    return [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]


# ---------------------------------------------------------------- pins


def test_every_line_is_pinned_and_none_names_an_index():
    text = (ROOT / "requirements.txt").read_text()
    assert len(pins()) > 50
    assert not re.search(r"https?://|file:|^\s*-", text, re.MULTILINE)


def test_direct_dependencies_have_the_same_pin_in_both_files():
    """Catches a version that was raised in one file only."""
    known = pins()
    for line in direct():
        match = PIN.match(line)
        assert match, f"not pinned exactly: {line}"
        assert known[normal(match[1])][0] == match[2], line


def test_requests_is_not_dragged_down():
    """torchattacks asks for requests<2.26, which has known holes; `--no-deps` is why we need not obey."""
    version = tuple(int(part) for part in pins()["requests"][0].split("."))
    assert version >= (2, 32)


def test_gpu_libraries_are_asked_for_only_where_they_exist():
    """Catches an installation that fails on another platform."""
    for name, (_, marker) in pins().items():
        if name.startswith(("nvidia-", "cuda-")) or name == "triton":
            assert 'platform_system == "Linux"' in marker, name
            assert "platform_machine" in marker, name


def test_the_pins_are_what_is_installed_here():
    """Catches tests that pass on other versions than those that users get."""
    from importlib.metadata import PackageNotFoundError, version

    wrong: dict[str, str] = {}
    for name, (pinned, marker) in pins().items():
        if marker:
            continue
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "missing"
        if installed.partition("+")[0] != pinned:
            wrong[name] = f"{installed}, pinned {pinned}"
    assert not wrong


# ---------------------------------------------------------------- the tree


def test_every_package_of_the_tree_is_listed():
    """Catches a room that works in a clone and is missing in the wheel."""
    rooms = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "harness").rglob("*.py")
        if "__pycache__" not in file.parts
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == rooms | FOLDERS.keys() - {"harness"}


# ---------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built without a network, from a copy, so that the clone stays as it is."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", *FOLDERS.values()):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]  # fmt: skip
    subprocess.run([*command, "-q", "-w", str(place), str(source)], check=True, capture_output=True)
    return next(place.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The wheel, unpacked as an installation would."""
    place = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(place)
    return place


def test_the_wheel_has_our_three_packages_and_no_other(wheel):
    """Catches a top-level package `adapters`, which would shadow another project's."""
    with zipfile.ZipFile(wheel) as packed:
        tops = {name.partition("/")[0] for name in packed.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == FOLDERS.keys()


def test_every_file_of_the_tree_is_in_the_wheel(installed):
    """Catches data that was left out: suites, deviations, the page, py.typed."""
    for package, folder in FOLDERS.items():
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert (installed / package / file.relative_to(ROOT / folder)).is_file(), file


def harness(installed: Path, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed command line, from a folder without suites; the clone is not on the path."""
    start = (
        "import sys; sys.path[:] = [p for p in sys.path if p != sys.argv[1]]\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        "import harness, harness_suites, harness_adapters\n"
        "assert not harness.__file__.startswith(sys.argv.pop(1)), harness.__file__\n"
        "from harness.cli import main; main()"
    )
    environment = os.environ | {"PYTHONPATH": str(installed), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", start, str(ROOT), *arguments],
        cwd=place, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_installed_suites_are_found_from_any_folder(installed, tmp_path):
    said = harness(installed, tmp_path, "validate", "full")
    assert said.returncode == 0, said.stderr
    assert "25 models" in said.stdout
    listed = harness(installed, tmp_path, "ls", "suites").stdout
    assert all(name in listed for name in ("full", "smoke", "crosscheck", "own-model"))


def test_the_shipped_suite_stands_in_and_says_so(installed, tmp_path):
    said = harness(installed, tmp_path, "plan", "suites/smoke.yaml")
    assert said.returncode == 0, said.stderr
    assert "the one that ships with the harness" in said.stderr
