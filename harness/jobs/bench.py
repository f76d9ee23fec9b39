"""A worker's bench: what it has loaded, so that the next job need not load it again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from harness.core.registry import registry
from harness.core.types import Evidence, Split, Use, canonical
from harness.corruptions import corrupt
from harness.data import fit_shape, stratified

if TYPE_CHECKING:
    from harness.core.types import Artifact, Classifier
    from harness.data import Dataset
    from harness.store import Store

T = TypeVar("T")
Plain = Mapping[str, Any]
Outputs = tuple[np.ndarray, np.ndarray | None]  # logits and features of a split
DATASETS_KEPT = 4
MODELS_KEPT = 12  # an ensemble of ten and two others
SPLIT_BYTES = 2**28  # training images of MNIST and three test sets; others are soon read again
EVIDENCE_BYTES = 2**27


class Memory:
    """The values that were used last, by key.

    Args:
        limit: how much is kept; the last value always is.
        weight: of a value; by default all weigh one.
    """

    def __init__(self, limit: int, weight: Callable[[Any], int] = lambda value: 1) -> None:
        self.limit, self.weight = limit, weight
        self.values = OrderedDict[Hashable, Any]()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made if it is not kept."""
        if key not in self.values:
            self.values[key] = make()
        self.values.move_to_end(key)
        held = sum(map(self.weight, self.values.values()))
        while held > self.limit and len(self.values) > 1:
            _, dropped = self.values.popitem(last=False)
            held -= self.weight(dropped)
        return self.values[key]


class Bench:
    """Loads what jobs need, once.

    Args:
        store: where records and weights lie.
        data_dir: where data sets lie.
        device: "cpu" or "cuda".
        progress: called with the fraction of the job that is done, in [0, 1].
    """

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        device: str = "cpu",
        progress: Callable[[float], None] = lambda fraction: None,
    ) -> None:
        self.store, self.data_dir, self.device, self.progress = store, data_dir, device, progress
        self._datasets, self._models = Memory(DATASETS_KEPT), Memory(MODELS_KEPT)
        self._splits = Memory(SPLIT_BYTES, lambda split: split.x.nbytes)
        self._evidence = Memory(EVIDENCE_BYTES, _own_bytes)

    # ------------------------------------------------------------ records

    def record(self, digest: str) -> Artifact:
        """The stored record of a job that this one needs."""
        return self.store.read(digest)

    # ------------------------------------------------------------ data

    def dataset(self, data: Plain) -> Dataset:
        """A data set by its use, as plain data."""
        use = dict(data)
        plug = registry.get("data", use.pop("use"))
        return self._datasets.get(
            canonical(dict(data)), lambda: plug.function(self.data_dir, **plug.complete(use))
        )

    def split(self, reference: Plain) -> Split:
        """The split that a reference of the plan means."""
        return self._splits.get(canonical(dict(reference)), lambda: self._split(reference))

    def _split(self, reference: Plain) -> Split:
        if "corruption" not in reference and not reference["take"]:
            # From the parts: a data set would keep what it has read for as long as it is kept.
            return self.dataset(reference["data"]).parts[reference["part"]]()
        plain = {key: reference[key] for key in reference if key not in ("corruption", "code")}
        split = self.split(plain | {"take": []})
        if (
            "corruption" in reference
        ):  # the draw belongs to the whole split: rows are taken after it
            use = dict(reference["corruption"])
            split = corrupt(split, use.pop("use"), use, seed=reference["seed"])
        for count in reference["take"]:
            split = stratified(split, count, seed=reference["seed"])
        return split

    def split_like(self, reference: Plain, like: Plain) -> Split:
        """An OOD split in the shape of the data set `like`: the same preprocessing for both."""
        split = self.split(reference)
        return fit_shape(split, _shape(self.dataset(like)))

    # ------------------------------------------------------------ models

    def model(self, description: Plain) -> Classifier:
        """The frozen classifier that a description of the plan means."""
        return self._models.get(canonical(dict(description)), lambda: self._model(description))

    def _model(self, description: Plain) -> Classifier:
        from harness import models

        if "members" in description:
            return models.Ensemble([self.model(member) for member in description["members"]])
        if "network" in description:
            return self._trained(description)
        shown = self.dataset(description["data"])
        return models.brought(
            description["factory"],
            description.get("path"),
            num_classes=len(shown.classes),
            in_shape=_shape(shown),
            search=Path(description["search"]),
            device=self.device,
        )

    def _trained(self, description: Plain) -> Classifier:
        from harness import models

        digest = description["weights"]
        facts, params = self.store.read(digest).facts, dict(description["network"])
        shape = tuple(facts["shape"])
        # `build`, since a network draws initial weights, and nobody else's numbers may shift by it
        network = models.build(
            Use(params.pop("use"), params), num_classes=facts["classes"], in_shape=shape, seed=0
        )
        weights = models.load_weights(self.store.weights(digest))
        return models.freeze(network, weights, device=self.device)

    # ------------------------------------------------------------ evidence

    def evidence(self, description: Plain, split: Split, batch: int) -> Evidence:
        """Logits and features of a split under a model, computed once a worker.

        The images are the caller's and not kept: they would stay alive, one copy for each time
        that a split was read anew.
        """
        key = (canonical(dict(description)), split.digest)

        def look() -> Outputs:
            seen = gather(self.model(description), split, batch, self.device)
            return seen.logits, seen.features

        logits, features = self._evidence.get(key, look)
        return Evidence(logits, features, split.x, split.y)


def _own_bytes(seen: Outputs) -> int:
    return sum(array.nbytes for array in seen if array is not None)


def _shape(dataset: Dataset) -> tuple[int, int, int]:
    channels, height, width = dataset.test.x.shape[1:]
    return channels, height, width


def gather(model: Classifier, split: Split, batch: int, device: str) -> Evidence:
    """Logits and, where the model has them, features of a split."""
    import torch

    logits: list[np.ndarray] = []
    features: list[np.ndarray] = []
    with torch.inference_mode():
        for start in range(0, len(split), batch):
            x = torch.from_numpy(split.x[start : start + batch]).to(device)
            if model.head is None:
                logits.append(model(x).cpu().numpy())
                continue
            inside = model.features(x)
            features.append(inside.cpu().numpy())
            logits.append(model.head(inside).cpu().numpy())
    joined = np.concatenate(features) if features else None
    return Evidence(np.concatenate(logits), joined, split.x, split.y)
