"""A file to a frozen Suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.core.errors import UnknownName, suggest
from harness.core.registry import registry
from harness.suite.names import check_names
from harness.suite.notation import axes, expand, resolve
from harness.suite.reading import Place, Source, include, read
from harness.suite.types import (
    AttackSpec,
    Calibration,
    Crosscheck,
    ModelSpec,
    Ood,
    Shift,
    Strict,
    Suite,
    Training,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


def load(
    path: Path,
    *,
    data: str | None = None,
    seeds: Sequence[int] = (),
    limit: int | None = None,
) -> Suite:
    """The suite in `path`, resolved for its data set.

    Args:
        path: the YAML file.
        data: data set to use instead of the file's.
        seeds: seeds to use instead of the file's; empty keeps those.
        limit: images of every evaluated split, for a quick look; None for all.

    Raises:
        SuiteError: anything in the file cannot be; the message has file, line and the fix.
        UnknownName: `data` is no data set.
    """
    source = include(read(path))
    if data is not None:
        source.data["data"] = data
    if seeds:
        source.data["seeds"] = list(seeds)
    if limit is not None:
        source.data["limit"] = limit
    known = set(registry.names("data"))
    tree = resolve(source, _data_name(source, data is not None, known), known)
    tree["name"] = path.stem
    tree["models"] = _models(source, tree)
    tree["attacks"] = _attacks(source, tree.get("attacks", {}))
    suite = _validated(source, tree)
    check_names(source, suite)
    return suite


def _data_name(source: Source, given: bool, known: set[str]) -> str:  # noqa: FBT001 -- one caller
    value = source.data.get("data")
    name = value.get("use") if isinstance(value, dict) else value
    if not isinstance(name, str):
        raise source.error("name a data set: `data: digits`, or run with --data", ("data",))
    if name not in known:
        if given:
            raise UnknownName("data set", name, known)
        raise source.error(f"unknown data set {name!r}. {suggest(name, known)}", ("data",))
    return name


def _models(source: Source, tree: dict[str, Any]) -> list[dict[str, Any]]:
    entries = tree.get("models")
    if not isinstance(entries, dict) or not entries:
        raise source.error(
            "name at least one model: `models: {Baseline: {network: lenet5}}`", ("models",)
        )
    defaults = tree.pop("training", {})
    if not isinstance(defaults, dict):
        raise source.error("`training` is a mapping such as {epochs: 6}", ("training",))
    models: list[dict[str, Any]] = []
    for key, entry in entries.items():
        if not isinstance(entry, dict):
            raise source.error(
                f"model {key!r} is a mapping such as {{network: lenet5}}", ("models", key)
            )
        if any(not isinstance(axis, list) or not axis for axis in axes(entry)):
            raise source.error("`each` takes a list of at least one value", ("models", key))
        entry = entry | {"training": defaults | entry.get("training", {})}
        models.extend(expand(key, entry))
    return models


def _attacks(source: Source, value: object) -> list[dict[str, Any]]:
    """Attacks as a list of AttackSpec fields, from a mapping by name or a list of uses."""
    named: list[tuple[str, Any, Place]] = []
    if isinstance(value, dict):
        named = [(name, item, ("attacks", name)) for name, item in value.items()]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            name = item.get("use") if isinstance(item, dict) else item
            named.append((str(name), item, ("attacks", index)))
    else:
        raise source.error("`attacks` is a list, or a mapping by name", ("attacks",))
    return [spec for name, item, at in named for spec in _attack(source, name, item, at)]


def _attack(source: Source, name: str, item: object, at: Place) -> Iterator[dict[str, Any]]:
    """One AttackSpec a norm."""
    entry = {"use": item} if isinstance(item, str) else item
    if not isinstance(entry, dict) or not isinstance(entry.get("use"), str):
        raise source.error("write an attack as `pgd`, or as {use: pgd, eps: 0.1}", at)
    if "eps" not in entry:
        raise source.error(f"attack {name!r} states no budget: add `eps: 0.1` (check H60)", at)
    own = {"norm", "eps", "images", "headline"}
    use = {key: value for key, value in entry.items() if key not in own}
    spec = {key: value for key, value in entry.items() if key in own}
    norms = spec.pop("norm", "linf")
    for norm in norms if isinstance(norms, list) else [norms]:
        eps = spec["eps"]
        if isinstance(eps, dict):
            if norm not in eps:
                raise source.error(f"attack {name!r} has no budgets for norm {norm!r}", at)
            eps = eps[norm]
        yield spec | {"name": name, "use": use, "norm": norm, "eps": eps}


def _validated(source: Source, tree: dict[str, Any]) -> Suite:
    try:
        return Suite.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        at = _place(first["loc"], tree, source)
        raise source.error(_explain(first, at), at) from None


def _place(loc: tuple[Any, ...], tree: dict[str, Any], source: Source) -> Place:
    """Where in the file a pydantic location stands: models and attacks are written by name.

    What a model does not say of its training is said for all of them.
    """
    if len(loc) > 1 and loc[0] == "models":
        at, shared = ("models", tree["models"][loc[1]]["entry"], *loc[2:]), tuple(loc[2:])
        said_for_all = shared[:1] == ("training",) and shared in source.lines
        return shared if said_for_all and at not in source.lines else at
    if len(loc) > 1 and loc[0] == "attacks":
        return ("attacks", tree["attacks"][loc[1]]["name"], *loc[2:])
    return tuple(loc)


PYDANTIC = ("function-", "tuple[", "literal[")  # its own words for a place, which no file has


def _explain(error: Mapping[str, Any], at: Place) -> str:
    """A pydantic error at a place in words: what was given, and what is known or near."""
    named = [str(part) for part in at if not str(part).startswith(PYDANTIC)]
    loc, where = error["loc"], ".".join(named)
    if error["type"] == "extra_forbidden":
        return f"unknown key {loc[-1]!r} in {where.rpartition('.')[0] or 'the suite'}. {suggest(str(loc[-1]), _keys(loc))}"
    message = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    shown = "" if isinstance(given, dict) else f", got {given!r}"
    return f"{where}: {message}{shown}" if where else message


def _keys(loc: tuple[Any, ...]) -> list[str]:
    """Keys that are known at a pydantic location."""
    kinds: dict[str, type[Strict]] = {
        "models": ModelSpec, "attacks": AttackSpec, "shift": Shift, "ood": Ood,
        "calibration": Calibration, "crosscheck": Crosscheck,
    }  # fmt: skip
    kind = Suite if len(loc) == 1 else kinds.get(str(loc[0]), Suite)
    if "training" in loc[:-1]:
        kind = Training
    extra = {"use", "training", "include"} if kind is Suite else set[str]()
    return sorted((set(kind.model_fields) | extra) - {"name", "entry"})
