"""An attack of a wrapped library as a translation of our parameters into its own.

An adapter's attack is one function that computes, from a threat and our parameters, the library's
class and all its arguments as plain data. `harness ls attacks --params` prints that data and the
adapter builds the attack from it, so what is shown is what is run and no default of a library
decides anything:

    @attack("pgd", norms=("linf",), start=True)
    def pgd(threat: Threat, call: Call, *, steps: int = 40, restarts: int = 1) -> Translation:
        return Translation("torchattacks.PGD", {"eps": call.radius(threat), "steps": steps, ...})

`wrapped` turns it into a plug, whose parameters are the keyword-only ones of the function. The
library meets a sealed model: it can call it and differentiate it, and nothing else.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.core.errors import InputError, suggest
from harness.core.registry import registry
from harness.core.threat import Threat, diameter

if TYPE_CHECKING:
    from typing import Literal

    import torch
    from torch import nn

    from harness.core.registry import Library, Plug
    from harness.core.threat import Norm
    from harness.core.types import Classifier

Plain = dict[str, Any]
Kept = inspect.Parameter
SEEDS = 2**31 - 1  # NumPy's legacy generator and all libraries take such seeds


@dataclass(frozen=True, slots=True)
class Call:
    """What a translation may depend on besides threat and parameters.

    The defaults stand for a typical call, for printing.

    Args:
        rows: images in the batch.
        shape: (C, H, W) of an image.
        classes: number of classes.
        seed: drawn from the caller's stream, for libraries that take one.
        noise: whether the caller gives the start.
        device: type of the device that holds the batch.
    """

    rows: int = 128
    shape: tuple[int, ...] = (1, 28, 28)
    classes: int = 10
    seed: int = 0
    noise: bool = False
    device: str = "cpu"

    def radius(self, threat: Threat) -> float:
        """The ball's radius, or the diameter of the box where that is smaller."""
        return float(min(threat.eps, diameter(threat.norm, math.prod(self.shape))))

    def step(self, threat: Threat, steps: int, step_size: float | None) -> float:
        """Length of a step: as given, or 2.5 * radius / steps.

        Raises:
            InputError: steps below 1, or a step that is not positive.
        """
        at_least("steps", steps, 1)
        if step_size is None:
            return 2.5 * self.radius(threat) / steps
        if not step_size > 0:
            raise InputError(f"step_size must be positive, got {step_size}")
        return float(step_size)


@dataclass(frozen=True, slots=True)
class Translation:
    """An attack in a library's own words, all plain data.

    Args:
        target: full name of the library's class.
        arguments: every argument of its constructor but the model.
        model: what is done to the model before: arguments of the library's wrapper, or options
            of the sealed model.
        settings: attributes set on the attack afterwards, by dotted path.
        call: arguments of the call besides images and labels.
        repeat: independent calls, of which each row keeps the first success.
    """

    target: str
    arguments: Plain = field(default_factory=dict[str, Any])
    model: Plain = field(default_factory=dict[str, Any])
    settings: Plain = field(default_factory=dict[str, Any])
    call: Plain = field(default_factory=dict[str, Any])
    repeat: int = 1

    def plain(self) -> Plain:
        """All that is not empty, as plain data."""
        parts: Plain = {"target": self.target, "arguments": self.arguments}
        for name in ("model", "settings", "call"):
            parts |= {name: value} if (value := getattr(self, name)) else {}
        return parts | ({"repeat": self.repeat} if self.repeat > 1 else {})


@dataclass(frozen=True, slots=True)
class Task:
    """What a library is asked to do: attack one batch.

    Args:
        name: of the plug, for errors.
        model: the classifier.
        x: (N, C, H, W) float32 in [0, 1].
        y: (N,) int64 true labels.
        threat: the ball.
        call: see `Call`.
        noise: (N, C, H, W) start minus x, or None.
    """

    name: str
    model: Classifier
    x: torch.Tensor
    y: torch.Tensor
    threat: Threat
    call: Call
    noise: torch.Tensor | None

    def right(self) -> torch.Tensor:
        """(N,) bool: rows that the model classifies correctly as they are."""
        import torch

        with torch.no_grad():
            return self.model(self.x).argmax(1) == self.y


Translate = Callable[..., Translation]
Run = Callable[[Task, Translation], Any]
"""Does a task; returns x_adv, or (x_adv, claimed) with the (N,) success that a library claims."""


def wrapped(
    library: Library,
    run: Run,
    name: str,
    *,
    norms: tuple[Norm, ...],
    goal: Literal["maximise", "minimise"] = "maximise",
    gradient: bool = True,
    start: bool = False,
    **more: Any,  # noqa: ANN401 -- as the registry's
) -> Callable[[Translate], Translate]:
    """Decorator: register a translation as an attack of a library.

    Args:
        library: the library.
        run: does a task as a translation says.
        name: the concept, for example "pgd"; the plug is "torchattacks/pgd".
        norms: norms of the threats that it takes.
        goal: "maximise" the loss in a fixed budget, or "minimise" the perturbation.
        gradient: whether it uses gradients.
        start: whether the caller may give the start, as `noise`.
        **more: further meta.
    """
    full = f"{library.name}/{name}"
    meta: Plain = {"norms": norms, "goal": goal, "gradient": gradient, "start": start}

    def decorate(translate: Translate) -> Translate:
        plug = _plug(full, translate, run, norms)
        plug.__signature__ = _signature(translate, start=start)
        meta["translate"], meta["translation"] = shown, translate
        registry.register("attack", full, library=library, **meta, **more)(plug)
        return translate

    return decorate


