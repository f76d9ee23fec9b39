"""How models come to be: networks to train, members of ensembles, what a user brings."""

from __future__ import annotations

import hashlib
import importlib.machinery
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.attacks.gradients import fastest
from harness.core.errors import ModelError
from harness.core.types import digest_of
from harness.plan import cost
from harness.plan.drafting import completed
from harness.plan.types import Question

if TYPE_CHECKING:
    from harness.core.registry import Kind
    from harness.plan.drafting import Draft, Plain
    from harness.suite import ModelSpec


def train(draft: Draft, spec: ModelSpec, seed: int) -> None:
    """The training jobs that a model needs, and its description for the other jobs."""
    if spec.network is not None:
        draft.models[spec.name, seed, 0] = _network(draft, spec, seed, 0)
    elif spec.ensemble is not None and spec.size is not None:
        base = draft.suite.model(spec.ensemble)
        for member in range(spec.size):
            draft.models[base.name, seed, member] = _network(draft, base, seed, member)
        members = [draft.models[base.name, seed, member] for member in range(spec.size)]
        draft.models[spec.name, seed, 0] = {"members": members}
    else:
        draft.models[spec.name, seed, 0] = _brought(draft, spec)


def _network(draft: Draft, spec: ModelSpec, seed: int, member: int) -> Plain:
    assert spec.network is not None
    network = completed("network", spec.network)
    steps = [completed("recipe", step) for step in spec.train]
    training, held_out = draft.split("train"), draft.split("val")
    draft.size(draft.suite.data, "train")  # says so now if there is none
    arithmetic = spec.training.arithmetic or fastest(draft.device)
    params: Plain = {
        "network": network,
        "steps": steps,
        "training": spec.training.model_dump() | {"arithmetic": arithmetic},
        "train": training,
        "val": held_out,
    }
    plugs: list[tuple[Kind, str]] = [("network", network["use"])]
    plugs.extend(("recipe", step["use"]) for step in steps)
    title = f"train {spec.name}" + (f" (member {member})" if member else "")
    digest = draft.add(
        Question("train", spec.name, seed, "", member),
        title,
        params,
        inputs={"train": digest_of(training), "val": digest_of(held_out)},
        plugs=plugs,
        seconds=cost.training(spec, draft.images(training), arithmetic),
    )
    return {"network": network, "weights": digest}


def _brought(draft: Draft, spec: ModelSpec) -> Plain:
    """Description of a user's model: its digest is that of the factory's file and weights."""
    described: Plain = {
        "data": draft.suite.data.plain(),
        "search": str(draft.places[0]),
        "factory": spec.factory,
        "factory_digest": _factory_digest(spec.factory or "", draft.places[0]),
    }
    if spec.weights:
        path = _weights_file(draft, spec.name, spec.weights)
        described |= {"path": str(path), "weights_digest": _file_digest(path)}
    return described


def _weights_file(draft: Draft, model: str, name: str) -> Path:
    """A user's weights, in the first place that has them."""
    found = [place / name for place in draft.places if (place / name).is_file()]
    if not found:
        looked = ", ".join(str(place) for place in draft.places)
        raise ModelError(f"model {model!r}: no weights file {name} in any of {looked}")
    return found[0]


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _factory_digest(factory: str, root: Path) -> str:
    """SHA-256 of the file of a user's factory, found without importing it; "missing" if there is none."""
    module = factory.partition(":")[0]
    places: list[str] = [str(root), *sys.path]
    origin = None
    for depth, part in enumerate(module.split(".")):
        name = ".".join(module.split(".")[: depth + 1])
        spec = importlib.machinery.PathFinder.find_spec(name if depth else part, places)
        if spec is None:
            return "missing"
        origin, places = spec.origin, list(spec.submodule_search_locations or ())
    return _file_digest(Path(origin)) if origin and Path(origin).is_file() else "missing"
