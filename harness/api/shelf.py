"""The data sets on disk, as a plan asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import data
from harness.core.registry import registry
from harness.core.types import digest_of
from harness.plan import code_digest

if TYPE_CHECKING:
    from pathlib import Path

    from harness.core.types import Use


class Shelf:
    """The data sets on disk, by their files: no image is read.

    Args:
        data_dir: where they lie; what is missing is downloaded there.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._fingerprints: dict[str, str] = {}
        self._sizes: dict[tuple[str, str], int] = {}

    def size(self, use: Use, part: str) -> int:
        """Images in a part of a data set.

        Raises:
            DataError: there is no such part, and it cannot be downloaded.
        """
        key = digest_of(use.plain()), part
        if key not in self._sizes:
            self._sizes[key] = data.size(use.name, part, self.data_dir, **use.params)
        return self._sizes[key]

    def parts(self, use: Use) -> tuple[str, ...]:
        """The parts that a data set has, of "train", "val" and "test".

        Raises:
            DataError: it is missing, and cannot be downloaded.
        """
        return data.parts(use.name, self.data_dir, **use.params)

    def fingerprint(self, use: Use) -> str:
        """Digest of a data set: its files' bytes, its parameters and the code that reads it."""
        key = digest_of(use.plain())
        if key not in self._fingerprints:
            plug = registry.get("data", use.name)
            files = data.fingerprint(use.name, self.data_dir, **use.params)
            code = code_digest([plug.function.__module__])
            self._fingerprints[key] = digest_of([files, plug.complete(use.params), code])
        return self._fingerprints[key]
