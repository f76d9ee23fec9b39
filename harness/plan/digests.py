"""What can change a result, as one digest: parameters, inputs, code, libraries, numerics.

A job's digest is the SHA-256 of the canonical JSON of its `identity`. Workers, paths, titles and
order are not in it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.core.registry import Kind

ALWAYS = ("torch", "numpy", "numba")  # distributions whose version any job can depend on
_IMPORT = re.compile(
    r"^[ \t]*(?:from|import)[ \t]+((?:harness|harness_adapters)[\w.]*)"
    r"(?:[ \t]+import[ \t]+(?:\(([^)]*)\)|([^#\n]*)))?",
    re.MULTILINE,
)


# What a digest is made of, and the reason that `harness plan` gives where it differs.
REASONS = {
    "params": "parameters",
    "seed": "parameters",
    "inputs": "input",
    "code": "code",
    "libraries": "library",
    "numerics": "numerics",
}
PLACES = ("path", "search")  # of a user's weights and factory
DESCRIBED = ("model", "split", "splits", "train", "val")  # parameters that `inputs` stands for


def identity(job: Mapping[str, Any]) -> dict[str, Any]:
    """What of a job can change its result: its kind and the fields of REASONS.

    Args:
        job: its fields, as plain data.
    """
    found = {name: job[name] for name in ("kind", *REASONS)}
    params = {key: value for key, value in job["params"].items() if key not in DESCRIBED}
    return found | {"params": without_paths(params)}


def without_paths(value: Any) -> Any:  # noqa: ANN401 -- plain data
    """Plain data without the places where files lie: those can't change a result."""
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items() if key not in PLACES}
    return [without_paths(item) for item in value] if isinstance(value, list) else value


def code_digest(modules: Iterable[str]) -> str:
    """SHA-256 over the bytes of `modules`, of all first-party files they import, and of core/."""
    core = (f"harness.core.{path.stem}" for path in (_root() / "core").glob("*.py"))
    return _code_digest(frozenset(modules) | frozenset(core))


@functools.cache
def _code_digest(modules: frozenset[str]) -> str:
    state = hashlib.sha256()
    for module in sorted(_closure(modules)):
        path = _file(module)
        if path is not None:
            state.update(module.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def _closure(modules: frozenset[str]) -> set[str]:
    seen: set[str] = set()
    ahead = list(modules)
    while ahead:
        module = ahead.pop()
        if module not in seen:
            seen.add(module)
            ahead.extend(_imports(module))
    return seen


@functools.cache
def _imports(module: str) -> frozenset[str]:
    """First-party modules that the file of `module` names in its import statements."""
    path = _file(module)
    if path is None or module == "harness":  # which hands names on, and imports none of them
        return frozenset()
    found: set[str] = set()
    for parent, listed, line in _IMPORT.findall(path.read_text(encoding="utf-8")):
        found |= {parent, *(f"{parent}.{name}" for name in re.findall(r"\w+", listed or line))}
    found |= {name.rpartition(".")[0] for name in found}  # a package's own file runs first
    return frozenset(name for name in found if name and _file(name) is not None)


def _root() -> Path:
    return Path(__file__).parents[1]


@functools.cache
def _file(module: str) -> Path | None:
    """The file of a first-party module; nothing is imported to find it."""
    top, _, rest = module.partition(".")
    if top == "harness":
        base = _root()
    else:
        found = importlib.util.find_spec(top)
        if found is None or not found.submodule_search_locations:
            return None
        base = Path(next(iter(found.submodule_search_locations)))
    place = base.joinpath(*rest.split(".")) if rest else base
    for candidate in (place / "__init__.py", place.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def library_versions(plugs: Iterable[tuple[Kind, str]], also: Iterable[str] = ()) -> dict[str, str]:
    """Versions of the distributions that a job's plugs rest on."""
    names = {*ALWAYS, *also}
    for kind, name in plugs:
        library = registry.get(kind, name).library
        if library is not None:
            names.add(library.distribution)
    return {name: _version(name) for name in sorted(names)}


@functools.cache
def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
