"""What `harness ls` and `harness schema` show: the registry, read aloud. Nothing heavy is imported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.table import Table

from harness.core.errors import UnknownName
from harness.core.registry import Kind, Plug, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Console

Cells = tuple[str, ...]
KINDS: dict[str, Kind] = {
    "models": "network",
    "attacks": "attack",
    "detectors": "detector",
    "corruptions": "corruption",
    "recipes": "recipe",
    "metrics": "metric",
}


def show(what: str, console: Console, *, data_dir: Path, params: bool = False) -> None:
    """Print one listing.

    Args:
        what: "models", "attacks", "detectors", "corruptions", "recipes", "metrics", "data",
            "adapters", "suites" or "checks".
        console: where to.
        data_dir: where data sets would lie.
        params: for plugs, show parameters; for attacks, their translation to each library too.
    """
    listings: dict[str, Callable[[], tuple[Cells, Iterator[Cells]]]] = {
        "data": lambda: (("data set", "images", "what, or how to get it"), _data(data_dir)),
        "adapters": lambda: (
            ("library", "version", "checked with", "plugs", "missing?"),
            _adapters(),
        ),
        "suites": lambda: (("suite", "title", "path"), _suites()),
        "checks": lambda: (("check", "level", "what"), _checks()),
    }
    if what in listings:
        head, rows = listings[what]()
    else:
        head = ("name", "by", "parameters" if params else "what")
        rows = _plugs(KINDS[what], params)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in head:
        table.add_column(title, overflow="fold")  # a long name is broken, never cut
    for cells in rows:
        table.add_row(*cells)
    console.print(table)


def _plugs(kind: Kind, params: bool) -> Iterator[Cells]:  # noqa: FBT001 -- one caller
    for plug in registry.plugs(kind):
        by = plug.implementation
        if plug.library and not plug.library.installed:
            by += f" (missing: pip install {plug.library.install})"
        yield plug.name, by, _parameters(plug) if params else plug.summary


def _parameters(plug: Plug) -> str:
    own = ", ".join(f"{p.name}={'required' if p.required else p.default}" for p in plug.parameters)
    translate = plug.meta.get("translate")
    if not callable(translate):
        return own
    kept = ", ".join(f"{name}={value}" for name, value in plug.meta.get("native", {}).items())
    users = f"\n  its users get {kept}" if kept else ""
    return f"{own}{users}\n  -> {translate(plug)}"


def _data(data_dir: Path) -> Iterator[Cells]:
    from harness.data import availability

    for line in availability(data_dir):
        sizes = ", ".join(f"{count} {part}" for part, count in line.sizes.items())
        yield line.name, sizes or "missing", line.summary if line.present else line.how


def _adapters() -> Iterator[Cells]:
    yield "harness", _own_version(), "", str(_count(None)), ""
    for library in registry.libraries():
        missing = "" if library.installed else f"pip install {library.install}"
        yield (
            library.name,
            library.found_version(),
            library.version,
            str(_count(library.name)),
            missing,
        )


def _own_version() -> str:
    from importlib.metadata import version

    return version("adversarial-harness")


def _count(library: str | None) -> int:
    """How many plugs a library has; None counts ours."""
    kinds: tuple[Kind, ...] = ("attack", "detector", "metric")
    plugs = [plug for kind in kinds for plug in registry.plugs(kind)]
    return sum((plug.library.name if plug.library else None) == library for plug in plugs)


def _suites() -> Iterator[Cells]:
    from harness.api import shipped_suites

    for path in shipped_suites():
        yield path.stem, _title(path), f"suites/{path.name}"


def _checks() -> Iterator[Cells]:
    """What `harness explain` explains: the checks, and the known deviations of libraries."""
    from harness.checks import CHECKS
    from harness.crosscheck.catalogue import load

    for check in CHECKS:
        yield check.id, check.level, check.title
    for entry in load():
        yield entry.id, "deviation", f"{entry.library}: {entry.name}"


def _title(path: Path) -> str:
    from harness.suite.reading import read

    return str(read(path).data.get("title", ""))


def explained(name: str) -> str:
    """The paragraph of a check (H44), or of a known deviation (T1).

    Raises:
        UnknownName: there is neither.
    """
    from harness import checks
    from harness.crosscheck.catalogue import load

    known = {entry.id.upper(): entry for entry in load()}
    entry = known.get(name.upper())
    if entry is None:
        try:
            return checks.explain(name)
        except UnknownName as error:
            both = [*error.known, *known]
            raise UnknownName(
                "check or deviation", name.upper(), both, listed="ls checks"
            ) from None
    return (
        f"{entry.id} {entry.name} ({entry.library} {', '.join(entry.versions)})\n\n"
        f"Differs: {entry.differs}\n\nMechanism: {entry.mechanism}\n\n"
        f"Where: {', '.join(entry.where) or '-'}\n\nConsequence: {entry.consequence}\n\n"
        f"Handled: {entry.handled or 'it cannot be'}\n\nShown by: {entry.test}"
    )


# ---------------------------------------------------------------- JSON Schema


def schema_text() -> str:
    """JSON Schema of a suite file: plugs by name, with their parameters and defaults."""
    return json.dumps(schema(), indent=2)


def schema() -> dict[str, Any]:
    """JSON Schema of a suite file.

    Values that depend on the data set and `each` are allowed wherever a value is.
    """
    from harness.suite import AttackSpec, Calibration, Crosscheck, Ood, Shift, Training
    from harness.suite.notation import OTHER

    parts = {
        "shift": Shift,
        "ood": Ood,
        "calibration": Calibration,
        "crosscheck": Crosscheck,
        "training": Training,
    }
    by_data = {"type": "object", "propertyNames": {"enum": [*registry.names("data"), OTHER]}}
    sections = {
        name: {"anyOf": [_section(part), by_data, {"type": "null"}]} for name, part in parts.items()
    }
    uses = {kind: _use_schema(kind) for kind in ("network", "recipe", "attack", "detector", "data")}
    attack = {key: {} for key in AttackSpec.model_fields if key not in ("name", "use")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A suite of harness",
        "type": "object",
        "required": ["data", "models"],
        "additionalProperties": False,
        "$defs": uses,
        "properties": {
            "title": {"type": "string"},
            "question": {"type": "string"},
            "include": {"type": "string", "description": "another suite to start from, one level"},
            "data": {"$ref": "#/$defs/data"},
            "seeds": {"type": ["array", "integer"], "items": {"type": "integer"}},
            "models": {"type": "object", "additionalProperties": _model_schema()},
            "attacks": {
                "type": ["object", "array"],
                "additionalProperties": _with(uses["attack"], attack),
                "items": _with(uses["attack"], attack),
            },
            "attack_images": {},
            "baseline": {"type": "string"},
            "checks": {"type": "boolean"},
            "limit": {"type": "integer"},
            **sections,
        },
    }


def _model_schema() -> dict[str, Any]:
    from harness.suite import ModelSpec

    names = set(ModelSpec.model_fields) - {"name", "entry"}
    known = {key: {} for key in sorted(names)}
    known["network"] = {"$ref": "#/$defs/network"}
    known["train"] = {
        "anyOf": [
            {"$ref": "#/$defs/recipe"},
            {"type": "array", "items": {"$ref": "#/$defs/recipe"}},
        ]
    }
    return {"type": "object", "properties": known, "additionalProperties": False}


def _section(part: Any) -> dict[str, Any]:  # noqa: ANN401 -- a pydantic class
    docs = {name: {"default": field.default} for name, field in part.model_fields.items()}
    known = {name: value if _plain(value["default"]) else {} for name, value in docs.items()}
    return {"type": "object", "properties": known, "additionalProperties": False}


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool | type(None))


def _use_schema(kind: Kind) -> dict[str, Any]:
    """A name, or a mapping with `use` and the parameters of that plug."""
    names = registry.names(kind)
    choices = [_plug_schema(plug) for plug in registry.plugs(kind)]
    return {"anyOf": [{"enum": names}, *choices]}


def _plug_schema(plug: Plug) -> dict[str, Any]:
    known: dict[str, Any] = {"use": {"const": plug.name}, "each": {"type": "array"}}
    for parameter in plug.parameters:
        entry: dict[str, Any] = {"description": parameter.annotation, **parameter.schema()}
        if not parameter.required and _plain(parameter.default):
            entry["default"] = parameter.default
        known[parameter.name] = entry
    return {
        "type": "object",
        "description": plug.summary,
        "required": ["use"],
        "properties": known,
        "additionalProperties": False,
    }


def _with(use: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A use that takes some further keys."""
    choices = [
        choice | {"properties": choice["properties"] | more} if "properties" in choice else choice
        for choice in use["anyOf"]
    ]
    return {"anyOf": choices}
