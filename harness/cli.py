"""The command line: parses, calls, prints. No logic, and nothing heavy at the top."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="harness",
    help="Train a matrix of image classifiers, measure four kinds of safety, cross-check every number.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

SuitePath = Annotated[
    Path, typer.Argument(help="A suite file, or the name of one that ships with the harness.")
]
Data = Annotated[str | None, typer.Option("--data", help="Data set to use instead of the suite's.")]
DataDir = Annotated[
    Path, typer.Option("--data-dir", help="Folder where data sets lie, or are downloaded to.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder for the reports.")]
StoreDir = Annotated[
    Path | None,
    typer.Option("--store", help="Folder of finished work; default $HARNESS_STORE or .harness."),
]
Jobs = Annotated[int, typer.Option("--jobs", min=0, help="Worker processes; 0 means one a core.")]
Seed = Annotated[
    list[int] | None,
    typer.Option("--seed", help="Seed instead of the suite's; repeat for several."),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, help="Test images to use; the report then says: for testing only."
    ),
]
Only = Annotated[
    str, typer.Option("--only", help="Models whose name matches this pattern, for example 'PGD*'.")
]
Gates = Annotated[
    list[str] | None,
    typer.Option(
        "--gate",
        help="What must not get worse and by how much, as robust_accuracy=0.01; repeat for several.",
    ),
]
EXIT_DIFFERENT, EXIT_INPUT, EXIT_FAILED, EXIT_INTERRUPTED = 1, 2, 4, 130


class Device(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Listing(StrEnum):
    """What `ls` can list."""

    models = "models"
    attacks = "attacks"
    detectors = "detectors"
    corruptions = "corruptions"
    metrics = "metrics"
    recipes = "recipes"
    data = "data"
    adapters = "adapters"
    suites = "suites"
    checks = "checks"


class Form(StrEnum):
    """How `compare` writes."""

    markdown = "markdown"
    json = "json"


DeviceOption = Annotated[
    Device, typer.Option("--device", help="auto uses a GPU when there is one.")
]


@app.command()
def run(
    suite: SuitePath,
    data: Data = None,
    data_dir: DataDir = Path("data"),
    out: Out = Path("reports"),
    only: Only = "",
    limit: Limit = None,
    seed: Seed = None,
    device: DeviceOption = Device.auto,
    jobs: Jobs = 0,
    store: StoreDir = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Begin no job once one has failed.")
    ] = False,
) -> None:
    """Do all that a suite asks, and write its report. The same command continues an interrupted run."""
    from harness import api

    _say_if_shipped(suite)
    options = api.Options(
        data=data, data_dir=data_dir, out=out, only=only, limit=limit, seeds=tuple(seed or ()),
        device=device.value, jobs=jobs, store=store,
    )  # fmt: skip
    finished = api.run(suite, options, fail_fast=fail_fast, console=_console())
    finished.show(_console())
    raise typer.Exit(0 if finished.complete else EXIT_FAILED)


@app.command()
def validate(suite: SuitePath, data: Data = None) -> None:
    """Check a suite without running it."""
    from harness import api

    _say_if_shipped(suite)
    loaded = api.load(suite, api.Options(data=data))
    _console().print(
        f"{suite} is valid: {len(loaded.models)} models, {len(loaded.attacks)} attacks on {loaded.data.name}"
    )


@app.command()
def plan(
    suite: SuitePath,
    data: Data = None,
    data_dir: DataDir = Path("data"),
    only: Only = "",
    limit: Limit = None,
    seed: Seed = None,
    device: DeviceOption = Device.auto,
    jobs: Jobs = 0,
    store: StoreDir = None,
    show_all: Annotated[bool, typer.Option("--all", help="Every job, not a line a kind.")] = False,
) -> None:
    """Show the jobs of a suite, what is cached and why not, and how long the rest takes."""
    from harness import api

    _say_if_shipped(suite)
    options = api.Options(
        data=data, data_dir=data_dir, only=only, limit=limit, seeds=tuple(seed or ()),
        device=device.value, jobs=jobs, store=store,
    )  # fmt: skip
    api.show_plan(suite, options, _console(), every=show_all)


@app.command("ls")
def list_(
    what: Annotated[Listing, typer.Argument(help="What to list.")],
    data_dir: DataDir = Path("data"),
    params: Annotated[
        bool,
        typer.Option(
            "--params", help="Show parameters and, for attacks, their translation to each library."
        ),
    ] = False,
) -> None:
    """List what a suite can name, what is missing, and how to install it."""
    from harness import listing

    listing.show(what.value, _console(), data_dir=data_dir, params=params)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder that `run` wrote.")],
    formats: Annotated[
        str,
        typer.Option(
            "--format", help="Further formats, comma-separated: parquet, latex, json, pdf."
        ),
    ] = "",
) -> None:
    """Make the report again from its results alone."""
    from harness import api

    for path in api.report(folder, tuple(name for name in formats.split(",") if name)):
        _console().print(str(path), markup=False, soft_wrap=True)


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="A folder that `run` wrote: before.")],
    run_b: Annotated[Path, typer.Argument(help="Another one: after.")],
    gate: Gates = None,
    only: Only = "",
    form: Annotated[Form, typer.Option("--format", help="How to write it.")] = Form.markdown,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write to, instead of here.")
    ] = None,
) -> None:
    """Say what changed between two runs beyond noise; exit code 1 if what is gated got worse, 3 if the data can't tell."""
    from harness import api

    found = api.compare(run_a, run_b, gate or (), only=only)
    text = api.told(found, form.value)
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8", newline="")
        _console().print(f"{found.verdict}\n{out}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(found.exit_code)


@app.command()
def crosscheck(
    suite: SuitePath,
    data: Data = None,
    data_dir: DataDir = Path("data"),
    out: Out = Path("reports"),
    jobs: Jobs = 0,
    store: StoreDir = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Count what is missing, undecided or explained, too.")
    ] = False,
) -> None:
    """Compare implementations of the same thing; exit code 1 if a verdict is different or failed."""
    from harness import api

    _say_if_shipped(suite)
    options = api.Options(data=data, data_dir=data_dir, out=out, jobs=jobs, store=store)
    checked = api.crosscheck(suite, options, strict=strict, console=_console())
    checked.show(_console())
    raise typer.Exit(EXIT_DIFFERENT if checked.failing else 0)


