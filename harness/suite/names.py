"""Every name in a suite exists, and every plug takes the parameters given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.errors import HarnessError, suggest
from harness.core.registry import Kind, registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.core.types import Use
    from harness.suite.reading import Place, Source
    from harness.suite.types import AttackSpec, Crosscheck, Suite


def check_names(source: Source, suite: Suite) -> None:
    """Every plug exists and takes the parameters given; every model named is there."""
    check = _Checker(source)
    check.use("data", suite.data, ("data",))
    for model in suite.models:
        at = ("models", model.entry)
        if model.network:
            check.use("network", model.network, (*at, "network"))
        check.recipe(model.train, (*at, "train"))
    for attack in suite.attacks:
        check.attack(attack)
    for index, detector in enumerate(suite.ood.detectors if suite.ood else ()):
        check.use("detector", detector, ("ood", "detectors", index))
    for name in suite.ood.sets if suite.ood else ():
        check.name("data", name, ("ood",))
    for name in suite.shift.corruptions if suite.shift and suite.shift.corruptions != "all" else ():
        check.name("corruption", name, ("shift", "corruptions"))
    if suite.crosscheck:
        check.crosscheck(suite.crosscheck)
    _check_models(source, suite)
    _check_attacks(source, suite)


class _Checker:
    """Turns the registry's errors into errors at a place of the file."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def name(self, kind: Kind, name: str, at: Place) -> None:
        try:
            registry.get(kind, name)
        except HarnessError as error:
            raise self.source.error(str(error), at) from None

    def use(self, kind: Kind, use: Use, at: Place) -> None:
        try:
            registry.get(kind, use.name).complete(use.params)
        except HarnessError as error:
            raise self.source.error(str(error), at) from None

    def recipe(self, steps: Sequence[Use], at: Place) -> None:
        """Steps of a training: each a plug, and one attack at most."""
        attacks: list[str] = []
        for index, step in enumerate(steps):
            self.use("recipe", step, (*at, index))
            plug = registry.get("recipe", step.name)
            if plug.meta.get("attack"):
                attacks.append(step.name)
                ball = plug.complete(step.params)
                self.within_the_box(ball["norm"], (ball["eps"],), (*at, index))
        if len(attacks) > 1:
            raise self.source.error(f"one attack a recipe, got {' and '.join(attacks)}", at)

    def attack(self, spec: AttackSpec) -> None:
        """An attack: the plug, its norm and its budgets."""
        at = _place_of_attack(self.source, spec.name)
        self.use("attack", spec.use, at)
        norms = registry.get("attack", spec.use.name).meta.get("norms", ())
        if spec.norm not in norms:
            raise self.source.error(
                f"attack {spec.use.name!r} does not know norm {spec.norm!r}. {suggest(spec.norm, norms)}",
                at,
            )
        if spec.eps != "training":
            self.within_the_box(spec.norm, spec.eps, (*at, "eps"))

    def crosscheck(self, spec: Crosscheck) -> None:
        """What the ledger compares: known concepts, within the box."""
        known = {plug.concept for plug in registry.plugs("attack")}
        for index, concept in enumerate(spec.concepts):
            if concept.name not in known:
                raise self.source.error(
                    f"unknown concept {concept.name!r}. {suggest(concept.name, known)}",
                    ("crosscheck", "concepts", index),
                )
        for norm, eps in spec.eps.items():
            self.within_the_box(norm, (eps,), ("crosscheck", "eps", norm))

    def within_the_box(self, norm: str, budgets: Sequence[float], at: Place) -> None:
        """No budget is larger than the box; in other norms than "linf" that depends on the images."""
        if norm == "linf" and max(budgets) > 1:
            raise self.source.error(
                f"budget {max(budgets):g} is larger than the whole box: eps is in [0, 1] pixel units (8/255, not 8)",
                at,
            )


def _place_of_attack(source: Source, name: str) -> Place:
    """Where an attack stands: under its name, or in a list of uses."""
    listed = source.data.get("attacks")
    for index, item in enumerate(listed if isinstance(listed, list) else ()):
        if name == (item.get("use") if isinstance(item, dict) else item):
            return ("attacks", index)
    return ("attacks", name)


def _check_attacks(source: Source, suite: Suite) -> None:
    """No two attacks go by one name: the second would stand in for the first."""
    names = [(attack.name, attack.norm) for attack in suite.attacks]
    for name, norm in names:
        if names.count((name, norm)) > 1:
            message = f"two attacks are called {name!r} ({norm}): give each a name, as {{weak: {{use: {name}, ...}}}}"
            raise source.error(message, _place_of_attack(source, name))


def _check_models(source: Source, suite: Suite) -> None:
    """No two models go by one name, and every model that is named is there."""
    names = [model.name for model in suite.models]
    for name in names:
        if names.count(name) > 1:
            raise source.error(f"two models are called {name!r}", ("models",))
    named: list[tuple[str, Place]] = [
        (model.ensemble, ("models", model.entry, "ensemble"))
        for model in suite.models
        if model.ensemble is not None
    ]
    for name, at in named:
        if name in names and suite.model(name).network is None:
            message = f"an ensemble combines retrained networks; {name!r} is not trained here"
            raise source.error(message, at)
    compared = suite.crosscheck.models if suite.crosscheck else ()
    named += [(name, ("crosscheck", "models", index)) for index, name in enumerate(compared)]
    named += [(suite.baseline, ("baseline",))] if suite.baseline else []
    for name, at in named:
        if name not in names:
            raise source.error(f"unknown model {name!r}. {suggest(name, names)}", at)
