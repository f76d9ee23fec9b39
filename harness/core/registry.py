"""Names to functions: the one place that knows which plugs exist.

A plug is a function with keyword-only parameters; its signature is the schema of its YAML form. Our
own plugs live in the rooms named in ROOMS, those of wrapped libraries (and of third parties) in
packages of the entry-point group `harness.plugins`; both are imported when a name of their kind is
first asked for. `pgd` is ours, `foolbox/pgd` an adapter's: the part after the slash is the concept.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from harness.core.errors import InputError, MissingLibrary, UnknownName, suggest
from harness.core.parameters import Bound, Parameter, parameters

Kind = Literal["attack", "detector", "metric", "corruption", "recipe", "network", "data"]
ROOMS: dict[Kind, str] = {
    "attack": "harness.attacks",
    "detector": "harness.detectors",
    "metric": "harness.metrics",
    "corruption": "harness.corruptions",
    "recipe": "harness.recipes",
    "network": "harness.models",
    "data": "harness.data",
}
GROUP = "harness.plugins"
OURS = "harness"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Library:
    """A wrapped library.

    Args:
        name: our prefix, for example "art".
        module: its import name, for example "art".
        distribution: its name on the package index.
        version: the version that its adapter was checked against.
        extra: our extra that installs it, or "" for a core dependency.
        parity: (classifier, x) -> the library's own (logits, input gradient of the summed
            cross-entropy with respect to labels y), or None; see check H08.
    """

    name: str
    module: str
    distribution: str
    version: str
    extra: str = ""
    parity: Callable[..., Any] | None = None

    @property
    def installed(self) -> bool:
        """Whether it can be imported; nothing is imported to find out."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def install(self) -> str:
        """The requirement that installs it."""
        return f"{self.distribution}=={self.version}"

    def found_version(self) -> str:
        """Version that is installed, or "" if none."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return ""


@dataclass(frozen=True, slots=True)
class Plug:
    """A registered function.

    Args:
        kind: which room it belongs to.
        name: "pgd", or "foolbox/pgd".
        function: the function itself.
        library: the library it wraps, or None for ours.
        parameters: its keyword-only parameters but those the caller supplies.
        meta: what its kind needs besides, for example norms=("linf", "l2").
    """

    kind: Kind
    name: str
    function: Callable[..., Any]
    library: Library | None
    parameters: tuple[Parameter, ...]
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def concept(self) -> str:
        """What it implements; plugs of one concept are cross-checked."""
        return self.name.rpartition("/")[2]

    @property
    def implementation(self) -> str:
        """Who implements it: "harness" or the library's name."""
        return self.library.name if self.library else OURS

    @property
    def summary(self) -> str:
        """First line of its docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` with every default filled in.

        Raises:
            InputError: an unknown parameter, a required one missing, or a value of another type or
                outside its range.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                raise InputError(
                    f"{self.kind} {self.name!r} has no parameter {name!r}. {suggest(name, known)}"
                )
        missing = [name for name, p in known.items() if p.required and name not in given]
        if missing:
            raise InputError(f"{self.kind} {self.name!r} needs {', '.join(missing)}")
        for name, value in given.items():
            if complaint := known[name].complaint(value):
                raise InputError(f"{self.kind} {self.name!r}: {complaint}")
        return {name: given.get(name, p.default) for name, p in known.items()}

    def require(self) -> Plug:
        """This plug, once its library is known to be there.

        Raises:
            MissingLibrary: it is not installed.
        """
        if self.library and not self.library.installed:
            raise MissingLibrary(self.library.module, self.library.install)
        return self


class Registry:
    """All plugs by kind and name, and the libraries they wrap."""

    def __init__(self) -> None:
        self._plugs: dict[tuple[Kind, str], Plug] = {}
        self._libraries: dict[str, Library] = {}
        self._loaded: set[str] = set()

    def library(self, library: Library) -> Library:
        """Make a wrapped library known; returns it."""
        self._libraries[library.name] = library
        return library

    def register(
        self,
        kind: Kind,
        name: str,
        *,
        library: Library | None = None,
        supplied: tuple[str, ...] = ("rng", "trace", "noise"),
        bounds: Mapping[str, Bound] = MappingProxyType({}),
        **meta: Any,
    ) -> Callable[[F], F]:
        """Decorator: register a function as a plug.

        Args:
            kind: which room it belongs to.
            name: its name in a suite.
            library: the library it wraps.
            supplied: keyword-only parameters that the caller supplies, not the suite.
            bounds: ranges of its numbers where they are not those that the name has everywhere
                (`harness.core.parameters.BOUNDS`).
            **meta: what its kind needs besides.
        """

        def decorate(function: F) -> F:
            known = self._plugs.get((kind, name))
            if known and known.function.__qualname__ != function.__qualname__:
                raise ValueError(
                    f"{kind} {name!r} is registered twice: {known.function.__module__} and {function.__module__}"
                )
            known_parameters = parameters(function, supplied, bounds)
            self._plugs[kind, name] = Plug(kind, name, function, library, known_parameters, meta)
            return function

        return decorate

    def get(self, kind: Kind, name: str) -> Plug:
        """The plug `name` of `kind`.

        Raises:
            UnknownName: there is none; the message names the nearest.
        """
        self.load(kind)
        if (kind, name) not in self._plugs:
            raise UnknownName(kind, name, self.names(kind))
        return self._plugs[kind, name]

    def names(self, kind: Kind) -> list[str]:
        """Names of all plugs of `kind`: ours first, then the adapters', each sorted."""
        return [plug.name for plug in self.plugs(kind)]

    def plugs(self, kind: Kind) -> list[Plug]:
        """All plugs of `kind`, in the order of `names`."""
        self.load(kind)
        found = [plug for (its, _), plug in self._plugs.items() if its == kind]
        return sorted(found, key=lambda plug: (plug.library is not None, plug.name))

    def libraries(self) -> list[Library]:
        """All wrapped libraries, sorted by name."""
        self._load_plugins()
        return sorted(self._libraries.values(), key=lambda library: library.name)

    def load(self, kind: Kind) -> None:
        """Import the room of `kind` and every plug-in package."""
        self._import(ROOMS[kind])
        self._load_plugins()

    def _load_plugins(self) -> None:
        if GROUP in self._loaded:
            return
        self._loaded.add(GROUP)
        for entry in importlib.metadata.entry_points(group=GROUP):
            package = entry.load()
            for module in pkgutil.iter_modules(package.__path__):
                self._import(f"{package.__name__}.{module.name}")

    def _import(self, module: str) -> None:
        if module not in self._loaded:
            importlib.import_module(module)
            self._loaded.add(module)


registry = Registry()
