"""Suite to jobs."""

from __future__ import annotations

import hashlib
import importlib.machinery
import itertools
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.core.errors import ModelError
from harness.core.registry import registry
from harness.core.rng import derive
from harness.core.types import Job, Use, digest_of
from harness.corruptions import MNIST_C
from harness.crosscheck.attacks import LOCKSTEP, implementations
from harness.plan import cost
from harness.plan.digests import code_digest, identity, library_versions, without_paths
from harness.plan.types import Plan, Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from harness.core.registry import Kind
    from harness.core.threat import Norm
    from harness.suite import AttackSpec, ModelSpec, Suite

    Plain = dict[str, Any]
    Sizes = Callable[[Mapping[str, Any]], int]

IMAGES_SEED = 0  # every seed of a run meets the same images, so that comparisons stay paired
PROBED = (64, 256)  # images of a probe: for small test splits, and for large ones
ATTACKERS = ("torchattacks", "art", "foolbox", "autoattack")
STARTS = (False, True)  # from x itself, and from a random point
FITTED = "fit"  # name of the split on which detectors are fitted


def expand(
    suite: Suite,
    *,
    fingerprint: Callable[[Use], str],
    size: Callable[[Use, str], int],
    parts: tuple[str, ...] = ("train", "val", "test"),
    classes: tuple[str, ...] = (),
    device: str = "cpu",
    places: tuple[Path, ...] = (Path(),),
) -> Plan:
    """The plan of a suite.

    Args:
        suite: resolved.
        fingerprint: digest of a data set's files.
        size: images in a part ("train", "val", "test") of a data set.
        parts: those that the suite's data set has.
        classes: names of the data set's classes, in label order.
        device: "cpu" or "cuda".
        places: where a user's weights are looked for; the first one for factories too.

    Returns:
        Jobs in an order in which each comes after all that it needs.
    """
    return _Expansion(suite, fingerprint, size, parts, classes, device, places).plan()


