"""MNIST-C as its authors published it: DIR/mnist_c/<corruption>/test_{images,labels}.npy."""

from __future__ import annotations

import functools
import hashlib
import shutil
import urllib.error
import urllib.request
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.core.errors import DataError, UnknownName
from harness.core.registry import registry
from harness.data.arrays import npy_shape, read_npy
from harness.data.idx import MNIST, TEN, TIMEOUT
from harness.data.pixels import split_of
from harness.data.sets import Dataset, Found, Unreachable, obtained

if TYPE_CHECKING:
    from pathlib import Path

    from harness.core.types import Split

URL = "https://zenodo.org/records/3239543/files/mnist_c.zip"
MD5 = "4b34b33045869ee6d424616cd3a65da3"
HOW = (
    "With a network it is downloaded to --data-dir from Zenodo, record 3239543, and its md5 checked"
)
IDENTITY = "identity"  # MNIST's own test images, which stand in where the archive's were left out
# The published order. Named here too, so that a change of our own fog leaves these images' digest.
CORRUPTIONS = (
    IDENTITY,
    "shot_noise",
    "impulse_noise",
    "glass_blur",
    "motion_blur",
    "shear",
    "scale",
    "rotate",
    "brightness",
    "translate",
    "stripe",
    "fog",
    "spatter",
    "dotted_line",
    "zigzag",
    "canny_edges",
)


def survey(data_dir: Path, *, corruption: str = "") -> Found:
    """What is on disk of one corruption, or of all."""
    if corruption == IDENTITY and _left_out(data_dir):
        clean = MNIST.survey(data_dir)
        return Found({"test": clean.sizes["test"]}, clean.files, clean.where, HOW)
    present = [name for name in CORRUPTIONS if all(f.is_file() for f in _files(data_dir, name))]
    if corruption:
        present = [name for name in present if name == corruption]
    where = data_dir / "mnist_c" / corruption
    if not present:
        return Found({}, (), str(where), HOW)
    files = tuple(file for name in present for file in _files(data_dir, name))
    count = "" if corruption else f" ({len(present)} of {len(CORRUPTIONS)})"
    return Found({"test": npy_shape(files[0])[0]}, files, f"{where}{count}", HOW)


def obtain(data_dir: Path, *, corruption: str) -> Found:
    """What is on disk of a corruption, after a download if nothing was."""
    if corruption not in CORRUPTIONS:
        raise UnknownName("corruption of MNIST-C", corruption, CORRUPTIONS)
    look = functools.partial(survey, data_dir, corruption=corruption)
    return obtained(f"mnist-c/{corruption}", look, functools.partial(fetch, data_dir))


@registry.register("data", "mnist-c", supplied=(), survey=survey, obtain=obtain)
def mnist_c(data_dir: Path, *, corruption: str) -> Dataset:
    """MNIST's test images under one of the 15 published corruptions, or "identity"."""
    obtain(data_dir, corruption=corruption)
    read = functools.partial(_read, data_dir, corruption)
    return Dataset(f"mnist-c/{corruption}", TEN, "Mu and Gilmer 2019", {"test": read})


def published(corruption: str, data_dir: Path) -> bool:
    """Whether the published images of a corruption are there, or could be downloaded."""
    if corruption not in CORRUPTIONS:
        return False
    if not survey(data_dir, corruption=corruption).sizes:
        _try_once(data_dir)
    return bool(survey(data_dir, corruption=corruption).sizes)


@functools.cache  # an unreachable network is tried once a process, not once a corruption
def _try_once(data_dir: Path) -> None:
    try:
        fetch(data_dir)
    except Unreachable:
        return


def _files(data_dir: Path, corruption: str) -> tuple[Path, Path]:
    folder = data_dir / "mnist_c" / corruption
    return folder / "test_images.npy", folder / "test_labels.npy"


def _left_out(data_dir: Path) -> bool:
    """Whether the identity has to come from MNIST itself."""
    archived = all(file.is_file() for file in _files(data_dir, IDENTITY))
    return not archived and "test" in MNIST.survey(data_dir).sizes


def _read(data_dir: Path, corruption: str) -> Split:
    if corruption == IDENTITY and _left_out(data_dir):
        return replace(MNIST.load(data_dir).test, name=f"mnist-c/{IDENTITY}")
    files = _files(data_dir, corruption)
    images, labels = (read_npy(file) for file in files)
    return split_of(f"mnist-c/{corruption}", images, labels, TEN, str(files[0]))


def fetch(data_dir: Path, url: str = URL, md5: str = MD5) -> None:
    """Download the archive, check it, and keep its test images.

    Raises:
        Unreachable: it did not come.
        DataError: something else came.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    archive = data_dir / "mnist_c.zip.part"
    try:
        found = _download(url, archive)
        if found != md5:
            raise DataError(f"{url}: md5 {found} where {md5} is published; nothing was kept")
        _unpack(archive, data_dir)
    finally:
        archive.unlink(missing_ok=True)


def _download(url: str, target: Path) -> str:
    """Write `url` to `target`; md5 of what came."""
    state = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as stream, target.open("wb") as out:
            while block := stream.read(1 << 20):
                state.update(block)
                out.write(block)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise Unreachable(str(error)) from error
    return state.hexdigest()


def _unpack(archive: Path, data_dir: Path) -> None:
    """The test arrays of each corruption, each file written whole or not at all."""
    with zipfile.ZipFile(archive) as packed:
        for corruption in CORRUPTIONS:
            for file in _files(data_dir, corruption):
                file.parent.mkdir(parents=True, exist_ok=True)
                part = file.with_suffix(".part")
                with (
                    packed.open(f"mnist_c/{corruption}/{file.name}") as stream,
                    part.open("wb") as out,
                ):
                    shutil.copyfileobj(stream, out)
                part.replace(file)
