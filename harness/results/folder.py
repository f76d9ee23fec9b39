"""Results to and from a folder."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from harness.core.errors import InputError
from harness.core.types import Row
from harness.results import outcomes
from harness.results.gallery import Gallery
from harness.results.verdicts import Contrast, Dominance, Finding, LedgerRow, Part, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from harness.results import Results

T = TypeVar("T")
COLUMNS = tuple(field.name for field in fields(Row))
FLOATS = ("value", "low", "high")
SORTED = ("axis", "case", "metric", "implementation", "model", "seed")


def float_text(value: float | None) -> str:
    """A float as results.csv writes it: 12 significant digits, "" for none.

    Twelve, because a sum taken in another order may differ in the last of the sixteen.

    >>> float_text(0.1 + 0.2), float_text(None), float_text(1.0)
    ('0.3', '', '1')
    """
    return "" if value is None else format(value, ".12g")


def rows_text(rows: Iterable[Row]) -> str:
    """The text of results.csv: sorted, so that the order of the work does not show."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    ordered = sorted(rows, key=lambda row: tuple(getattr(row, name) for name in SORTED))
    writer.writerows([_cell(row, name) for name in COLUMNS] for row in ordered)
    return out.getvalue()


def _cell(row: Row, name: str) -> object:
    value = getattr(row, name)
    if name in FLOATS:
        return float_text(value)
    return " ".join(value) if name == "flags" else value


def rows_from(text: str) -> tuple[Row, ...]:
    """Rows of a results.csv."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise InputError(f"results.csv has columns {reader.fieldnames}, expected {list(COLUMNS)}")
    return tuple(Row(**{name: _value(name, record[name]) for name in COLUMNS}) for record in reader)


def _value(name: str, text: str) -> Any:  # noqa: ANN401 -- whatever the column holds
    if name in FLOATS:
        return float(text) if text else None
    if name in ("seed", "n"):
        return int(text)
    return tuple(text.split()) if name == "flags" else text


def write(results: Results, folder: Path) -> None:
    """Write `results` to `folder`."""
    evidence = folder / "evidence"
    evidence.mkdir(parents=True, exist_ok=True)
    (folder / "results.csv").write_text(rows_text(results.rows), encoding="utf-8", newline="")
    _write_json(folder / "run.json", results.run, indent=2)
    _write_json(evidence / "exhibits.json", results.exhibits)
    for name in ("findings", "ledger", "standings", "contrasts", "dominance"):
        _write_json(evidence / f"{name}.json", [asdict(item) for item in getattr(results, name)])
    for stale in evidence.glob("*.npz"):
        stale.unlink()
    for place, gallery in enumerate(results.galleries):
        _write_gallery(evidence / f"{place:02d}-{gallery.name}.npz", gallery)
    outcomes.write(folder / "outcomes", results.outcomes)


def _write_json(path: Path, value: object, indent: int | None = None) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="")


def _write_gallery(path: Path, gallery: Gallery) -> None:
    parts = asdict(gallery)
    tiles = parts.pop("tiles")
    np.savez_compressed(path, tiles=tiles, facts=np.array(json.dumps(parts, ensure_ascii=False)))


def read(folder: Path) -> Results:
    """Results of `folder`."""
    from harness.results import Results

    if not (folder / "results.csv").is_file() or not (folder / "run.json").is_file():
        raise InputError(f"{folder} holds no results: results.csv and run.json are expected there")
    evidence = folder / "evidence"
    return Results(
        rows=_read(folder / "results.csv", rows_from),
        run=_read(folder / "run.json", json.loads),
        outcomes=outcomes.Outcomes(folder / "outcomes"),
        exhibits=_read(evidence / "exhibits.json", json.loads),
        galleries=tuple(_read_gallery(path) for path in sorted(evidence.glob("*.npz"))),
        ledger=_items(evidence / "ledger.json", _ledger_row),
        findings=_items(evidence / "findings.json", _finding),
        standings=_items(evidence / "standings.json", lambda item: Standing(**item)),
        contrasts=_items(evidence / "contrasts.json", lambda item: Contrast(**item)),
        dominance=_items(evidence / "dominance.json", _dominance),
    )


def _read(path: Path, parse: Callable[[str], T]) -> T:
    try:
        # newline="" keeps a carriage return inside a quoted name.
        with path.open(encoding="utf-8", newline="") as file:
            return parse(file.read())
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged: {error}") from error


def _items(path: Path, make: Callable[[dict[str, Any]], T]) -> tuple[T, ...]:
    return _read(path, lambda text: tuple(make(item) for item in json.loads(text)))


def _ledger_row(item: dict[str, Any]) -> LedgerRow:
    pairs = {name: tuple(item[name]) for name in ("seconds", "forwards", "backwards", "envelope")}
    return LedgerRow(**{**item, **pairs})


def _finding(item: dict[str, Any]) -> Finding:
    return Finding(**{**item, "parts": tuple(Part(**part) for part in item["parts"])})


def _dominance(item: Mapping[str, Any]) -> Dominance:
    return Dominance(item["model"], tuple(item["by"]), tuple(item["surely"]))


def _read_gallery(path: Path) -> Gallery:
    try:
        with np.load(path, allow_pickle=False) as held:
            tiles, facts = held["tiles"], json.loads(str(held["facts"]))
        captions = tuple(tuple(line) for line in facts.pop("captions"))
        lists = {name: tuple(facts.pop(name)) for name in ("rows", "columns", "signed")}
        return Gallery(tiles=tiles, captions=captions, **lists, **facts)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
