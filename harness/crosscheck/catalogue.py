"""The catalogue of known deviations: where a library is known to differ, why, and which test shows it.

The entries are data, in `deviations/*.yaml`, one file a field. The ledger cites an entry by its id
only where the entry predicts what was measured: the same concept, implementation and protocol, all
its conditions met, and an effect of the predicted kind. Each entry names a test that shows the
mechanism by running the library, so an entry that a newer version outgrows fails its test.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from ruamel.yaml import YAML

from harness.core.errors import UnknownName
from harness.core.threat import Norm

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

Protocol = Literal["lockstep", "native"]
Effect = Literal["images", "weaker", "stronger", "either", "value"]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

CONDITIONS: dict[str, str] = {
    "zero-gradient": "some rows have an all-zero float32 gradient, so a sign step cannot move them",
    "odd-batch": "the batch size is no power of two, so dividing the loss by it rounds",
    "clipped-pixels": "some pixels are exactly 0 or 1",
    "negative-logits": "some logits of classes other than the label are negative",
    "misclassified": "some clean images are classified wrongly",
    "failures": "the attack failed on some images",
    "several-rows": "the batch has more than one image",
    "own-settings": "the library kept settings that its users get, where the others have common ones",
    "out-of-box": "some inputs lie outside [0, 1]",
    "float32": "confidences or scores are float32",
    "on-edge": "some confidences lie exactly on the edge of a bin",
    "confidence-one": "some confidences are exactly 1",
    "over-one": "some probabilities exceed 1 by rounding",
    "ties": "some scores are tied",
    "saturated": "softmax is 0 or 1 to float precision on some rows",
    "two-classes": "there are two classes",
    "two-labels": "no more than two labels occur",
    "large": "there are more samples than float32 can count or sum without loss",
}
"""What the ledger may state about the two runs it compares; an entry names those it needs."""


class Plain(BaseModel):
    """Frozen data whose unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Signature(Plain):
    """How the ledger recognises a deviation.

    Args:
        concepts: concepts of the plugs, for example ("pgd", "bim"), or names of metrics.
        predicts: "images": the adversarial images differ and the outcomes do not, beyond the
            margin; "weaker" or "stronger": the library breaks fewer or more samples; "either":
            the outcomes may differ both ways; "value": a metric or score differs.
        protocols: the protocols in which it shows.
        norms: the norms in which it shows; empty means any.
        conditions: names from CONDITIONS that must all hold; empty means always.
        against: the implementations that it differs from; empty means all others.
    """

    concepts: tuple[Text, ...] = Field(min_length=1)
    predicts: Effect
    protocols: tuple[Protocol, ...] = ("lockstep", "native")
    norms: tuple[Norm, ...] = ()
    conditions: tuple[Text, ...] = ()
    against: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _known_conditions(self) -> Signature:
        for name in self.conditions:
            if name not in CONDITIONS:
                raise UnknownName("condition", name, CONDITIONS)
        return self


class Deviation(Plain):
    """One known deviation.

    Args:
        id: short and stable: "T1", "A2", "F1", "P4", "C3", "O2".
        name: a title, as the ledger prints it.
        library: our prefix of the library, for example "torchattacks".
        versions: the versions in which it was seen.
        differs: what differs, for a user of the library.
        mechanism: why, in terms of the source.
        where: places in the source, "torchattacks/attacks/cw.py:CW.f".
        consequence: what it does to a reported number.
        handled: what our adapter does about it, or "" if nothing can be done.
        shows: how the ledger recognises it, one signature a way of showing; none for a side
            effect that no comparison of results can show.
        upstream: path of the report under reports/upstream/, or why none is written.
        test: "tests/deviations/test_x.py::test_name", the test that shows the mechanism.
        struck: what was seen instead, where an expected deviation was not there; else "".
    """

    id: Annotated[str, StringConstraints(pattern=r"^[A-Z]\d+[a-z]?$")]
    name: Text
    library: Text
    versions: tuple[Text, ...] = Field(min_length=1)
    differs: Text
    mechanism: Text
    where: tuple[Text, ...] = ()
    consequence: Text
    handled: str = ""
    shows: tuple[Signature, ...] = ()
    upstream: Text
    test: Text
    struck: str = ""

    def in_force(self, version: str) -> bool:
        """Whether it is known to be there in `version` of its library."""
        return not self.struck and version in self.versions


@dataclass(frozen=True, slots=True)
class Difference:
    """What the ledger knows of two runs that it compares.

    Args:
        concept: what both implement.
        implementation: the one whose deviation is looked for.
        other: the one it is compared with.
        protocol: lockstep or native.
        effect: what was measured, from the side of `implementation`.
        norm: the norm of the threat, or None where there is none.
        facts: names from CONDITIONS that hold for the two runs.
    """

    concept: str
    implementation: str
    other: str
    protocol: Protocol
    effect: Effect
    norm: Norm | None = None
    facts: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All known deviations, in the order of their files."""

    entries: tuple[Deviation, ...]

    def __iter__(self) -> Iterator[Deviation]:
        return iter(self.entries)

    def get(self, name: str) -> Deviation:
        """The entry with the id `name`.

        Raises:
            UnknownName: there is none.
        """
        known = {entry.id: entry for entry in self.entries}
        if name not in known:
            raise UnknownName("deviation", name, known)
        return known[name]

    def explain(self, difference: Difference) -> tuple[Deviation, ...]:
        """The entries that predict `difference`, best known first; empty if none does."""
        return tuple(
            entry
            for entry in self.entries
            if entry.library == difference.implementation
            and not entry.struck
            and any(_predicts(signature, difference) for signature in entry.shows)
        )


def _predicts(signature: Signature, seen: Difference) -> bool:
    return (
        seen.concept in signature.concepts
        and seen.protocol in signature.protocols
        and (not signature.norms or seen.norm in signature.norms)
        and (not signature.against or seen.other in signature.against)
        and set(signature.conditions) <= set(seen.facts)
        and _covers(signature.predicts, seen.effect)
    )


def _covers(predicted: Effect, seen: Effect) -> bool:
    """Whether a prediction allows what was seen: other outcomes imply other images, not vice versa."""
    if predicted == "either":
        return seen in ("images", "weaker", "stronger", "either")
    if predicted in ("weaker", "stronger"):
        return seen in ("images", predicted)
    return seen == predicted


def because(entry: Deviation, counts: Mapping[str, int], n: int) -> str:
    """An entry's name, with the number of samples on which what it needs holds.

    Args:
        entry: the one that predicts a difference.
        counts: name from CONDITIONS -> number of samples.
        n: samples in all.
    """
    needed = {name for signature in entry.shows for name in signature.conditions}
    held = [f"{name} on {counts[name]} of {n}" for name in sorted(needed) if counts.get(name)]
    return entry.name + (f" ({', '.join(held)})" if held else "")


@functools.cache
def load() -> Catalogue:
    """The catalogue that ships with the harness.

    Raises:
        ValueError: an entry is not of the schema, or an id occurs twice.
    """
    folder = importlib.resources.files("harness.crosscheck") / "deviations"
    entries = tuple(
        Deviation.model_validate(entry)
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
        for entry in YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8")) or ()
    )
    twice = [name for name, count in Counter(entry.id for entry in entries).items() if count > 1]
    if twice:
        raise ValueError(f"deviation ids occur twice: {', '.join(twice)}")
    return Catalogue(entries)
