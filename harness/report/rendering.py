"""From a folder of results to the files of its report.

Figures and the page's script come from two worker processes: each starts a JavaScript engine, and
that is most of the work. The order in which they finish does not show in any file.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import UnknownName
from harness.figures import charts, grid
from harness.figures.paper import bundle, filled, write
from harness.report import FORMATS, tables
from harness.report.dictionary import dictionary
from harness.report.markdown import document
from harness.report.page import page
from harness.results import Results
from harness.sections import Story, told
from harness.sections.summary import table as summary_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

STAMP = ".rendered.json"
WORKERS = 2
ROOMS = ("core", "results", "figures", "sections", "report")
TOOLS = ("altair", "vl-convert-python", "jinja2", "matplotlib", "fonttools", "pillow", "pyarrow")


def render(folder: Path, formats: Sequence[str]) -> list[Path]:
    """See `harness.report.render`."""
    for name in formats:
        if name not in FORMATS:
            raise UnknownName("format", name, FORMATS)
    state = _state(folder, formats)
    known = _stamped(folder, state)
    if known is not None:
        return known
    paths = _write(Results.read(folder), folder, formats)
    written = {str(path.relative_to(folder)): _digest(path) for path in paths}
    (folder / STAMP).write_text(json.dumps({"inputs": state, "files": written}, indent=1) + "\n")
    return paths


# ---------------------------------------------------------------- is it there already?


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _state(folder: Path, formats: Iterable[str]) -> str:
    """Digest of all that the report depends on: results, our code, the tools."""
    state = hashlib.sha256()
    code = Path(__file__).parents[1]
    sources = [
        path
        for room in ROOMS
        for path in (code / room).rglob("*")
        if path.suffix in (".py", ".html", ".css", ".js")
    ]
    inputs = [folder / "results.csv", folder / "run.json", *(folder / "evidence").glob("*")]
    for path in [*sorted(inputs), *sorted(sources)]:
        if path.is_file():
            state.update(f"{path.name} {_digest(path)}\n".encode())
    state.update(
        json.dumps(
            [sorted(formats), *((tool, importlib.metadata.version(tool)) for tool in TOOLS)]
        ).encode()
    )
    return state.hexdigest()


def _stamped(folder: Path, state: str) -> list[Path] | None:
    """The files of an earlier rendering, if nothing has changed since: neither inputs nor files."""
    try:
        stamp = json.loads((folder / STAMP).read_text())
        same = stamp["inputs"] == state and all(
            _digest(folder / name) == seen for name, seen in stamp["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return sorted(folder / name for name in stamp["files"]) if same else None


# ---------------------------------------------------------------- writing


def _write(results: Results, folder: Path, formats: Sequence[str]) -> list[Path]:
    story = Story(results)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for stale in figures.iterdir():
        stale.unlink()
    # Spawned, not forked: the caller may hold threads, of torch or of the engine.
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        script = pool.submit(bundle)
        kinds = ("svg", "png", "pdf") if "pdf" in formats else ("svg", "png")
        drawn = [pool.submit(write, figures, *task, kinds) for task in _tasks(story)]
        paths = _texts(story, folder, formats)
        sections = told(story)
        title, intro = _title(story), _intro(story)
        paths.append(
            _put(folder / "report.html", page(title, intro, story, sections, script.result()))
        )
        paths += [path for task in drawn for path in task.result()]
    return sorted(paths)


def _tasks(story: Story) -> Iterator[tuple[str, dict[str, Any] | str, str, str]]:
    """(name, chart or SVG, title, description) of every figure."""
    for chart in charts():
        if chart.name in story.specs:
            yield (
                chart.name,
                filled(story.specs[chart.name], story.deck.datasets),
                chart.title,
                chart.alt,
            )
    for gallery in story.results.galleries:
        yield gallery.name, grid.svg(gallery), gallery.title, ""


def _put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def _title(story: Story) -> str:
    return story.run["title"] or story.run["suite"]


def _intro(story: Story) -> str:
    run = story.run
    test = next((one["n"] for one in run["splits"] if one["role"] == "test"), 0)
    seeds = len(run["seeds"])
    parts = [
        f"Suite {run['suite']} on {run['dataset']}",
        f"{len(run['models'])} models" if len(run["models"]) != 1 else "one model",
        f"{test:,} test images",
        f"{seeds} seeds" if seeds != 1 else "one seed",
        run["started"][:10],
    ]
    return " · ".join(parts)


def _texts(story: Story, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Markdown, CSV and what was asked for besides."""
    captions = {chart.name: chart.title for chart in charts()}
    captions |= {gallery.name: gallery.title for gallery in story.results.galleries}
    summary = tables.summary_records(story)
    made = [
        _put(folder / "report.md", document(_title(story), _intro(story), told(story), captions)),
        _put(folder / "summary.csv", tables.csv_text(summary)),
        _put(folder / "data-dictionary.md", dictionary(story)),
    ]
    if story.results.ledger:
        ledger = tables.csv_text(tables.ledger_records(story.results.ledger))
        made.append(_put(folder / "crosscheck.csv", ledger))
    rows = tables.row_records(story.results.rows)
    if "json" in formats:
        made += [
            _put(folder / "results.json", tables.json_text(rows)),
            _put(folder / "summary.json", tables.json_text(summary)),
        ]
    if "latex" in formats:
        made.append(
            _put(
                folder / "summary.tex",
                tables.latex_text(summary_table(story, "Every model on every axis.")),
            )
        )
    if "parquet" in formats:
        for name, records in (("results", rows), ("summary", summary)):
            tables.write_parquet(records, folder / f"{name}.parquet")
            made.append(folder / f"{name}.parquet")
    return made
