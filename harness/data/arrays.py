"""Stored NumPy arrays, read without ever unpickling: a pickle can run code."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np

from harness.core.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

BROKEN = (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError)


def npy_shape(path: Path) -> tuple[int, ...]:
    """Shape of a .npy file, from its header.

    Raises:
        DataError: it is none.
    """
    return read_npy(path, mapped=True).shape


def read_npy(path: Path, *, mapped: bool = False) -> np.ndarray:
    """The array of a .npy file.

    Args:
        path: the file.
        mapped: look at the file in place instead of reading it.

    Raises:
        DataError: it is none, or holds Python objects.
    """
    try:
        found = np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)
    except BROKEN as error:
        raise DataError(f"{path}: {_reason(error)}") from error
    if not isinstance(found, np.ndarray):
        raise DataError(f"{path}: an archive where a single array (.npy) is needed")
    return found


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every array of a .npz file, from their headers.

    Raises:
        DataError: it is none, or holds Python objects.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        with zipfile.ZipFile(path) as packed:
            for name in packed.namelist():
                with packed.open(name) as stream:
                    version = np.lib.format.read_magic(stream)
                    read = {
                        (1, 0): np.lib.format.read_array_header_1_0,
                        (2, 0): np.lib.format.read_array_header_2_0,
                    }[version]
                    shapes[name.removesuffix(".npy")] = read(stream)[0]
    except BROKEN as error:
        raise DataError(f"{path}: {_reason(error)}") from error
    return shapes


def read_npz(path: Path, name: str) -> np.ndarray:
    """One array of a .npz file.

    Raises:
        DataError: the file cannot be read, lacks the array, or the array holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[name])
    except BROKEN as error:
        raise DataError(f"{path}: {name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if any(word in str(error).lower() for word in ("pickle", "object array", "python objects")):
        return (
            "holds pickled Python objects, which are refused because they can run code;"
            " save plain arrays of numbers"
        )
    return f"not an array file that NumPy can read ({error})"
