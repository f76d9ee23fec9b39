"""Every report under reports/upstream/ is ready to send: its reproduction runs and prints what it says."""

import functools
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "reports" / "upstream"
REPORTS = sorted(FOLDER.glob("*.md"))
HEADINGS = ["Reproduction", "Expected", "Seen", "Versions", "Where", "Remedy"]
LIBRARIES = {
    "art": "art",
    "foolbox": "foolbox",
    "netcal": "netcal",
    "pyautoattack": "pyautoattack",
    "pytorch-ood": "pytorch_ood",
    "torchattacks": "torchattacks",
    "torchmetrics": "torchmetrics",
}
# Run in a process of its own, one a library: reproductions seed, warn and switch off tracers, and
# each import takes seconds.
RUN = """
import contextlib, io, json, sys, traceback, warnings
warnings.simplefilter("ignore")
found = {}
for name, code in json.load(sys.stdin).items():
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            exec(compile(code, name, "exec"), {"__name__": "__main__"})
        except BaseException:
            said.write(traceback.format_exc())
    found[name] = said.getvalue()
sys.__stdout__.write(json.dumps(found))
"""


def _block(path, language):
    blocks = re.findall(
        rf"^```{language}\n(.*?)^```$", path.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert blocks, f"{path.name} has no {language} block"
    return blocks[0]


def _library(path):
    return next(name for name in LIBRARIES if path.name.startswith(f"{name}-"))


def _run(paths):
    codes = {path.name: _block(path, "python") for path in paths}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(codes),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@functools.cache
def _together(library):
    return _run([path for path in REPORTS if _library(path) == library])


@pytest.mark.slow
@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_the_reproduction_prints_what_the_report_says(path):
    """Catches a report that a newer version has outgrown, or that never ran."""
    library = _library(path)
    if importlib.util.find_spec(LIBRARIES[library]) is None:
        pytest.skip(f"{LIBRARIES[library]} is not installed")
    said = _block(path, "text").split()
    if _together(library)[path.name].split() != said:  # it may be about the import itself
        assert _run([path])[path.name].split() == said


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_a_report_says_what_a_maintainer_needs(path):
    text = path.read_text("utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert re.match(r"# .+\n\nTo: .+", text)
