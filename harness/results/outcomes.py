"""Per-sample outcomes: the Parquet tables that every paired comparison starts from.

All tables have `model`, `seed` and `id`; (model, seed, ..., id) is unique. `id` is the position of
the image in the published split, so that two runs and two models can be paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from harness.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

NAME = pa.dictionary(pa.int16(), pa.string())

COLUMNS: dict[str, dict[str, tuple[pa.DataType, str]]] = {
    "clean": {
        "model": (NAME, "model"),
        "seed": (pa.int32(), "seed of the run"),
        "id": (pa.int32(), "position in the published test split"),
        "label": (pa.int16(), "true class"),
        "prediction": (pa.int16(), "predicted class on the clean image"),
    },
    "adversarial": {
        "model": (NAME, "model"),
        "seed": (pa.int32(), "seed of the run"),
        "norm": (NAME, "linf, l2 or l1"),
        "attack": (NAME, "attack as in `case`; `worst` is the per-image worst of the headline"),
        "id": (pa.int32(), "position in the published test split"),
        "first_broken": (
            pa.float64(),
            "smallest budget at which the image fell; 0 if wrong clean, inf if it never fell",
        ),
        "largest": (pa.float64(), "largest budget attacked: inf in first_broken means up to here"),
    },
    "shift": {
        "model": (NAME, "model"),
        "seed": (pa.int32(), "seed of the run"),
        "corruption": (NAME, "corruption as in `case`"),
        "id": (pa.int32(), "position in the published test split"),
        "correct": (pa.bool_(), "prediction on the corrupted image is the true class"),
    },
    "ood": {
        "model": (NAME, "model"),
        "seed": (pa.int32(), "seed of the run"),
        "detector": (NAME, "detector as in `case`"),
        "set": (NAME, "OOD set as in `case`; `id` for the in-distribution test images"),
        "id": (pa.int32(), "position in the published split"),
        "score": (pa.float64(), "detector score, higher = more OOD"),
    },
    "calibration": {
        "model": (NAME, "model"),
        "seed": (pa.int32(), "seed of the run"),
        "scaling": (NAME, "none or temperature"),
        "id": (pa.int32(), "position in the published test split"),
        "confidence": (pa.float64(), "largest probability"),
        "correct": (pa.bool_(), "prediction is the true class"),
        "brier": (pa.float64(), "squared distance of the probabilities to one-hot, in [0, 2]"),
        "nll": (pa.float64(), "-log probability of the true class, nats"),
    },
}


def schema(name: str) -> pa.Schema:
    """Arrow schema of the table `name` ("clean", "adversarial", "shift", "ood", "calibration")."""
    return pa.schema(
        [
            pa.field(column, kind, nullable=False, metadata={"description": text})
            for column, (kind, text) in COLUMNS[name].items()
        ]
    )


def table(name: str, columns: Mapping[str, object]) -> pa.Table:
    """A table of outcomes from arrays or lists, cast to its schema.

    Args:
        name: which table.
        columns: column -> (N,) array or list; names as plain strings or dictionary arrays.
    """
    target = schema(name)
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in target]
    return pa.Table.from_arrays(arrays, schema=target)


class Outcomes(Mapping[str, pa.Table]):
    """The tables of a folder, each read when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tables: dict[str, pa.Table] = {}

    def __getitem__(self, name: str) -> pa.Table:
        if name not in self._tables:
            path = self._folder / f"{name}.parquet"
            if name not in COLUMNS or not path.is_file():
                raise KeyError(name)
            self._tables[name] = pq.read_table(path)
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in COLUMNS if (self._folder / f"{name}.parquet").is_file())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def write(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    """Write each table to `folder`/<name>.parquet; tables of an earlier run are removed.

    Raises:
        InputError: a table's columns are not those of its schema.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = dict(tables)  # read before anything is deleted: they may be those of this folder
    for stale in folder.glob("*.parquet"):
        stale.unlink()
    for name, found in held.items():
        if name not in COLUMNS or found.schema.names != list(COLUMNS[name]):
            raise InputError(f"outcomes {name!r} has columns {found.schema.names}")
        pq.write_table(found, folder / f"{name}.parquet", compression="zstd")
