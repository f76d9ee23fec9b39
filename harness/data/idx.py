"""MNIST and its kin, in torchvision's layout: DIR/<Folder>/raw/{train,t10k}-*-ubyte.

The IDX files are read here, plain or .gz: torchvision's classes want all four and import torch, and
a test set alone is enough for OOD. Only a download, with its checksums, is left to torchvision.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import math
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.core.errors import DataError
from harness.core.registry import registry
from harness.data.pixels import split_of
from harness.data.sets import Dataset, Found, Unreachable, obtained, parts_of, sizes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from harness.core.types import Split
    from harness.data.drawing import Ids

STEMS = {"train": "train", "test": "t10k"}
TIMEOUT = 30.0  # seconds without an answer after which a download fails
TEN = tuple("0123456789")


@dataclass(frozen=True, slots=True)
class IdxSet:
    """A data set of four IDX files.

    Args:
        name: ours, for example "mnist".
        folder: of the files, for example "MNIST".
        classes: names of the ten classes.
        source: who made it.
        how: how to get it.
        torchvision: name of the class that downloads it, or "".
    """

    name: str
    folder: str
    classes: tuple[str, ...]
    source: str
    how: str
    torchvision: str = ""

    def survey(self, data_dir: Path) -> Found:
        """What is on disk; of the files, only the first bytes are read."""
        raw = data_dir / self.folder / "raw"
        pairs = _pairs(raw)
        if "test" not in pairs:
            return Found({}, (), str(raw), self.how)
        sizes = sizes_of({part: idx_shape(pair[0])[0] for part, pair in pairs.items()})
        files = tuple(file for pair in pairs.values() for file in pair)
        return Found(sizes, files, str(raw), self.how)

    def obtain(self, data_dir: Path) -> Found:
        """What is on disk, after a download if nothing was.

        Raises:
            DataError: nothing is there and nothing came.
        """
        fetch = functools.partial(_download, self.torchvision, data_dir)
        look = functools.partial(self.survey, data_dir)
        return obtained(self.name, look, fetch if self.torchvision else None)

    def load(self, data_dir: Path) -> Dataset:
        """The data set; a part is read when it is asked for."""
        pairs = _pairs(Path(self.obtain(data_dir).where))

        def labels(part: str) -> NDArray[np.uint8]:
            return read_idx(pairs[part][1], 1)

        def read(stored: str, part: str, ids: Ids | None) -> Split:
            images, name = pairs[stored][0], f"{self.name}/{part}"
            return split_of(
                name, read_idx(images, 3), labels(stored), self.classes, str(images), ids
            )

        return Dataset(self.name, self.classes, self.source, parts_of(pairs, labels, read))


def _pairs(raw: Path) -> dict[str, tuple[Path, Path]]:
    """The files of images and labels of each part that is there."""
    pairs: dict[str, tuple[Path, Path]] = {}
    for part, stem in STEMS.items():
        images = _file(raw / f"{stem}-images-idx3-ubyte")
        labels = _file(raw / f"{stem}-labels-idx1-ubyte")
        if images and labels:
            pairs[part] = images, labels
    return pairs


def _file(path: Path) -> Path | None:
    """The file, or its .gz, if either is there."""
    packed = path.with_name(path.name + ".gz")
    return next((found for found in (path, packed) if found.is_file()), None)


def idx_shape(path: Path) -> tuple[int, ...]:
    """Shape that the header of an IDX file of bytes states.

    Raises:
        DataError: it is no such file.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            kind, rank = stream.read(3), int.from_bytes(stream.read(1))
            sizes = stream.read(4 * rank)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if kind != b"\0\0\x08" or rank == 0 or len(sizes) != 4 * rank:
        raise DataError(f"{path}: not an IDX file of bytes; get it again")
    return struct.unpack(f">{rank}i", sizes)


def read_idx(path: Path, rank: int) -> NDArray[np.uint8]:
    """The array of an IDX file of bytes; plain files are mapped, not read.

    Args:
        path: the file, or its .gz.
        rank: axes that it must have.

    Raises:
        DataError: it is no such file, or cut short.
    """
    shape = idx_shape(path)
    if len(shape) != rank:
        raise DataError(f"{path}: an array of {len(shape)} axes where {rank} are needed")
    header = 4 + 4 * rank
    if path.suffix == ".gz":
        content = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)
    else:
        content = np.asarray(np.memmap(path, np.uint8, "r"))
    if len(content) != header + math.prod(shape):
        raise DataError(
            f"{path}: {len(content)} bytes where its header says {header + math.prod(shape)};"
            " get it again"
        )
    return content[header:].reshape(shape)


def _download(name: str, data_dir: Path) -> None:
    """Let torchvision download and check all four files.

    Raises:
        Unreachable: it could not.
    """
    from torchvision import datasets  # imports torch

    try:
        with _patience(TIMEOUT), contextlib.redirect_stdout(io.StringIO()):
            getattr(datasets, name)(str(data_dir), download=True)
    except (OSError, RuntimeError) as error:
        raise Unreachable(str(error)) from error


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """A time limit on answers: torchvision sets none, and a silent network would hang the run."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _by_torchvision(folder: str) -> str:
    return f"With a network it is downloaded to --data-dir, as {folder}/raw, and its md5 checked"


MNIST = IdxSet(
    "mnist",
    "MNIST",
    TEN,
    "LeCun, Cortes and Burges",
    _by_torchvision("MNIST"),
    "MNIST",
)
FASHION = IdxSet(
    "fashion-mnist",
    "FashionMNIST",
    (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    "Xiao, Rasul and Vollgraf 2017",
    _by_torchvision("FashionMNIST"),
    "FashionMNIST",
)
KUZUSHIJI = IdxSet(
    "kmnist",
    "KMNIST",
    ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    "Clanuwat et al. 2018",
    _by_torchvision("KMNIST"),
    "KMNIST",
)
NOT_MNIST = IdxSet(
    "notmnist",
    "notMNIST",
    tuple("ABCDEFGHIJ"),
    "Bulatov 2011",
    "Put it there as IDX files named like MNIST's (t10k-images-idx3-ubyte, ...)",
)


@registry.register("data", "mnist", supplied=(), survey=MNIST.survey, obtain=MNIST.obtain)
def mnist(data_dir: Path) -> Dataset:
    """Handwritten digits, 28 x 28: 55,000 to train on, 5,000 held out of them, 10,000 to test."""
    return MNIST.load(data_dir)


@registry.register(
    "data", "fashion-mnist", supplied=(), survey=FASHION.survey, obtain=FASHION.obtain
)
def fashion_mnist(data_dir: Path) -> Dataset:
    """Pictures of clothes in MNIST's format; far OOD for digits."""
    return FASHION.load(data_dir)


@registry.register("data", "kmnist", supplied=(), survey=KUZUSHIJI.survey, obtain=KUZUSHIJI.obtain)
def kmnist(data_dir: Path) -> Dataset:
    """Cursive Japanese characters in MNIST's format; near OOD for digits."""
    return KUZUSHIJI.load(data_dir)


@registry.register(
    "data", "notmnist", supplied=(), survey=NOT_MNIST.survey, obtain=NOT_MNIST.obtain
)
def notmnist(data_dir: Path) -> Dataset:
    """Letters A to J from fonts, in MNIST's format."""
    return NOT_MNIST.load(data_dir)
