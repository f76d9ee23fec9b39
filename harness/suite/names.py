"""Every name in a suite exists, and every plug takes the parameters given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.errors import HarnessError, suggest
from harness.core.registry import Kind, registry

if TYPE_CHECKING:
    from harness.core.types import Use
    from harness.suite.reading import Place, Source
    from harness.suite.types import AttackSpec, Suite


def check_names(source: Source, suite: Suite) -> None:
    """Every plug exists and takes the parameters given; every model named is there."""
    check = _Checker(source)
    check.use("data", suite.data, ("data",))
    for model in suite.models:
        at = ("models", model.family)
        if model.network:
            check.use("network", model.network, (*at, "network"))
        for step in model.train:
            check.use("recipe", step, (*at, "train"))
    for attack in suite.attacks:
        check.attack(attack)
    for detector in suite.ood.detectors if suite.ood else ():
        check.use("detector", detector, ("ood", "detectors"))
    for name in suite.ood.sets if suite.ood else ():
        check.name("data", name, ("ood",))
    for name in suite.shift.corruptions if suite.shift and suite.shift.corruptions != "all" else ():
        check.name("corruption", name, ("shift", "corruptions"))
    _check_models(source, suite)


PLAIN: dict[str, type | tuple[type, ...]] = {
    "int": int, "float": (int, float), "bool": bool, "str": str, "None": type(None),
}  # fmt: skip


def _fits(value: object, annotation: str) -> bool:
    """Whether a value is of an annotated type; types other than plain ones are the plug's to judge."""
    kinds = [kind.strip() for kind in annotation.split("|")]
    if not PLAIN.keys() >= set(kinds):
        return True
    if isinstance(value, bool):  # which Python counts among the integers
        return "bool" in kinds
    return any(isinstance(value, PLAIN[kind]) for kind in kinds)


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
            plug = registry.get(kind, use.name)
            plug.complete(use.params)
        except HarnessError as error:
            raise self.source.error(str(error), at) from None
        for known in plug.parameters:
            value = use.params.get(known.name, known.default)
            if known.name in use.params and not _fits(value, known.annotation):
                message = f"{known.name} of {use.name!r} is {known.annotation}, got {value!r}"
                raise self.source.error(message, at)

    def attack(self, spec: AttackSpec) -> None:
        at = ("attacks", spec.name)
        self.use("attack", spec.use, at)
        norms = registry.get("attack", spec.use.name).meta.get("norms", ())
        if spec.norm not in norms:
            raise self.source.error(
                f"attack {spec.use.name!r} does not know norm {spec.norm!r}. {suggest(spec.norm, norms)}",
                at,
            )
        if spec.norm == "linf" and spec.eps != "training" and max(spec.eps) > 1:
            raise self.source.error(
                f"budget {max(spec.eps):g} is larger than the whole box: eps is in [0, 1] pixel units (8/255, not 8)",
                (*at, "eps"),
            )


def _check_models(source: Source, suite: Suite) -> None:
    names = [model.name for model in suite.models]
    for name in names:
        if names.count(name) > 1:
            raise source.error(f"two models are called {name!r}", ("models",))
    for model in suite.models:
        if model.ensemble is not None and model.ensemble not in names:
            message = (
                f"ensemble of unknown model {model.ensemble!r}. {suggest(model.ensemble, names)}"
            )
            raise source.error(message, ("models", model.family, "ensemble"))
        if model.ensemble is not None and suite.model(model.ensemble).network is None:
            message = (
                f"an ensemble combines retrained networks; {model.ensemble!r} is not trained here"
            )
            raise source.error(message, ("models", model.family, "ensemble"))
    if suite.baseline and suite.baseline not in names:
        raise source.error(
            f"unknown model {suite.baseline!r}. {suggest(suite.baseline, names)}", ("baseline",)
        )
