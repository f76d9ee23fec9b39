"""The store: whole or not at all, and verified when read."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.core.types import Artifact, Job
from harness.store import ARRAYS, RECORD, Store


def job(digest: str = "ab" * 32) -> Job:
    return Job("predict", "predict it", {"a": 1}, {}, (), 0, "", 1.0, "c", {}, {}, digest)


def stored(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    artifact = Artifact(
        job().digest, "ok", "", 1.5, {"n": 3}, {"logits": np.arange(6.0).reshape(3, 2)}
    )
    store.write(job(), artifact, {"weights.safetensors": b"w"})
    return store


def test_round_trip(tmp_path):
    found = stored(tmp_path).read(job().digest)
    assert (found.status, found.seconds, found.facts) == ("ok", 1.5, {"n": 3})
    np.testing.assert_array_equal(found.arrays["logits"], np.arange(6.0).reshape(3, 2))


def test_damaged_arrays_are_not_handed_on(tmp_path):
    """Catches a reader that trusts the disk."""
    store = stored(tmp_path)
    path = store.folder(job().digest) / ARRAYS
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(KeyError):
        store.read(job().digest)


def test_damaged_weights_are_not_handed_on(tmp_path):
    store = stored(tmp_path)
    assert store.weights(job().digest).read_bytes() == b"w"
    store.weights(job().digest).write_bytes(b"v")
    with pytest.raises(KeyError):
        store.weights(job().digest)


@pytest.mark.parametrize("name", [ARRAYS, "weights.safetensors"])
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_file_that_is_not_whole_is_made_again(tmp_path, name, damage):
    """Catches a run that takes a truncated artifact for finished, and reports a model without numbers."""
    store = stored(tmp_path)
    damage(store.folder(job().digest) / name)
    assert store.status(job().digest) is None


def test_what_does_not_match_its_sums_is_made_again(tmp_path):
    """Catches a damaged artifact that every later run finds anew, and does without."""
    store = stored(tmp_path)
    path = store.folder(job().digest) / ARRAYS
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert store.status(job().digest) == "ok"  # sums are for readers
    with pytest.raises(KeyError):
        store.read(job().digest)
    assert store.status(job().digest) is None


def test_half_written_record_counts_as_absent(tmp_path):
    store = stored(tmp_path)
    (store.folder(job().digest) / RECORD).write_text('{"job":')
    assert store.status(job().digest) is None


def test_a_crash_while_writing_leaves_nothing(tmp_path, monkeypatch):
    """Catches a writer that is not atomic."""
    store = Store(tmp_path)

    def crash(self: Path, data: bytes) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", crash)
    with pytest.raises(OSError, match="disk full"):
        store.write(job(), Artifact(job().digest, "ok"))
    monkeypatch.undo()
    assert store.status(job().digest) is None
    assert list(tmp_path.glob("*/*")) == []


def test_a_failure_is_replaced_by_a_success(tmp_path):
    store = Store(tmp_path)
    store.write(job(), Artifact(job().digest, "failed", "why"))
    assert store.status(job().digest) == "failed"
    store.write(job(), Artifact(job().digest, "ok"))
    assert store.status(job().digest) == "ok"


def test_pickled_arrays_are_refused(tmp_path):
    """Catches a reader that would run code from the store."""
    store = stored(tmp_path)
    folder = store.folder(job().digest)
    np.savez(folder / ARRAYS, evil=np.array([object()], dtype=object))
    record = json.loads((folder / RECORD).read_text())
    import hashlib

    record["sums"][ARRAYS] = hashlib.sha256((folder / ARRAYS).read_bytes()).hexdigest()
    (folder / RECORD).write_text(json.dumps(record))
    with pytest.raises(ValueError, match="allow_pickle"):
        store.read(job().digest)
