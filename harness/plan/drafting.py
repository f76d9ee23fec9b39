"""A plan in the making: the jobs so far, and what every chapter needs to add one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.core.registry import registry
from harness.core.rng import derive
from harness.core.types import Job, Use, digest_of
from harness.plan import cost
from harness.plan.digests import code_digest, identity, library_versions, without_paths
from harness.plan.types import Plan, Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from harness.attacks.gradients import Arithmetic
    from harness.core.registry import Kind
    from harness.suite import ModelSpec, Suite

    Plain = dict[str, Any]

IMAGES_SEED = 0  # every seed of a run meets the same images, so that comparisons stay paired


@dataclass(frozen=True)
class Draft:
    """Collects jobs; the chapters of this room add to it.

    Args:
        suite: resolved.
        fingerprint: digest of a data set's files.
        size: images in a part ("train", "val", "test") of a data set.
        parts: those that the suite's data set has.
        classes: names of the data set's classes, in label order.
        device: "cpu" or "cuda".
        places: where a user's weights are looked for; the first one for factories too.
        jobs: digest -> job, in an order in which each comes after all that it needs.
        answers: question -> digest of the job.
        splits: digest -> reference of every split used.
        models: (name, seed, member) -> description of a network for the jobs on it.
    """

    suite: Suite
    fingerprint: Callable[[Use], str]
    size: Callable[[Use, str], int]
    parts: tuple[str, ...]
    classes: tuple[str, ...]
    device: str
    places: tuple[Path, ...]
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    answers: dict[Question, str] = field(default_factory=dict[Question, str])
    splits: dict[str, Plain] = field(default_factory=dict[str, "Plain"])
    models: dict[tuple[str, int, int], Plain] = field(
        default_factory=dict[tuple[str, int, int], "Plain"]
    )

    def plan(self) -> Plan:
        """What has been collected."""
        return Plan(
            self.suite,
            tuple(self.jobs.values()),
            self.answers,
            self.splits,
            {key: self.images(reference) for key, reference in self.splits.items()},
            self.classes,
            cost.numerics(self.device),
        )

    def add(
        self,
        question: Question,
        title: str,
        params: Plain,
        *,
        inputs: Mapping[str, str],
        needs: Iterable[str] = (),
        plugs: Sequence[tuple[Kind, str]] = (),
        seconds: float,
        group: str = "",
    ) -> str:
        """One more job, unless the plan has it already; its digest."""
        modules = [f"harness.jobs.{question.kind}"]
        modules += [registry.get(kind, name).function.__module__ for kind, name in plugs]
        fields: Plain = {
            "kind": question.kind,
            "params": params,
            "inputs": dict(inputs),
            "seed": derive(question.seed, "member", question.member),
            "code": code_digest(modules),
            "libraries": library_versions(plugs),
            "numerics": cost.numerics(self.device),
        }
        digest = digest_of(identity(fields))
        job = Job(
            **fields, title=title, needs=tuple(needs), group=group, cost=seconds, digest=digest
        )
        self.jobs.setdefault(digest, job)
        self.answers[question] = digest
        return digest

    # ------------------------------------------------------------ splits

    def split(self, part: str, *takes: int, data: Use | None = None, corruption: str = "") -> Plain:
        """Reference of a split: what `harness.jobs.inputs` loads, and what a digest is made of.

        Args:
            part: "train", "val" or "test".
            *takes: sizes of stratified draws, each out of the one before.
            data: the data set; the suite's if None.
            corruption: a corruption to apply; "" for none.
        """
        use = data or self.suite.data
        if self.suite.limit and part == "test":
            takes = (self.suite.limit, *takes)
        reference: Plain = {
            "data": use.plain(),
            "fingerprint": self.fingerprint(use),
            "part": part,
            "take": list(takes),
            "seed": IMAGES_SEED,
        }
        if corruption:
            plug = registry.get("corruption", corruption)
            reference["corruption"] = {"use": corruption, **plug.complete({})}
            reference["code"] = code_digest([plug.function.__module__])
        self.splits[digest_of(reference)] = reference
        return reference

    def attack_split(self, images: int | None = None) -> Plain:
        """The test images that attacks meet, or so many of them."""
        return self.split("test", *[n for n in (self.suite.attack_images, images) if n])

    def ood_splits(self) -> dict[str, Plain]:
        """The test images as "id", and every OOD set by its name."""
        sets = self.suite.ood.sets if self.suite.ood else ()
        others = {name: self.split("test", data=Use(name)) for name in sets}
        return {"id": self.split("test"), **others}

    def images(self, reference: Mapping[str, Any]) -> int:
        """How many images a split has."""
        use = dict(reference["data"])
        whole = self.size(Use(use.pop("use"), use), reference["part"])
        return min([whole, *reference["take"]])

    # ------------------------------------------------------------ models and answers

    def about(
        self, spec: ModelSpec, seed: int, member: int = 0
    ) -> tuple[Plain, dict[str, str], tuple[str, ...]]:
        """Parameters, inputs and needs that every job on a model has."""
        model = self.models[spec.name, seed, member]
        needs = tuple(
            part["weights"] for part in model.get("members", [model]) if "network" in part
        )
        return {"model": model}, {"model": digest_of(without_paths(model))}, needs

    def answer(self, kind: str, spec: ModelSpec, seed: int, case: str) -> str:
        """Digest of the job that answers, or combines the answers, to a question."""
        if spec.ensemble is not None:
            kind = "combine"
        return self.answers[Question(kind, spec.name, seed, case)]


def completed(kind: Kind, use: Use) -> dict[str, Any]:
    """A use with every default filled in, as plain data."""
    return {"use": use.name, **registry.get(kind, use.name).complete(use.params)}


def searching(use: Use, rule: Arithmetic) -> dict[str, Any]:
    """An attack with every default filled in, which searches by `rule` unless the suite says how.

    That holds for attacks that were measured to find as much so (`quick` where they are
    registered); those whose final iterates count keep the bits of the libraries.
    """
    plug, whole = registry.get("attack", use.name), completed("attack", use)
    quick = plug.meta.get("quick", False) and whole.get("keep") != "final"
    return whole | ({"arithmetic": rule} if quick and "arithmetic" not in use.params else {})
