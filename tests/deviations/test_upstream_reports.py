"""Every report to a library's authors runs as it is written and prints what it says was seen."""

import contextlib
import importlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

REPORTS = sorted((Path(__file__).parents[2] / "reports" / "upstream").glob("*.md"))
PACKAGES = {"pytorch": "pytorch_ood"}
# Imported once, before each report gets a process of its own; Foolbox and pyautoattack are quick.
HEAVY = (
    "torch",
    "art.attacks.evasion",
    "art.estimators.classification",
    "torchattacks",
    "netcal.metrics",
    "netcal.scaling",
    "torchmetrics.functional.classification",
    "pytorch_ood",
)


def _blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def _run_all(folder):
    """In a process of our own: run each report in a fork and print what it printed, as JSON."""
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    seen = {}
    for report in REPORTS:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            with os.fdopen(writer, "w") as answer:
                answer.write(_run(report, folder))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            seen[report.stem] = answer.read()
        os.waitpid(child, 0)
    json.dump(seen, sys.stdout)


def _run(report, folder):
    os.chdir(folder)
    (code,) = _blocks(report.read_text(encoding="utf-8"), "python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(code, str(report), "exec"), {"__name__": "__main__"})
        except Exception:  # noqa: BLE001 -- the report fails, and says how
            printed.write(traceback.format_exc())
    return printed.getvalue()


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What each report prints: all run in one child, which imports the libraries once."""
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path_factory.mktemp("reports"))],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=500,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.stem)
def test_the_reproduction_prints_what_was_seen(report, printed):
    """Catches a report that does not run, and a library that has mended what it reports."""
    first = report.stem.partition("-")[0]
    if importlib.util.find_spec(PACKAGES.get(first, first)) is None:
        pytest.skip(f"{first} is not installed")
    (seen,) = _blocks(report.read_text(encoding="utf-8"), "text")
    assert printed[report.stem].rstrip("\n") == seen.rstrip("\n")


@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.stem)
def test_a_report_says_all_that_its_reader_needs(report):
    text = report.read_text(encoding="utf-8")
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert heads == ["Reproduction", "Expected", "Seen", "Versions", "Where", "Remedy"]
    assert text.startswith("# ")
    assert "\n\nTo: " in text


def test_every_report_is_cited_by_the_catalogue():
    """Catches a report that nobody would find from the ledger."""
    from harness.crosscheck.catalogue import load

    cited = {entry.upstream for entry in load()}
    assert {f"reports/upstream/{path.name}" for path in REPORTS} <= cited


if __name__ == "__main__":
    _run_all(sys.argv[1])