def _plug(name: str, translate: Translate, run: Run, norms: tuple[Norm, ...]) -> Callable[..., Any]:
    @functools.wraps(translate)
    def plug(
        model: Classifier,
        x: torch.Tensor,
        y: torch.Tensor,
        threat: Threat,
        *,
        rng: torch.Generator,
        noise: torch.Tensor | None = None,
        **params: Any,  # noqa: ANN401 -- the parameters of the translation
    ) -> Any:  # noqa: ANN401 -- x_adv, or (x_adv, claimed)
        if threat.norm not in norms:
            raise InputError(f"{name} takes norm {' or '.join(norms)}, got {threat.norm}")
        call = Call(
            rows=len(x),
            shape=tuple(x.shape[1:]),
            classes=model.num_classes,
            seed=_seed(rng),
            noise=noise is not None,
            device=x.device.type,
        )
        how = translate(threat, call, **params)
        if threat.eps == 0 or len(x) == 0:
            return x.clone()  # several libraries refuse an empty ball or divide by it
        return run(Task(name, model, x, y, threat, call, noise), how)

    return plug


def _seed(rng: torch.Generator) -> int:
    import torch

    return int(torch.randint(SEEDS, (), generator=rng))


def _signature(translate: Translate, *, start: bool) -> inspect.Signature:
    """(model, x, y, threat, *, parameters of the translation, rng, noise if it takes a start)."""
    ahead = [Kept(n, Kept.POSITIONAL_OR_KEYWORD) for n in ("model", "x", "y", "threat")]
    params = [
        p for p in inspect.signature(translate).parameters.values() if p.kind is p.KEYWORD_ONLY
    ]
    supplied = [Kept("rng", Kept.KEYWORD_ONLY)]
    if start:
        supplied.append(Kept("noise", Kept.KEYWORD_ONLY, default=None))
    return inspect.Signature([*ahead, *params, *supplied])


def shown(plug: Plug, eps: float = 0.3) -> str:
    """The translation of an attack's default parameters, for people: a line for each norm.

    Args:
        plug: an attack registered by `wrapped`.
        eps: radius of the ball that is shown.
    """
    if any(parameter.required for parameter in plug.parameters):
        return "the class that `attack` names, with the arguments in `params`"
    return "\n".join(
        f"{norm} {eps}: {_line(plug.meta['translation'](Threat(norm, eps), Call(), **plug.complete({})))}"
        for norm in plug.meta["norms"]
    )


def _line(how: Translation) -> str:
    """One translation as a line of Python."""
    line = f"{how.target}({_pairs(how.arguments)})"
    for title, part in (("model", how.model), ("then", how.settings), ("call", how.call)):
        line += f"; {title}: {_pairs(part)}" if part else ""
    return line + (f"; {how.repeat} calls" if how.repeat > 1 else "")


def _pairs(given: Plain) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in given.items())


def sealed(model: Classifier, x: torch.Tensor, *, lift: bool = False) -> nn.Module:
    """A module that only computes `model`: no mode, parameter or buffer of it can be reached.

    A plain nn.Module, since ART skips the `forward` of what derives from nn.Sequential. Its one
    parameter tells libraries the device.

    Args:
        model: the classifier.
        x: a tensor on its device.
        lift: shift each row of logits to a minimum of 0, which changes no softmax, margin or
            gradient of either.
    """
    import torch
    from torch import nn

    class Sealed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.device_of = nn.Parameter(torch.zeros((), device=x.device), requires_grad=False)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = model(images)
            return logits - logits.detach().amin(1, keepdim=True) if lift else logits

    return Sealed().eval()


def repeated(task: Task, once: Callable[[], torch.Tensor], times: int) -> torch.Tensor:
    """The first success of each row in `times` calls; the first call's result where none is.

    For libraries without restarts of their own.
    """
    import torch

    found = once()
    for _ in range(times - 1):
        with torch.no_grad():
            right = task.model(found).argmax(1) == task.y
        if not right.any():
            break
        again = once()
        found = torch.where(right.view(-1, *[1] * (found.ndim - 1)), again, found)
    return found


def at_least(name: str, value: float, least: float) -> None:
    """Check a parameter.

    Raises:
        InputError: it is too small.
    """
    if value < least:
        raise InputError(f"{name} must be at least {least}, got {value}")


def arguments(
    target: Callable[..., Any], given: Mapping[str, Any], *, supplied: tuple[str, ...]
) -> Plain:
    """All arguments of a library's constructor: those given, and its defaults for the rest.

    Args:
        target: the class.
        given: what the user gave, by the library's own names.
        supplied: parameters that the adapter gives itself.

    Raises:
        InputError: an unknown name, with the nearest, or a required argument that is missing.
    """
    known = {
        name: p
        for name, p in inspect.signature(target).parameters.items()
        if name not in supplied and p.kind in (Kept.POSITIONAL_OR_KEYWORD, Kept.KEYWORD_ONLY)
    }
    title = getattr(target, "__name__", str(target))
    for name in given:
        if name not in known:
            raise InputError(f"{title} has no argument {name!r}. {suggest(name, known)}")
    missing = [n for n, p in known.items() if p.default is Kept.empty and n not in given]
    if missing:
        raise InputError(f"{title} needs {', '.join(missing)}")
    return {name: given.get(name, p.default) for name, p in known.items()}
