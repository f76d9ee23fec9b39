"""Whether every pin has a wheel for each Python that the project names; not part of the test run.

    python tests/packaging/pins.py [3.12 3.13]

Asks the package registry that pip is configured for, by `pip index versions`: only lists of files
are read, nothing is downloaded or installed. Exit code 1 if a pin has no wheel.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = ("requirements.txt", "tests/requirements.txt")
PYTHONS = ("3.12", "3.13")
PIN = re.compile(r"^([\w.-]+)==(\S+)(?: ; (.+))?$")


def pins() -> list[tuple[str, str, str]]:
    """(name, version, marker) of every pinned line."""
    lines = [line for file in FILES for line in (ROOT / file).read_text().splitlines()]
    matches = [PIN.match(line) for line in lines if line and not line.startswith("#")]
    return [(match[1], match[2], match[3] or "") for match in matches if match]


def meant_for(marker: str, python: str) -> bool:
    """Whether a pin is one for that Python; markers of the platform are left to pip."""
    found = re.search(r"python_version\s*(<|>=)\s*\"(3\.\d+)\"", marker)
    if not found:
        return True
    ours, theirs = (int(version.split(".")[1]) for version in (python, found[2]))
    return ours < theirs if found[1] == "<" else ours >= theirs


def versions(name: str, python: str, *, wheels: bool) -> set[str]:
    """Versions of a distribution that pip could install, as wheels or at all."""
    only = ["--only-binary", ":all:"] if wheels else []
    said = subprocess.run(
        [sys.executable, "-m", "pip", "index", "versions", name, "--pre", "--python-version", python, *only],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    listed = re.search(r"Available versions: (.+)", said.stdout)
    return set(listed[1].split(", ")) if listed else set()


def main(pythons: tuple[str, ...]) -> int:
    """Print a line for each pin without a wheel, and how many have one."""
    missing = 0
    for python in pythons:
        asked = [pin for pin in pins() if meant_for(pin[2], python)]
        without = [pin for pin in asked if pin[1] not in versions(pin[0], python, wheels=True)]
        for name, version, _ in without:
            source = version in versions(name, python, wheels=False)
            print(f"{python}: {name}=={version}: {'source only' if source else 'not there'}")
        print(f"{python}: {len(asked) - len(without)} of {len(asked)} pins have a wheel")
        missing += len(without)
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:]) or PYTHONS))
