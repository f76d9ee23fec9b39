"""Per-sample outcomes as arrays: one block a model, a seed and whatever else tells rows apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

Block = dict[str, np.ndarray]
"""Columns of equal length, in ascending order of `id`."""


def blocks(table: pa.Table, *by: str) -> dict[tuple[Any, ...], Block]:
    """The rows of a table of outcomes, grouped.

    Args:
        table: one of `harness.results.outcomes`.
        *by: columns whose values tell the blocks apart.

    Returns:
        (values of `by`) -> the other columns that are not names, each block sorted by `id`.
    """
    if not len(table):
        return {}
    labels, places = zip(*(_coded(table[column]) for column in by), strict=True)
    shape = tuple(len(label) for label in labels)
    group = np.asarray(np.ravel_multi_index(places, shape))
    order = _order(group, table["id"].to_numpy())
    rest = [name for name in table.column_names if name not in by and not _named(table[name])]
    columns = {name: table[name].to_numpy()[order] for name in rest}
    group = group[order]
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = [*starts[1:], len(group)]
    return {
        _key(labels, group[start], shape): {
            name: column[start:end] for name, column in columns.items()
        }
        for start, end in zip(starts, ends, strict=True)
    }


def _order(group: np.ndarray, ids: np.ndarray) -> np.ndarray | slice:
    """How to sort by group, then id; tables are mostly written that way already."""
    place = group * (int(ids.max()) + 1) + ids
    return slice(None) if np.all(place[1:] > place[:-1]) else np.argsort(place, kind="stable")


def _named(column: pa.ChunkedArray) -> bool:
    return pa.types.is_dictionary(column.type)


def _coded(column: pa.ChunkedArray) -> tuple[list[Any], np.ndarray]:
    """Distinct values, and the place of each row's value among them."""
    coded = column if _named(column) else column.dictionary_encode()
    whole = coded.unify_dictionaries()
    places = [chunk.indices.to_numpy() for chunk in whole.chunks]
    return whole.chunk(0).dictionary.to_pylist(), np.concatenate(places).astype(np.int64)


def _key(labels: Sequence[list[Any]], group: int, shape: tuple[int, ...]) -> tuple[Any, ...]:
    places = np.unravel_index(group, shape)
    return tuple(label[place] for label, place in zip(labels, places, strict=True))
