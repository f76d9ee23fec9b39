"""Reports: sections, figures and tables written as files. No number is computed here.

`render(folder)` makes everything of a folder of results; `show` prints the summary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.console import Console

FORMATS = ("parquet", "latex", "json", "pdf")
"""What `render` writes on request, besides Markdown, HTML, CSV and figures."""


def render(folder: Path, formats: Sequence[str] = ()) -> list[Path]:
    """Write the report of a folder of results into it; nothing is done if it is there already.

    Args:
        folder: made by `Results.write`.
        formats: besides Markdown, HTML, CSV, PNG and SVG: any of FORMATS.

    Returns:
        The files of the report, sorted.

    Raises:
        InputError: the folder holds no results, or a format is unknown.
    """
    from harness.report.rendering import render as do

    return do(folder, formats)


def show(console: Console, folder: Path, paths: Iterable[Path] = ()) -> None:
    """Print the summary table of a folder of results, and where the reports lie."""
    from harness.report.terminal import show as do

    do(console, folder, paths)


__all__ = ["FORMATS", "render", "show"]