@app.command()
def doctor(
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Folder with MNIST and weights/, to examine them as well."),
    ] = None,
) -> None:
    """Show in two minutes whether this installation can be believed; exit code 1 if not."""
    from harness import api

    found = api.doctor(data_dir, _console())
    raise typer.Exit(EXIT_DIFFERENT if any(one.status == "FAIL" for one in found) else 0)


@app.command()
def explain(
    check: Annotated[str, typer.Argument(help="A check such as H44, or a deviation such as T1.")],
) -> None:
    """Say what a check or a known deviation means, and what to do."""
    from harness import listing

    console = _console()
    console.print(listing.explained(check), markup=False, soft_wrap=not console.is_terminal)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a suite, for editors."""
    from harness import listing

    _console().print(listing.schema_text(), markup=False, highlight=False, soft_wrap=True)


def _say_if_shipped(suite: Path) -> None:
    """A path that is not here may stand for a shipped suite: whoever runs it should know."""
    from harness import api

    if suite.suffix and api.find_suite(suite) != suite:
        print(f"{suite} is not here: using the one that ships with the harness", file=sys.stderr)


def _console():  # noqa: ANN202 -- rich is imported late on purpose
    from rich.console import Console

    return Console()


def main() -> None:
    """Run the command line; our own errors become one message and exit code 2."""
    from harness.core.errors import HarnessError

    try:
        app()
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_INPUT)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(EXIT_INPUT)
    except SystemExit as ended:
        if ended.code == EXIT_INTERRUPTED:  # typer's answer to an interrupt, which it leaves unsaid
            print("interrupted: the same command continues where this one stopped", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
