"""Data that the user brings: .npz files and image folders.

A relative path is looked for in --data-dir first, then where the command runs. With a test part
alone a set serves for evaluation and as OOD.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.core.errors import DataError
from harness.core.registry import registry
from harness.data.arrays import npz_shapes, read_npz
from harness.data.pictures import SUFFIXES, Mode, mode_of, read_pictures
from harness.data.pixels import split_of
from harness.data.sets import Dataset, Found, obtained, parts_of, sizes_of

if TYPE_CHECKING:
    from harness.core.types import Split
    from harness.data.drawing import Ids

PARTS = ("train", "val", "test")
HOW_NPZ = (
    "Name a .npz file with test_images (N, H, W) or (N, H, W, 3), uint8, and test_labels, and"
    " train_ and val_ arrays likewise (the MedMNIST convention)"
)
HOW_FOLDER = "Name a folder with test/<class>/*.png or *.jpg, and train/ and val/ likewise"


def _resolved(data_dir: Path, path: str) -> Path:
    under = data_dir / path
    return under if under.exists() else Path(path)


# ------------------------------------------------------------------ .npz


def survey_npz(data_dir: Path, *, path: str = "", classes: int | None = None) -> Found:
    """What is on disk; only the headers of the arrays are read."""
    del classes
    file = _resolved(data_dir, path)
    if not file.is_file():
        return Found({}, (), path or "the file that `path` names", HOW_NPZ)
    stored = _stored(file)
    return Found(sizes_of(stored), (file,), str(file), HOW_NPZ)


def obtain_npz(data_dir: Path, *, path: str, classes: int | None = None) -> Found:
    """What is on disk.

    Raises:
        DataError: no such file.
    """
    return obtained(path, functools.partial(survey_npz, data_dir, path=path, classes=classes))


@registry.register("data", "npz", supplied=(), survey=survey_npz, obtain=obtain_npz, own=True)
def npz(data_dir: Path, *, path: str, classes: int | None = None) -> Dataset:
    """Arrays in a .npz file, named as MedMNIST's: train_images, train_labels, val_..., test_...

    Args:
        data_dir: where a relative path is looked for first.
        path: the file.
        classes: K; if None, one more than the largest label of the training part (of the test part
            where that is all there is).
    """
    file = Path(obtain_npz(data_dir, path=path).where)
    stored = _stored(file)
    names = _numbered(file, stored, classes)

    def labels(part: str) -> np.ndarray | None:
        return read_npz(file, f"{part}_labels") if names else None

    def read(stored_part: str, part: str, ids: Ids | None) -> Split:
        images = read_npz(file, f"{stored_part}_images")
        place = f"{file} ({stored_part})"
        return split_of(f"{file.stem}/{part}", images, labels(stored_part), names, place, ids)

    return Dataset(file.stem, names, file.name, parts_of(stored, labels, read))


def _stored(file: Path) -> dict[str, int]:
    """Images of each part in a .npz file."""
    shapes = npz_shapes(file)
    stored = {part: shapes[f"{part}_images"][0] for part in PARTS if shapes.get(f"{part}_images")}
    if "test" not in stored:
        raise DataError(f"{file}: no array test_images among {', '.join(shapes)}. {HOW_NPZ}.")
    for part in stored:
        if f"{part}_labels" not in shapes and (part != "test" or len(stored) > 1):
            raise DataError(f"{file}: no array {part}_labels; only an OOD set can do without")
    return stored


def _numbered(file: Path, stored: dict[str, int], classes: int | None) -> tuple[str, ...]:
    """Names of the classes: their numbers; none for a set without labels."""
    if "test_labels" not in npz_shapes(file):
        return ()
    if classes is None:
        labels = read_npz(file, ("train" if "train" in stored else "test") + "_labels")
        if not np.issubdtype(labels.dtype, np.integer):
            raise DataError(f"{file}: labels must be integers from 0, got {labels.dtype}")
        classes = int(labels.max(initial=0)) + 1
    return tuple(str(number) for number in range(max(classes, 1)))


# ------------------------------------------------------------------ folders


def survey_folder(
    data_dir: Path, *, path: str = "", size: int | None = None, mode: Mode = "auto"
) -> Found:
    """What is on disk; no picture is opened."""
    del size, mode
    folder = _resolved(data_dir, path)
    files = {part: _pictures(folder / part) for part in PARTS} if path else {}
    if not files.get("test"):
        where = str(folder / "test") if path else "the folder that `path` names"
        return Found({}, (), where, HOW_FOLDER)
    sizes = sizes_of({part: len(found) for part, found in files.items() if found})
    listed = tuple(file for found in files.values() for file in found)
    return Found(sizes, listed, str(folder), HOW_FOLDER)


def obtain_folder(
    data_dir: Path, *, path: str, size: int | None = None, mode: Mode = "auto"
) -> Found:
    """What is on disk.

    Raises:
        DataError: no such folder.
    """
    return obtained(
        path, functools.partial(survey_folder, data_dir, path=path, size=size, mode=mode)
    )


@registry.register(
    "data", "folder", supplied=(), survey=survey_folder, obtain=obtain_folder, own=True
)
def folder(
    data_dir: Path,
    *,
    path: str,
    size: int | None = None,
    mode: Literal["auto", "grey", "colour"] = "auto",
) -> Dataset:
    """Pictures in folders: {train,val,test}/<class>/*.png or *.jpg; classes in the order of names.

    Args:
        data_dir: where a relative path is looked for first.
        path: the folder.
        size: side in pixels to which all are resized; if None, all must have one size.
        mode: grey or colour; "auto" takes that of the first picture.
    """
    found = obtain_folder(data_dir, path=path)
    top = Path(found.where)
    main = "train" if "train" in found.sizes else "test"
    names = tuple(sorted({file.parent.name for file in _pictures(top / main)}))
    channels = mode_of(_pictures(top / main)[0], mode)
    stored = [part for part in PARTS if _pictures(top / part)]

    def labels(part: str) -> np.ndarray:
        return np.array([_number(file, names) for file in _pictures(top / part)])

    def read(stored_part: str, part: str, ids: Ids | None) -> Split:
        files, y = _pictures(top / stored_part), labels(stored_part)
        if ids is not None:
            files, y = [files[i] for i in ids], y[ids]
        pixels = read_pictures(files, channels, size)
        split = split_of(f"{top.name}/{part}", pixels, y, names, str(top / stored_part))
        return replace(split, ids=ids)

    return Dataset(top.name, names, f"pictures in {top.name}", parts_of(stored, labels, read))


def _pictures(part: Path) -> list[Path]:
    """The pictures of a part, by class and name; what is no picture by its name is passed over."""
    return sorted(file for file in part.glob("*/*") if file.suffix.lower() in SUFFIXES)


def _number(file: Path, names: tuple[str, ...]) -> int:
    if file.parent.name not in names:
        raise DataError(f"{file.parent}: a class that training has not; it has {', '.join(names)}")
    return names.index(file.parent.name)