class _Expansion:
    """Collects jobs; every method answers one part of the suite."""

    def __init__(
        self,
        suite: Suite,
        fingerprint: Callable[[Use], str],
        size: Callable[[Use, str], int],
        parts: tuple[str, ...],
        classes: tuple[str, ...],
        device: str,
        places: tuple[Path, ...],
    ) -> None:
        self.suite, self.classes, self.places = suite, classes, places
        self.fingerprint, self.size, self.parts = fingerprint, size, parts
        self.numerics = cost.numerics(device)
        self.jobs: dict[str, Job] = {}
        self.answers: dict[Question, str] = {}
        self.splits: dict[str, Plain] = {}
        self.models: dict[tuple[str, int, int], Plain] = {}

    # ------------------------------------------------------------ the whole

    def plan(self) -> Plan:
        for seed in self.suite.seeds:
            for spec in self.suite.models:
                self.train(spec, seed)
        for seed in self.suite.seeds:
            for spec in self.suite.models:
                self.measure(spec, seed)
            if self.suite.checks:
                self.checked(seed)
        self.crosscheck()
        self.exhibits()
        return Plan(
            self.suite,
            tuple(self.jobs.values()),
            self.answers,
            self.splits,
            {key: self.images(reference) for key, reference in self.splits.items()},
            self.classes,
            self.numerics,
        )

    def measure(self, spec: ModelSpec, seed: int) -> None:
        self.predictions(spec, seed)
        for attack in self.suite.attacks:
            self.attack(spec, seed, attack)
        self.witnessed(spec, seed)
        if self.suite.checks and self.suite.attacks:
            self.probed(spec, seed)
        if self.suite.ood:
            for detector in self.suite.ood.detectors:
                self.detector(spec, seed, detector)

    # ------------------------------------------------------------ jobs

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
            "numerics": self.numerics,
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

    def images(self, reference: Plain) -> int:
        """How many images a split has."""
        use = dict(reference["data"])
        whole = self.size(Use(use.pop("use"), use), reference["part"])
        return min([whole, *reference["take"]])

    # ------------------------------------------------------------ models

    def train(self, spec: ModelSpec, seed: int) -> None:
        """The training jobs that a model needs, and its description for the other jobs."""
        if spec.network is not None:
            self.models[spec.name, seed, 0] = self.network(spec, seed, 0)
        elif spec.ensemble is not None and spec.size is not None:
            base = self.suite.model(spec.ensemble)
            for member in range(spec.size):
                self.models[base.name, seed, member] = self.network(base, seed, member)
            members = [self.models[base.name, seed, member] for member in range(spec.size)]
            self.models[spec.name, seed, 0] = {"members": members}
        else:
            self.models[spec.name, seed, 0] = self.brought(spec)

    def network(self, spec: ModelSpec, seed: int, member: int) -> Plain:
        assert spec.network is not None
        network = _completed("network", spec.network)
        steps = [_completed("recipe", step) for step in spec.train]
        training, held_out = self.split("train"), self.split("val")
        self.size(self.suite.data, "train")  # says so now if there is none
        params: Plain = {
            "network": network,
            "steps": steps,
            "training": spec.training.model_dump(),
            "train": training,
            "val": held_out,
        }
        plugs: list[tuple[Kind, str]] = [("network", network["use"])]
        plugs.extend(("recipe", step["use"]) for step in steps)
        title = f"train {spec.name}" + (f" (member {member})" if member else "")
        digest = self.add(
            Question("train", spec.name, seed, "", member),
            title,
            params,
            inputs={"train": digest_of(training), "val": digest_of(held_out)},
            plugs=plugs,
            seconds=cost.training(spec, self.images(training)),
        )
        return {"network": network, "weights": digest}

    def brought(self, spec: ModelSpec) -> Plain:
        """Description of a user's model: its digest is that of the factory's file and weights."""
        described: Plain = {
            "data": self.suite.data.plain(),
            "search": str(self.places[0]),
            "factory": spec.factory,
            "factory_digest": _factory_digest(spec.factory or "", self.places[0]),
        }
        if spec.weights:
            path = self.weights_file(spec.name, spec.weights)
            described |= {"path": str(path), "weights_digest": _file_digest(path)}
        return described

    def weights_file(self, model: str, name: str) -> Path:
        """A user's weights, in the first place that has them."""
        found = [place / name for place in self.places if (place / name).is_file()]
        if not found:
            looked = ", ".join(str(place) for place in self.places)
            raise ModelError(f"model {model!r}: no weights file {name} in any of {looked}")
        return found[0]

    def about(
        self, spec: ModelSpec, seed: int, member: int = 0
    ) -> tuple[Plain, dict[str, str], tuple[str, ...]]:
        """Parameters, inputs and needs that every job on a model has."""
        model = self.models[spec.name, seed, member]
        needs = tuple(
            part["weights"] for part in model.get("members", [model]) if "network" in part
        )
        return {"model": model}, {"model": digest_of(without_paths(model))}, needs

    # ------------------------------------------------------------ questions

    def predictions(self, spec: ModelSpec, seed: int) -> None:
        """Logits on every split of the suite."""
        for case, reference in self.evaluated().items():
            if spec.ensemble is not None:
                self.combined(spec, seed, case, reference)
            else:
                self.predicted(spec, seed, case, reference)

    def evaluated(self) -> dict[str, Plain]:
        """Case -> split, of all splits on which every model predicts."""
        found = {part: self.split(part) for part in ("test", "val") if part in self.parts}
        shift = self.suite.shift
        if shift is None:
            return found
        names = self.corruptions()
        for name in names:
            if shift.data:
                found[name] = self.split("test", data=Use(shift.data, {"corruption": name}))
            else:
                found[name] = self.split("test", corruption=name)
        return found

    def corruptions(self) -> tuple[str, ...]:
        shift = self.suite.shift
        if shift is None:
            return ()
        if shift.corruptions != "all":
            return shift.corruptions
        return MNIST_C

    def predicted(
        self, spec: ModelSpec, seed: int, case: str, reference: Plain, member: int = 0
    ) -> str:
        params, inputs, needs = self.about(spec, seed, member)
        title = f"predict {spec.name} on {case}" + (f" (member {member})" if member else "")
        return self.add(
            Question("predict", spec.name, seed, case, member),
            title,
            params | {"split": reference},
            inputs=inputs | {"split": digest_of(reference)},
            needs=needs,
            seconds=cost.forward(spec, self.images(reference)),
            group=inputs["model"],
        )

    def combined(self, spec: ModelSpec, seed: int, case: str, reference: Plain) -> None:
        """An ensemble's logits, from what its members predicted: no pass is made twice."""
        base = self.suite.model(spec.ensemble or "")
        members = [self.predicted(base, seed, case, reference, m) for m in range(spec.size or 0)]
        self.add(
            Question("combine", spec.name, seed, case),
            f"combine {spec.name} on {case}",
            {"of": "predict"},
            inputs={str(i): digest for i, digest in enumerate(members)},
            needs=members,
            seconds=0.01,
        )

    def attack(self, spec: ModelSpec, seed: int, attack: AttackSpec) -> None:
        params, inputs, needs = self.about(spec, seed)
        takes = [n for n in (self.suite.attack_images, attack.images) if n]
        reference = self.split("test", *takes)
        budgets = self.budgets(spec, attack)
        use = _completed("attack", attack.use)
        params |= {"attack": use, "norm": attack.norm, "eps": list(budgets), "split": reference}
        self.add(
            Question("attack", spec.name, seed, f"{attack.name} {attack.norm}"),
            f"attack {spec.name} with {attack.name} {attack.norm}",
            params,
            inputs=inputs | {"split": digest_of(reference)},
            needs=needs,
            plugs=[("attack", attack.use.name)],
            seconds=cost.attack(spec, use, len(budgets), self.images(reference)),
            group=inputs["model"],
        )

    def budgets(self, spec: ModelSpec, attack: AttackSpec) -> tuple[float, ...]:
        """Budgets of an attack on a model: "training" means its own, or the middle one."""
        if attack.eps != "training":
            return attack.eps
        own = spec.training_budget or self.suite.middle_budget
        return (own,) if own else (0.1,)

    def detector(self, spec: ModelSpec, seed: int, detector: Use) -> None:
        """Scores of the ID test set and of every OOD set."""
        if spec.ensemble is None:
            self.scored(spec, seed, detector, 0)
            return
        base = self.suite.model(spec.ensemble)
        members = [self.scored(base, seed, detector, m) for m in range(spec.size or 0)]
        self.add(
            Question("combine", spec.name, seed, f"detector {_named(detector)}"),
            f"combine {spec.name}'s {_named(detector)} scores",
            {"of": "score"},
            inputs={str(i): digest for i, digest in enumerate(members)},
            needs=members,
            seconds=0.01,
        )

    def scored(self, spec: ModelSpec, seed: int, detector: Use, member: int) -> str:
        ood = self.suite.ood
        assert ood is not None
        params, inputs, needs = self.about(spec, seed, member)
        splits = {
            FITTED: self.split("train", ood.fit_images),
            "id": self.split("test"),
            **{name: self.split("test", data=Use(name)) for name in ood.sets},
        }
        params |= {
            "detector": _completed("detector", detector),
            "splits": splits,
            "like": self.suite.data.plain(),
        }
        total = sum(self.images(reference) for reference in splits.values())
        return self.add(
            Question("score", spec.name, seed, _named(detector), member),
            f"score {spec.name} with {_named(detector)}"
            + (f" (member {member})" if member else ""),
            params,
            inputs=inputs | {role: digest_of(reference) for role, reference in splits.items()},
            needs=needs,
            plugs=[("detector", detector.name)],
            seconds=cost.detector(spec, detector.name, total),
            group=inputs["model"],
        )

    # ------------------------------------------------------------ second witnesses

    def crosscheck(self) -> None:
        """Every concept by all its implementations, on a few models of the first seed."""
        check = self.suite.crosscheck
        if check is None:
            return
        for name in check.models or (self.suite.baseline or self.suite.models[0].name,):
            spec = self.suite.model(name)
            for protocol, concept, norm in itertools.product(
                check.protocols, check.concepts, check.eps
            ):
                for start in (
                    STARTS if (protocol, concept.name) == ("lockstep", "pgd") else STARTS[:1]
                ):
                    self.attacked(spec, protocol, concept, norm, random_start=start)
            if check.metrics:
                self.calibration_compared(spec)
                self.ood_compared(spec)
        if check.boundary_cases:
            self.compared("boundary", Question("compared", "", self.suite.seeds[0], "boundary"), {})

    def attacked(
        self, spec: ModelSpec, protocol: str, concept: Use, norm: Norm, *, random_start: bool
    ) -> None:
        check = self.suite.crosscheck
        assert check is not None
        plugs = implementations(concept.name, norm)
        if len(plugs) < 2 or (protocol == "lockstep" and concept.name not in LOCKSTEP):
            return
        minimise = plugs[0].meta.get("goal") == "minimise"
        count = check.minimum_norm_images if minimise else check.images
        seed = self.suite.seeds[0]
        params, inputs, needs = self.about(spec, seed)
        reference = self.split("test", *[n for n in (self.suite.attack_images, count) if n])
        params |= {
            "protocol": protocol,
            "concept": concept.name,
            "shared": dict(concept.params),
            "norm": norm,
            "eps": check.eps[norm],
            "steps": check.steps,
            "queries": check.queries,
            "random_start": random_start,
            "minimise": minimise,
            "implementations": [plug.name for plug in plugs],
            "split": reference,
        }
        ending = "".join(f" {key} {value}" for key, value in concept.params.items())
        ending += " from a random start" if random_start else ""
        self.add(
            Question("crosscheck", spec.name, seed, f"{protocol} {concept.name} {norm}{ending}"),
            f"cross-check {concept.name} {norm} on {spec.name}, {protocol}{ending}",
            params,
            inputs=inputs | {"split": digest_of(reference)},
            needs=needs,
            plugs=[("attack", plug.name) for plug in plugs],
            seconds=len(plugs) * cost.attack(spec, {"steps": check.steps}, 1, count),
            group=inputs["model"],
        )

    def calibration_compared(self, spec: ModelSpec) -> None:
        """Calibration metrics of one model by all their implementations."""
        seed, calibration = self.suite.seeds[0], self.suite.calibration
        if calibration is None:
            return
        needs = {"test": self.answer("predict", spec, seed, "test")}
        question = Question("compared", spec.name, seed, "calibration")
        self.compared("calibration", question, {"bins": calibration.bins}, needs, needs.values())

    def ood_compared(self, spec: ModelSpec) -> None:
        """Scores of one model, and what ranks them, by all their implementations."""
        seed, sets = self.suite.seeds[0], self.suite.ood.sets if self.suite.ood else ()
        if not sets:
            return
        params, inputs, needs = self.about(spec, seed)
        splits = {"id": self.split("test")}
        splits |= {name: self.split("test", data=Use(name)) for name in sets}
        params |= {"splits": splits, "like": self.suite.data.plain()}
        inputs |= {role: digest_of(reference) for role, reference in splits.items()}
        self.compared("ood", Question("compared", spec.name, seed, "ood"), params, inputs, needs)

    def compared(
        self,
        of: str,
        question: Question,
        params: Plain,
        inputs: Mapping[str, str] = MappingProxyType({}),
        needs: Iterable[str] = (),
    ) -> None:
        """Metrics and scores by every implementation that there is."""
        assert self.suite.crosscheck is not None
        asked: list[Kind] = ["metric"] if of == "calibration" else ["metric", "detector"]
        plugs: list[tuple[Kind, str]] = [
            (kind, plug.name) for kind in asked for plug in registry.plugs(kind)
        ]
        self.add(
            question,
            f"compare {of} by all implementations"
            + (f" on {question.model}" if question.model else ""),
            params | {"of": of, "protocols": list(self.suite.crosscheck.protocols)},
            inputs=inputs,
            needs=needs,
            plugs=plugs,
            seconds=3.0,
            group="witness",
        )

    def probed(self, spec: ModelSpec, seed: int) -> None:
        """What the checks want to know of one model, at its training budget or the middle one."""
        params, inputs, needs = self.about(spec, seed)
        reference = self.split("test", *[n for n in (self.suite.attack_images,) if n])
        k = PROBED[0] if self.images(reference) < 1000 else PROBED[1]
        crosschecked = self.suite.crosscheck.models if self.suite.crosscheck else ()
        curve = [a.eps for a in self.suite.attacks if a.norm == "linf" and a.eps != "training"]
        params |= {
            "split": reference,
            "k": k,
            "eps": spec.training_budget or self.suite.middle_budget or 0.1,
            "steps": 40,
            "budgets": sorted({eps for budgets in curve for eps in budgets if eps != "training"}),
            "libraries": list(ATTACKERS) if spec.name in crosschecked else [],
            "plain": spec.name == self.suite.baseline and spec.training_budget is None,
        }
        asked = [f"{name}/pgd" for name in params["libraries"] if name != "autoattack"]
        plugs: list[tuple[Kind, str]] = [("attack", "pgd")]
        plugs.extend(("attack", name) for name in asked)
        self.add(
            Question("probe", spec.name, seed),
            f"probe {spec.name}",
            params,
            inputs=inputs | {"split": digest_of(reference)},
            needs=needs,
            plugs=plugs,
            seconds=cost.attack(spec, {"steps": 40}, 64, k),
            group=inputs["model"],
        )

    def checked(self, seed: int) -> None:
        """What the checks want to know beyond one model: the identity, and images of the others."""
        plain = next((spec for spec in self.suite.models if spec.ensemble is None), None)
        if self.suite.shift is not None and plain is not None:
            self.predicted(plain, seed, "identity", self.split("test", corruption="identity"))
        if self.suite.attacks and len(self.suite.models) > 1:
            for spec in self.suite.models:
                self.transferred(spec, seed)

    def transferred(self, spec: ModelSpec, seed: int) -> None:
        """Images that the probes of the other models made, in balls no larger than this model's."""
        own = self.jobs[self.answers[Question("probe", spec.name, seed)]].params
        probes = {
            f"probe {other.name}": self.answers[Question("probe", other.name, seed)]
            for other in self.suite.models
            if other.name != spec.name
        }
        smaller = {
            role: digest
            for role, digest in probes.items()
            if self.jobs[digest].params["eps"] <= own["eps"]
        }
        params, inputs, needs = self.about(spec, seed)
        params |= {"split": own["split"], "k": own["k"], "others": sorted(smaller)}
        self.add(
            Question("transfer", spec.name, seed),
            f"show {spec.name} the images made for the others",
            params,
            inputs=inputs | {"split": digest_of(own["split"])} | smaller,
            needs=(*needs, *smaller.values()),
            seconds=cost.forward(spec, own["k"] * len(smaller)),
            group=inputs["model"],
        )

    def witnessed(self, spec: ModelSpec, seed: int) -> None:
        """Calibration figures of one model by every library that has them."""
        calibration = self.suite.calibration
        if calibration is None:
            return
        plugs = [
            plug.name
            for plug in registry.plugs("metric")
            if plug.library is not None and plug.meta.get("axis") == "calibration"
        ]
        parts = [part for part in ("test", "val") if part in self.parts]
        needs = {part: self.answer("predict", spec, seed, part) for part in parts}
        self.add(
            Question("witness", spec.name, seed),
            f"second witnesses of {spec.name}'s calibration",
            {"bins": calibration.bins, "metrics": plugs},
            inputs=needs,
            needs=needs.values(),
            plugs=[("metric", name) for name in plugs],
            seconds=0.3,
            group="witness",
        )

    def answer(self, kind: str, spec: ModelSpec, seed: int, case: str) -> str:
        """Digest of the job that answers, or combines the answers, to a question."""
        if spec.ensemble is not None:
            kind = "combine"
        return self.answers[Question(kind, spec.name, seed, case)]

    # ------------------------------------------------------------ pictures

    def exhibits(self) -> None:
        """Example images for the report: of the first seed, seen by the baseline or the first model."""
        spec = (
            self.suite.model(self.suite.baseline) if self.suite.baseline else self.suite.models[0]
        )
        params, inputs, needs = self.about(spec, self.suite.seeds[0])
        split = self.split("test", *[n for n in (self.suite.attack_images,) if n])
        shown = {name: ref for name, ref in self.evaluated().items() if name != "val"}
        for name in self.suite.ood.sets if self.suite.ood else ():
            shown[name] = self.split("test", data=Use(name))
        params |= {
            "attacks": self.shown_attacks(spec),
            "augmentations": self.shown_augmentations(),
            "split": split,
            "shown": shown,
            "like": self.suite.data.plain(),
        }
        self.add(
            Question("exhibit", spec.name, self.suite.seeds[0]),
            "draw examples",
            params,
            inputs=inputs | {name: digest_of(reference) for name, reference in shown.items()},
            needs=needs,
            seconds=1.0,
            group=inputs["model"],
        )

    def shown_attacks(self, spec: ModelSpec) -> Plain:
        """FGSM and PGD at the middle budget, where the suite has them."""
        eps = self.suite.middle_budget
        found: Plain = {}
        for attack in self.suite.attacks:
            wanted = (
                attack.name in ("fgsm", "pgd")
                and attack.norm == "linf"
                and attack.eps != "training"
            )
            if wanted:
                budgets = [*attack.eps] if attack.eps != "training" else []
                middle = eps if eps in budgets else budgets[len(budgets) // 2]
                use = _completed("attack", attack.use)
                found[attack.name] = {"use": use, "norm": "linf", "eps": middle}
        return found

    def shown_augmentations(self) -> Plain:
        """Every augmentation of the suite, in its first and other settings."""
        found: Plain = {}
        for model in self.suite.models:
            if len(model.train) == 1 and "eps" not in model.train[0].params:
                found[model.name.replace(" ", "-")] = _completed("recipe", model.train[0])
        return found


def _completed(kind: Kind, use: Use) -> dict[str, Any]:
    """A use with every default filled in, as plain data."""
    return {"use": use.name, **registry.get(kind, use.name).complete(use.params)}


def _named(use: Use) -> str:
    """How a detector is called: its plug's name, without spaces."""
    return use.name


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
