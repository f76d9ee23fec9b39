"""The two notations of a suite: a choice by data set, and the matrix."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.suite.reading import Place, Source

OTHER = "other"


def _for_data(value: Any, name: str, known: set[str]) -> Any:  # noqa: ANN401 -- a YAML tree
    """`value` with every choice by data set made for `name`."""
    if isinstance(value, dict):
        if value and value.keys() <= known | {OTHER}:
            if name not in value and OTHER not in value:
                raise LookupError(name)
            return _for_data(value[name] if name in value else value[OTHER], name, known)
        return {key: _for_data(item, name, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_for_data(item, name, known) for item in value]
    return value


def resolve(source: Source, name: str, known: set[str]) -> dict[str, Any]:
    """The suite with every choice by data set made for `name`, out of the `known` data sets.

    Raises:
        SuiteError: a choice has no value for `name`.
    """
    resolved: dict[str, Any] = {}
    for key, value in source.data.items():
        children = value if isinstance(value, dict) and not value.keys() <= known else None
        try:
            resolved[key] = _for_data(value, name, known)
        except LookupError:
            at = _missing_place(children, (key,), name, known) if children else (key,)
            raise source.error(
                f"no value for data set {name!r} here: add `{name}:` or `{OTHER}:`", at
            ) from None
    return resolved


def _missing_place(value: Any, at: Place, name: str, known: set[str]) -> Place:  # noqa: ANN401
    """Where the choice without a value for `name` stands."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        try:
            _for_data(item, name, known)
        except LookupError:
            deeper = isinstance(item, list) or (isinstance(item, dict) and not item.keys() <= known)
            return _missing_place(item, (*at, key), name, known) if deeper else (*at, key)
    return at


def axes(value: Any) -> Iterator[list[Any]]:  # noqa: ANN401 -- a YAML tree
    """The lists of every `each` in a model, in the order of appearance."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "each":
                yield item
            else:
                yield from axes(item)
    elif isinstance(value, list):
        for item in value:
            yield from axes(item)


def _choose(value: Any, choice: Iterator[Any]) -> Any:  # noqa: ANN401 -- a YAML tree
    """`value` with every `each` replaced by the next of `choice`."""
    if isinstance(value, dict):
        if value.keys() == {"each"}:
            return next(choice)
        chosen: dict[str, Any] = {}
        for key, item in value.items():
            chosen |= next(choice) if key == "each" else {key: _choose(item, choice)}
        return chosen
    if isinstance(value, list):
        return [_choose(item, choice) for item in value]
    return value


def _label(value: Any) -> str:  # noqa: ANN401 -- a YAML value
    if isinstance(value, dict):
        return "x".join(_label(item) for item in value.values())
    return f"{value:g}" if isinstance(value, float) else str(value)


def expand(key: str, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The models of one entry, named by its key and their values; a family of its own unless it names one."""
    for values in itertools.product(*axes(entry)):
        name = " ".join([key, *(_label(value) for value in values)])
        yield {"name": name, "entry": key, "family": key, **_choose(entry, iter(values))}
