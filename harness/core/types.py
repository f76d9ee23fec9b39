"""The nouns of the house. All are frozen; a newcomer needs these and no others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

Better = Literal["higher", "lower", "none"]
Status = Literal["ok", "void", "failed", "skipped"]
Axis = Literal["clean", "adversarial", "shift", "ood", "calibration", "training", "crosscheck"]
Arrays = dict[str, np.ndarray]


def canonical(value: object) -> str:
    """Canonical JSON of plain data: sorted keys, no spaces, tuples as lists.

    >>> canonical({"b": (1, 2.0), "a": None})
    '{"a":null,"b":[1,2.0]}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def case_text(**parts: object) -> str:
    """The `case` column of a row: `key=value` pairs in the order given.

    >>> case_text(attack="pgd", norm="linf", eps=0.1)
    'attack=pgd norm=linf eps=0.1'
    """
    for key, value in parts.items():
        if " " in str(value):
            raise ValueError(f"a case has no spaces in its values, got {key}={value!r}")
    return " ".join(f"{key}={value}" for key, value in parts.items())


def case_parts(case: str) -> dict[str, str]:
    """The pairs of a `case` column.

    >>> case_parts("corruption=fog")
    {'corruption': 'fog'}
    """
    return dict(part.split("=", 1) for part in case.split(" ") if part)


def digest_of(value: object) -> str:
    """SHA-256, in hex, of the canonical JSON of plain data."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def array_digest(*arrays: np.ndarray | None) -> str:
    """SHA-256, in hex, of arrays with their dtypes and shapes."""
    state = hashlib.sha256()
    for array in arrays:
        if array is None:
            state.update(b"none")
            continue
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


@dataclass(frozen=True, slots=True)
class Use:
    """A plug and its parameters: `pgd`, or `{use: pgd, steps: 20}` in YAML."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def plain(self) -> dict[str, Any]:
        """The YAML form, as plain data."""
        return {"use": self.name, **self.params}


@dataclass(frozen=True, slots=True)
class Split:
    """Images with an identity.

    Args:
        name: how reports call it, for example "mnist/test".
        x: (N, C, H, W) float32 in [0, 1].
        y: (N,) int64 labels in [0, K), or None for a set without labels (OOD).
        digest: of x and y.
        classes: names of the K classes; empty for an OOD set.
        ids: (N,) positions in the published set, for subsets; None when all of it.
    """

    name: str
    x: np.ndarray
    y: np.ndarray | None
    digest: str
    classes: tuple[str, ...] = ()
    ids: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, ids: np.ndarray, name: str | None = None) -> Split:
        """The rows `ids`, as a split of its own."""
        x, y = self.x[ids], None if self.y is None else self.y[ids]
        known = ids if self.ids is None else self.ids[ids]
        return Split(name or self.name, x, y, array_digest(x, y), self.classes, known)


@runtime_checkable
class Classifier(Protocol):
    """(N, C, H, W) float32 in [0, 1] -> (N, K) logits.

    Frozen once: in evaluation mode, parameters without gradients, any normalisation inside. `head`
    is the last linear layer, so that `head(features(x))` equals the logits; None where the network
    has no such layer, for example an ensemble, whose "logits" are log mean probabilities.
    """

    num_classes: int
    digest: str

    @property
    def module(self) -> nn.Module:
        """The plain network, for libraries that wrap one."""
        ...

    @property
    def head(self) -> nn.Linear | None:
        """The last linear layer, or None."""
        ...

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) logits."""
        ...

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, D) input of the last linear layer.

        Raises:
            ModelError: the network has none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a detector may look at: a split as one model sees it.

    Args:
        logits: (N, K) float32.
        features: (N, D) float32, or None where the model has none.
        x: (N, C, H, W) float32 in [0, 1].
        y: (N,) int64 labels, or None.
    """

    logits: np.ndarray
    features: np.ndarray | None
    x: np.ndarray
    y: np.ndarray | None = None


Scorer = Callable[[Evidence], np.ndarray]
"""Scores a split: (N,) float64, higher = more OOD."""


class Trace(Protocol):
    """What our own attacks report a step and restart, for the checks on attack runs."""

    def __call__(self, *, restart: int, step: int, loss: torch.Tensor, label: torch.Tensor) -> None:
        """(N,) loss and (N,) predicted label of the iterate that entered this step."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """One unit of work; `digest` is its cache key and its provenance.

    Args:
        kind: how it is done ("train", "predict", "attack", "score", ...).
        title: for people; not in the digest.
        params: everything that can change the result, plain data, defaults filled in.
        inputs: role -> digest of a split, a file or another job.
        needs: digests of the jobs that must be done before.
        seed: the run's seed for this job.
        group: jobs of one group share what a worker has loaded (the model's digest); not in the
            digest.
        cost: expected seconds on one core, to start the longest first; not in the digest.
        code: digest of the first-party files that it can reach.
        libraries: distribution -> version, of those that it rests on.
        numerics: device type, batch sizes, precision, threads.
        digest: of kind, params (but for paths), inputs, seed, code, libraries and numerics.
    """

    kind: str
    title: str
    params: Mapping[str, Any]
    inputs: Mapping[str, str]
    needs: tuple[str, ...]
    seed: int
    group: str
    cost: float
    code: str
    libraries: Mapping[str, str]
    numerics: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """What the store keeps of a job: failure is data, never a number.

    Args:
        digest: of the job.
        status: "ok", "failed" or "skipped".
        reason: why it is not ok, or "".
        seconds: wall time of the job.
        facts: small plain results and provenance (counts, training history, versions).
        arrays: per-sample arrays by name; empty unless ok.
    """

    digest: str
    status: Literal["ok", "failed", "skipped"]
    reason: str = ""
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])


@dataclass(frozen=True, slots=True)
class Row:
    """One number of the report; results.csv is a list of these.

    Args:
        suite: name of the suite.
        model: name of the model, as in the report.
        family: "baseline", "large", "ensemble", "FGSM training", ...
        seed: of the run.
        axis: clean, adversarial, shift, ood, calibration, training or crosscheck.
        case: the attack and budget, corruption, OOD set and detector, ... of this number.
        metric: a name of the metric dictionary (harness.metrics).
        implementation: who computed it: "harness", "netcal", ...
        value: the number, None unless status is "ok" or "void".
        low: lower end of the 95 % interval, None only where no interval covers.
        high: upper end.
        n: samples it rests on.
        better: "higher", "lower" or "none".
        status: ok, void (a check voids it), failed or skipped.
        flags: names of the checks raised, for example ("H44",).
        job: digest of the job it comes from (the first, if several).
        note: why it is not ok, or a remark; "" mostly.
    """

    suite: str
    model: str
    family: str
    seed: int
    axis: Axis
    case: str
    metric: str
    implementation: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    better: Better
    status: Status = "ok"
    flags: tuple[str, ...] = ()
    job: str = ""
    note: str = ""
