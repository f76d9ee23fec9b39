"""What is there and what is not, by headers and names of files: for plans and `harness ls data`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.core.errors import DataError
from harness.core.registry import registry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.data.sets import Dataset, Found


@dataclass(frozen=True, slots=True)
class Availability:
    """A line of `harness ls data`.

    Args:
        name: of the data set.
        summary: what it is.
        sizes: images in each part that is there; empty when nothing is.
        where: the place looked at.
        how: how to get it.
    """

    name: str
    summary: str
    sizes: Mapping[str, int]
    where: str
    how: str

    @property
    def present(self) -> bool:
        """Whether it can be used now, without a download."""
        return bool(self.sizes)


def availability(data_dir: Path) -> list[Availability]:
    """Every data set, and what is there of it; nothing is read but headers, nothing downloaded."""
    lines: list[Availability] = []
    for plug in registry.plugs("data"):
        found: Found = plug.meta["survey"](data_dir)
        lines.append(Availability(plug.name, plug.summary, found.sizes, found.where, found.how))
    return lines


def load(name: str, data_dir: Path, **params: Any) -> Dataset:  # noqa: ANN401 -- a plug's parameters
    """The data set `name`, downloaded if it must be.

    Raises:
        InputError: no such data set or parameter.
        DataError: it is missing, or not what it should be.
    """
    plug = registry.get("data", name)
    return plug.function(data_dir, **plug.complete(params))


def size(name: str, part: str, data_dir: Path, **params: Any) -> int:  # noqa: ANN401
    """Images in a part of a data set, without reading them.

    Raises:
        DataError: the data set or that part of it is missing.
    """
    found = _obtained(name, data_dir, params)
    if part not in found.sizes:
        raise DataError(
            f"{name}: no {part} images in {found.where}, only {', '.join(found.sizes)};"
            f" add the missing files. {found.how} where nothing is there yet."
        )
    return found.sizes[part]


def parts(name: str, data_dir: Path, **params: Any) -> tuple[str, ...]:  # noqa: ANN401
    """The parts that a data set has, of "train", "val" and "test"; nothing is read.

    Raises:
        DataError: the data set is missing.
    """
    return tuple(_obtained(name, data_dir, params).sizes)


def fingerprint(name: str, data_dir: Path, **params: Any) -> list[list[str]]:  # noqa: ANN401
    """[name, SHA-256] of each file that a data set is read from; names as under its own folder.

    Raises:
        DataError: it is missing.
    """
    found = _obtained(name, data_dir, params)
    return [
        [
            str(file.relative_to(found.where) if file.is_relative_to(found.where) else file.name),
            hashlib.sha256(file.read_bytes()).hexdigest(),
        ]
        for file in found.files
    ]


def _obtained(name: str, data_dir: Path, params: Mapping[str, Any]) -> Found:
    plug = registry.get("data", name)
    return plug.meta["obtain"](data_dir, **plug.complete(params))
