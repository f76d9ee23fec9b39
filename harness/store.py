"""Content-addressed artifacts: written whole or not at all, verified when read.

`ROOT/<digest[:2]>/<digest>/` holds `job.json` (the job, its status and facts, and size and SHA-256 of
the other files), `arrays.npz` (per-sample arrays) and `weights.safetensors` (networks). A folder is
written under a temporary name and renamed, so that a killed run leaves no half artifact behind. One
whose files have other sizes is absent, and so is one that a reader found not to match its sums.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.core.types import Artifact, Job

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENT = "HARNESS_STORE"
DEFAULT = ".harness"
RECORD = "job.json"
ARRAYS = "arrays.npz"
WEIGHTS = "weights.safetensors"


def default_root() -> Path:
    """Where artifacts lie unless told otherwise: $HARNESS_STORE, or `.harness` here."""
    return Path(os.environ.get(ENVIRONMENT) or DEFAULT)


class Store:
    """Artifacts in a local folder, by the digest of their job.

    Args:
        root: the folder; made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def folder(self, digest: str) -> Path:
        """Where the artifact of `digest` lies, or would."""
        return self.root / digest[:2] / digest

    def status(self, digest: str) -> str | None:
        """Status of the stored artifact, or None if there is none or a file of it is not whole."""
        record = self._record(digest)
        whole = record is not None and self._whole(digest, record)
        return str(record["artifact"]["status"]) if record is not None and whole else None

    def job(self, digest: str) -> dict[str, Any] | None:
        """The job as it was stored, as plain data, or None."""
        record = self._record(digest)
        return None if record is None else record["job"]

    def jobs(self) -> list[dict[str, Any]]:
        """Every stored job, as plain data; to tell why a new one is not cached."""
        found = sorted(self.root.glob(f"??/*/{RECORD}")) if self.root.is_dir() else []
        records = [self._record(path.parent.name) for path in found]
        return [record["job"] for record in records if record is not None]

    def read(self, digest: str) -> Artifact:
        """The artifact of `digest`, verified.

        Raises:
            KeyError: there is none, or it does not match its sums.
        """
        record = self._record(digest)
        if record is None:
            raise KeyError(digest)
        artifact = record["artifact"]
        arrays = self._arrays(digest, record["sums"].get(ARRAYS))
        return Artifact(
            digest=digest,
            status=artifact["status"],
            reason=artifact["reason"],
            seconds=artifact["seconds"],
            facts=artifact["facts"],
            arrays=arrays,
        )

    def weights(self, digest: str) -> Path:
        """The weights file of a training job.

        Raises:
            KeyError: there is none, or it does not match its sum.
        """
        record = self._record(digest)
        path = self.folder(digest) / WEIGHTS
        if record is None:
            raise KeyError(digest)
        if _sum(path) != record["sums"].get(WEIGHTS):
            raise self._damaged(digest)
        return path

    def write(self, job: Job, artifact: Artifact, files: Mapping[str, bytes] | None = None) -> None:
        """Store an artifact whole; one that is there already is replaced.

        Args:
            job: what was done.
            artifact: what came of it.
            files: further files by name, for example the weights.
        """
        contents = dict(files or {})
        if artifact.arrays:
            contents[ARRAYS] = _packed(artifact.arrays)
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
        facts = {key: value for key, value in asdict(artifact).items() if key != "arrays"}
        sizes = {name: len(data) for name, data in contents.items()}
        record = {"job": asdict(job), "artifact": facts, "sums": sums, "sizes": sizes}
        contents[RECORD] = json.dumps(record, indent=1, sort_keys=True).encode()
        self._place(artifact.digest, contents)

    def _place(self, digest: str, contents: Mapping[str, bytes]) -> None:
        target = self.folder(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        try:
            for name, data in contents.items():
                (fresh / name).write_bytes(data)
            if target.exists():
                shutil.rmtree(target)
            fresh.rename(target)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            if not (target / RECORD).is_file():  # another worker may have won the race
                raise

    def _record(self, digest: str) -> dict[str, Any] | None:
        try:
            return json.loads((self.folder(digest) / RECORD).read_bytes())
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def _whole(self, digest: str, record: Mapping[str, Any]) -> bool:
        """Whether its files are there in their sizes: what a full disk or a broken copy spoils."""
        folder = self.folder(digest)
        try:
            return all((folder / name).stat().st_size == size for name, size in record.get("sizes", {}).items())  # fmt: skip
        except FileNotFoundError:
            return False

    def _damaged(self, digest: str) -> KeyError:
        """Forget an artifact that does not match its sums, so that the next run makes it again."""
        (self.folder(digest) / RECORD).unlink(missing_ok=True)
        return KeyError(digest)

    def _arrays(self, digest: str, expected: str | None) -> dict[str, np.ndarray]:
        if expected is None:
            return {}
        try:
            data = (self.folder(digest) / ARRAYS).read_bytes()
        except FileNotFoundError:
            raise self._damaged(digest) from None
        if hashlib.sha256(data).hexdigest() != expected:
            raise self._damaged(digest)
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()


def _sum(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
